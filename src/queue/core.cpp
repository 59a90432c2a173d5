#include "queue/core.h"

#include <algorithm>
#include <cassert>
#include <deque>

#include "dns/organizational.h"
#include "store/hop_group.h"
#include "util/text.h"

namespace sternpost::queue {
namespace {

constexpr std::size_t backlog_per_connection =
    10;  // ours: hosts count connections, and a message more is cheap on an open one

constexpr std::size_t most_waiting_looked_at = 50;  // ours: next hops, for whether one of them needs a place

// Whether its sender hears of a delay; for which recipients is seen when it is due.
bool wants_warning(const store::StoredMessage& message) {
    return message.message_class == store::MessageClass::mail && !message.envelope.reverse_path.is_null() &&
           std::any_of(message.recipients.begin(), message.recipients.end(),
                       [](const auto& r) { return r.address.recipient.notify.wants_delay(); });
}

}  // namespace

Core::Core(Options options, Random& random)
    : options_(std::move(options)), random_(random), lanes_(options_.max_deliveries) {}

WallTime Core::deadline(const store::StoredMessage& message) const {
    return message.arrived + options_.schedule.lifetime_of(message.message_class);
}

// Age bounces no one by accident: only an attempt that began after the deadline may be the last one (D-41),
// and the clock may have been wrong then as it may be now.
bool Core::over(const store::StoredMessage& message, Now began, Now now) const {
    return began.trusted && now.trusted && began.wall >= deadline(message);
}

Core::Hop& Core::hop(const std::string& name) {
    const auto [known, fresh] = hops_.try_emplace(name);
    if (fresh) {
        known->second.window = options_.window_start;
        std::string next_hop = store::HopGroup::parse(name).next_hop;
        const auto domain = dns::Domain::parse(next_hop);
        known->second.owner = domain ? dns::organizational_domain(*domain) : std::move(next_hop);
    }
    return known->second;
}

// ---- what is due, and what sleeps

void Core::set_timer(const std::string& name, Hop& hop, SteadyTime when) {
    if (when >= hop.timer) return;
    hop.timer = when;
    timers_.emplace(when, name);
}

// Puts a message's unit where it belongs: due now, or asleep until the first of its recipients is.
void Core::sleep_or_ready(const std::string& hop_name, Message& message, store::MessageId id, Now now) {
    const Unit& unit = message.units.at(hop_name);
    if (unit.waiting.empty() || message.removed || message.stored->held) return;
    Hop& known = hop(hop_name);
    WallTime first = WallTime::max();
    for (const auto n : unit.waiting) first = std::min(first, message.stored->recipients[n].next_at);
    if (first <= now.wall) {
        known.ready.push_back(message.place, id);
        candidates_.insert(hop_name);
    } else {
        known.sleeping.emplace(to_steady(first, now), id);
        set_timer(hop_name, known, std::max(known.sleeping.begin()->first, known.next_at));
    }
}

void Core::wake(const std::string& name, Hop& hop, Now now) {
    while (!hop.sleeping.empty() && hop.sleeping.begin()->first <= now.steady) {
        const store::MessageId id = hop.sleeping.begin()->second;
        hop.sleeping.erase(hop.sleeping.begin());
        if (const auto known = messages_.find(id); known != messages_.end())
            hop.ready.push_back(known->second.place, id);
    }
    if (!hop.ready.empty()) candidates_.insert(name);
}

void Core::run_timers(Now now) {
    while (!told_.empty() && told_.front().first + store_knows_in <= now.steady) {
        const auto [when, name] = std::move(told_.front());
        told_.pop_front();
        const auto known = hops_.find(name);
        if (known == hops_.end() || known->second.told != when) continue;
        known->second.told = SteadyTime::min();
        forget_hop_if_idle(name);
    }
    while (!timers_.empty() && timers_.begin()->first <= now.steady) {
        const auto [when, name] = *timers_.begin();
        timers_.erase(timers_.begin());
        const auto known = hops_.find(name);
        if (known == hops_.end() || known->second.timer != when) continue;
        Hop& due = known->second;
        due.timer = SteadyTime::max();
        wake(name, due, now);
        if (!due.sleeping.empty()) set_timer(name, due, std::max(due.sleeping.begin()->first, due.next_at));
        if (due.next_at > now.steady) set_timer(name, due, due.next_at);
    }
}

bool Core::wants_lane(const std::string& name, const Hop& hop, Now now) const {
    if (hop.ready.empty() || blocked(name, hop, now.steady)) return false;
    // After a failure one connection asks whether the hop works again before many do.
    const unsigned window = hop.failures > 0 ? 1U : hop.window;
    // One connection serves a short queue; a further one is worth opening when each would have ten messages
    // or more.
    return hop.lanes < window && (hop.lanes == 0 || hop.ready.size() > backlog_per_connection * hop.lanes);
}

std::vector<Slot> Core::lanes_wanted(Now now) {
    run_timers(now);
    std::vector<Slot> out;
    if (refused_ > 0 || lanes_.full()) return out;
    std::map<std::string, std::deque<std::string>> wanting;  // hops, by whose mail is next there
    std::map<std::string, std::size_t> owners;               // how many of these hops are whose
    for (auto name = candidates_.begin(); name != candidates_.end();) {
        const auto known = hops_.find(*name);
        if (known != hops_.end() && wants_lane(*name, known->second, now)) {
            wanting[known->second.ready.next_sender()].push_back(*name);
            ++owners[known->second.owner];
            ++name;
            continue;
        }
        if (known != hops_.end() && known->second.next_at > now.steady && !known->second.ready.empty())
            set_timer(*name, known->second, known->second.next_at);
        name = candidates_.erase(name);
    }
    // In turn, from the sender after the one who had the last turn.
    auto sender = wanting.upper_bound(served_last_);
    while (!wanting.empty() && !lanes_.full()) {
        if (sender == wanting.end()) sender = wanting.begin();
        std::deque<std::string>& names = sender->second;
        Slot slot{std::move(names.front()), sender->first};
        names.pop_front();
        Hop& wanted = hops_.at(slot.hop);
        slot.owner = wanted.owner;
        bool again = false;
        const Shares::Waiting waiting{wanting.size() > 1, owners.size() > 1};
        // If the next sender has all the connections that it may have, the mail of another sender goes first.
        const auto may_begin = [&](const std::string& whose) {
            return lanes_.may_begin({slot.hop, whose, slot.owner}, waiting);
        };
        if (!may_begin(slot.sender) && wanted.ready.pass_turn_to(may_begin))
            slot.sender = wanted.ready.next_sender();
        if (may_begin(slot.sender)) {
            ++wanted.lanes;
            lanes_.begin(slot);
            served_last_ = sender->first;
            again = wants_lane(slot.hop, wanted, now);
            if (again)
                names.push_back(slot.hop);
            else
                candidates_.erase(slot.hop);
            out.push_back(std::move(slot));
        }
        if (!again && --owners[wanted.owner] == 0) owners.erase(wanted.owner);
        sender = names.empty() ? wanting.erase(sender) : std::next(sender);
    }
    return out;
}

std::optional<Work> Core::take(const std::string& hop_name, Now now) {
    Hop& hop = this->hop(hop_name);
    if (refused_ > 0 || suspensions_.of_hop(hop_name) != nullptr) return std::nullopt;
    wake(hop_name, hop, now);
    std::optional<Work> out;
    while (!out && !hop.ready.empty()) {
        const store::MessageId id = hop.ready.pop();
        const auto known = messages_.find(id);
        if (known == messages_.end() || known->second.removed || known->second.stored->held) continue;
        if (holding_.contains(id)) continue;
        Message& message = known->second;
        const auto waits = message.units.find(hop_name);
        if (waits == message.units.end()) continue;  // it was let go of, and came again without that
        Unit& unit = waits->second;
        Work work{message.stored, {}, now, hop.must_try_all || over(*message.stored, now, now)};
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
        // What does not fit in one transaction goes in the next; what is not due yet sleeps on.
        sleep_or_ready(hop_name, message, id, now);
        if (!work.recipients.empty()) out = std::move(work);
    }
    if (hop.ready.empty()) candidates_.erase(hop_name);
    return out;
}

void Core::put_back(const Work& work) {
    const auto known = messages_.find(work.message->id);
    if (known == messages_.end()) return;
    const std::string hop_name = store::hop_of(*work.message, work.recipients.front());
    Unit& unit = known->second.units.at(hop_name);
    unit.active -= work.recipients.size();
    unit.waiting.insert(unit.waiting.end(), work.recipients.begin(), work.recipients.end());
    hop(hop_name).ready.push_front(known->second.place, work.message->id);
    candidates_.insert(hop_name);
}

std::vector<store::DeliveryResult> Core::finished(const Work& work,
                                                  std::vector<RecipientResult> recipient_results, Now now) {
    std::vector<store::DeliveryResult> out;
    const auto known = messages_.find(work.message->id);
    assert(known != messages_.end());
    Message& message = known->second;
    const std::string hop_name = store::hop_of(*work.message, work.recipients.front());
    Unit& unit = message.units.at(hop_name);
    unit.active -= work.recipients.size();
    bool again = false;
    for (RecipientResult& recipient_result : recipient_results) {
        store::DeliveryResult& result = recipient_result.result;
        store::StoredRecipient& recipient = message.stored->recipients[result.recipient];
        if (recipient_result.again) {
            unit.waiting.push_back(result.recipient);
            again = true;
            continue;
        }
        result.message = message.stored->id;
        result.at = now.wall;
        result.tries = recipient.tries + (recipient_result.blames_hop ? 0U : 1U);
        if (result.state == store::RecipientState::queued) {
            if (over(*message.stored, work.began, now)) {
                result.state = store::RecipientState::bounced;
                result.text +=
                    "; given up after " + human_span(now.wall - message.stored->arrived) + " in the queue";
            } else {
                auto wait = recipient_result.blames_hop ? std::chrono::microseconds(0)
                                                        : options_.schedule.wait(result.tries, random_);
                wait = std::max<std::chrono::microseconds>(wait, recipient_result.least_wait);
                result.next_at = now.wall + wait;
                const WallTime end = deadline(*message.stored);
                if (now.wall < end && result.next_at > end && recipient_result.least_wait.count() == 0)
                    result.next_at = end;
            }
        }
        if (!recipient_result.blames_hop) hop(hop_name).told_to_wait = 0;
        recipient.tries = result.tries;
        recipient.lost_replies = result.lost_replies;
        recipient.next_at = result.next_at;
        recipient.status = result.status;
        recipient.text = result.text;
        if (result.state == store::RecipientState::queued) unit.waiting.push_back(result.recipient);
        out.push_back(result);
    }
    if (message.removed) {
        // Deleted while the attempt ran: what it delivered is recorded, a deferral has nothing to wait for,
        // but may be the one to tell of a session's TLS.
        std::erase_if(out, [](const store::DeliveryResult& r) {
            return r.state == store::RecipientState::queued && r.detail.outcomes.empty();
        });
        message.recording += out.size();
        if (active_recipients(message) == 0 && message.recording == 0) forget(known);
        return out;
    }
    message.recording += out.size();
    if (!unit.waiting.empty()) {
        // It may stand in the ready list already, for recipients that were not part of this work: take()
        // copes with that.
        if (again) {
            hop(hop_name).ready.push_front(message.place, work.message->id);
            candidates_.insert(hop_name);
        } else {
            sleep_or_ready(hop_name, message, work.message->id, now);
        }
    }
    return out;
}

// ---- next hops

void Core::lane_connected(const std::string& hop_name) {
    Hop& works = hop(hop_name);
    ++works.connected;
    if (works.failures > 0) works.changed = true;
    works.failures = 0;
    works.next_at = SteadyTime::min();
    works.text.clear();
    works.status.clear();
    works.reason_code = store::ReasonCode::none;
    works.window = std::min(works.window + options_.window_growth, options_.connections_per_hop);
    candidates_.insert(hop_name);
}

void Core::lane_disconnected(const std::string& hop_name) {
    Hop& left = hop(hop_name);
    assert(left.connected > 0);
    --left.connected;
}

void Core::bounce_unit(Message& message, Unit& unit, const HopFailure& hop_failure, bool expired, Now now,
                       std::vector<store::DeliveryResult>& out) {
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
        if (expired)
            result.text +=
                "; given up after " + human_span(now.wall - message.stored->arrived) + " in the queue";
        recipient.status = result.status;
        recipient.text = result.text;
        out.push_back(std::move(result));
    }
    message.recording += unit.waiting.size();
    unit.waiting.clear();
}

