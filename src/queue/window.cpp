// The part of Core that decides what of the queue is in memory: what comes, what the store is asked for, what
// is let go of.
#include <algorithm>
#include <cassert>

#include "queue/core.h"
#include "store/hop_group.h"

namespace sternpost::queue {
namespace {

constexpr std::size_t load_at_once = 2000;  // ours: messages, so that no one else waits long for the reader
constexpr auto load_again = std::chrono::seconds(1);  // ours: after the store could not answer

bool waits_for(const store::StoredMessage& message, const std::string& hop_name) {
    for (std::size_t n = 0; n < message.recipients.size(); ++n)
        if (message.recipients[n].state == store::RecipientState::queued &&
            store::hop_of(message, n) == hop_name)
            return true;
    return false;
}

}  // namespace

// No attempt may begin there at `when`.
bool Core::blocked(const std::string& name, const Hop& hop, SteadyTime when) const {
    return hop.next_at > when || suspensions_.of_hop(name) != nullptr;
}

// New mail comes in where there is room for it. Where its next hop, or all of the memory, has as much as it
// may, a sender of whom little waits there still finds some.
bool Core::admits(const store::StoredMessage& message, Now now) {
    const Window& window = options_.window;
    if (message.held) return false;
    const auto place = FairQueue::place_of(message);
    const SteadyTime far = now.steady + window.horizon;
    bool some_want = false;
    bool room = !is_full();
    for (std::size_t n = 0; n < message.recipients.size(); ++n) {
        if (message.recipients[n].state != store::RecipientState::queued) continue;
        const std::string name = store::hop_of(message, n);
        const auto known = hops_.find(name);
        if (known == hops_.end()) {
            some_want = some_want || (!hops_forgotten_ && suspensions_.of_hop(name) == nullptr);
            room = room || !is_full(2);
            continue;
        }
        if (blocked(name, known->second, far)) continue;
        const bool little = known->second.ready.waiting(place) < window.per_sender;
        some_want = some_want || known->second.loaded < window.per_hop || little;
        room = room || (little && !is_full(2));
    }
    if (some_want && room) return true;
    SteadyTime due = SteadyTime::max();
    for (std::size_t n = 0; n < message.recipients.size(); ++n) {
        const std::string name = store::hop_of(message, n);
        const auto known = hops_.find(name);
        if (known == hops_.end()) {
            due = now.steady;
            continue;
        }
        if (known->second.next_at > now.steady) {
            due = std::min(due, known->second.next_at);
        } else {
            known->second.more = true;
            hops_with_more_in_store_.insert(name);
        }
    }
    if (due != SteadyTime::max()) asleep(due);
    return false;
}

bool Core::add(store::StoredMessage stored, Now now) {
    oldest_ = std::min(oldest_, stored.arrived);
    if (messages_.contains(stored.id)) return true;
    for (auto& r : stored.recipients)  // due now, though its time is another clock's
        if (r.tries == 0) r.next_at = std::min(r.next_at, now.wall);
    if (!admits(stored, now)) {
        if (!suspensions_.empty() && !stored.held && suspensions_.of_sender(stored) != nullptr)
            hold_soon(stored.id);
        return false;
    }
    return insert(std::move(stored), now) != nullptr;
}

// Null: nothing of it waits, or its sender is suspended.
Core::Message* Core::insert(store::StoredMessage stored, Now now) {
    const store::MessageId id = stored.id;
    if (!suspensions_.empty() && !stored.held && suspensions_.of_sender(stored) != nullptr) {
        hold_soon(id);
        return nullptr;
    }
    Message message;
    if (stored.body.octets && bodies_ + stored.body.size > options_.window.octets) stored.body.octets.reset();
    message.place = FairQueue::place_of(stored);
    message.stored = std::make_shared<store::StoredMessage>(std::move(stored));
    for (std::uint32_t n = 0; n < message.stored->recipients.size(); ++n) {
        const store::StoredRecipient& r = message.stored->recipients[n];
        if (r.state != store::RecipientState::queued) continue;
        message.units[store::hop_of(*message.stored, n)].waiting.push_back(n);
        ++message.unfinished;
    }
    if (message.unfinished == 0) return nullptr;
    if (message.stored->body.octets) bodies_ += message.stored->body.size;
    recipients_ += message.stored->recipients.size();
    if (const auto old = messages_.find(id); old != messages_.end())
        recipients_ -= old->second.stored->recipients.size();
    Message& kept = messages_.insert_or_assign(id, std::move(message)).first->second;
    for (const auto& [name, unit] : kept.units) {
        ++hop(name).loaded;
        sleep_or_ready(name, kept, id, now);
    }
    return &kept;
}

void Core::restore(const store::HopState& state, Now now) {
    // It works; by a clock that was ahead, too.
    if (state.failures == 0 && (state.next_at == state.at || state.next_at <= now.wall)) return;
    Hop& known = hop(state.next_hop);
    known.failures = state.failures;
    known.next_wall = state.next_at;
    known.next_at = to_steady(state.next_at, now);
    known.status = state.status;
    known.text = state.text;
    known.mx_host = state.detail.mx_host;
    known.diagnostic = state.detail.diagnostic;
    known.failed_at = state.at;
    known.reason_code = state.reason_code;
    if (state.reason_code == store::ReasonCode::host_asks_to_wait) known.told_to_wait = state.failures;
}

void Core::asleep(SteadyTime when) {
    if (!asleep_due_ || when < *asleep_due_) asleep_due_ = when;
}

// Never of a hop that the question itself calls full: it would be asked again and again.
bool Core::wants_more(const std::string& name, const Hop& hop, Now now) const {
    return hop.more && hop.ready.size() <= options_.window.per_hop / 4 &&
           hop.loaded <= options_.window.per_hop / 2 && !blocked(name, hop, now.steady);
}

std::optional<store::DueQuestion> Core::wanted(Now now) {
    const Window& window = options_.window;
    if (loading_ || is_full() || now.steady < not_asked_before_) return std::nullopt;
    const bool wanted = (asleep_due_ && *asleep_due_ <= now.steady) ||
                        (more_ && messages_.size() <= window.messages / 2) ||
                        std::any_of(hops_with_more_in_store_.begin(), hops_with_more_in_store_.end(),
                                    [&](const std::string& name) {
                                        const auto known = hops_.find(name);
                                        return known != hops_.end() && wants_more(name, known->second, now);
                                    });
    if (!wanted) return std::nullopt;
    store::DueQuestion out;
    out.now = now.wall;
    out.messages = std::min(window.messages - messages_.size(), load_at_once);
    out.recipients = window.recipients - recipients_;
    out.per_hop = std::max<std::size_t>(window.per_hop / 2, 1);
    if (asleep_due_ && *asleep_due_ <= now.steady) asleep_due_.reset();
    for (auto& [name, hop] : hops_) {
        const bool blocks = blocked(name, hop, now.steady);
        if (!blocks && hop.loaded <= window.per_hop / 2) continue;
        out.full.push_back(name);
        // The answer says nothing of these: what of theirs is due already is asked for when they can have it.
        if (blocks && hop.next_at > now.steady) asleep(hop.next_at);
        if (!blocks) {
            hop.more = true;
            hops_with_more_in_store_.insert(name);
        }
    }
    for (const auto& suspension : suspensions_.list())
        if (suspension.kind == store::SuspensionKind::next_hop && !suspension.scope.starts_with('.'))
            for (const auto& group : store::groups_of(suspension.scope)) out.full.push_back(group);
    std::sort(out.full.begin(), out.full.end());
    for (const auto& [id, message] : messages_) out.known.push_back(id);
    for (const auto id : holding_)
        if (!messages_.contains(id)) out.known.push_back(id);
    if (!holding_.empty()) std::sort(out.known.begin(), out.known.end());
    more_ = false;
    loading_ = true;
    not_asked_ = out.full;
    return out;
}

void Core::load_failed(Now now) {
    loading_ = false;
    changed_while_loading_.clear();
    not_asked_before_ = now.steady + load_again;
    asleep(not_asked_before_);
}

void Core::loaded(store::Due due, Now now) {
    loading_ = false;
    more_ = more_ || due.more;  // a hop that was not asked for may have run dry since
    if (due.next) asleep(to_steady(*due.next, now));
    // What was asked for and is not in an answer that is whole has nothing due.
    if (!due.more)
        std::erase_if(hops_with_more_in_store_, [&](const std::string& name) {
            if (std::binary_search(not_asked_.begin(), not_asked_.end(), name)) return false;
            if (const auto known = hops_.find(name); known != hops_.end()) known->second.more = false;
            return true;
        });
    for (const auto& [state, more] : due.hops) {
        if (!hops_.contains(state.next_hop)) restore(state, now);
        Hop& known = hop(state.next_hop);
        known.more = more;
        if (more)
            hops_with_more_in_store_.insert(state.next_hop);
        else
            hops_with_more_in_store_.erase(state.next_hop);
    }
    // What has changed since the question was asked may be another thing by now; it is asked for again.
    for (auto& message : due.messages) {
        if (messages_.contains(message.id) || changed_while_loading_.contains(message.id)) continue;
        // New mail has come while the store was asked: the rest is asked for when there is room.
        if (is_full(2))
            more_ = true;
        else
            insert(std::move(message), now);
    }
    changed_while_loading_.clear();
    for (const auto& [state, more] : due.hops) {
        // All that is due there is about to be held, or has changed: it is asked for again, but not at once.
        Hop& known = hop(state.next_hop);
        if (known.loaded == 0 && known.failures > 0) {
            known.next_at = std::max(known.next_at, now.steady + load_again);
            asleep(known.next_at);
        }
        forget_hop_if_idle(state.next_hop);
    }
}

void Core::hold_soon(store::MessageId id) {
    if (holding_.insert(id).second) to_hold_.push_back(id);
}

std::vector<store::MessageId> Core::to_hold() {
    return std::exchange(to_hold_, {});
}

void Core::held(const std::vector<store::MessageId>& ids, Now now) {
    for (const auto id : ids) {
        holding_.erase(id);
        const auto known = messages_.find(id);
        if (known == messages_.end() || known->second.stored->held) continue;
        for (const auto& [hop_name, unit] : known->second.units)
            sleep_or_ready(hop_name, known->second, id, now);
    }
    asleep(now.steady);
}

std::vector<Core::Sweep> Core::sweeps() {
    return std::exchange(sweeps_, {});
}

std::vector<store::DeliveryResult> Core::swept(const Sweep& sweep, std::vector<store::StoredMessage> page,
                                               Now now) {
    std::vector<store::DeliveryResult> out;
    for (auto& stored : page) {
        const store::MessageId id = stored.id;
        if (messages_.contains(id) || is_stale(id) || stored.held || !over(stored, sweep.began, now))
            continue;
        if (!waits_for(stored, sweep.hop)) continue;  // but for another group of the same next hop
        Message* message = insert(std::move(stored), now);
        if (message == nullptr) continue;
        if (sweep.hop_failure.left_alone) {
            owe_attempt(sweep.hop, hop(sweep.hop), now);
            break;
        }
        const auto unit = message->units.find(sweep.hop);
        if (unit == message->units.end()) continue;
        bounce_unit(*message, unit->second, sweep.hop_failure, true, now, out);
    }
    return out;
}

void Core::not_later(const std::string& name, const store::StoredMessage& oldest, Now now) {
    const auto known = hops_.find(name);
    const WallTime end = std::max(deadline(oldest), now.wall + store_knows_in);
    if (known == hops_.end() || known->second.failures == 0 || end >= known->second.next_wall) return;
    Hop& failing = known->second;
    failing.next_wall = end;
    failing.next_at = to_steady(end, now);
    failing.changed = true;
    set_timer(name, failing, failing.next_at);
    asleep(failing.next_at);
}

// ---- letting go

std::size_t Core::active_recipients(const Message& message) const {
    std::size_t out = 0;
    for (const auto& [name, unit] : message.units) out += unit.active;
    return out;
}

// Nothing of it is under way, the store knows all of it, and nothing begins soon. What begins soon elsewhere
// does not keep what a sweep brought in beyond the room that there is.
bool Core::may_go(const Message& message, Now now) const {
    return message.recording == 0 && active_recipients(message) == 0 &&
           (is_full(2) || !due_soon(message, now));
}

bool Core::ends_soon(store::MessageId id, Now now) const {
    const auto known = messages_.find(id);
    return known != messages_.end() && (active_recipients(known->second) > 0 || due_soon(known->second, now));
}

// Whether an attempt may begin for some of it within the window's horizon.
bool Core::due_soon(const Message& message, Now now) const {
    if (message.removed || message.stored->held) return false;
    for (const auto& [name, unit] : message.units) {
        if (unit.waiting.empty()) continue;
        const auto known = hops_.find(name);
        if (known != hops_.end() && blocked(name, known->second, now.steady + options_.window.horizon))
            continue;
        for (const auto n : unit.waiting)
            if (message.stored->recipients[n].next_at <= now.wall + options_.window.horizon) return true;
    }
    return false;
}

// What waits for longer than a while need not wait in memory.
void Core::let_go_if_far(store::MessageId id, Now now) {
    const auto known = messages_.find(id);
    if (known == messages_.end() || !may_go(known->second, now)) return;
    const Message& message = known->second;
    if (!message.removed && !message.stored->held) {
        SteadyTime due = SteadyTime::max();
        for (const auto& [name, unit] : message.units) {
            if (unit.waiting.empty()) continue;
            WallTime first = WallTime::max();
            for (const auto n : unit.waiting) first = std::min(first, message.stored->recipients[n].next_at);
            const auto at = hops_.find(name);
            const SteadyTime hop_due = at == hops_.end() ? SteadyTime::min() : at->second.next_at;
            due = std::min(due, std::max(to_steady(first, now), hop_due));
        }
        if (due != SteadyTime::max()) asleep(due);
    }
    forget(known);
}

void Core::forget(Messages::iterator known) {
    touch(known->first);
    std::vector<std::string> names;
    for (const auto& [name, unit] : known->second.units) names.push_back(name);
    if (known->second.stored->body.octets) bodies_ -= known->second.stored->body.size;
    recipients_ -= known->second.stored->recipients.size();
    // Lists that still name it pass over an id that is gone.
    messages_.erase(known);
    for (const auto& name : names) {
        const auto at = hops_.find(name);
        if (at == hops_.end()) continue;
        assert(at->second.loaded > 0);
        --at->second.loaded;
        forget_hop_if_idle(name);
    }
}

void Core::recorded(const std::vector<store::DeliveryResult>& results, Now now) {
    std::set<store::MessageId> ids;
    for (const auto& result : results) {
        const auto known = messages_.find(result.message);
        if (known == messages_.end()) continue;
        Message& message = known->second;
        if (message.recording > 0) --message.recording;
        touch(result.message);
        ids.insert(result.message);
        store::StoredRecipient& recipient = message.stored->recipients[result.recipient];
        if (result.state == store::RecipientState::queued || recipient.state != store::RecipientState::queued)
            continue;
        recipient.state = result.state;
        --message.unfinished;
    }
    for (const auto id : ids) {
        const auto known = messages_.find(id);
        if (known == messages_.end()) continue;
        const Message& message = known->second;
        if ((message.unfinished == 0 || message.removed) && message.recording == 0 &&
            active_recipients(message) == 0)
            forget(known);
        else
            let_go_if_far(id, now);
    }
}

}  // namespace sternpost::queue
