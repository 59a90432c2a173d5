#include "queue/hops.h"

#include <algorithm>
#include <cassert>

#include "dns/organizational.h"
#include "store/hop_group.h"

namespace sternpost::queue {
namespace {

constexpr std::size_t backlog_per_connection =
    10;  // ours: hosts count connections, and a message more is cheap on an open one

constexpr std::size_t most_waiting_looked_at = 50;  // ours: next hops, for whether one of them needs a place

HopView view_of(const std::string& name, const Hop& hop) {
    HopView view{name,         hop.ready.size(), hop.sleeping.size(), hop.lanes,      hop.failures,
                 std::nullopt, hop.text,         hop.status,          hop.reason_code};
    if (hop.failures > 0) view.next_at = hop.next_wall;
    view.idle = hop.lanes == 0 && hop.loaded == 0 && !hop.changed && hop.told == SteadyTime::min();
    return view;
}

}  // namespace

store::HopState Hop::state(const std::string& name) const {
    store::HopState out;
    out.next_hop = name;
    out.at = failed_at;
    out.next_at = next_wall;
    out.failures = failures;
    out.status = status;
    out.text = text;
    out.reason_code = reason_code;
    return out;
}

Hop& Hops::at(const std::string& name) {
    const auto [known, fresh] = all_.try_emplace(name);
    if (fresh) {
        known->second.window = options_.window_start;
        std::string next_hop = store::HopGroup::parse(name).next_hop;
        const auto domain = dns::Domain::parse(next_hop);
        known->second.owner = domain ? dns::organizational_domain(*domain) : std::move(next_hop);
    }
    return known->second;
}

Hop* Hops::find(const std::string& name) {
    const auto known = all_.find(name);
    return known == all_.end() ? nullptr : &known->second;
}

const Hop* Hops::find(const std::string& name) const {
    const auto known = all_.find(name);
    return known == all_.end() ? nullptr : &known->second;
}

void Hops::restore(const store::HopState& state, Now now) {
    // It works; by a clock that was ahead, too.
    if (state.failures == 0 && (state.next_at == state.at || state.next_at <= now.wall)) return;
    Hop& known = at(state.next_hop);
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

void Hops::forget_if_idle(const std::string& name) {
    const auto known = all_.find(name);
    if (known == all_.end()) return;
    const Hop& idle = known->second;
    if (idle.lanes > 0 || idle.loaded > 0 || idle.changed) return;
    if (idle.failures > 0) {
        if (all_.size() <= options_.window.hops || idle.told != SteadyTime::min()) return;
        backlog_.forgot_a_hop();
        backlog_.due(idle.next_at);
    }
    if (backlog_.has_more_of(name)) backlog_.more();
    backlog_.no_more_of(name);
    candidates_.erase(name);
    all_.erase(known);
}

// ---- what is due, and what sleeps

void Hops::set_timer(const std::string& name, Hop& hop, SteadyTime when) {
    if (when >= hop.timer) return;
    hop.timer = when;
    timers_.emplace(when, name);
}

void Hops::place(const std::string& name, const Message& message, Now now) {
    const Unit& unit = message.units.at(name);
    if (unit.waiting.empty() || message.stays()) return;
    Hop& hop = at(name);
    const WallTime first = unit.first_due(*message.stored);
    if (first <= now.wall) {
        hop.ready.push_back(message.place, message.stored->id);
        candidates_.insert(name);
    } else {
        hop.sleeping.emplace(to_steady(first, now), message.stored->id);
        set_timer(name, hop, std::max(hop.sleeping.begin()->first, hop.next_at));
    }
}

void Hops::place_first(const std::string& name, const Message& message) {
    at(name).ready.push_front(message.place, message.stored->id);
    candidates_.insert(name);
}

void Hops::take_out(const std::string& name, const std::set<store::MessageId>& ids) {
    Hop* hop = find(name);
    if (hop == nullptr) return;
    hop->ready.erase_if([&](store::MessageId id) { return ids.contains(id); });
    std::erase_if(hop->sleeping, [&](const auto& entry) { return ids.contains(entry.second); });
}

void Hops::wake(const std::string& name, Now now) {
    Hop& hop = at(name);
    while (!hop.sleeping.empty() && hop.sleeping.begin()->first <= now.steady) {
        const store::MessageId id = hop.sleeping.begin()->second;
        hop.sleeping.erase(hop.sleeping.begin());
        if (const Message* message = messages_.find(id)) hop.ready.push_back(message->place, id);
    }
    if (!hop.ready.empty()) candidates_.insert(name);
}

void Hops::look_at_all() {
    for (const auto& [name, hop] : all_) candidates_.insert(name);
}

void Hops::pass_time(Now now) {
    while (!told_.empty() && told_.front().first + store_knows_in <= now.steady) {
        const auto [when, name] = std::move(told_.front());
        told_.pop_front();
        Hop* known = find(name);
        if (known == nullptr || known->told != when) continue;
        known->told = SteadyTime::min();
        forget_if_idle(name);
    }
    while (!timers_.empty() && timers_.begin()->first <= now.steady) {
        const auto [when, name] = *timers_.begin();
        timers_.erase(timers_.begin());
        Hop* due = find(name);
        if (due == nullptr || due->timer != when) continue;
        due->timer = SteadyTime::max();
        wake(name, now);
        if (!due->sleeping.empty())
            set_timer(name, *due, std::max(due->sleeping.begin()->first, due->next_at));
        if (due->next_at > now.steady) set_timer(name, *due, due->next_at);
    }
}

std::optional<SteadyTime> Hops::next_timer() const {
    if (timers_.empty()) return std::nullopt;
    return timers_.begin()->first;
}

const Hop* Hops::blocking(const std::string& name, const store::StoredRecipient& recipient) const {
    const Hop* hop = find(name);
    const bool blocks = hop != nullptr && hop->failures > 0 && hop->next_wall > recipient.next_at;
    return blocks ? hop : nullptr;
}

// ---- connections

bool Hops::wants_lane(const std::string& name, const Hop& hop, Now now) const {
    if (hop.ready.empty() || is_blocked(name, hop, now.steady)) return false;
    // After a failure one connection asks whether the hop works again before many do.
    const unsigned window = hop.failures > 0 ? 1U : hop.window;
    // One connection serves a short queue; a further one is worth opening when each would have ten messages
    // or more.
    return hop.lanes < window && (hop.lanes == 0 || hop.ready.size() > backlog_per_connection * hop.lanes);
}

std::vector<Slot> Hops::lanes_wanted(Now now) {
    std::vector<Slot> out;
    if (lanes_.full()) return out;
    std::map<std::string, std::deque<std::string>> wanting;  // hops, by whose mail is next there
    std::map<std::string, std::size_t> owners;               // how many of these hops are whose
    for (auto name = candidates_.begin(); name != candidates_.end();) {
        Hop* known = find(*name);
        if (known != nullptr && wants_lane(*name, *known, now)) {
            wanting[known->ready.next_sender()].push_back(*name);
            ++owners[known->owner];
            ++name;
            continue;
        }
        if (known != nullptr && known->next_at > now.steady && !known->ready.empty())
            set_timer(*name, *known, known->next_at);
        name = candidates_.erase(name);
    }
    // In turn, from the sender after the one who had the last turn.
    auto sender = wanting.upper_bound(served_last_);
    while (!wanting.empty() && !lanes_.full()) {
        if (sender == wanting.end()) sender = wanting.begin();
        std::deque<std::string>& names = sender->second;
        Slot slot{std::move(names.front()), sender->first};
        names.pop_front();
        Hop& wanted = all_.at(slot.hop);
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

bool Hops::gives_way(const Slot& slot, Now now) const {
    if (!lanes_.owes_its_place(slot, {true, true})) return false;
    auto name = candidates_.upper_bound(slot.hop);
    for (std::size_t n = 0; n < std::min(candidates_.size(), most_waiting_looked_at); ++n, ++name) {
        if (name == candidates_.end()) name = candidates_.begin();
        const Hop* known = find(*name);
        if (known == nullptr || !wants_lane(*name, *known, now)) continue;
        const Shares::Waiting waiting{known->ready.next_sender() != slot.sender, known->owner != slot.owner};
        if (lanes_.owes_its_place(slot, waiting)) return true;
    }
    return false;
}

void Hops::lane_connected(const std::string& name) {
    Hop& works = at(name);
    ++works.connected;
    if (works.failures > 0) works.changed = true;
    works.failures = 0;
    works.next_at = SteadyTime::min();
    works.text.clear();
    works.status.clear();
    works.reason_code = store::ReasonCode::none;
    works.window = std::min(works.window + options_.window_growth, options_.connections_per_hop);
    candidates_.insert(name);
}

void Hops::lane_disconnected(const std::string& name) {
    Hop& left = at(name);
    assert(left.connected > 0);
    --left.connected;
}

void Hops::lane_ended(const Slot& slot) {
    Hop& left = at(slot.hop);
    assert(left.lanes > 0);
    --left.lanes;
    lanes_.end(slot);
    candidates_.insert(slot.hop);
    forget_if_idle(slot.hop);
}

void Hops::pause(const std::string& name, std::chrono::milliseconds time, Now now) {
    Hop& paused = at(name);
    paused.next_at = std::max(paused.next_at, now.steady + time);
    set_timer(name, paused, paused.next_at);
}

bool Hops::resume(const std::string& name, Now now) {
    Hop* known = find(name);
    if (known == nullptr || known->waits_after_failure(now)) return false;
    known->next_at = SteadyTime::min();
    candidates_.insert(name);
    return wants_lane(name, *known, now);
}

// ---- failures

void Hops::too_many(Hop& hop, const HopFailure& hop_failure) {
    hop.window = std::max(1U, hop.connected - std::min(hop.connected, options_.window_shrink));
    hop.detail = hop_failure.detail;
    hop.changed = !hop_failure.detail.outcomes.empty();
}

void Hops::failed(const std::string& name, const HopFailure& hop_failure, Now now) {
    Hop& failed = at(name);
    candidates_.erase(name);
    failed.window = options_.window_start;
    failed.changed = true;
    failed.status = hop_failure.status;
    failed.text = hop_failure.text;
    failed.reason_code = hop_failure.reason_code;
    failed.mx_host = hop_failure.detail.mx_host;
    failed.diagnostic = hop_failure.detail.diagnostic;
    failed.failed_at = now.wall;
    failed.detail = hop_failure.detail;
}

void Hops::back_off(const std::string& name, const HopFailure& hop_failure, WallTime deadline, Now began,
                    Now now) {
    Hop& failed = at(name);
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
    failed.next_wall = std::min(failed.next_wall, deadline);
    failed.next_at = to_steady(failed.next_wall, now);
    set_timer(name, failed, failed.next_at);
}

void Hops::not_later(const std::string& name, WallTime when, Now now) {
    Hop* failing = find(name);
    const WallTime end = std::max(when, now.wall + store_knows_in);
    if (failing == nullptr || failing->failures == 0 || end >= failing->next_wall) return;
    failing->next_wall = end;
    failing->next_at = to_steady(end, now);
    failing->changed = true;
    set_timer(name, *failing, failing->next_at);
    backlog_.due(failing->next_at);
}

void Hops::owe_attempt(const std::string& name, Now now) {
    Hop& hop = at(name);
    if (std::exchange(hop.must_try_all, true)) return;
    hop.next_wall = now.wall;
    hop.next_at = now.steady;
    hop.changed = true;
    set_timer(name, hop, hop.next_at);
}

void Hops::due_now(const std::string& name, Now now) {
    Hop* hop = find(name);
    if (hop == nullptr) return;
    hop->next_at = SteadyTime::min();
    hop->next_wall = now.wall;
    candidates_.insert(name);
}

std::optional<store::HopState> Hops::changed(const std::string& name, Now now) {
    Hop* hop = find(name);
    if (hop == nullptr || !hop->changed) return std::nullopt;
    hop->changed = false;
    hop->told = SteadyTime::min();
    if (hop->failures > 0) {
        hop->told = now.steady;
        told_.emplace_back(now.steady, name);
    }
    store::HopState out = hop->state(name);
    out.at = now.wall;
    if (hop->failures == 0) out.next_at = now.wall;
    out.detail = std::exchange(hop->detail, {});  // each outcome counts once
    return out;
}

// ---- for people

std::vector<HopView> Hops::views() const {
    std::vector<HopView> out;
    for (const auto& [name, hop] : all_) out.push_back(view_of(name, hop));
    std::sort(out.begin(), out.end(), [](const HopView& a, const HopView& b) { return a.name < b.name; });
    return out;
}

std::optional<HopView> Hops::view(const std::string& name) const {
    const Hop* known = find(name);
    return known == nullptr ? std::nullopt : std::optional(view_of(name, *known));
}

std::set<std::string> Hops::in_use() const {
    std::set<std::string> out;
    for (const auto& [name, hop] : all_)
        if (hop.lanes > 0 || hop.failures > 0) out.insert(name);
    return out;
}

}  // namespace sternpost::queue
