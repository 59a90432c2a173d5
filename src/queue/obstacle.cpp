#include "queue/obstacle.h"

namespace sternpost::queue {
namespace {

std::string by_whom(const store::StoredSuspension& one) {
    return " is suspended by " + one.author + " since " + rfc3339(one.set) + ": " + one.reason;
}

}  // namespace

Blocked blocked_by(const store::StoredMessage& message, std::size_t recipient, const ObstacleFacts& facts) {
    const store::StoredRecipient& r = message.recipients[recipient];
    if (facts.in_attempt) return {Obstacle::none};
    if (facts.of_sender != nullptr)
        return {Obstacle::sender_suspended,
                "suspended",
                {},
                "the sender " + facts.of_sender->scope + by_whom(*facts.of_sender)};
    if (message.held) return {Obstacle::held, "held", {}, "the message is on hold"};
    if (facts.of_hop != nullptr)
        return {Obstacle::hop_suspended,
                "suspended",
                {},
                "the next hop " + facts.of_hop->scope + by_whom(*facts.of_hop)};
    if (facts.results_wait)
        return {
            Obstacle::results_wait,
            "results-wait",
            {},
            "what became of earlier mail cannot be kept on the disk, so nothing is sent: the log says why "
            "(results-wait)"};
    const bool fails = facts.hop != nullptr && facts.hop->failures > 0 && facts.hop->next_at > facts.now;
    if (fails && facts.hop->next_at >= r.next_at)
        return {Obstacle::hop_fails, facts.hop->reason_code, facts.hop->status, facts.hop->text,
                facts.hop->next_at};
    if (r.next_at > facts.now)
        return {Obstacle::schedule, r.text.starts_with("possibly-delivered") ? "possibly-delivered" : "",
                r.status, r.text, r.next_at};
    if (!facts.running) return {Obstacle::daemon_down, "daemon-down", {}, "the daemon is down"};
    if (facts.no_connection)
        return {Obstacle::limit,
                "limit",
                {},
                "no connection is free for it: its destination, or this relay, has as many as it may have"};
    return {Obstacle::due};
}

}  // namespace sternpost::queue
