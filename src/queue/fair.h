// What is due at one next hop, in an order that is fair to all who send: their mail takes turns, whatever
// each of them has waiting, and notices and reports stand back behind people's mail.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <deque>
#include <map>
#include <string>
#include <vector>

#include "store/message.h"

namespace sternpost::queue {

class FairQueue {
  public:
    struct Place {
        std::string sender;
        bool urgent = true;  // people's mail
    };
    static Place place_of(const store::StoredMessage& message);

    /// Behind all that the sender has waiting.
    void push_back(const Place& place, store::MessageId id);
    /// The very next one.
    void push_front(const Place& place, store::MessageId id);
    /// The next one, which is gone from here then; only if !empty().
    store::MessageId pop();
    /// Whose turn is next; only if !empty().
    const std::string& next_sender() const;
    /// Puts the first of the next twenty senders that satisfies the predicate in front. False: none does.
    template <class Predicate>
    bool pass_turn_to(Predicate may_have_it);

    /// How many of that sender are here.
    std::size_t waiting(const Place& place) const;
    bool empty() const { return size_ == 0; }
    std::size_t size() const { return size_; }
    /// All of them, in no order that matters.
    std::vector<store::MessageId> ids() const;
    template <class Predicate>
    void erase_if(Predicate predicate);

  private:
    struct Level {
        std::map<std::string, std::deque<store::MessageId>> lines;  // by sender, none of them empty
        std::deque<std::string> turns;                              // those senders, the next one first
    };
    std::size_t next_level() const;
    void restore_turns(Level& level);

    std::array<Level, 2> levels_;  // people's mail; the rest
    unsigned urgent_in_a_row_ = 0;
    std::size_t size_ = 0;
};

template <class Predicate>
bool FairQueue::pass_turn_to(Predicate may_have_it) {
    constexpr std::size_t most_looked_at = 20;  // ours
    auto& turns = levels_[next_level()].turns;
    const auto end = turns.begin() + static_cast<std::ptrdiff_t>(std::min(turns.size(), most_looked_at));
    const auto found = std::find_if(turns.begin(), end, may_have_it);
    if (found == end) return false;
    std::string sender = std::move(*found);
    turns.erase(found);
    turns.push_front(std::move(sender));
    return true;
}

template <class Predicate>
void FairQueue::erase_if(Predicate predicate) {
    for (Level& level : levels_) {
        for (auto& [sender, line] : level.lines) size_ -= std::erase_if(line, predicate);
        restore_turns(level);
    }
}

}  // namespace sternpost::queue