std::vector<store::DeliveryResult> Core::lane_failed(const std::string& hop_name,
                                                     const HopFailure& hop_failure, Now began, Now now) {
    std::vector<store::DeliveryResult> out;
    Hop& failed = hop(hop_name);
    if (!hop_failure.permanent && failed.connected > 0) {
        // Other connections work: the host has had enough of them, not of us.
        failed.window = std::max(1U, failed.connected - std::min(failed.connected, options_.window_shrink));
        failed.detail = hop_failure.detail;
        failed.changed = !hop_failure.detail.outcomes.empty();
        return out;
    }
    wake(hop_name, failed, now);
    WallTime first_deadline = WallTime::max();
    bool owed = false;  // a real attempt, to mail whose time is over
    failed.ready.erase_if([&](store::MessageId id) {
        const auto known = messages_.find(id);
        if (known == messages_.end() || known->second.removed || known->second.stored->held) return true;
        Message& message = known->second;
        const auto waits = message.units.find(hop_name);
        if (waits == message.units.end()) return true;
        const bool expired = over(*message.stored, began, now);
        owed = owed || (expired && !hop_failure.permanent && hop_failure.left_alone);
        if (hop_failure.permanent || (expired && !hop_failure.left_alone)) {
            bounce_unit(message, waits->second, hop_failure, !hop_failure.permanent, now, out);
            return true;
        }
        if (deadline(*message.stored) > now.wall)
            first_deadline = std::min(first_deadline, deadline(*message.stored));
        return false;
    });
    candidates_.erase(hop_name);
    failed.window = options_.window_start;
    failed.changed = true;
    failed.status = hop_failure.status;
    failed.text = hop_failure.text;
    failed.reason_code = hop_failure.reason_code;
    failed.mx_host = hop_failure.detail.mx_host;
    failed.diagnostic = hop_failure.detail.diagnostic;
    failed.failed_at = now.wall;
    failed.detail = hop_failure.detail;
    if (hop_failure.permanent) return out;
    if (!hop_failure.left_alone) failed.must_try_all = false;
    // Of attempts that went on side by side the first failure counts: the others waited for the same hosts.
    if (failed.failures == 0 || began.steady >= failed.counted_at) {
        // A host that accepts connections and answers "not now" never counts as failing; its waits grow all
        // the same.
        failed.failures = hop_failure.reason_code == store::ReasonCode::host_asks_to_wait
                              ? ++failed.told_to_wait
                              : failed.failures + 1;
        failed.next_wall = now.wall + options_.schedule.wait(failed.failures, random_);
        failed.counted_at = now.steady;
    }
    failed.next_wall = std::min(failed.next_wall, first_deadline);
    failed.next_at = to_steady(failed.next_wall, now);
    set_timer(hop_name, failed, failed.next_at);
    if (owed) owe_attempt(hop_name, failed, now);
    // What sleeps in the store waits with the rest, or ends with it.
    asleep(failed.next_at);
    const auto shortest = options_.schedule.shortest_lifetime();
    if (oldest_ + shortest <= failed.next_wall && now.trusted) {
        Sweep sweep{hop_name, {}, hop_failure, began};
        sweep.hop_failure.detail.outcomes.clear();
        sweep.until = store::MessageId::last_at(began.wall - shortest);
        sweeps_.push_back(std::move(sweep));
    }
    for (const auto id : failed.ready.ids()) let_go_if_far(id, now);
    return out;
}

