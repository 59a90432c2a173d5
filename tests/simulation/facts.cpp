#include "facts.h"

#include <algorithm>

#include "store/hop_group.h"

namespace sternpost::simulation {
namespace {

using store::RecipientState;
using store::SuspensionKind;

// A deferral of one task queue says nothing of the next hop (RFC 3463 §3.3).
bool speaks_of_mailbox(const store::DeliveryResult& result) {
    return result.status.starts_with("4.2.");
}

}  // namespace

void Facts::move_lanes(const std::string& name, int by) {
    Hop& hop = hops_[name];
    if (by < 0 && hop.lanes == 0) return;  // of a process that is gone
    hop.lanes = by < 0 ? hop.lanes - 1 : hop.lanes + 1;
    hop.lanes_changed = now();
}

void Facts::asked_to_record(const store::DeliveryResult& result, const std::string& hop_name) {
    Recipient& recipient = recipients_[{result.message, result.recipient}];
    recipient.last.reset();
    recipient.moved.reset();
    recipient.changed = now();
    Hop& hop = hops_[hop_name];
    if (result.state != RecipientState::queued) return;
    recipient.texts.insert(result.text);
    hop.texts.insert(result.text);
    if (speaks_of_mailbox(result)) return;
    hop.taken.reset();
    hop.changed = now();
}

void Facts::recorded(const store::DeliveryResult& result, const std::string& hop_name) {
    Recipient& recipient = recipients_[{result.message, result.recipient}];
    recipient.last = result;
    recipient.changed = now();
    if (result.state != RecipientState::sent) return;
    Hop& hop = hops_[hop_name];
    hop.taken = now();
    hop.failing.reset();
    hop.changed = now();
}

void Facts::hop_recorded(const store::HopState& state) {
    Hop& hop = hops_[state.next_hop];
    hop.changed = now();
    hop.failing.reset();
    if (state.failures == 0) return;
    hop.failing = state;
    hop.taken.reset();
    hop.texts.insert(state.text);
}

void Facts::acted(const store::Act& act) {
    acts_.insert({act.message, act.kind});
}

void Facts::rerouted(store::MessageId id, std::uint32_t n) {
    Recipient& recipient = recipients_[{id, n}];
    recipient.texts.clear();
    recipient.last.reset();
    recipient.moved = recipient.changed = now();
}

void Facts::suspension_asked(const store::StoredSuspension& suspension) {
    Suspension& known = suspensions_[{suspension.kind, suspension.scope}];
    known.changed = now();
    known.perhaps = true;
    if (suspension.ended) known.since.reset();
}

void Facts::suspension_recorded(const store::StoredSuspension& suspension) {
    Suspension& known = suspensions_[{suspension.kind, suspension.scope}];
    known.changed = now();
    known.perhaps = !suspension.ended;
    known.since.reset();
    if (!suspension.ended) known.since = now();
}

void Facts::ended() {
    for (auto& [key, recipient] : recipients_) recipient.last.reset();
    for (auto& [name, hop] : hops_) {
        hop.lanes = 0;
        hop.failing.reset();
        hop.taken.reset();
    }
    shaken();
}

const Facts::Hop& Facts::hop(const std::string& name) const {
    static const Hop none;
    const auto known = hops_.find(name);
    return known == hops_.end() ? none : known->second;
}

const Facts::Recipient& Facts::recipient(store::MessageId id, std::uint32_t n) const {
    static const Recipient none;
    const auto known = recipients_.find({id, n});
    return known == recipients_.end() ? none : known->second;
}

// Our own reading of the forms that a sender may be named by.
bool Facts::means(const std::string& scope, store::MessageId id) const {
    const auto known = senders_.find(id);
    if (known == senders_.end()) return false;
    const Sender& sender = known->second;
    if (scope.starts_with("uid") || scope.starts_with("user:")) return sender.of_user;
    if (scope.starts_with('@')) return sender.reverse_path.ends_with(scope);
    if (scope.find('@') != std::string::npos) return sender.reverse_path == scope;
    const auto slash = scope.find('/');
    if (slash == std::string::npos) return sender.client == scope;
    // Networks of the simulated world are a /24: three octets of an address.
    const auto dot = scope.rfind('.', slash);
    return sender.client.starts_with(scope.substr(0, dot + 1));
}

template <class Means>
bool Facts::any_suspension(SuspensionKind kind, bool sure, SteadyTime then, Means means) const {
    return std::any_of(suspensions_.begin(), suspensions_.end(), [&](const auto& entry) {
        const auto& [key, one] = entry;
        if (key.first != kind || !means(key.second)) return false;
        return sure ? one.since && *one.since < then : one.perhaps || one.changed >= then;
    });
}

bool Facts::hop_is_suspended(const std::string& hop, SteadyTime then) const {
    const std::string name = store::HopGroup::parse(hop).next_hop;
    return any_suspension(SuspensionKind::next_hop, true, then, [&](const auto& s) { return s == name; });
}

bool Facts::sender_is_suspended(store::MessageId id, SteadyTime then) const {
    return any_suspension(SuspensionKind::sender, true, then, [&](const auto& s) { return means(s, id); });
}

bool Facts::hop_may_be_suspended(const std::string& hop, SteadyTime then) const {
    const std::string name = store::HopGroup::parse(hop).next_hop;
    return any_suspension(SuspensionKind::next_hop, false, then, [&](const auto& s) { return s == name; });
}

bool Facts::sender_may_be_suspended(store::MessageId id, SteadyTime then) const {
    return any_suspension(SuspensionKind::sender, false, then, [&](const auto& s) { return means(s, id); });
}

}  // namespace sternpost::simulation
