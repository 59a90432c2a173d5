#include "queue/hop_failures.h"

#include <algorithm>

#include "store/hop_group.h"
#include "util/text.h"

namespace sternpost::queue {
namespace {

bool waits_for(const store::StoredMessage& message, const std::string& hop) {
    for (std::size_t n = 0; n < message.recipients.size(); ++n)
        if (message.recipients[n].state == store::RecipientState::queued && store::hop_of(message, n) == hop)
            return true;
    return false;
}

}  // namespace

void HopFailures::bounce_unit(Message& message, Unit& unit, const HopFailure& hop_failure, bool expired,
                              Now now, std::vector<store::DeliveryResult>& out) {
    for (const auto n : unit.waiting) {
        store::StoredRecipient& recipient = message.stored->recipients[n];
        store::DeliveryResult result;
        result.message = message.stored->id;
        result.recipient = n;
        result.state = store::RecipientState::bounced;
        result.at = now.wall;
        result.tries = recipient.tries;
        result.status = hop_failure.status;
        result.text = hop_failure.text;
        result.reason_code = hop_failure.reason_code;
        result.detail = hop_failure.detail;
        result.mx_host = hop_failure.detail.mx_host;
        result.diagnostic = hop_failure.detail.diagnostic;
        result.detail.outcomes.clear();  // they count with the hop's record
        if (expired) result.text += given_up_after(*message.stored, now);
        recipient.status = result.status;
        recipient.text = result.text;
        out.push_back(std::move(result));
    }
    message.recording += unit.waiting.size();
    unit.waiting.clear();
}

std::vector<store::DeliveryResult> HopFailures::failed(const std::string& hop_name,
                                                       const HopFailure& hop_failure, Now began, Now now) {
    std::vector<store::DeliveryResult> out;
    Hop& failed = hops_.at(hop_name);
    if (!hop_failure.permanent && failed.connected > 0) {
        hops_.too_many(failed, hop_failure);
        return out;
    }
    hops_.wake(hop_name, now);
    WallTime first_deadline = WallTime::max();
    bool owed = false;  // a real attempt, to mail whose time is over
    failed.ready.erase_if([&](store::MessageId id) {
        Message* message = messages_.find(id);
        if (message == nullptr || message->stays()) return true;
        Unit* unit = message->unit_at(hop_name);
        if (unit == nullptr) return true;
        const bool expired = schedule_.is_over(*message->stored, began, now);
        owed = owed || (expired && !hop_failure.permanent && hop_failure.left_alone);
        if (hop_failure.permanent || (expired && !hop_failure.left_alone)) {
            bounce_unit(*message, *unit, hop_failure, !hop_failure.permanent, now, out);
            return true;
        }
        const WallTime deadline = schedule_.deadline(*message->stored);
        if (deadline > now.wall) first_deadline = std::min(first_deadline, deadline);
        return false;
    });
    hops_.failed(hop_name, hop_failure, now);
    if (hop_failure.permanent) return out;
    hops_.back_off(hop_name, hop_failure, first_deadline, began, now);
    if (owed) hops_.owe_attempt(hop_name, now);
    sweep_store(hop_name, hop_failure, began, now);
    for (const auto id : failed.ready.ids()) window_.let_go_if_far(id, now);
    return out;
}

// What sleeps in the store waits with the rest, or ends with it.
void HopFailures::sweep_store(const std::string& hop, const HopFailure& hop_failure, Now began, Now now) {
    const Hop& failed = hops_.at(hop);
    backlog_.due(failed.next_at);
    const auto shortest = schedule_.shortest_lifetime();
    if (backlog_.oldest() + shortest > failed.next_wall || !now.trusted) return;
    Sweep sweep{hop, {}, hop_failure, began};
    sweep.hop_failure.detail.outcomes.clear();
    sweep.until = store::MessageId::last_at(began.wall - shortest);
    sweeps_.push_back(std::move(sweep));
}

std::vector<store::DeliveryResult> HopFailures::swept(const Sweep& sweep,
                                                      std::vector<store::StoredMessage> page, Now now) {
    std::vector<store::DeliveryResult> out;
    for (auto& stored : page) {
        const store::MessageId id = stored.id;
        if (messages_.contains(id) || messages_.is_stale(id) || stored.held) continue;
        if (!schedule_.is_over(stored, sweep.began, now)) continue;
        if (!waits_for(stored, sweep.hop)) continue;  // but for another group of the same next hop
        Message* message = window_.insert(std::move(stored), now);
        if (message == nullptr) continue;
        if (sweep.hop_failure.left_alone) {
            hops_.owe_attempt(sweep.hop, now);
            break;
        }
        if (Unit* unit = message->unit_at(sweep.hop))
            bounce_unit(*message, *unit, sweep.hop_failure, true, now, out);
    }
    return out;
}

}  // namespace sternpost::queue