// At once, unless one was owed already and left an address alone all the same.
void Core::owe_attempt(const std::string& name, Hop& hop, Now now) {
    if (std::exchange(hop.must_try_all, true)) return;
    hop.next_wall = now.wall;
    hop.next_at = now.steady;
    hop.changed = true;
    set_timer(name, hop, hop.next_at);
}

void Core::pause(const std::string& hop_name, std::chrono::milliseconds time, Now now) {
    Hop& paused = hop(hop_name);
    paused.next_at = std::max(paused.next_at, now.steady + time);
    set_timer(hop_name, paused, paused.next_at);
}

// Else, where it may not be tried yet, it is paused: a limit is in its way.
bool Core::waits_after_failure(const Hop& hop, Now now) {
    return hop.failures > 0 && hop.next_wall > now.wall;
}

bool Core::resume(const std::string& hop_name, Now now) {
    const auto known = hops_.find(hop_name);
    if (known == hops_.end() || waits_after_failure(known->second, now)) return false;
    known->second.next_at = SteadyTime::min();
    candidates_.insert(hop_name);
    return wants_lane(hop_name, known->second, now);
}

void Core::lane_stalled(Slot& slot) {
    lanes_.stall(slot);
}

void Core::lane_moves(Slot& slot) {
    lanes_.resume(slot);
}

