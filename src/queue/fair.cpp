#include "queue/fair.h"

#include <cassert>

#include "store/fair_order.h"

namespace sternpost::queue {
namespace {

constexpr unsigned urgent_share = 8;  // ours: so many of people's mail to one notice, where both wait

}  // namespace

FairQueue::Place FairQueue::place_of(const store::StoredMessage& message) {
    return {store::sender_of(message.origin, message.message_class),
            message.message_class == store::MessageClass::mail};
}

void FairQueue::push_back(const Place& place, store::MessageId id) {
    Level& level = levels_[place.urgent ? 0 : 1];
    auto& line = level.lines[place.sender];
    if (line.empty()) level.turns.push_back(place.sender);
    line.push_back(id);
    ++size_;
}

void FairQueue::push_front(const Place& place, store::MessageId id) {
    Level& level = levels_[place.urgent ? 0 : 1];
    level.lines[place.sender].push_front(id);
    std::erase(level.turns, place.sender);
    level.turns.push_front(place.sender);
    ++size_;
}

std::size_t FairQueue::waiting(const Place& place) const {
    const Level& level = levels_[place.urgent ? 0 : 1];
    const auto line = level.lines.find(place.sender);
    return line == level.lines.end() ? 0 : line->second.size();
}

std::size_t FairQueue::next_level() const {
    if (levels_[0].turns.empty()) return 1;
    return !levels_[1].turns.empty() && urgent_in_a_row_ >= urgent_share ? 1 : 0;
}

const std::string& FairQueue::next_sender() const {
    return levels_[next_level()].turns.front();
}

store::MessageId FairQueue::pop() {
    assert(size_ > 0);
    const std::size_t chosen = next_level();
    urgent_in_a_row_ = chosen == 0 ? urgent_in_a_row_ + 1 : 0;
    Level& level = levels_[chosen];
    std::string sender = std::move(level.turns.front());
    level.turns.pop_front();
    const auto line = level.lines.find(sender);
    const store::MessageId out = line->second.front();
    line->second.pop_front();
    --size_;
    if (line->second.empty())
        level.lines.erase(line);
    else
        level.turns.push_back(std::move(sender));
    return out;
}

std::vector<store::MessageId> FairQueue::ids() const {
    std::vector<store::MessageId> out;
    for (const Level& level : levels_)
        for (const auto& [sender, line] : level.lines) out.insert(out.end(), line.begin(), line.end());
    return out;
}

void FairQueue::restore_turns(Level& level) {
    std::erase_if(level.lines, [](const auto& entry) { return entry.second.empty(); });
    std::erase_if(level.turns, [&](const std::string& sender) { return !level.lines.contains(sender); });
}

}  // namespace sternpost::queue
