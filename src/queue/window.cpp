#include "queue/window.h"

#include <algorithm>
#include <cassert>

#include "store/hop_group.h"

namespace sternpost::queue {
namespace {

constexpr std::size_t load_at_once = 2000;  // ours: messages, so that no one else waits long for the reader
constexpr auto load_again = std::chrono::seconds(1);  // ours: after the store could not answer

}  // namespace

// New mail comes in where there is room for it. Where its next hop, or all of the memory, has as much as it
// may, a sender of whom little waits there still finds some.
bool Window::admits(const store::StoredMessage& message, Now now) {
    if (message.held) return false;
    const auto place = FairQueue::place_of(message);
    const SteadyTime far = now.steady + limits_.horizon;
    bool some_want = false;
    bool room = !messages_.is_full();
    for (std::size_t n = 0; n < message.recipients.size(); ++n) {
        if (message.recipients[n].state != store::RecipientState::queued) continue;
        const std::string name = store::hop_of(message, n);
        const Hop* hop = hops_.find(name);
        if (hop == nullptr) {
            some_want = some_want || (!backlog_.has_forgotten_hops() && suspensions_.of_hop(name) == nullptr);
            room = room || !messages_.is_full(2);
            continue;
        }
        if (hops_.is_blocked(name, *hop, far)) continue;
        const bool little = hop->ready.waiting(place) < limits_.per_sender;
        some_want = some_want || hop->loaded < limits_.per_hop || little;
        room = room || (little && !messages_.is_full(2));
    }
    return some_want && room;
}

void Window::leave_in_store(const store::StoredMessage& message, Now now) {
    if (message.held) return;
    for (std::size_t n = 0; n < message.recipients.size(); ++n) {
        const std::string name = store::hop_of(message, n);
        const Hop* hop = hops_.find(name);
        if (hop == nullptr)
            backlog_.due(now.steady);
        else if (hop->next_at > now.steady)
            backlog_.due(hop->next_at);
        else
            backlog_.more_of(name);
    }
}

bool Window::add(store::StoredMessage stored, Now now) {
    backlog_.holds_since(stored.arrived);
    if (messages_.contains(stored.id)) return true;
    for (auto& r : stored.recipients)  // due now, though its time is another clock's
        if (r.tries == 0) r.next_at = std::min(r.next_at, now.wall);
    if (!admits(stored, now)) {
        leave_in_store(stored, now);
        if (!suspensions_.empty() && !stored.held && suspensions_.of_sender(stored) != nullptr)
            hold_soon(stored.id);
        return false;
    }
    return insert(std::move(stored), now) != nullptr;
}

Message* Window::insert(store::StoredMessage stored, Now now) {
    if (!suspensions_.empty() && !stored.held && suspensions_.of_sender(stored) != nullptr) {
        hold_soon(stored.id);
        return nullptr;
    }
    Message* message = messages_.put(std::move(stored));
    if (message == nullptr) return nullptr;
    for (const auto& [name, unit] : message->units) {
        ++hops_.at(name).loaded;
        hops_.place(name, *message, now);
    }
    return message;
}

// ---- what the store is asked for

// Never of a hop that the question itself calls full: it would be asked again and again.
bool Window::is_wanted_of(const std::string& name, Now now) const {
    const Hop* hop = hops_.find(name);
    return hop != nullptr && hop->ready.size() <= limits_.per_hop / 4 && hop->loaded <= limits_.per_hop / 2 &&
           !hops_.is_blocked(name, *hop, now.steady);
}

std::optional<store::DueQuestion> Window::wanted(Now now) {
    if (messages_.is_loading() || messages_.is_full() || now.steady < not_asked_before_) return std::nullopt;
    const bool wanted = backlog_.is_due(now.steady) ||
                        (backlog_.has_more() && messages_.size() <= limits_.messages / 2) ||
                        std::any_of(backlog_.hops().begin(), backlog_.hops().end(),
                                    [&](const std::string& name) { return is_wanted_of(name, now); });
    if (!wanted) return std::nullopt;
    store::DueQuestion out;
    out.now = now.wall;
    out.messages = std::min(limits_.messages - messages_.size(), load_at_once);
    out.recipients = limits_.recipients - messages_.recipients();
    out.per_hop = std::max<std::size_t>(limits_.per_hop / 2, 1);
    if (backlog_.is_due(now.steady)) backlog_.clear_due();
    ask_without(out, now);
    for (const auto& [id, message] : messages_.all()) out.known.push_back(id);
    for (const auto id : holding_)
        if (!messages_.contains(id)) out.known.push_back(id);
    if (!holding_.empty()) std::sort(out.known.begin(), out.known.end());
    backlog_.more(false);
    messages_.loading();
    not_asked_ = out.full;
    return out;
}

// The answer says nothing of these next hops: what of theirs is due already is asked for when they can have
// it.
void Window::ask_without(store::DueQuestion& question, Now now) {
    for (const auto& [name, hop] : hops_.all()) {
        const bool blocks = hops_.is_blocked(name, hop, now.steady);
        if (!blocks && hop.loaded <= limits_.per_hop / 2) continue;
        question.full.push_back(name);
        if (blocks && hop.next_at > now.steady) backlog_.due(hop.next_at);
        if (!blocks) backlog_.more_of(name);
    }
    for (auto& group : suspensions_.groups()) question.full.push_back(std::move(group));
    std::sort(question.full.begin(), question.full.end());
}

void Window::load_failed(Now now) {
    messages_.loaded();
    not_asked_before_ = now.steady + load_again;
    backlog_.due(not_asked_before_);
}

void Window::loaded(store::Due due, Now now) {
    if (due.more) backlog_.more();  // a hop that was not asked for may have run dry since
    if (due.next) backlog_.due(to_steady(*due.next, now));
    // What was asked for and is not in an answer that is whole has nothing due.
    if (!due.more)
        backlog_.no_more_if([&](const std::string& name) {
            return !std::binary_search(not_asked_.begin(), not_asked_.end(), name);
        });
    for (const auto& [state, more] : due.hops) {
        if (hops_.find(state.next_hop) == nullptr) hops_.restore(state, now);
        hops_.at(state.next_hop);
        if (more)
            backlog_.more_of(state.next_hop);
        else
            backlog_.no_more_of(state.next_hop);
    }
    // What has changed since the question was asked may be another thing by now; it is asked for again.
    for (auto& message : due.messages) {
        if (messages_.contains(message.id) || messages_.changed_while_loading(message.id)) continue;
        // New mail has come while the store was asked: the rest is asked for when there is room.
        if (messages_.is_full(2))
            backlog_.more();
        else
            insert(std::move(message), now);
    }
    messages_.loaded();
    for (const auto& [state, more] : due.hops) {
        // All that is due there is about to be held, or has changed: it is asked for again, but not at once.
        Hop& known = hops_.at(state.next_hop);
        if (known.loaded == 0 && known.failures > 0) {
            known.next_at = std::max(known.next_at, now.steady + load_again);
            backlog_.due(known.next_at);
        }
        hops_.forget_if_idle(state.next_hop);
    }
}

std::optional<SteadyTime> Window::next_question() const {
    return messages_.is_loading() || messages_.is_full() ? std::nullopt : backlog_.next_due();
}

// ---- mail of suspended senders

void Window::hold_soon(store::MessageId id) {
    if (holding_.insert(id).second) to_hold_.push_back(id);
}

void Window::held(const std::vector<store::MessageId>& ids, Now now) {
    for (const auto id : ids) {
        holding_.erase(id);
        const Message* message = messages_.find(id);
        if (message == nullptr || message->stored->held) continue;
        for (const auto& [name, unit] : message->units) hops_.place(name, *message, now);
    }
    backlog_.due(now.steady);
}

// ---- letting go

// Nothing of it is under way, the store knows all of it, and nothing begins soon. What begins soon elsewhere
// does not keep what a sweep brought in beyond the room that there is.
bool Window::may_go(const Message& message, Now now) const {
    return message.is_at_rest() && (messages_.is_full(2) || !due_soon(message, now));
}

bool Window::ends_soon(store::MessageId id, Now now) const {
    const Message* message = messages_.find(id);
    return message != nullptr && (message->active() > 0 || due_soon(*message, now));
}

// Whether an attempt may begin for some of it within the window's horizon.
bool Window::due_soon(const Message& message, Now now) const {
    if (message.stays()) return false;
    for (const auto& [name, unit] : message.units) {
        if (unit.waiting.empty()) continue;
        const Hop* hop = hops_.find(name);
        if (hop != nullptr && hops_.is_blocked(name, *hop, now.steady + limits_.horizon)) continue;
        if (unit.first_due(*message.stored) <= now.wall + limits_.horizon) return true;
    }
    return false;
}

void Window::let_go_if_far(store::MessageId id, Now now) {
    const Message* message = messages_.find(id);
    if (message == nullptr || !may_go(*message, now)) return;
    if (!message->stays()) {
        for (const auto& [name, unit] : message->units) {
            if (unit.waiting.empty()) continue;
            const Hop* hop = hops_.find(name);
            const SteadyTime hop_due = hop == nullptr ? SteadyTime::min() : hop->next_at;
            backlog_.due(std::max(to_steady(unit.first_due(*message->stored), now), hop_due));
        }
    }
    forget(id);
}

void Window::forget(store::MessageId id) {
    messages_.touch(id);
    std::vector<std::string> names;
    for (const auto& [name, unit] : messages_.find(id)->units) names.push_back(name);
    messages_.erase(id);
    for (const auto& name : names) {
        Hop* hop = hops_.find(name);
        if (hop == nullptr) continue;
        assert(hop->loaded > 0);
        --hop->loaded;
        hops_.forget_if_idle(name);
    }
}

void Window::recorded(const std::vector<store::DeliveryResult>& results, Now now) {
    std::set<store::MessageId> ids;
    for (const auto& result : results) {
        Message* message = messages_.find(result.message);
        if (message == nullptr) continue;
        if (message->recording > 0) --message->recording;
        messages_.touch(result.message);
        ids.insert(result.message);
        store::StoredRecipient& recipient = message->stored->recipients[result.recipient];
        if (result.state == store::RecipientState::queued || recipient.state != store::RecipientState::queued)
            continue;
        recipient.state = result.state;
        --message->unfinished;
    }
    for (const auto id : ids) {
        const Message* message = messages_.find(id);
        if (message == nullptr) continue;
        if ((message->unfinished == 0 || message->removed) && message->is_at_rest())
            forget(id);
        else
            let_go_if_far(id, now);
    }
}

}  // namespace sternpost::queue