bool Core::gives_way(const Slot& slot, Now now) const {
    if (!lanes_.owes_its_place(slot, {true, true})) return false;
    auto name = candidates_.upper_bound(slot.hop);
    for (std::size_t n = 0; n < std::min(candidates_.size(), most_waiting_looked_at); ++n, ++name) {
        if (name == candidates_.end()) name = candidates_.begin();
        const auto known = hops_.find(*name);
        if (known == hops_.end() || !wants_lane(*name, known->second, now)) continue;
        const Shares::Waiting waiting{known->second.ready.next_sender() != slot.sender,
                                      known->second.owner != slot.owner};
        if (lanes_.owes_its_place(slot, waiting)) return true;
    }
    return false;
}

void Core::lane_ended(const Slot& slot) {
    Hop& left = hop(slot.hop);
    assert(left.lanes > 0);
    --left.lanes;
    lanes_.end(slot);
    candidates_.insert(slot.hop);
    forget_hop_if_idle(slot.hop);
}

// A hop that works and has nothing here goes; one that fails is remembered as long as there is room.
void Core::forget_hop_if_idle(const std::string& name) {
    const auto known = hops_.find(name);
    if (known == hops_.end()) return;
    const Hop& idle = known->second;
    if (idle.lanes > 0 || idle.loaded > 0 || idle.changed) return;
    if (idle.failures > 0) {
        if (hops_.size() <= options_.window.hops || idle.told != SteadyTime::min()) return;
        hops_forgotten_ = true;
        asleep(idle.next_at);
    }
    if (idle.more) more_ = true;
    candidates_.erase(name);
    hops_with_more_in_store_.erase(name);
    hops_.erase(known);
}

