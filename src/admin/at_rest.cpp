#include "admin/at_rest.h"

#include "store/hop_group.h"

namespace sternpost::admin {
namespace {

constexpr std::size_t all_hops = 1'000'000;  // ours: as good as all; the command ends with its answer

}  // namespace

store::Result<AtRest> AtRest::read(store::Questions& questions, Settings settings) {
    AtRest out;
    out.s_ = std::move(settings);
    store::HopFilter all;
    all.limit = all_hops;
    const auto hops = questions.hops(all);
    if (!hops) return fail(hops.error());
    for (const auto& hop : *hops)
        if (hop.state.failures > 0) out.failing_[hop.state.next_hop] = hop.state;
    const auto suspensions = questions.all<store::StoredSuspension>();
    if (!suspensions) return fail(suspensions.error());
    for (const auto& one : *suspensions) out.suspensions_.put(one);
    const auto overrides = questions.all<store::StoredOverride>();
    if (!overrides) return fail(overrides.error());
    for (const auto& one : *overrides) out.overrides_.push_back({one, false});
    for (const auto& one : out.s_.overrides) out.overrides_.push_back({one, true});
    return out;
}

std::vector<queue::Blocked> AtRest::blocked_by(const store::StoredMessage& message,
                                               const std::vector<store::HopState>&) const {
    std::vector<queue::Blocked> out(message.recipients.size());
    for (std::size_t n = 0; n < message.recipients.size(); ++n) {
        if (message.recipients[n].state != store::RecipientState::queued) continue;
        const std::string name = store::hop_of(message, n);
        queue::ObstacleFacts facts;
        facts.now = s_.now;
        facts.running = false;
        facts.of_sender = suspensions_.of_sender(message);
        facts.of_hop = suspensions_.of_hop(name);
        if (const auto hop = failing_.find(name); hop != failing_.end()) facts.hop = &hop->second;
        out[n] = queue::blocked_by(message, n, facts);
    }
    return out;
}

}  // namespace sternpost::admin
