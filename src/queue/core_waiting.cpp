// What Core tells of mail that waits: what is in the way, and what the sender of delayed mail hears.
#include <algorithm>
#include <memory>

#include "queue/core.h"
#include "store/hop_group.h"

namespace sternpost::queue {
namespace {

// Whether its sender hears of a delay; for which recipients is seen when it is due.
bool wants_warning(const store::StoredMessage& message) {
    return message.message_class == store::MessageClass::mail && !message.envelope.reverse_path.is_null() &&
           std::any_of(message.recipients.begin(), message.recipients.end(),
                       [](const auto& r) { return r.address.recipient.notify.wants_delay(); });
}

}  // namespace

std::vector<Blocked> Core::blocked_by(const store::StoredMessage& found, Now now,
                                      const std::vector<store::HopState>& stored) const {
    std::vector<Blocked> out(found.recipients.size());
    const Message* here = messages_.find(found.id);
    const auto* of_sender = suspensions_.of_sender(found);
    for (std::uint32_t n = 0; n < found.recipients.size(); ++n) {
        if (found.recipients[n].state != store::RecipientState::queued) continue;
        const std::string hop_name = store::hop_of(found, n);
        store::HopState state;
        ObstacleFacts facts = facts_of_hop(hop_name, now, stored, state);
        facts.of_sender = of_sender;
        facts.in_line = facts.in_line || (here == nullptr && messages_.is_full());
        facts.in_attempt =  // or its result is being recorded
            here != nullptr && !here->waits_at(hop_name, n);
        out[n] = queue::blocked_by(found, n, facts);
    }
    return out;
}

// `state`: what facts.hop points to, where the hop is in memory.
ObstacleFacts Core::facts_of_hop(const std::string& hop_name, Now now,
                                 const std::vector<store::HopState>& stored, store::HopState& state) const {
    ObstacleFacts facts;
    facts.now = now.wall;
    facts.results_wait = refused_ > 0;
    facts.of_hop = suspensions_.of_hop(hop_name);
    const Hop* hop = hops_.find(hop_name);
    if (hop == nullptr) {
        for (const auto& one : stored)
            if (one.next_hop == hop_name) facts.hop = &one;
        return facts;
    }
    state = hop->state(hop_name);
    facts.hop = &state;
    facts.no_connection = !hop->waits_after_failure(now) &&
                          (hop->next_at > now.steady || (hop->lanes == 0 && hops_.all_lanes_in_use()));
    facts.in_line = hop->lanes > 0 && !hop->ready.empty() && !hops_.wants_lane(hop_name, *hop, now);
    return facts;
}

std::optional<Delayed> Core::delayed(const store::StoredMessage& found, Now now, bool& later) const {
    const Message* here = messages_.find(found.id);
    later = messages_.is_stale(found.id);
    if (later) return std::nullopt;
    const store::StoredMessage& message = here != nullptr ? *here->stored : found;
    if (message.warned || !wants_warning(message) || (here != nullptr && here->removed)) return std::nullopt;
    const WallTime deadline = options_.schedule.deadline(message);
    if (now.wall >= deadline) return std::nullopt;  // the next it hears is the end
    Delayed out;
    out.message = here != nullptr ? MessagePtr(here->stored) : std::make_shared<store::StoredMessage>(found);
    out.until = deadline;
    const auto blocked = blocked_by(message, now);
    for (std::uint32_t n = 0; n < message.recipients.size(); ++n)
        if (message.recipients[n].state == store::RecipientState::queued && blocked[n].what != Obstacle::none)
            tell_delay(message, n, blocked[n], out);
    later = out.recipients.empty();
    if (later) return std::nullopt;
    return out;
}

void Core::warned(store::MessageId id) {
    messages_.touch(id);
    if (Message* message = messages_.find(id)) message->stored->warned = true;
}

// As a result that has not come.
void Core::tell_delay(const store::StoredMessage& message, std::uint32_t n, const Blocked& blocked,
                      Delayed& out) const {
    const store::StoredRecipient& recipient = message.recipients[n];
    store::DeliveryResult result;
    result.message = message.id;
    result.recipient = n;
    result.status = recipient.status;
    result.text = recipient.text;
    if (is_held_back(blocked.what)) {  // by whom, and why, is not for the sender to know
        out.held_back.push_back(n);
        result.text = "it is held back by the administrator of this mail system";
        result.status.clear();
    } else if (const Hop* hop = hops_.blocking(store::hop_of(message, n), recipient)) {
        result.status = hop->status;
        result.text = hop->text;
        result.mx_host = hop->mx_host;
        result.diagnostic = hop->diagnostic;
        result.at = hop->failed_at;
    }
    if (!result.status.starts_with('4')) result.status = options_.statuses.delayed;
    if (result.text.empty()) result.text = "no attempt has been possible yet";
    out.recipients.push_back(std::move(result));
}

}  // namespace sternpost::queue