std::optional<store::HopState> Core::changed_hop(const std::string& hop_name, Now now) {
    const auto known = hops_.find(hop_name);
    if (known == hops_.end() || !known->second.changed) return std::nullopt;
    Hop& hop = known->second;
    hop.changed = false;
    hop.told = SteadyTime::min();
    if (hop.failures > 0) {
        hop.told = now.steady;
        told_.emplace_back(now.steady, hop_name);
    }
    store::HopState out;
    out.next_hop = hop_name;
    out.at = now.wall;
    out.next_at = hop.failures > 0 ? hop.next_wall : now.wall;
    out.failures = hop.failures;
    out.status = hop.status;
    out.text = hop.text;
    out.reason_code = hop.reason_code;
    out.detail = std::exchange(hop.detail, {});  // each outcome counts once
    return out;
}

// The next hop, where what is in its way keeps the recipient longer than its own schedule does: then the
// hop's reason is why it waits.
const Core::Hop* Core::blocking(const std::string& hop_name, const store::StoredRecipient& recipient) const {
    const auto hop = hops_.find(hop_name);
    const bool blocks =
        hop != hops_.end() && hop->second.failures > 0 && hop->second.next_wall > recipient.next_at;
    return blocks ? &hop->second : nullptr;
}

// ---- delay warnings

void Core::touch(store::MessageId id) {
    if (loading_) changed_while_loading_.insert(id);
    if (asking_ > 0) changed_.insert(id);
}

void Core::answered() {
    changed_while_asking_ = changed_;
    if (--asking_ == 0) changed_.clear();
}

std::optional<Delayed> Core::delayed(const store::StoredMessage& found, Now now, bool& later) const {
    later = false;
    const auto known = messages_.find(found.id);
    const bool here = known != messages_.end();
    later = is_stale(found.id);
    if (later) return std::nullopt;
    const store::StoredMessage& message = here ? *known->second.stored : found;
    if (message.warned || !wants_warning(message) || (here && known->second.removed)) return std::nullopt;
    if (now.wall >= deadline(message)) return std::nullopt;  // the next it hears is the end
    Delayed out{here ? known->second.stored : std::make_shared<store::StoredMessage>(found),
                {},
                {},
                deadline(message)};
    const auto blocked = blocked_by(message, now);
    for (std::uint32_t n = 0; n < message.recipients.size(); ++n)
        if (message.recipients[n].state == store::RecipientState::queued && blocked[n].what != Obstacle::none)
            tell_delay(message, n, blocked[n], out);
    later = out.recipients.empty();
    if (later) return std::nullopt;
    return out;
}

void Core::warned(store::MessageId id) {
    touch(id);
    if (const auto known = messages_.find(id); known != messages_.end()) known->second.stored->warned = true;
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
    } else if (const Hop* hop = blocking(store::hop_of(message, n), recipient)) {
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

std::optional<SteadyTime> Core::next_wake() const {
    std::optional<SteadyTime> out;
    const auto consider = [&](SteadyTime when) {
        if (!out || when < *out) out = when;
    };
    if (!timers_.empty()) consider(timers_.begin()->first);
    if (asleep_due_ && !loading_ && !is_full()) consider(*asleep_due_);
    return out;
}

}  // namespace sternpost::queue
