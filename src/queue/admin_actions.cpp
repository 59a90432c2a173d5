#include "queue/admin_actions.h"

#include <map>
#include <set>

#include "store/hop_group.h"
#include "store/sender_scope.h"

namespace sternpost::queue {

Selected AdminActions::select(const store::StoredMessage& found, const store::QueueFilter& filter) const {
    Selected out;
    const Message* here = messages_.find(found.id);
    out.message = here != nullptr ? MessagePtr(here->stored) : std::make_shared<store::StoredMessage>(found);
    if (messages_.is_stale(found.id) || (here != nullptr && here->removed)) return out;
    std::size_t queued = 0;
    for (std::uint32_t n = 0; n < found.recipients.size(); ++n) {
        if (out.message->recipients[n].state != store::RecipientState::queued) continue;
        ++queued;
        if (here == nullptr) {
            if (store::matches(filter, found.recipients[n])) out.recipients.push_back(n);
            continue;
        }
        const std::string hop_name = store::hop_of(*out.message, n);
        const bool waits = here->waits_at(hop_name, n);
        store::StoredRecipient recipient = out.message->recipients[n];
        if (const Hop* blocks = hops_.blocking(hop_name, recipient)) {
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
void AdminActions::take_out(const std::vector<Selected>& selected) {
    std::map<std::string, std::set<store::MessageId>> by_hop;
    for (const Selected& one : selected)
        if (const Message* message = messages_.find(one.message->id))
            for (const auto& [name, unit] : message->units) by_hop[name].insert(one.message->id);
    for (const auto& [name, ids] : by_hop) hops_.take_out(name, ids);
}

void AdminActions::place(const Message& message, Now now) {
    for (const auto& [name, unit] : message.units) hops_.place(name, message, now);
}

void AdminActions::retry(const std::vector<Selected>& selected, Now now) {
    take_out(selected);
    for (const Selected& one : selected) {
        messages_.touch(one.message->id);
        for (const auto n : one.recipients) hops_.due_now(store::hop_of(*one.message, n), now);
        Message* message = messages_.find(one.message->id);
        if (message == nullptr) continue;
        for (const auto n : one.recipients) message->stored->recipients[n].next_at = now.wall;
        place(*message, now);
    }
    backlog_.due(now.steady);
}

void AdminActions::hold(const std::vector<Selected>& selected, Now now) {
    take_out(selected);
    for (const Selected& one : selected) {
        messages_.touch(one.message->id);
        Message* message = messages_.find(one.message->id);
        if (message == nullptr) continue;
        message->stored->held = true;
        window_.let_go_if_far(one.message->id, now);
    }
}

void AdminActions::release(const std::vector<Selected>& selected, Now now) {
    for (const Selected& one : selected) {
        messages_.touch(one.message->id);
        Message* message = messages_.find(one.message->id);
        if (message != nullptr && std::exchange(message->stored->held, false)) place(*message, now);
    }
    backlog_.due(now.steady);
}

void AdminActions::reroute(const std::vector<Selected>& selected, const std::string& from,
                           const std::string& to, Now now) {
    take_out(selected);
    for (const Selected& one : selected) {
        messages_.touch(one.message->id);
        if (Message* message = messages_.find(one.message->id)) reroute(*message, one, from, to, now);
    }
    backlog_.due(now.steady);
}

void AdminActions::reroute(Message& message, const Selected& one, const std::string& from,
                           const std::string& to, Now now) {
    std::set<std::string> left;
    for (const auto n : one.recipients) {
        store::StoredRecipient& recipient = message.stored->recipients[n];
        if (!from.empty() && recipient.address.next_hop != from) continue;
        const std::string old_name = store::hop_of(*message.stored, n);
        Unit* old_unit = message.unit_at(old_name);
        if (old_unit == nullptr || !old_unit->stops_waiting(n)) continue;
        recipient.address.next_hop = to;
        recipient.move_on(now.wall);
        const std::string new_name = store::hop_of(*message.stored, n);
        const auto [unit, fresh] = message.units.try_emplace(new_name);
        if (fresh) ++hops_.at(new_name).loaded;
        unit->second.waiting.push_back(n);
        left.insert(old_name);
    }
    for (const auto& name : left) {
        const Unit& unit = message.units.at(name);
        if (!unit.waiting.empty() || unit.active > 0) continue;
        message.units.erase(name);
        --hops_.at(name).loaded;
        hops_.forget_if_idle(name);
    }
    place(message, now);
}

std::vector<store::DeliveryResult> AdminActions::end(const std::vector<Selected>& selected,
                                                     store::RecipientState state, const std::string& status,
                                                     const std::string& text, Now now) {
    std::vector<store::DeliveryResult> out;
    for (const Selected& one : selected) {
        const store::MessageId id = one.message->id;
        // What only the store has comes in for its end.
        if (!messages_.contains(id)) {
            messages_.touch(id);
            window_.insert(store::StoredMessage(*one.message), now);
        }
        Message* message = messages_.find(id);
        if (message == nullptr || message->removed) continue;
        for (const auto n : one.recipients) {
            const std::string hop_name = store::hop_of(*message->stored, n);
            Unit* unit = message->unit_at(hop_name);
            if (unit == nullptr || !unit->stops_waiting(n)) continue;
            store::StoredRecipient& recipient = message->stored->recipients[n];
            const Hop* hop = hops_.blocking(hop_name, recipient);
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
            ++message->recording;
            out.push_back(std::move(result));
        }
    }
    return out;
}

void AdminActions::remove(const std::vector<store::MessageId>& ids) {
    for (const auto id : ids) {
        messages_.touch(id);
        Message* message = messages_.find(id);
        if (message == nullptr) continue;
        message->removed = true;
        if (message->is_at_rest()) window_.forget(id);
    }
}

void AdminActions::suspend(const store::StoredSuspension& suspension, Now now) {
    suspensions_.put(suspension);
    if (suspension.kind != store::SuspensionKind::sender) {
        hops_.look_at_all();
        backlog_.due(now.steady);
        return;
    }
    if (suspension.ended) return;
    for (const auto& [id, message] : messages_.all())
        if (!message.stored->held && store::is_sender(*message.stored, suspension.scope))
            window_.hold_soon(id);
}

}  // namespace sternpost::queue
