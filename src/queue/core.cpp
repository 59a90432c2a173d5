#include "queue/core.h"

#include <algorithm>
#include <cassert>
#include <deque>

#include "store/hop.h"
#include "util/text.h"

namespace sternpost::queue {
namespace {

constexpr std::size_t backlog_per_connection =
    10;  // ours: hosts count connections, and a message more is cheap on an open one
constexpr auto warn_again =
    std::chrono::minutes(1);  // ours: until a delay warning that had to wait is looked at

SteadyTime to_steady(WallTime when, Now now) {
    return now.steady + std::chrono::duration_cast<SteadyTime::duration>(when - now.wall);
}

bool is_sender(const store::StoredMessage& message, const std::string& wanted) {
    const mail::ReversePath& path = message.envelope.reverse_path;
    if (wanted == "<>") return path.is_null();
    const std::string text = path.text();
    if (!wanted.starts_with('@')) return iequals(text, wanted);
    return text.size() > wanted.size() && iequals(text.substr(text.size() - wanted.size()), wanted);
}

bool icontains(const std::string& text, const std::string& part) {
    return lowered(text).find(lowered(part)) != std::string::npos;
}

// Whether its sender hears of a delay; for which recipients is seen when it is due.
bool wants_warning(const store::StoredMessage& message) {
    return message.message_class == store::MessageClass::mail && !message.envelope.reverse_path.is_null() &&
           std::any_of(message.recipients.begin(), message.recipients.end(),
                       [](const auto& r) { return r.address.recipient.notify.wants_delay(); });
}

}  // namespace

Core::Core(Options options, Random& random, ClockGuard guard)
    : options_(std::move(options)), random_(random), guard_(guard) {}

WallTime Core::deadline(const store::StoredMessage& message) const {
    return message.arrived + (message.message_class == store::MessageClass::mail
                                  ? options_.schedule.lifetime
                                  : options_.schedule.notice_lifetime);
}

// Age bounces nobody by accident: only an attempt that began after the deadline may be the last one (D-41).
bool Core::over(const store::StoredMessage& message, Now began, Now now) const {
    return guard_.trusts(now) && began.wall >= deadline(message);
}

void Core::add(store::StoredMessage stored, Now now) {
    const store::MessageId id = stored.id;
    Message message;
    message.place = FairQueue::place_of(stored);
    message.stored = std::make_shared<store::StoredMessage>(std::move(stored));
    for (std::uint32_t n = 0; n < message.stored->recipients.size(); ++n) {
        const store::StoredRecipient& r = message.stored->recipients[n];
        if (r.state != store::RecipientState::queued) continue;
        message.units[store::hop_of(*message.stored, n)].waiting.push_back(n);
        ++message.unfinished;
    }
    if (message.unfinished == 0) return;
    Message& kept = messages_.insert_or_assign(id, std::move(message)).first->second;
    if (!kept.stored->warned && wants_warning(*kept.stored) && options_.schedule.delay_warning.count() > 0)
        warnings_.emplace(to_steady(kept.stored->arrived + options_.schedule.delay_warning, now), id);
    for (const auto& [hop, unit] : kept.units) sleep_or_ready(hop, kept, id, now);
}

void Core::restore(const store::HopState& state, Now now) {
    if (state.failures == 0) return;
    Hop& hop = hops_[state.next_hop];
    hop.failures = state.failures;
    hop.next_wall = state.next_at;
    hop.next_at = to_steady(state.next_at, now);
    hop.status = state.status;
    hop.text = state.text;
    hop.reason_code = state.reason_code;
}

// Puts a message's unit where it belongs: due now, or asleep until the first of its recipients is.
void Core::sleep_or_ready(const std::string& hop_name, Message& message, store::MessageId id, Now now) {
    Unit& unit = message.units[hop_name];
    if (unit.waiting.empty() || message.removed || message.stored->held) return;
    Hop& hop = hops_[hop_name];
    WallTime first = WallTime::max();
    for (const auto n : unit.waiting) first = std::min(first, message.stored->recipients[n].next_at);
    if (first <= now.wall) {
        hop.ready.push_back(message.place, id);
        busy_hops_.insert(hop_name);
    } else {
        hop.sleeping.emplace(to_steady(first, now), id);
    }
}

void Core::wake(Hop& hop, Now now) {
    while (!hop.sleeping.empty() && hop.sleeping.begin()->first <= now.steady) {
        const store::MessageId id = hop.sleeping.begin()->second;
        hop.sleeping.erase(hop.sleeping.begin());
        if (const auto known = messages_.find(id); known != messages_.end())
            hop.ready.push_back(known->second.place, id);
    }
}

bool Core::wants_lane(const Hop& hop, Now now) const {
    if (hop.ready.empty() || hop.next_at > now.steady) return false;
    // After a failure one connection asks whether the hop works again before many do.
    const unsigned window = hop.failures > 0 ? 1U : hop.window;
    // One connection serves a short queue; a further one is worth opening when each would have ten messages
    // or more.
    return hop.lanes < window && (hop.lanes == 0 || hop.ready.size() > backlog_per_connection * hop.lanes);
}

std::vector<std::string> Core::lanes_wanted(Now now) {
    for (auto& [name, hop] : hops_) {
        if (hop.sleeping.empty() || hop.sleeping.begin()->first > now.steady) continue;
        wake(hop, now);
        if (!hop.ready.empty()) busy_hops_.insert(name);
    }
    std::vector<std::string> out;
    if (lanes_ >= options_.max_deliveries) return out;
    std::map<std::string, std::deque<std::string>> wanting;  // hops, by whose mail is next there
    for (const std::string& name : busy_hops_) {
        const Hop& hop = hops_[name];
        if (wants_lane(hop, now)) wanting[hop.ready.next_sender()].push_back(name);
    }
    // In turn, from the sender after the one who had the last turn.
    auto sender = wanting.upper_bound(served_last_);
    while (!wanting.empty() && lanes_ < options_.max_deliveries) {
        if (sender == wanting.end()) sender = wanting.begin();
        std::deque<std::string>& hops = sender->second;
        const std::string name = std::move(hops.front());
        hops.pop_front();
        Hop& hop = hops_[name];
        ++hop.lanes;
        ++lanes_;
        out.push_back(name);
        served_last_ = sender->first;
        if (wants_lane(hop, now)) hops.push_back(name);
        sender = hops.empty() ? wanting.erase(sender) : std::next(sender);
    }
    return out;
}

std::optional<Work> Core::take(const std::string& hop_name, Now now) {
    Hop& hop = hops_[hop_name];
    wake(hop, now);
    std::optional<Work> out;
    while (!out && !hop.ready.empty()) {
        const store::MessageId id = hop.ready.pop();
        const auto known = messages_.find(id);
        if (known == messages_.end() || known->second.removed || known->second.stored->held) continue;
        Message& message = known->second;
        Unit& unit = message.units[hop_name];
        Work work{message.stored, {}, now};
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
    if (hop.ready.empty()) busy_hops_.erase(hop_name);
    return out;
}

void Core::put_back(const Work& work) {
    const auto known = messages_.find(work.message->id);
    if (known == messages_.end()) return;
    const std::string hop_name = store::hop_of(*work.message, work.recipients.front());
    Unit& unit = known->second.units[hop_name];
    unit.active -= work.recipients.size();
    unit.waiting.insert(unit.waiting.end(), work.recipients.begin(), work.recipients.end());
    hops_[hop_name].ready.push_front(known->second.place, work.message->id);
    busy_hops_.insert(hop_name);
}

std::vector<store::DeliveryResult> Core::finished(const Work& work, std::vector<Fate> fates, Now now) {
    std::vector<store::DeliveryResult> out;
    const auto known = messages_.find(work.message->id);
    assert(known != messages_.end());
    Message& message = known->second;
    const std::string hop_name = store::hop_of(*work.message, work.recipients.front());
    Unit& unit = message.units[hop_name];
    unit.active -= work.recipients.size();
    bool again = false;
    for (Fate& fate : fates) {
        store::DeliveryResult& result = fate.result;
        store::StoredRecipient& recipient = message.stored->recipients[result.recipient];
        if (fate.again) {
            unit.waiting.push_back(result.recipient);
            again = true;
            continue;
        }
        result.message = message.stored->id;
        result.at = now.wall;
        result.tries = recipient.tries + (fate.blames_hop ? 0U : 1U);
        if (result.state == store::RecipientState::queued) {
            if (over(*message.stored, work.began, now)) {
                result.state = store::RecipientState::bounced;
                result.text +=
                    "; given up after " + human_span(now.wall - message.stored->arrived) + " in the queue";
            } else {
                auto wait = fate.blames_hop ? std::chrono::microseconds(0)
                                            : options_.schedule.wait(result.tries, random_);
                wait = std::max<std::chrono::microseconds>(wait, fate.least_wait);
                result.next_at = now.wall + wait;
                const WallTime end = deadline(*message.stored);
                if (now.wall < end && result.next_at > end && fate.least_wait.count() == 0)
                    result.next_at = end;
            }
        }
        recipient.tries = result.tries;
        recipient.next_at = result.next_at;
        recipient.status = result.status;
        recipient.text = result.text;
        if (result.state == store::RecipientState::queued) unit.waiting.push_back(result.recipient);
        out.push_back(result);
    }
    if (message.removed) {
        // Deleted while the attempt ran: what it delivered is recorded, a deferral has nothing to wait for.
        std::erase_if(
            out, [](const store::DeliveryResult& r) { return r.state == store::RecipientState::queued; });
        const bool active = std::any_of(message.units.begin(), message.units.end(),
                                        [](const auto& entry) { return entry.second.active > 0; });
        if (!active && out.empty()) messages_.erase(known);
        return out;
    }
    if (!unit.waiting.empty()) {
        // It may stand in the ready list already, for recipients that were not part of this work: take()
        // copes with that.
        if (again) {
            hops_[hop_name].ready.push_front(message.place, work.message->id);
            busy_hops_.insert(hop_name);
        } else {
            sleep_or_ready(hop_name, message, work.message->id, now);
        }
    }
    return out;
}

void Core::lane_connected(const std::string& hop_name) {
    Hop& hop = hops_[hop_name];
    ++hop.connected;
    if (hop.failures > 0) hop.changed = true;
    hop.failures = 0;
    hop.next_at = SteadyTime::min();
    hop.text.clear();
    hop.status.clear();
    hop.reason_code.clear();
    hop.window = std::min(hop.window + 1, options_.connections_per_hop);
}

void Core::lane_disconnected(const std::string& hop_name) {
    Hop& hop = hops_[hop_name];
    assert(hop.connected > 0);
    --hop.connected;
}

void Core::bounce_unit(Message& message, Unit& unit, const HopFate& fate, bool expired, Now now,
                       std::vector<store::DeliveryResult>& out) {
    for (const auto n : unit.waiting) {
        store::StoredRecipient& recipient = message.stored->recipients[n];
        store::DeliveryResult result;
        result.message = message.stored->id;
        result.recipient = n;
        result.state = store::RecipientState::bounced;
        result.at = now.wall;
        result.tries = recipient.tries;
        result.status = fate.status;
        result.text = fate.text;
        result.reason_code = fate.reason_code;
        result.detail = fate.detail;
        result.detail.outcomes.clear();  // they count with the hop's record
        if (expired)
            result.text +=
                "; given up after " + human_span(now.wall - message.stored->arrived) + " in the queue";
        recipient.status = result.status;
        recipient.text = result.text;
        out.push_back(std::move(result));
    }
    unit.waiting.clear();
}

std::vector<store::DeliveryResult> Core::lane_failed(const std::string& hop_name, const HopFate& fate,
                                                     Now began, Now now) {
    std::vector<store::DeliveryResult> out;
    Hop& hop = hops_[hop_name];
    if (!fate.permanent && hop.connected > 0) {
        // Other connections work: the host has had enough of them, not of us.
        hop.window = std::max(1U, hop.connected);
        hop.detail = fate.detail;
        hop.changed = !fate.detail.outcomes.empty();
        return out;
    }
    wake(hop, now);
    WallTime first_deadline = WallTime::max();
    hop.ready.erase_if([&](store::MessageId id) {
        const auto known = messages_.find(id);
        if (known == messages_.end() || known->second.removed || known->second.stored->held) return true;
        Message& message = known->second;
        const bool expired = over(*message.stored, began, now);
        if (fate.permanent || expired) {
            bounce_unit(message, message.units[hop_name], fate, !fate.permanent, now, out);
            return true;
        }
        if (deadline(*message.stored) > now.wall)
            first_deadline = std::min(first_deadline, deadline(*message.stored));
        return false;
    });
    if (hop.ready.empty()) busy_hops_.erase(hop_name);
    hop.window = 2;
    hop.changed = true;
    hop.status = fate.status;
    hop.text = fate.text;
    hop.reason_code = fate.reason_code;
    hop.detail = fate.detail;
    if (fate.permanent) return out;
    ++hop.failures;
    hop.next_wall = std::min(now.wall + options_.schedule.wait(hop.failures, random_), first_deadline);
    hop.next_at = to_steady(hop.next_wall, now);
    return out;
}

void Core::pause(const std::string& hop_name, std::chrono::milliseconds time, Now now) {
    Hop& hop = hops_[hop_name];
    hop.next_at = std::max(hop.next_at, now.steady + time);
}

void Core::lane_ended(const std::string& hop_name) {
    Hop& hop = hops_[hop_name];
    assert(hop.lanes > 0 && lanes_ > 0);
    --hop.lanes;
    --lanes_;
    if (hop.lanes == 0 && hop.ready.empty() && hop.sleeping.empty() && hop.failures == 0 && !hop.changed) {
        busy_hops_.erase(hop_name);
        hops_.erase(hop_name);
    }
}

void Core::forget_if_done(store::MessageId id) {
    const auto known = messages_.find(id);
    if (known == messages_.end() || (known->second.unfinished > 0 && !known->second.removed)) return;
    for (const auto& [hop, unit] : known->second.units)
        if (unit.active > 0) return;
    messages_.erase(known);
}

void Core::recorded(const std::vector<store::DeliveryResult>& results) {
    for (const auto& result : results) {
        const auto known = messages_.find(result.message);
        if (known == messages_.end()) continue;
        store::StoredRecipient& recipient = known->second.stored->recipients[result.recipient];
        if (result.state == store::RecipientState::queued || recipient.state != store::RecipientState::queued)
            continue;
        recipient.state = result.state;
        --known->second.unfinished;
        forget_if_done(result.message);
    }
}

std::optional<store::HopState> Core::changed_hop(const std::string& hop_name, Now now) {
    const auto known = hops_.find(hop_name);
    if (known == hops_.end() || !known->second.changed) return std::nullopt;
    Hop& hop = known->second;
    hop.changed = false;
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

bool Core::matches(const store::StoredMessage& message, const store::QueueFilter& filter) {
    if (!filter.id.empty() && message.id.text() != filter.id) return false;
    if (!filter.reverse_path.empty() && !is_sender(message, filter.reverse_path)) return false;
    return filter.domain.empty() || std::any_of(message.recipients.begin(), message.recipients.end(),
                                                [&](const store::StoredRecipient& r) {
                                                    return iequals(r.address.next_hop, filter.domain);
                                                });
}

// The next hop, where what is in its way keeps the recipient longer than its own schedule does: then the
// hop's reason is why it waits.
const Core::Hop* Core::blocking(const std::string& hop_name, const store::StoredRecipient& recipient) const {
    const auto hop = hops_.find(hop_name);
    const bool blocks =
        hop != hops_.end() && hop->second.failures > 0 && hop->second.next_wall > recipient.next_at;
    return blocks ? &hop->second : nullptr;
}

bool Core::waits_for(const std::string& reason, const std::string& hop_name,
                     const store::StoredRecipient& recipient) const {
    if (reason.empty()) return true;
    if (const Hop* hop = blocking(hop_name, recipient))
        return hop->reason_code == reason || hop->status == reason || icontains(hop->text, reason);
    return recipient.status == reason || icontains(recipient.text, reason);
}

Selected Core::select(store::MessageId id, const Message& message, const Selection& selection) const {
    Selected out;
    out.message = id;
    if (message.removed) return out;
    if (!selection.sender.empty() && !is_sender(*message.stored, selection.sender)) return out;
    std::size_t queued = 0;
    for (const auto& [hop_name, unit] : message.units) {
        queued += unit.waiting.size() + unit.active;
        if (!selection.domain.empty() && !iequals(store::HopName::parse(hop_name).next_hop, selection.domain))
            continue;
        for (const auto n : unit.waiting)
            if (waits_for(selection.reason, hop_name, message.stored->recipients[n]))
                out.recipients.push_back(n);
        // What is in an attempt waits for nothing, so that no reason matches it.
        if (selection.reason.empty()) out.active += unit.active;
    }
    std::sort(out.recipients.begin(), out.recipients.end());
    out.whole = queued > 0 && out.recipients.size() + out.active == queued;
    return out;
}

std::vector<Selected> Core::select(const Selection& selection) const {
    std::vector<Selected> out;
    const auto consider = [&](store::MessageId id, const Message& message) {
        Selected one = select(id, message, selection);
        if (!one.recipients.empty() || one.active > 0) out.push_back(std::move(one));
    };
    if (selection.ids.empty()) {
        for (const auto& [id, message] : messages_) consider(id, message);
        return out;
    }
    for (const auto id : std::set<store::MessageId>(selection.ids.begin(), selection.ids.end()))
        if (const auto known = messages_.find(id); known != messages_.end()) consider(id, known->second);
    return out;
}

// Out of the lists of what is due and of what sleeps. Both may name a message that waits no more, so only
// those that would be found there twice need this.
void Core::take_out(const std::vector<Selected>& selected) {
    std::unordered_map<std::string, std::set<store::MessageId>> by_hop;
    for (const Selected& one : selected)
        for (const auto& [hop_name, unit] : messages_.at(one.message).units)
            by_hop[hop_name].insert(one.message);
    for (const auto& [hop_name, ids] : by_hop) {
        const auto known = hops_.find(hop_name);
        if (known == hops_.end()) continue;
        Hop& hop = known->second;
        hop.ready.erase_if([&](store::MessageId id) { return ids.contains(id); });
        std::erase_if(hop.sleeping, [&](const auto& entry) { return ids.contains(entry.second); });
        if (hop.ready.empty()) busy_hops_.erase(hop_name);
    }
}

void Core::retry(const std::vector<Selected>& selected, Now now) {
    take_out(selected);
    for (const Selected& one : selected) {
        Message& message = messages_.at(one.message);
        message.stored->held = false;
        for (const auto n : one.recipients) {
            message.stored->recipients[n].next_at = now.wall;
            hops_[store::hop_of(*message.stored, n)].next_at = SteadyTime::min();
        }
        for (const auto& [hop_name, unit] : message.units)
            sleep_or_ready(hop_name, message, one.message, now);
    }
}

void Core::hold(const std::vector<Selected>& selected) {
    take_out(selected);
    for (const Selected& one : selected) messages_.at(one.message).stored->held = true;
}

void Core::release(const std::vector<Selected>& selected, Now now) {
    for (const Selected& one : selected) {
        Message& message = messages_.at(one.message);
        if (!std::exchange(message.stored->held, false)) continue;
        for (const auto& [hop_name, unit] : message.units)
            sleep_or_ready(hop_name, message, one.message, now);
    }
}

std::vector<store::DeliveryResult> Core::end(const std::vector<Selected>& selected,
                                             store::RecipientState state, const std::string& status,
                                             const std::string& text, Now now) {
    std::vector<store::DeliveryResult> out;
    for (const Selected& one : selected) {
        const auto known = messages_.find(one.message);
        if (known == messages_.end() || known->second.removed) continue;
        Message& message = known->second;
        for (const auto n : one.recipients) {
            const std::string hop_name = store::hop_of(*message.stored, n);
            if (std::erase(message.units[hop_name].waiting, n) == 0) continue;  // an attempt has begun
            store::StoredRecipient& recipient = message.stored->recipients[n];
            const Hop* hop = blocking(hop_name, recipient);
            const std::string& reason = hop != nullptr ? hop->text : recipient.text;
            store::DeliveryResult result;
            result.message = one.message;
            result.recipient = n;
            result.state = state;
            result.at = now.wall;
            result.tries = recipient.tries;
            result.status = status;
            result.text = text + (reason.empty() ? "" : "; what stood in the way before: " + reason);
            recipient.status = result.status;
            recipient.text = result.text;
            out.push_back(std::move(result));
        }
    }
    return out;
}

std::vector<Delayed> Core::delayed(Now now) {
    std::vector<Delayed> out;
    if (now.steady < no_warning_before_) return out;
    if (!guard_.trusts(now)) {
        no_warning_before_ = now.steady + warn_again;
        return out;
    }
    while (!warnings_.empty() && warnings_.begin()->first <= now.steady) {
        const store::MessageId id = warnings_.begin()->second;
        warnings_.erase(warnings_.begin());
        const auto known = messages_.find(id);
        if (known == messages_.end() || known->second.removed) continue;
        const Message& message = known->second;
        if (now.wall >= deadline(*message.stored)) continue;  // the next it hears is the end
        Delayed one{message.stored, {}, deadline(*message.stored)};
        for (const auto& [hop_name, unit] : message.units)
            for (const auto n : unit.waiting)
                one.recipients.push_back(why_waiting(*message.stored, hop_name, n));
        if (one.recipients.empty()) {  // all of it is in an attempt, which may be the good one
            warnings_.emplace(now.steady + warn_again, id);
            continue;
        }
        message.stored->warned = true;
        out.push_back(std::move(one));
    }
    return out;
}

// As a result that has not come.
store::DeliveryResult Core::why_waiting(const store::StoredMessage& message, const std::string& hop_name,
                                        std::uint32_t n) const {
    const store::StoredRecipient& recipient = message.recipients[n];
    const Hop* hop = blocking(hop_name, recipient);
    store::DeliveryResult out;
    out.message = message.id;
    out.recipient = n;
    out.status = hop != nullptr ? hop->status : recipient.status;
    out.text = hop != nullptr ? hop->text : recipient.text;
    if (message.held) out.text = "it is on hold";
    if (!out.status.starts_with('4')) out.status = "4.4.7";
    if (out.text.empty()) out.text = "no attempt has been possible yet";
    return out;
}

std::vector<store::MessageId> Core::remove(const std::vector<store::MessageId>& ids) {
    std::vector<store::MessageId> out;
    for (const auto id : ids) {
        const auto known = messages_.find(id);
        if (known == messages_.end() || known->second.removed) continue;
        out.push_back(id);
        known->second.removed = true;
        // What lists still name it pass over an id that is gone.
        const bool active = std::any_of(known->second.units.begin(), known->second.units.end(),
                                        [](const auto& entry) { return entry.second.active > 0; });
        if (!active) messages_.erase(known);
    }
    return out;
}

std::vector<MessageView> Core::list(const store::QueueFilter& filter) const {
    std::vector<MessageView> out;
    std::unordered_map<std::string, std::set<store::MessageId>> ready;  // of the hops that were looked at
    const auto is_ready = [&](const std::string& hop_name, const Hop& hop, store::MessageId id) {
        const auto [known, fresh] = ready.try_emplace(hop_name);
        if (fresh) {
            const auto ids = hop.ready.ids();
            known->second.insert(ids.begin(), ids.end());
        }
        return known->second.contains(id);
    };
    for (const auto& [id, message] : messages_) {
        if (message.removed || !matches(*message.stored, filter)) continue;
        if (out.size() == filter.limit) break;
        const auto shown = std::make_shared<store::StoredMessage>(*message.stored);
        store::StoredMessage& copy = *shown;
        MessageView view{shown, std::vector<bool>(copy.recipients.size(), false)};
        for (const auto& [hop_name, unit] : message.units) {
            const auto hop = hops_.find(hop_name);
            std::vector<bool> waiting(copy.recipients.size(), false);
            for (const auto n : unit.waiting) {
                waiting[n] = true;
                store::StoredRecipient& r = copy.recipients[n];
                if (const Hop* blocks = blocking(hop_name, r)) {
                    r.next_at = blocks->next_wall;
                    r.status = blocks->status;
                    r.text = blocks->text;
                }
                const bool due = hop != hops_.end() && hop->second.next_at == SteadyTime::min() &&
                                 is_ready(hop_name, hop->second, id);
                view.active[n] = !message.stored->held && due;
            }
            for (std::uint32_t n = 0; n < copy.recipients.size(); ++n) {
                const store::StoredRecipient& r = copy.recipients[n];
                if (store::hop_of(copy, n) == hop_name && r.state == store::RecipientState::queued &&
                    !waiting[n])
                    view.active[n] = true;  // in an attempt, or its result is being recorded
            }
        }
        out.push_back(std::move(view));
    }
    return out;
}

MessagePtr Core::message(store::MessageId id) const {
    const auto known = messages_.find(id);
    return known == messages_.end() ? nullptr : known->second.stored;
}

std::vector<HopView> Core::hops() const {
    std::vector<HopView> out;
    for (const auto& [name, hop] : hops_) {
        HopView view{name,         hop.ready.size(), hop.sleeping.size(), hop.lanes,      hop.failures,
                     std::nullopt, hop.text,         hop.status,          hop.reason_code};
        if (hop.failures > 0) view.next_at = hop.next_wall;
        out.push_back(std::move(view));
    }
    std::sort(out.begin(), out.end(), [](const HopView& a, const HopView& b) { return a.name < b.name; });
    return out;
}

store::QueueTotals Core::totals() const {
    store::QueueTotals out;
    for (const auto& [id, message] : messages_) {
        if (message.removed) continue;
        ++out.messages;
        out.recipients += message.unfinished;
        out.octets += message.stored->body.size;
        if (!out.oldest || message.stored->arrived < *out.oldest) out.oldest = message.stored->arrived;
    }
    return out;
}

std::optional<SteadyTime> Core::next_wake() const {
    std::optional<SteadyTime> out;
    const auto consider = [&](SteadyTime when) {
        if (!out || when < *out) out = when;
    };
    if (!warnings_.empty()) consider(std::max(warnings_.begin()->first, no_warning_before_));
    for (const auto& [name, hop] : hops_) {
        if (!hop.sleeping.empty()) consider(std::max(hop.sleeping.begin()->first, hop.next_at));
        if (!hop.ready.empty() && hop.next_at != SteadyTime::min() && hop.lanes == 0) consider(hop.next_at);
    }
    return out;
}

}  // namespace sternpost::queue
