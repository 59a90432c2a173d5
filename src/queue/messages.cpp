#include "queue/messages.h"

#include <algorithm>
#include <cassert>

#include "store/hop_group.h"

namespace sternpost::queue {

bool Unit::waits(std::uint32_t recipient) const {
    return std::find(waiting.begin(), waiting.end(), recipient) != waiting.end();
}

WallTime Unit::first_due(const store::StoredMessage& message) const {
    WallTime out = WallTime::max();
    for (const auto n : waiting) out = std::min(out, message.recipients[n].next_at);
    return out;
}

const Unit* Message::unit_at(const std::string& hop) const {
    const auto unit = units.find(hop);
    return unit == units.end() ? nullptr : &unit->second;
}

Unit* Message::unit_at(const std::string& hop) {
    const auto unit = units.find(hop);
    return unit == units.end() ? nullptr : &unit->second;
}

bool Message::waits_at(const std::string& hop, std::uint32_t recipient) const {
    const Unit* unit = unit_at(hop);
    return unit != nullptr && unit->waits(recipient);
}

std::size_t Message::active() const {
    std::size_t out = 0;
    for (const auto& [name, unit] : units) out += unit.active;
    return out;
}

Message* Messages::find(store::MessageId id) {
    const auto known = all_.find(id);
    return known == all_.end() ? nullptr : &known->second;
}

const Message* Messages::find(store::MessageId id) const {
    const auto known = all_.find(id);
    return known == all_.end() ? nullptr : &known->second;
}

MessagePtr Messages::stored(store::MessageId id) const {
    const Message* known = find(id);
    return known == nullptr ? nullptr : known->stored;
}

store::QueueTotals Messages::totals() const {
    store::QueueTotals out;
    for (const auto& [id, message] : all_) {
        if (message.removed) continue;
        ++out.messages;
        out.recipients += message.unfinished;
        out.octets += message.stored->body.size;
        if (!out.oldest || message.stored->arrived < *out.oldest) out.oldest = message.stored->arrived;
    }
    return out;
}

Message* Messages::put(store::StoredMessage stored) {
    const store::MessageId id = stored.id;
    assert(!contains(id));
    Message message;
    if (stored.body.octets && bodies_ + stored.body.size > limits_.octets) stored.body.octets.reset();
    message.place = FairQueue::place_of(stored);
    message.stored = std::make_shared<store::StoredMessage>(std::move(stored));
    for (std::uint32_t n = 0; n < message.stored->recipients.size(); ++n) {
        if (message.stored->recipients[n].state != store::RecipientState::queued) continue;
        message.units[store::hop_of(*message.stored, n)].waiting.push_back(n);
        ++message.unfinished;
    }
    if (message.unfinished == 0) return nullptr;
    if (message.stored->body.octets) bodies_ += message.stored->body.size;
    recipients_ += message.stored->recipients.size();
    return &all_.emplace(id, std::move(message)).first->second;
}

void Messages::erase(store::MessageId id) {
    const auto known = all_.find(id);
    if (known == all_.end()) return;
    const store::StoredMessage& stored = *known->second.stored;
    if (stored.body.octets) bodies_ -= stored.body.size;
    recipients_ -= stored.recipients.size();
    all_.erase(known);
}

void Messages::touch(store::MessageId id) {
    if (loading_) changed_while_loading_.insert(id);
    if (asking_ > 0) changed_.insert(id);
}

void Messages::loaded() {
    loading_ = false;
    changed_while_loading_.clear();
}

void Messages::answered() {
    changed_while_asking_ = changed_;
    if (--asking_ == 0) changed_.clear();
}

}  // namespace sternpost::queue
