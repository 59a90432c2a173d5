// The queue as a pure core: events in, work and results out, the time an argument. Which message goes when,
// to which next hop, over how many connections; what an attempt's end means for the time of the next.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "queue/fair.h"
#include "queue/schedule.h"
#include "store/store.h"

namespace sternpost::queue {

struct Options {
    Schedule schedule;
    unsigned connections_per_hop = 20;
    unsigned max_deliveries = 500;  // connections in all
    std::size_t recipients_per_transaction = 100;
};

using MessagePtr = std::shared_ptr<const store::StoredMessage>;

/// One transaction's worth: a message and those of its recipients that share a next hop and are due.
struct Work {
    MessagePtr message;
    std::vector<std::uint32_t> recipients;  // indices
    Now began;                              // when the attempt that this is part of began
};

/// What an attempt did to one recipient. In `result`, the core fills in at, next_at and tries.
struct Fate {
    store::DeliveryResult result;
    bool again = false;       // not a failure: to be sent in a further transaction at once
    bool blames_hop = false;  // deferred by something that the next hop, not this recipient, must mend
    std::chrono::seconds least_wait{0};  // no sooner than this (a lost reply to the final dot)
};

/// A message that waits for so long that its sender hears of it.
struct Delayed {
    MessagePtr message;
    std::vector<store::DeliveryResult> recipients;  // those that wait, with why
    WallTime until;                                 // given up after an attempt at or after this
};

/// Why a next hop cannot take mail: all that waits for it waits, or bounces.
struct HopFate {
    bool permanent = false;  // bounces what is due: no such domain, null MX, a loop
    std::string status;
    std::string text;
    std::string reason_code{};
    store::AttemptDetail detail{};
};

struct HopView {
    std::string name;
    std::size_t ready = 0;
    std::size_t sleeping = 0;
    unsigned lanes = 0;
    unsigned failures = 0;
    std::optional<WallTime> next_at;
    std::string text;
    std::string status{};
    std::string reason_code{};
};

/// Which messages, and which of their recipients, an administrator means. What is set must all hold.
struct Selection {
    std::vector<store::MessageId> ids;  // empty: any
    std::string domain;                 // next hop; empty: any
    std::string sender;                 // reverse-path, `<>` the null one, or `@domain`; empty: any
    std::string reason;                 // a part of why it waits, or its reason code or status; empty: any
};

/// One message of a selection.
struct Selected {
    store::MessageId message;
    std::vector<std::uint32_t> recipients;  // queued and not in an attempt
    std::size_t active = 0;                 // further ones, which are in an attempt
    bool whole = false;  // nothing but the message was asked for, or all its recipients match
};

/// One recipient of a listing: its state and whether an attempt is under way or about to begin.
struct MessageView {
    MessagePtr message;
    std::vector<bool> active;
};

class Core {
  public:
    Core(Options options, Random& random, ClockGuard guard);

    // ---- mail arrives
    void add(store::StoredMessage message, Now now);
    void restore(const store::HopState& hop, Now now);

    // ---- lanes: connections to a next hop
    /// Next hops for which another connection should be opened now, each named as often as connections are
    /// wanted. They count as running from here on, until lane_ended(). Where there are fewer connections than
    /// would be of use, the senders whose mail is next at the hops take turns.
    std::vector<std::string> lanes_wanted(Now now);
    /// The next transaction for a lane of that hop; nothing: no work is due.
    std::optional<Work> take(const std::string& hop, Now now);
    /// The end of a transaction. Returns the results to be recorded; the message stays known until
    /// recorded().
    std::vector<store::DeliveryResult> finished(const Work& work, std::vector<Fate> fates, Now now);
    /// The attempt was given up by us (shutdown): the work is as if never taken.
    void put_back(const Work& work);
    /// A session that may carry mail was opened: the hop works.
    void lane_connected(const std::string& hop);
    void lane_disconnected(const std::string& hop);
    /// No session could be opened, or the hop was blamed. `began`: when the lane began to try. Returns
    /// results to be recorded (bounces).
    std::vector<store::DeliveryResult> lane_failed(const std::string& hop, const HopFate& fate, Now began,
                                                   Now now);
    void lane_ended(const std::string& hop);
    /// No further connection to the hop for so long: its site has all it may have. Not a failure.
    void pause(const std::string& hop, std::chrono::milliseconds time, Now now);
    /// Results that are on stable storage: what is finished is forgotten.
    void recorded(const std::vector<store::DeliveryResult>& results);
    /// The hop's state for the store, after lane_failed() or lane_connected() changed it.
    std::optional<store::HopState> changed_hop(const std::string& hop, Now now);

