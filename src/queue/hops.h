// Next hops: what is due and what sleeps at each, how long one that failed is left alone, how many
// connections it may have, and which of them gets the next one. Pure.
#pragma once

#include <deque>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "queue/fair.h"
#include "queue/messages.h"
#include "queue/options.h"
#include "queue/shares.h"
#include "queue/store_backlog.h"
#include "queue/suspensions.h"
#include "queue/work.h"

namespace sternpost::queue {

/// Longer than the store lets a next hop's state alone wait for its batch: by then its answers know of a
/// failure.
inline constexpr auto store_knows_in = std::chrono::seconds(3);

/// A next hop (store/hop_group) of which something is in memory.
struct Hop {
    std::string owner;  // Shares
    FairQueue ready;
    std::set<std::pair<SteadyTime, store::MessageId>> sleeping;
    std::size_t loaded = 0;  // messages in memory that have a unit here
    unsigned lanes = 0;
    unsigned connected = 0;
    unsigned window = 0;
    unsigned failures = 0;
    unsigned told_to_wait = 0;  // sessions in a row that ended with "not now" to all mail
    bool must_try_all = false;  // mail whose time is over waits for an attempt that leaves no address alone
    SteadyTime next_at = SteadyTime::min();
    SteadyTime timer = SteadyTime::max();  // when it is looked at again by itself
    WallTime next_wall{};
    std::string status;
    std::string text;
    store::ReasonCode reason_code = store::ReasonCode::none;
    std::string mx_host;  // of the last failure: who replied, and what, for notices
    std::string diagnostic;
    WallTime failed_at{};
    SteadyTime counted_at = SteadyTime::min();  // when the last of the failures in a row was counted
    store::AttemptDetail detail;                // not recorded yet
    bool changed = false;
    // When the store was given a failure that its answers may not know yet; else min(). A hop that is
    // forgotten before they do would be tried at once.
    SteadyTime told = SteadyTime::min();

    /// Else, where it may not be tried yet, it is paused: a limit is in its way.
    bool waits_after_failure(Now now) const { return failures > 0 && next_wall > now.wall; }
    /// As the store knows it.
    store::HopState state(const std::string& name) const;
};

class Hops {
  public:
    Hops(const Options& options, Random& random, const Messages& messages, const Suspensions& suspensions,
         StoreBacklog& backlog)
        : options_(options),
          random_(random),
          messages_(messages),
          suspensions_(suspensions),
          backlog_(backlog),
          lanes_(options.max_deliveries) {}
    Hops(const Hops&) = delete;
    Hops& operator=(const Hops&) = delete;

    /// Made where it is not known.
    Hop& at(const std::string& name);
    /// Null: nothing of it is in memory.
    Hop* find(const std::string& name);
    const Hop* find(const std::string& name) const;
    const std::unordered_map<std::string, Hop>& all() const { return all_; }
    /// Those that fail, by what the store knew at the start.
    void restore(const store::HopState& state, Now now);
    /// One that works and has nothing here goes; one that fails is remembered as long as there is room.
    void forget_if_idle(const std::string& name);

    // ---- what is due, and what sleeps
    /// Puts a message's unit where it belongs: due now, or asleep until the first of its recipients is.
    void place(const std::string& name, const Message& message, Now now);
    /// The very next one there.
    void place_first(const std::string& name, const Message& message);
    /// These are neither due nor asleep there.
    void take_out(const std::string& name, const std::set<store::MessageId>& ids);
    /// What has slept long enough is due.
    void wake(const std::string& name, Now now);
    /// Nothing is due there: it is not looked at until something is.
    void pass_over(const std::string& name) { candidates_.erase(name); }
    /// Each is looked at again: something else has changed.
    void look_at_all();
    /// No attempt may begin there at `when`.
    bool is_blocked(const std::string& name, const Hop& hop, SteadyTime when) const {
        return hop.next_at > when || suspensions_.of_hop(name) != nullptr;
    }
    /// The next hop, where what is in its way keeps the recipient longer than its own schedule does: then the
    /// hop's reason is why it waits. Else null.
    const Hop* blocking(const std::string& name, const store::StoredRecipient& recipient) const;
    /// What has become due by itself is looked at.
    void pass_time(Now now);
    std::optional<SteadyTime> next_timer() const;

    // ---- connections
    /// Next hops for which another connection should be opened now, each named as often as connections are
    /// wanted. They count as running from here on, until lane_ended(). Where there are fewer connections than
    /// would be of use, the senders whose mail is next at the hops take turns.
    std::vector<Slot> lanes_wanted(Now now);
    bool wants_lane(const std::string& name, const Hop& hop, Now now) const;
    bool all_lanes_in_use() const { return lanes_.full(); }
    /// The lane has made no step for long: its slot is given to others, where the second pool has room.
    void lane_stalled(Slot& slot) { lanes_.stall(slot); }
    /// It has made one.
    void lane_moves(Slot& slot) { lanes_.resume(slot); }
    /// All places are in use, the lane's sender or owner has more than half of them, and others wait for one:
    /// the lane takes no further mail, and its place goes to them.
    bool gives_way(const Slot& slot, Now now) const;
    /// A session that may carry mail was opened: the hop works.
    void lane_connected(const std::string& name);
    void lane_disconnected(const std::string& name);
    void lane_ended(const Slot& slot);
    /// No further connection to the hop for so long: its site has all it may have. Not a failure.
    void pause(const std::string& name, std::chrono::milliseconds time, Now now);
    /// The site may have room: a pause ends. Whether mail is due there that a further connection is worth.
    bool resume(const std::string& name, Now now);

    // ---- failures
    /// A further connection could not be had, though others work: the host has had enough of them, not of us.
    void too_many(Hop& hop, const HopFailure& hop_failure);
    /// It cannot take mail, and why.
    void failed(const std::string& name, const HopFailure& hop_failure, Now now);
    /// It is left alone for longer after each failure; no longer than until `deadline`.
    void back_off(const std::string& name, const HopFailure& hop_failure, WallTime deadline, Now began,
                  Now now);
    /// It is tried at `when`, at the latest.
    void not_later(const std::string& name, WallTime when, Now now);
    /// At once, unless an attempt was owed already and left an address alone all the same.
    void owe_attempt(const std::string& name, Now now);
    /// It may be tried now, whatever failed before.
    void due_now(const std::string& name, Now now);
    /// The hop's state for the store, after a failure or a connection changed it.
    std::optional<store::HopState> changed(const std::string& name, Now now);

    // ---- for people
    std::vector<HopView> views() const;
    /// Nothing: none of it is in memory.
    std::optional<HopView> view(const std::string& name) const;
    /// Those that have connections, or fail.
    std::set<std::string> in_use() const;

  private:
    void set_timer(const std::string& name, Hop& hop, SteadyTime when);

    const Options& options_;
    Random& random_;
    const Messages& messages_;
    const Suspensions& suspensions_;
    StoreBacklog& backlog_;
    std::unordered_map<std::string, Hop> all_;
    std::set<std::string> candidates_;  // that may want a further lane
    std::multimap<SteadyTime, std::string>
        timers_;  // when to look at a hop again; stale ones are passed over
    std::deque<std::pair<SteadyTime, std::string>> told_;  // hops, by Hop::told
    std::string served_last_;  // the sender whose mail a connection was opened for last
    Shares lanes_;
};

}  // namespace sternpost::queue
