#include "queue/obstacle.h"

#include "store/hop_group.h"

namespace sternpost::queue {
namespace {

std::string by_whom(const store::StoredSuspension& one) {
    return " is suspended by " + one.author + " since " + rfc3339(one.set) + ": " + one.reason;
}

}  // namespace

std::string_view name_of(Obstacle obstacle) {
    switch (obstacle) {
        case Obstacle::none:
            return "nothing";
        case Obstacle::due:
            return "due";
        case Obstacle::held:
            return "held";
        case Obstacle::sender_suspended:
            return "sender-suspended";
        case Obstacle::hop_suspended:
            return "hop-suspended";
        case Obstacle::results_wait:
            return "results-wait";
        case Obstacle::hop_fails:
            return "hop-fails";
        case Obstacle::in_line:
            return "in-line";
        case Obstacle::limit:
            return "limit";
        case Obstacle::schedule:
            return "schedule";
        case Obstacle::daemon_down:
            return "daemon-down";
    }
    return "?";
}

store::StoredMessage mail_for(const std::string& hop) {
    const auto name = store::HopGroup::parse(hop);
    store::StoredMessage out;
    out.envelope.requiretls = name.tls_mode == store::TlsMode::requiretls;
    out.envelope.tls_required_no = name.tls_mode == store::TlsMode::tls_optional;
    if (auto path = mail::ForwardPath::parse("postmaster@" + name.next_hop, true))
        out.recipients.emplace_back(store::QueuedRecipient(mail::Recipient(std::move(*path)), name.next_hop));
    return out;
}

bool is_held_back(Obstacle what) {
    return what == Obstacle::held || what == Obstacle::sender_suspended || what == Obstacle::hop_suspended;
}

Blocked blocked_by(const store::StoredMessage& message, std::size_t recipient, const ObstacleFacts& facts) {
    const store::StoredRecipient& r = message.recipients[recipient];
    if (facts.in_attempt) return {Obstacle::none};
    if (facts.of_sender != nullptr)
        return {Obstacle::sender_suspended,
                store::ReasonCode::suspended,
                {},
                "the sender " + facts.of_sender->scope + by_whom(*facts.of_sender)};
    if (message.held) return {Obstacle::held, store::ReasonCode::held, {}, "the message is on hold"};
    if (facts.of_hop != nullptr)
        return {Obstacle::hop_suspended,
                store::ReasonCode::suspended,
                {},
                "the next hop " + facts.of_hop->scope + by_whom(*facts.of_hop)};
    if (facts.results_wait)
        return {
            Obstacle::results_wait,
            store::ReasonCode::results_wait,
            {},
            "what became of earlier mail cannot be kept on the disk, so nothing is sent: the log says why "
            "(results-wait)"};
    const bool fails = facts.hop != nullptr && facts.hop->failures > 0 && facts.hop->next_at > facts.now;
    if (fails && facts.hop->next_at >= r.next_at)
        return {Obstacle::hop_fails, facts.hop->reason_code, facts.hop->status,
                facts.hop->text,     facts.hop->next_at,     facts.hop->at};
    if (r.waits_for_hop && r.next_at > facts.now)
        return {Obstacle::hop_fails, r.reason_code, r.status, r.text, r.next_at};
    if (r.next_at > facts.now)
        return {Obstacle::schedule,
                r.lost_replies > 0 ? store::ReasonCode::possibly_delivered : store::ReasonCode::none,
                r.status, r.text, r.next_at};
    if (!facts.running)
        return {Obstacle::daemon_down, store::ReasonCode::daemon_down, {}, "the daemon is down"};
    if (facts.no_connection)
        return {Obstacle::limit,
                store::ReasonCode::limit,
                {},
                "no connection is free for it: its destination, or this relay, has as many as it may have"};
    if (facts.in_line)
        return {Obstacle::in_line,
                store::ReasonCode::in_line,
                {},
                "other mail goes first: the connections to its next hop, or the memory for mail, are in use"};
    return {Obstacle::due};
}

}  // namespace sternpost::queue