    /// Messages whose delay warning is due, each once in this process (Schedule::delay_warning). None while
    /// the clock is not believed, and none of mail whose time is over.
    std::vector<Delayed> delayed(Now now);

    // ---- the administrator
    /// What matches, in id order.
    std::vector<Selected> select(const Selection& selection) const;
    /// These are due at once, whatever backoff they or their hops are in; held ones are released.
    void retry(const std::vector<Selected>& selected, Now now);
    /// No attempt begins for these until they are released. Attempts under way end as they end.
    void hold(const std::vector<Selected>& selected);
    void release(const std::vector<Selected>& selected, Now now);
    /// The end of these recipients by the administrator's will, but for those that an attempt has begun for
    /// since: `state` is bounced or deleted. Returns the results to be recorded.
    std::vector<store::DeliveryResult> end(const std::vector<Selected>& selected, store::RecipientState state,
                                           const std::string& status, const std::string& text, Now now);
    /// Takes messages out, whatever they wait for (an attempt under way ends as it ends). Returns those that
    /// were there.
    std::vector<store::MessageId> remove(const std::vector<store::MessageId>& ids);
    std::vector<MessageView> list(const store::QueueFilter& filter) const;
    /// Null when it is not known (any more).
    MessagePtr message(store::MessageId id) const;
    std::vector<HopView> hops() const;
    store::QueueTotals totals() const;

    /// Whether the clock is believed about ages (ClockGuard): else nothing expires.
    bool trusts(Now now) const { return guard_.trusts(now); }
    /// When something becomes due by itself.
    std::optional<SteadyTime> next_wake() const;

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
        bool removed = false;
    };
    struct Hop {
        FairQueue ready;
        std::set<std::pair<SteadyTime, store::MessageId>> sleeping;
        unsigned lanes = 0;
        unsigned connected = 0;
        unsigned window = 2;
        unsigned failures = 0;
        SteadyTime next_at = SteadyTime::min();
        WallTime next_wall{};
        std::string status;
        std::string text;
        std::string reason_code;
        store::AttemptDetail detail;  // not recorded yet
        bool changed = false;
    };

    WallTime deadline(const store::StoredMessage& message) const;
    bool over(const store::StoredMessage& message, Now began, Now now) const;
    void wake(Hop& hop, Now now);
    bool wants_lane(const Hop& hop, Now now) const;
    void sleep_or_ready(const std::string& hop_name, Message& message, store::MessageId id, Now now);
    void bounce_unit(Message& message, Unit& unit, const HopFate& fate, bool expired, Now now,
                     std::vector<store::DeliveryResult>& out);
    static bool matches(const store::StoredMessage& message, const store::QueueFilter& filter);
    const Hop* blocking(const std::string& hop_name, const store::StoredRecipient& recipient) const;
    bool waits_for(const std::string& reason, const std::string& hop_name,
                   const store::StoredRecipient& recipient) const;
    Selected select(store::MessageId id, const Message& message, const Selection& selection) const;
    void take_out(const std::vector<Selected>& selected);
    store::DeliveryResult why_waiting(const store::StoredMessage& message, const std::string& hop_name,
                                      std::uint32_t n) const;
    void forget_if_done(store::MessageId id);

    Options options_;
    Random& random_;
    ClockGuard guard_;
    std::map<store::MessageId, Message> messages_;
    std::unordered_map<std::string, Hop> hops_;
    std::set<std::string> busy_hops_;  // those with ready messages
    std::string served_last_;          // the sender whose mail a connection was opened for last
    std::set<std::pair<SteadyTime, store::MessageId>> warnings_;  // when to warn of what
    SteadyTime no_warning_before_ = SteadyTime::min();
    unsigned lanes_ = 0;
};

}  // namespace sternpost::queue
