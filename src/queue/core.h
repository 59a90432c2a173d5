// The queue as a pure core: events in, work and results out, the time an argument. Which message goes when,
// to which next hop, over how many connections; what an attempt's end means for the time of the next; which
// part of the queue is in memory, and when the store is asked for more of it (window.cpp); what an
// administrator does to mail (admin_actions.cpp).
#pragma once

#include <algorithm>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "queue/fair.h"
#include "queue/obstacle.h"
#include "queue/schedule.h"
#include "queue/shares.h"
#include "queue/suspensions.h"
#include "store/store.h"

namespace sternpost::queue {

/// How much of the queue is in memory: what is due, or soon will be. The rest sleeps in the store.
struct Window {
    std::size_t messages = 5000;      // no more are asked for; new mail may double it
    std::size_t recipients = 50'000;  // of these messages, likewise
    std::size_t octets =
        8UL * 1024 * 1024;             // of bodies that stay with new mail; the rest is read when it goes
    std::size_t per_hop = 1000;        // of one next hop
    std::size_t per_sender = 20;       // of a sender at a next hop: so many always find room
    std::size_t hops = 20'000;         // next hops that are remembered though nothing of theirs is in memory
    std::chrono::seconds horizon{60};  // what waits for longer is let go of
};

/// RFC 3463 statuses of what the queue ends, or reports as delayed, without a reply of a host.
struct Statuses {
    std::string delayed;  // no attempt has given a better one
    std::string expired;  // an administrator gave it up
    std::string deleted;
};

struct Options {
    Schedule schedule;
    Statuses statuses;
    unsigned connections_per_hop = 20;
    unsigned window_start = 2;      // connections to a next hop of which nothing is known
    unsigned window_growth = 1;     // more for each that could be opened
    unsigned window_shrink = 0;     // fewer than are open, when a further one could not
    unsigned max_deliveries = 500;  // connections in all
    std::size_t recipients_per_transaction = 100;
    Window window;
};

using MessagePtr = std::shared_ptr<const store::StoredMessage>;

/// Longer than the store lets a next hop's state alone wait for its batch: by then its answers know of a
/// failure.
inline constexpr auto store_knows_in = std::chrono::seconds(3);

/// One transaction's worth: a message and those of its recipients that share a next hop and are due.
struct Work {
    MessagePtr message;
    std::vector<std::uint32_t> recipients;  // indices
    Now began;                              // when the attempt that this is part of began
    bool last = false;                      // the message's time is over: should it fail, it is returned
};

/// What an attempt did to one recipient. In `result`, the core fills in at, next_at and tries.
struct RecipientResult {
    store::DeliveryResult result;
    bool again = false;       // not a failure: to be sent in a further transaction at once
    bool blames_hop = false;  // deferred by something that the next hop, not this recipient, must mend
    std::chrono::seconds least_wait{0};  // no sooner than this (a lost reply to the final dot)
};

/// A message that waits for so long that its sender hears of it.
struct Delayed {
    MessagePtr message;
    std::vector<store::DeliveryResult> recipients;  // those that wait, with why
    std::vector<std::uint32_t> held_back;  // of these: nothing is tried until an administrator ends that
    WallTime until;                        // given up after an attempt at or after this
};

/// Why a next hop cannot take mail: all that waits for it waits, or bounces.
struct HopFailure {
    bool permanent = false;  // bounces what is due: no such domain, null MX, a loop
    std::string status;
    std::string text;
    store::ReasonCode reason_code = store::ReasonCode::none;
    store::AttemptDetail detail{};
    bool left_alone =
        false;  // an address was not tried, since it took no connection a moment ago: no last attempt
};

/// A next hop of which something is in memory.
struct HopView {
    std::string name;
    std::size_t ready = 0;
    std::size_t sleeping = 0;
    unsigned lanes = 0;
    unsigned failures = 0;
    std::optional<WallTime> next_at;
    std::string text;
    std::string status{};
    store::ReasonCode reason_code = store::ReasonCode::none;
    bool idle = false;  // nothing of it is in memory but that it failed, which the store knows
};

/// One message that an administrator means, and which of its recipients.
struct Selected {
    MessagePtr message;
    std::vector<std::uint32_t> recipients;  // queued and not in an attempt
    std::size_t active = 0;                 // further ones, which are in an attempt
    bool whole = false;  // nothing but the message was asked for, or all its recipients match
};

class Core {
  public:
    Core(Options options, Random& random);

