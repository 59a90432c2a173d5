#include "claims.h"

#include "store/hop.h"

namespace sternpost::simulation {

using queue::Obstacle;

void Claims::waits(store::MessageId message, std::uint32_t recipient, const std::string& hop,
                   const queue::Blocked& blocked, WallTime now) {
    waiting_.insert_or_assign({message, recipient}, Wait{hop, blocked, now});
}

void Claims::says_protected(const std::string& domain, WallTime now, WallTime until) {
    protected_.insert_or_assign(domain, Protection{now, until});
}

void Claims::tried(const std::string& hop, WallTime until) {
    std::erase_if(waiting_, [&](const auto& one) {
        const Wait& wait = one.second;
        return wait.hop == hop && (wait.blocked.what == Obstacle::hop_fails ||
                                   (wait.blocked.what == Obstacle::schedule && wait.blocked.until == until));
    });
}

void Claims::check(const queue::Work& work, const std::string& hop, WallTime began, WallTime now, bool proven,
                   const std::string& host) {
    for (const auto n : work.recipients) {
        const auto claim = waiting_.find({work.message->id, n});
        if (claim == waiting_.end()) continue;
        const Wait wait = std::move(claim->second);
        waiting_.erase(claim);
        if (work.began.wall <= wait.said || wait.hop != hop) continue;
        const bool timed =
            wait.blocked.what == Obstacle::hop_fails || wait.blocked.what == Obstacle::schedule;
        const bool for_good = wait.blocked.what == Obstacle::held ||
                              wait.blocked.what == Obstacle::sender_suspended ||
                              wait.blocked.what == Obstacle::hop_suspended;
        if (for_good ||
            (timed && wait.blocked.until && work.began.wall + std::chrono::seconds(1) < *wait.blocked.until))
            trace_.violated("claims-are-true",
                            work.message->id.text() +
                                " is tried, though it was said to wait: " + wait.blocked.text +
                                (wait.blocked.until ? " until " + rfc3339(*wait.blocked.until) : ""));
    }
    const store::HopName name = store::HopName::parse(hop);
    const auto claim = protected_.find(name.next_hop);
    if (claim == protected_.end() || name.wish == store::TlsWish::tls_optional) return;
    if (began < claim->second.said || now >= claim->second.until || proven) return;
    trace_.violated("claims-are-true", "mail to " + name.next_hop +
                                           " was said to be protected, and goes to " + host +
                                           ", which has proven nothing");
}

}  // namespace sternpost::simulation
