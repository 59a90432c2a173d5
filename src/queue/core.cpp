#include "queue/core.h"

#include <algorithm>
#include <cassert>

#include "store/hop_group.h"

namespace sternpost::queue {

Core::Core(Options options, Random& random)
    : options_(std::move(options)),
      random_(random),
      messages_(options_.window),
      hops_(options_, random, messages_, suspensions_, backlog_),
      window_(options_.window, suspensions_, messages_, hops_, backlog_),
      hop_failures_(options_.schedule, messages_, hops_, window_, backlog_),
      admin_(suspensions_, messages_, hops_, window_, backlog_) {}

std::vector<Slot> Core::lanes_wanted(Now now) {
    hops_.pass_time(now);
    return refused_ > 0 ? std::vector<Slot>() : hops_.lanes_wanted(now);
}

std::optional<Work> Core::take(const std::string& hop_name, Now now) {
    Hop& hop = hops_.at(hop_name);
    if (refused_ > 0 || suspensions_.of_hop(hop_name) != nullptr) return std::nullopt;
    hops_.wake(hop_name, now);
    std::optional<Work> out;
    while (!out && !hop.ready.empty()) {
        const store::MessageId id = hop.ready.pop();
        Message* message = messages_.find(id);
        if (message == nullptr || message->stays() || window_.is_about_to_be_held(id)) continue;
        Unit* unit = message->unit_at(hop_name);
        if (unit == nullptr) continue;  // it was let go of, and came again without that
        Work work = work_for(hop_name, *message, *unit, now);
        if (!work.recipients.empty()) out = std::move(work);
    }
    if (hop.ready.empty()) hops_.pass_over(hop_name);
    return out;
}

// What does not fit in one transaction goes in the next; what is not due yet sleeps on.
Work Core::work_for(const std::string& hop_name, Message& message, Unit& unit, Now now) {
    const bool last = hops_.at(hop_name).must_try_all || options_.schedule.is_over(*message.stored, now, now);
    Work work{message.stored, {}, now, last};
    std::vector<std::uint32_t> later;
    for (const auto n : unit.waiting) {
        const bool due = message.stored->recipients[n].next_at <= now.wall;
        if (due && work.recipients.size() < options_.recipients_per_transaction)
            work.recipients.push_back(n);
        else
            later.push_back(n);
    }
    unit.waiting = std::move(later);
    unit.active += work.recipients.size();
    hops_.place(hop_name, message, now);
    return work;
}

void Core::put_back(const Work& work) {
    Message* message = messages_.find(work.message->id);
    if (message == nullptr) return;
    const std::string hop_name = store::hop_of(*work.message, work.recipients.front());
    Unit& unit = message->units.at(hop_name);
    unit.active -= work.recipients.size();
    unit.waiting.insert(unit.waiting.end(), work.recipients.begin(), work.recipients.end());
    hops_.place_first(hop_name, *message);
}

std::vector<store::DeliveryResult> Core::finished(const Work& work,
                                                  std::vector<RecipientResult> recipient_results, Now now) {
    std::vector<store::DeliveryResult> out;
    Message* known = messages_.find(work.message->id);
    assert(known != nullptr);
    Message& message = *known;
    const std::string hop_name = store::hop_of(*work.message, work.recipients.front());
    Unit& unit = message.units.at(hop_name);
    unit.active -= work.recipients.size();
    bool again = false;
    for (RecipientResult& recipient_result : recipient_results) {
        const auto n = recipient_result.result.recipient;
        if (recipient_result.again) {
            unit.waiting.push_back(n);
            again = true;
            continue;
        }
        if (!recipient_result.blames_hop) hops_.at(hop_name).told_to_wait = 0;
        settle(work, message, recipient_result, now);
        if (recipient_result.result.state == store::RecipientState::queued) unit.waiting.push_back(n);
        out.push_back(std::move(recipient_result.result));
    }
    // Deleted while the attempt ran: what it delivered is recorded, a deferral has nothing to wait for, but
    // may be the one to tell of a session's TLS.
    if (message.removed)
        std::erase_if(out, [](const store::DeliveryResult& r) {
            return r.state == store::RecipientState::queued && r.detail.outcomes.empty();
        });
    message.recording += out.size();
    if (message.removed && message.is_at_rest()) {
        window_.forget(work.message->id);
    } else if (!message.removed && !unit.waiting.empty()) {
        // It may stand in the ready list already, for recipients that were not part of this work: take()
        // copes with that.
        if (again)
            hops_.place_first(hop_name, message);
        else
            hops_.place(hop_name, message, now);
    }
    return out;
}

// The result as it is recorded, and the recipient as the result leaves it.
void Core::settle(const Work& work, const Message& message, RecipientResult& recipient_result, Now now) {
    store::DeliveryResult& result = recipient_result.result;
    store::StoredRecipient& recipient = message.stored->recipients[result.recipient];
    result.message = message.stored->id;
    result.at = now.wall;
    result.tries = recipient.tries + (recipient_result.blames_hop ? 0U : 1U);
    if (result.state == store::RecipientState::queued) defer(work, *message.stored, recipient_result, now);
    recipient.tries = result.tries;
    recipient.lost_replies = result.lost_replies;
    recipient.next_at = result.next_at;
    recipient.status = result.status;
    recipient.text = result.text;
}

void Core::defer(const Work& work, const store::StoredMessage& message, RecipientResult& recipient_result,
                 Now now) {
    store::DeliveryResult& result = recipient_result.result;
    const Schedule& schedule = options_.schedule;
    if (schedule.is_over(message, work.began, now)) {
        result.state = store::RecipientState::bounced;
        result.text += given_up_after(message, now);
        return;
    }
    auto wait =
        recipient_result.blames_hop ? std::chrono::microseconds(0) : schedule.wait(result.tries, random_);
    wait = std::max<std::chrono::microseconds>(wait, recipient_result.least_wait);
    result.next_at = now.wall + wait;
    const WallTime end = schedule.deadline(message);
    if (now.wall < end && result.next_at > end && recipient_result.least_wait.count() == 0)
        result.next_at = end;
}

std::optional<SteadyTime> Core::next_wake() const {
    const auto timer = hops_.next_timer();
    const auto question = window_.next_question();
    if (timer && question) return std::min(*timer, *question);
    return timer ? timer : question;
}

}  // namespace sternpost::queue