    // ---- mail arrives
    /// New mail. False: there is no room for it, or it is not due; it sleeps in the store.
    bool add(store::StoredMessage message, Now now);
    void restore(const store::HopState& hop, Now now);
    /// When the oldest message in the store arrived.
    void holds_since(WallTime oldest) { oldest_ = std::min(oldest_, oldest); }
    /// There are more next hops that fail than were restored: the store alone knows them.
    void restored_in_part() { hops_forgotten_ = true; }

    // ---- what sleeps in the store
    /// Something in the store is due at `when`: it will be asked for.
    void asleep(SteadyTime when);
    /// The question to ask the store now, if any. Until the answer comes by loaded(), or load_failed(), there
    /// is no other.
    std::optional<store::DueQuestion> wanted(Now now);
    void loaded(store::Due due, Now now);
    void load_failed(Now now);
    /// Mail of a suspended sender that has turned up: it is to be put on hold in the store.
    /// Each is named once; nothing of it is taken until held() is said of it.
    std::vector<store::MessageId> to_hold();
    /// These are on hold in the store, or their sender is suspended no more.
    void held(const std::vector<store::MessageId>& ids, Now now);
    /// The store is asked for messages of whatever kind; then comes the answer. What has changed in between
    /// and is in memory no more is another thing than the answer says: select(), swept() and delayed() pass
    /// over it.
    void asking() { ++asking_; }
    void answered();
    /// A next hop failed, and some of its mail may sleep: what of that arrived up to `until` is over with it.
    struct Sweep {
        std::string hop;
        store::MessageId until;
        HopFailure hop_failure;
        Now began;
    };
    std::vector<Sweep> sweeps();
    /// Those of a page of a sweep that are over: the results to be recorded. They are in memory until then.
    /// The oldest of those that sleep and are not over yet: the hop is tried again when it is, at the latest.
    void not_later(const std::string& hop, const store::StoredMessage& oldest, Now now);
    std::vector<store::DeliveryResult> swept(const Sweep& sweep, std::vector<store::StoredMessage> page,
                                             Now now);

    // ---- lanes: connections to a next hop
    /// Next hops for which another connection should be opened now, each named as often as connections are
    /// wanted. They count as running from here on, until lane_ended(). Where there are fewer connections than
    /// would be of use, the senders whose mail is next at the hops take turns.
    std::vector<Slot> lanes_wanted(Now now);
    /// The lane has made no step for long: its slot is given to others, where the second pool has room.
    void lane_stalled(Slot& slot);
    /// It has made one.
    void lane_moves(Slot& slot);
    /// All places are in use, the lane's sender or owner has more than half of them, and others wait for one:
    /// the lane takes no further mail, and its place goes to them.
    bool gives_way(const Slot& slot, Now now) const;
    /// The next transaction for a lane of that hop; nothing: no work is due.
    std::optional<Work> take(const std::string& hop, Now now);
    /// The end of a transaction. Returns the results to be recorded; the message stays known until
    /// recorded().
    std::vector<store::DeliveryResult> finished(const Work& work,
                                                std::vector<RecipientResult> recipient_results, Now now);
    /// The attempt was given up by us (shutdown): the work is as if never taken.
    void put_back(const Work& work);
    /// A session that may carry mail was opened: the hop works.
    void lane_connected(const std::string& hop);
    void lane_disconnected(const std::string& hop);
    /// No session could be opened, or the hop was blamed. `began`: when the lane began to try. Returns
    /// results to be recorded (bounces).
    std::vector<store::DeliveryResult> lane_failed(const std::string& hop, const HopFailure& hop_failure,
                                                   Now began, Now now);
    void lane_ended(const Slot& slot);
    /// No further connection to the hop for so long: its site has all it may have. Not a failure.
    void pause(const std::string& hop, std::chrono::milliseconds time, Now now);
    /// The site may have room: a pause ends. Whether mail is due there that a further connection is worth.
    bool resume(const std::string& hop, Now now);
    /// Results that are on stable storage: what is finished is forgotten, what waits for long is let go of.
    void recorded(const std::vector<store::DeliveryResult>& results, Now now);
    /// The store has refused to keep `results` results; they wait, and are tried again. Until kept() has been
    /// said of all of them no attempt begins: a crash would repeat whatever is sent and not known to be.
    void refused(std::size_t results) { refused_ += results; }
    void kept(std::size_t results) { refused_ -= results; }
    /// Results that wait because the store refused them.
    std::size_t refused() const { return refused_; }
    /// The hop's state for the store, after lane_failed() or lane_connected() changed it.
    std::optional<store::HopState> changed_hop(const std::string& hop, Now now);

