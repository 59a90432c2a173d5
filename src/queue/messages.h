// The messages that are in memory: what of each waits for which next hop, what is in an attempt, and what is
// on its way to the store. Pure.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "queue/fair.h"
#include "queue/options.h"
#include "queue/work.h"

namespace sternpost::queue {

/// A message's recipients at one next hop.
struct Unit {
    std::vector<std::uint32_t> waiting;  // queued recipients that are not in an attempt
    std::size_t active = 0;              // recipients in an attempt

    bool waits(std::uint32_t recipient) const;
    /// False: it is finished, or an attempt has begun.
    bool stops_waiting(std::uint32_t recipient) { return std::erase(waiting, recipient) > 0; }
    /// When the first of those that wait is due; WallTime::max(): none waits.
    WallTime first_due(const store::StoredMessage& message) const;
};

struct Message {
    std::shared_ptr<store::StoredMessage> stored;
    FairQueue::Place place;
    std::map<std::string, Unit> units;  // by next hop
    std::size_t unfinished = 0;         // recipients whose end is not recorded yet
    std::size_t recording = 0;          // results that are not on stable storage yet
    bool removed = false;

    /// Null: no recipient has it as its next hop.
    const Unit* unit_at(const std::string& hop) const;
    Unit* unit_at(const std::string& hop);
    bool waits_at(const std::string& hop, std::uint32_t recipient) const;
    std::size_t active() const;  // recipients in an attempt
    /// Nothing of it is in an attempt or on its way to the store.
    bool is_at_rest() const { return recording == 0 && active() == 0; }
    /// No attempt may begin for it, whatever its next hops do.
    bool stays() const { return removed || stored->held; }
};

class Messages {
  public:
    explicit Messages(const WindowLimits& limits) : limits_(limits) {}
    Messages(const Messages&) = delete;
    Messages& operator=(const Messages&) = delete;

    /// Null: it is not in memory.
    Message* find(store::MessageId id);
    const Message* find(store::MessageId id) const;
    /// What the store has of it, as it is now. Null: it is not in memory.
    MessagePtr stored(store::MessageId id) const;
    bool contains(store::MessageId id) const { return all_.contains(id); }
    std::size_t size() const { return all_.size(); }
    std::size_t recipients() const { return recipients_; }
    const std::map<store::MessageId, Message>& all() const { return all_; }
    store::QueueTotals totals() const;

    /// The memory has `times` as much as it should have.
    bool is_full(std::size_t times = 1) const {
        return all_.size() >= times * limits_.messages || recipients_ >= times * limits_.recipients;
    }

    /// Takes it in; its body stays with it where there is room. Null: nothing of it waits.
    Message* put(store::StoredMessage stored);
    /// Lists that still name it pass over an id that is gone.
    void erase(store::MessageId id);

    // ---- what has changed while the store was asked
    /// Something of it has changed: an answer that is under way may tell of how it was.
    void touch(store::MessageId id);
    /// The store is asked for what is due; then the answer has been dealt with.
    void loading() { loading_ = true; }
    void loaded();
    bool is_loading() const { return loading_; }
    bool changed_while_loading(store::MessageId id) const { return changed_while_loading_.contains(id); }
    /// The store is asked for messages of whatever kind; then comes the answer.
    void asking() { ++asking_; }
    void answered();
    /// It is in memory no more, and another thing than the last answer says.
    bool is_stale(store::MessageId id) const {
        return changed_while_asking_.contains(id) && !all_.contains(id);
    }

  private:
    const WindowLimits& limits_;
    std::map<store::MessageId, Message> all_;
    std::size_t bodies_ = 0;      // octets of theirs that are in memory
    std::size_t recipients_ = 0;  // of theirs, those that are finished included
    bool loading_ = false;
    std::set<store::MessageId> changed_while_loading_;  // since the question that is under way
    unsigned asking_ = 0;                               // questions for messages that are under way
    std::set<store::MessageId> changed_;                // since the first of these
    std::set<store::MessageId> changed_while_asking_;   // of these, at the last answer
};

}  // namespace sternpost::queue
