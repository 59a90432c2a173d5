// The part of Core that does what an administrator asks for.
#include <algorithm>
#include <cassert>
#include <set>
#include <unordered_map>

#include "queue/core.h"
#include "store/hop_group.h"
#include "store/sender_scope.h"

namespace sternpost::queue {

Selected Core::select(const store::StoredMessage& found, const store::QueueFilter& filter) const {
    Selected out;
    const auto known = messages_.find(found.id);
    const bool here = known != messages_.end();
    out.message = here ? MessagePtr(known->second.stored) : std::make_shared<store::StoredMessage>(found);
    if (is_stale(found.id) || (here && known->second.removed)) return out;
    std::size_t queued = 0;
    for (std::uint32_t n = 0; n < found.recipients.size(); ++n) {
        if (out.message->recipients[n].state != store::RecipientState::queued) continue;
        ++queued;
        if (!here) {
            if (store::matches(filter, found.recipients[n])) out.recipients.push_back(n);
            continue;
        }
        const std::string hop_name = store::hop_of(*out.message, n);
        const auto unit = known->second.units.find(hop_name);
        const bool waits = unit != known->second.units.end() &&
                           std::find(unit->second.waiting.begin(), unit->second.waiting.end(), n) !=
                               unit->second.waiting.end();
        store::StoredRecipient recipient = out.message->recipients[n];
        if (const Hop* blocks = blocking(hop_name, recipient)) {
            recipient.status = blocks->status;
            recipient.text = blocks->text;
            recipient.reason_code = blocks->reason_code;
        }
        if (waits && store::matches(filter, recipient)) out.recipients.push_back(n);
        // What is in an attempt waits for nothing, so that no reason matches it.
        recipient.text.clear();
        recipient.status.clear();
        recipient.reason_code = store::ReasonCode::none;
        if (!waits && filter.reason.empty() && store::matches(filter, recipient)) ++out.active;
    }
    out.whole = queued > 0 && out.recipients.size() + out.active == queued;
    return out;
}

// Out of the lists of what is due and of what sleeps. Both may name a message that waits no more, so only
// those that would be found there twice need this.
void Core::take_out(const std::vector<Selected>& selected) {
    std::unordered_map<std::string, std::set<store::MessageId>> by_hop;
    for (const Selected& one : selected) {
        const auto known = messages_.find(one.message->id);
        if (known == messages_.end()) continue;
        for (const auto& [hop_name, unit] : known->second.units) by_hop[hop_name].insert(one.message->id);
    }
    for (const auto& [hop_name, ids] : by_hop) {
        const auto known = hops_.find(hop_name);
        if (known == hops_.end()) continue;
        Hop& at = known->second;
        at.ready.erase_if([&](store::MessageId id) { return ids.contains(id); });
        std::erase_if(at.sleeping, [&](const auto& entry) { return ids.contains(entry.second); });
    }
}

void Core::retry(const std::vector<Selected>& selected, Now now) {
    take_out(selected);
    for (const Selected& one : selected) {
        touch(one.message->id);
        for (const auto n : one.recipients) {
            const auto at = hops_.find(store::hop_of(*one.message, n));
            if (at == hops_.end()) continue;
            at->second.next_at = SteadyTime::min();
            at->second.next_wall = now.wall;
            candidates_.insert(at->first);
        }
        const auto known = messages_.find(one.message->id);
        if (known == messages_.end()) continue;
        Message& message = known->second;
        for (const auto n : one.recipients) message.stored->recipients[n].next_at = now.wall;
        for (const auto& [hop_name, unit] : message.units)
            sleep_or_ready(hop_name, message, one.message->id, now);
    }
    asleep(now.steady);
}

void Core::hold(const std::vector<Selected>& selected, Now now) {
    take_out(selected);
    for (const Selected& one : selected) {
        touch(one.message->id);
        const auto known = messages_.find(one.message->id);
        if (known == messages_.end()) continue;
        known->second.stored->held = true;
        let_go_if_far(one.message->id, now);
    }
}

void Core::release(const std::vector<Selected>& selected, Now now) {
    for (const Selected& one : selected) {
        touch(one.message->id);
        const auto known = messages_.find(one.message->id);
        if (known == messages_.end()) continue;
        Message& message = known->second;
        if (!std::exchange(message.stored->held, false)) continue;
        for (const auto& [hop_name, unit] : message.units)
            sleep_or_ready(hop_name, message, one.message->id, now);
    }
    asleep(now.steady);
}

// False: it is finished, or an attempt has begun.
bool Core::stops_waiting(Message& message, const std::string& hop_name, std::uint32_t recipient) {
    const auto unit = message.units.find(hop_name);
    return unit != message.units.end() && std::erase(unit->second.waiting, recipient) > 0;
}

void Core::reroute(const std::vector<Selected>& selected, const std::string& from, const std::string& to,
                   Now now) {
    take_out(selected);
    for (const Selected& one : selected) {
        touch(one.message->id);
        const auto known = messages_.find(one.message->id);
        if (known == messages_.end()) continue;
        Message& message = known->second;
        std::set<std::string> left;
        for (const auto n : one.recipients) {
            store::StoredRecipient& recipient = message.stored->recipients[n];
            if (!from.empty() && recipient.address.next_hop != from) continue;
            const std::string old_name = store::hop_of(*message.stored, n);
            if (!stops_waiting(message, old_name, n)) continue;
            recipient.address.next_hop = to;
            recipient.move_on(now.wall);
            const std::string new_name = store::hop_of(*message.stored, n);
            const auto [unit, fresh] = message.units.try_emplace(new_name);
            if (fresh) ++hop(new_name).loaded;
            unit->second.waiting.push_back(n);
            left.insert(old_name);
        }
        for (const auto& name : left) {
            const Unit& unit = message.units.at(name);
            if (!unit.waiting.empty() || unit.active > 0) continue;
            message.units.erase(name);
            --hop(name).loaded;
            forget_hop_if_idle(name);
        }
        for (const auto& [hop_name, unit] : message.units)
            sleep_or_ready(hop_name, message, one.message->id, now);
    }
    asleep(now.steady);
}

std::vector<store::DeliveryResult> Core::end(const std::vector<Selected>& selected,
                                             store::RecipientState state, const std::string& status,
                                             const std::string& text, Now now) {
    std::vector<store::DeliveryResult> out;
    for (const Selected& one : selected) {
        const store::MessageId id = one.message->id;
        // What only the store has comes in for its end.
        if (!messages_.contains(id)) {
            touch(id);
            store::StoredMessage stored = *one.message;
            insert(std::move(stored), now);
        }
        const auto known = messages_.find(id);
        if (known == messages_.end() || known->second.removed) continue;
        Message& message = known->second;
        for (const auto n : one.recipients) {
            const std::string hop_name = store::hop_of(*message.stored, n);
            if (!stops_waiting(message, hop_name, n)) continue;
            store::StoredRecipient& recipient = message.stored->recipients[n];
            const Hop* hop = blocking(hop_name, recipient);
            const std::string& reason = hop != nullptr ? hop->text : recipient.text;
            store::DeliveryResult result;
            result.message = id;
            result.recipient = n;
            result.state = state;
            result.at = now.wall;
            result.tries = recipient.tries;
            result.status = status;
            result.text = text + (reason.empty() ? "" : "; what stood in the way before: " + reason);
            recipient.status = result.status;
            recipient.text = result.text;
            ++message.recording;
            out.push_back(std::move(result));
        }
    }
    return out;
}

void Core::remove(const std::vector<store::MessageId>& ids) {
    for (const auto id : ids) {
        touch(id);
        const auto known = messages_.find(id);
        if (known == messages_.end()) continue;
        known->second.removed = true;
        if (active_recipients(known->second) == 0 && known->second.recording == 0) forget(known);
    }
}

void Core::suspend(const store::StoredSuspension& suspension, Now now) {
    suspensions_.put(suspension);
    if (suspension.kind == store::SuspensionKind::sender) {
        if (suspension.ended) return;
        std::vector<store::MessageId> ids;
        for (const auto& [id, message] : messages_)
            if (!message.stored->held && store::is_sender(*message.stored, suspension.scope))
                ids.push_back(id);
        for (const auto id : ids) hold_soon(id);
        return;
    }
    for (const auto& [name, at] : hops_) candidates_.insert(name);
    asleep(now.steady);
}

}  // namespace sternpost::queue