    /// What the sender of a message is told whose delay warning is due (Schedule::delay_warning), as the
    /// store knows it. Nothing: there is no one to tell, its time is over, or, with `later` set, all of it is
    /// in an attempt, which may be the good one.
    std::optional<Delayed> delayed(const store::StoredMessage& message, Now now, bool& later) const;
    /// It was told.
    void warned(store::MessageId message);

    // ---- the administrator
    /// What of a message that the store has found is meant.
    Selected select(const store::StoredMessage& found, const store::QueueFilter& filter) const;
    /// These are due at once, whatever backoff they or their hops are in. Held ones stay held: leave them
    /// out.
    void retry(const std::vector<Selected>& selected, Now now);
    /// No attempt begins for these until they are released. Attempts under way end as they end.
    void hold(const std::vector<Selected>& selected, Now now);
    void release(const std::vector<Selected>& selected, Now now);
    /// Recipients that wait for `from` (empty: for any next hop) wait for `to` now, and are due.
    void reroute(const std::vector<Selected>& selected, const std::string& from, const std::string& to,
                 Now now);
    /// The end of these recipients by the administrator's will, but for those that an attempt has begun for
    /// since: `state` is bounced or deleted. Returns the results to be recorded.
    std::vector<store::DeliveryResult> end(const std::vector<Selected>& selected, store::RecipientState state,
                                           const std::string& status, const std::string& text, Now now);
    /// Takes messages out, whatever they wait for (an attempt under way ends as it ends).
    void remove(const std::vector<store::MessageId>& ids);
    /// Suspends, or resumes where it has ended.
    void suspend(const store::StoredSuspension& suspension, Now now);
    const Suspensions& suspensions() const { return suspensions_; }

    /// What is in the way of each recipient of a message that the store has found.
    /// `stored`: hops that fail, as the store knows them, for those that are not in memory.
    std::vector<Blocked> blocked_by(const store::StoredMessage& found, Now now,
                                    const std::vector<store::HopState>& stored = {}) const;
    /// Null when it is not in memory.
    MessagePtr message(store::MessageId id) const;
    /// Whether further recipients of a message may end within a minute or so: some are in an attempt, or due.
    bool ends_soon(store::MessageId id, Now now) const;
    std::vector<HopView> hops() const;
    /// Nothing: none of it is in memory.
    std::optional<HopView> hop_view(const std::string& name) const;
    /// Those that have connections, or fail.
    std::set<std::string> hops_in_use() const;
    store::QueueTotals in_memory() const;

    /// When something becomes due by itself.
    std::optional<SteadyTime> next_wake() const;

    const Options& options() const { return options_; }

  private:
    struct Unit {                            // a message's recipients at one hop
        std::vector<std::uint32_t> waiting;  // queued recipients that are not in an attempt
        std::size_t active = 0;              // recipients in an attempt
    };
    struct Message {
        std::shared_ptr<store::StoredMessage> stored;
        FairQueue::Place place;
        std::map<std::string, Unit> units;  // by hop
        std::size_t unfinished = 0;         // recipients whose end is not recorded yet
        std::size_t recording = 0;          // results that are not on stable storage yet
        bool removed = false;
    };
    struct Hop {
        std::string owner;  // Shares
        FairQueue ready;
        std::set<std::pair<SteadyTime, store::MessageId>> sleeping;
        std::size_t loaded = 0;  // messages in memory that have a unit here
        bool more = false;       // there may be more in the store that is due
        unsigned lanes = 0;
        unsigned connected = 0;
        unsigned window = 0;
        unsigned failures = 0;
        unsigned told_to_wait = 0;  // sessions in a row that ended with "not now" to all mail
        bool must_try_all =
            false;  // mail whose time is over waits for an attempt that leaves no address alone
        SteadyTime next_at = SteadyTime::min();
        SteadyTime timer = SteadyTime::max();  // its entry in timers_
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
    };
    using Messages = std::map<store::MessageId, Message>;

