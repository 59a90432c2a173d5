// How the connections that there may be at once are shared between senders, and between those whom mail goes
// to. Pure.
#pragma once

#include <algorithm>
#include <map>
#include <string>

namespace sternpost::queue {

/// A place among the connections that there may be at once.
struct Slot {
    std::string hop;       // the group (store/hop_group) whose mail the connection is for
    std::string sender{};  // whose mail it was opened for
    std::string owner{};   // whose the next hop is: its registrable domain
    bool stalled = false;  // it makes no progress, and has left its place to others (Shares)
};

/// While others wait, one sender has at most half of all connections, and those to one owner are at most
/// half. No one has the last tenth unless it is needed: mail of another sender that comes while slow hosts
/// keep one sender's connections finds a place at once. A connection that makes no progress may move to a
/// second pool, a fifth as large, and leaves its place to others: so there are at most six fifths of `all`.
class Shares {
  public:
    explicit Shares(unsigned all)
        : main_{all}, stalled_{std::max(1U, all / 5)}, reserve_(all > 1 ? std::max(1U, all / 10) : 0) {}

    /// Who else waits for a connection.
    struct Waiting {
        bool other_senders = false;
        bool other_owners = false;
    };

    /// All connections that are open, the stalled ones included.
    unsigned in_use() const { return main_.in_use + stalled_.in_use; }
    bool full() const { return main_.in_use >= main_.size; }
    bool may_begin(const Slot& slot, Waiting waiting) const {
        if (full()) return false;
        const bool beyond_reserve = main_.in_use + reserve_ < main_.size;
        const bool sender_may = main_.has_less_than_half(main_.senders, slot.sender);
        const bool owner_may = main_.has_less_than_half(main_.owners, slot.owner);
        return (sender_may || (!waiting.other_senders && beyond_reserve)) &&
               (owner_may || (!waiting.other_owners && beyond_reserve));
    }
    /// All places are in use, and its sender, or its owner, has more than half of them, while these others
    /// wait for one.
    bool owes_its_place(const Slot& slot, Waiting waiting) const {
        return full() && !slot.stalled &&
               ((waiting.other_senders && main_.has_more_than_half(main_.senders, slot.sender)) ||
                (waiting.other_owners && main_.has_more_than_half(main_.owners, slot.owner)));
    }
    void begin(const Slot& slot) { main_.add(slot); }
    /// A connection makes no progress. Where the second pool is full, or half of it is the sender's or the
    /// owner's, it keeps its place.
    void stall(Slot& slot) {
        const bool room = stalled_.in_use < stalled_.size &&
                          stalled_.has_less_than_half(stalled_.senders, slot.sender) &&
                          stalled_.has_less_than_half(stalled_.owners, slot.owner);
        if (slot.stalled || !room) return;
        main_.remove(slot);
        stalled_.add(slot);
        slot.stalled = true;
    }
    /// It makes progress again. It is never ended for want of a place: for a time there may be more than
    /// `all`.
    void resume(Slot& slot) {
        if (!slot.stalled) return;
        stalled_.remove(slot);
        main_.add(slot);
        slot.stalled = false;
    }
    void end(const Slot& slot) { (slot.stalled ? stalled_ : main_).remove(slot); }

  private:
    using Counts = std::map<std::string, unsigned>;

    struct Pool {
        unsigned size;
        unsigned in_use = 0;
        Counts senders{};
        Counts owners{};

        bool has_less_than_half(const Counts& counts, const std::string& who) const {
            const auto own = counts.find(who);
            return own == counts.end() || own->second < std::max(1U, size / 2);
        }
        bool has_more_than_half(const Counts& counts, const std::string& who) const {
            const auto own = counts.find(who);
            return own != counts.end() && own->second > std::max(1U, size / 2);
        }
        void add(const Slot& slot) {
            ++senders[slot.sender];
            ++owners[slot.owner];
            ++in_use;
        }
        void remove(const Slot& slot) {
            drop(senders, slot.sender);
            drop(owners, slot.owner);
            --in_use;
        }
        static void drop(Counts& counts, const std::string& who) {
            const auto own = counts.find(who);
            if (--own->second == 0) counts.erase(own);
        }
    };

    Pool main_;
    Pool stalled_;
    unsigned reserve_;
};

}  // namespace sternpost::queue