    static HopView view_of(const std::string& name, const Hop& hop);
    static bool waits_after_failure(const Hop& hop, Now now);
    WallTime deadline(const store::StoredMessage& message) const;
    bool over(const store::StoredMessage& message, Now began, Now now) const;
    Hop& hop(const std::string& name);
    Message* insert(store::StoredMessage message, Now now);
    bool admits(const store::StoredMessage& message, Now now);
    void wake(const std::string& name, Hop& hop, Now now);
    void set_timer(const std::string& name, Hop& hop, SteadyTime when);
    void owe_attempt(const std::string& name, Hop& hop, Now now);
    void run_timers(Now now);
    bool blocked(const std::string& name, const Hop& hop, SteadyTime when) const;
    bool wants_lane(const std::string& name, const Hop& hop, Now now) const;
    bool wants_more(const std::string& name, const Hop& hop, Now now) const;
    void sleep_or_ready(const std::string& hop_name, Message& message, store::MessageId id, Now now);
    std::size_t active_recipients(const Message& message) const;
    bool may_go(const Message& message, Now now) const;
    bool due_soon(const Message& message, Now now) const;
    void let_go_if_far(store::MessageId id, Now now);
    void touch(store::MessageId id);
    /// The memory has `times` as much as it should have.
    bool is_full(std::size_t times = 1) const {
        return messages_.size() >= times * options_.window.messages ||
               recipients_ >= times * options_.window.recipients;
    }
    void hold_soon(store::MessageId id);
    bool is_stale(store::MessageId id) const {
        return changed_while_asking_.contains(id) && !messages_.contains(id);
    }
    void forget(Messages::iterator known);
    void forget_hop_if_idle(const std::string& name);
    void bounce_unit(Message& message, Unit& unit, const HopFailure& hop_failure, bool expired, Now now,
                     std::vector<store::DeliveryResult>& out);
    const Hop* blocking(const std::string& hop_name, const store::StoredRecipient& recipient) const;
    void take_out(const std::vector<Selected>& selected);
    static bool stops_waiting(Message& message, const std::string& hop_name, std::uint32_t recipient);
    void tell_delay(const store::StoredMessage& message, std::uint32_t n, const Blocked& blocked,
                    Delayed& out) const;

    Options options_;
    Random& random_;
    Messages messages_;
    std::size_t bodies_ = 0;      // octets of theirs that are in memory
    std::size_t recipients_ = 0;  // of theirs, those that are finished included
    std::unordered_map<std::string, Hop> hops_;
    std::set<std::string> candidates_;               // hops that may want a further lane
    std::set<std::string> hops_with_more_in_store_;  // hops of which there may be more in the store
    std::multimap<SteadyTime, std::string>
        timers_;  // when to look at a hop again; stale ones are passed over
    std::deque<std::pair<SteadyTime, std::string>> told_;  // hops, by Hop::told
    std::string served_last_;  // the sender whose mail a connection was opened for last
    Shares lanes_;
    std::size_t refused_ = 0;  // results
    Suspensions suspensions_;

    bool loading_ = false;
    SteadyTime not_asked_before_ = SteadyTime::min();  // after a question that failed
    std::vector<std::string> not_asked_;               // ascending: hops that the last question left out
    bool more_ = false;                     // there is more in the store that is due, of whatever hop
    std::optional<SteadyTime> asleep_due_;  // when the next of what sleeps is
    std::set<store::MessageId> changed_while_loading_;  // changed since the question that is under way
    unsigned asking_ = 0;                               // questions for messages that are under way
    std::set<store::MessageId> changed_;                // since the first of these
    std::set<store::MessageId> changed_while_asking_;   // of these, at the last answer
    std::vector<store::MessageId> to_hold_;
    std::set<store::MessageId> holding_;  // named by to_hold(), or soon
    std::vector<Sweep> sweeps_;
    WallTime oldest_ = WallTime::max() - std::chrono::hours(24 * 365 * 100);  // nothing in the store is older
    bool hops_forgotten_ = false;  // some hop that fails may be known to the store alone
};

}  // namespace sternpost::queue
