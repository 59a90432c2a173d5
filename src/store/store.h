// The store: named operations on value types, and their promises. Engines stand behind it (sqlite/ with the
// journal today).
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "store/records.h"
#include "util/mailbox.h"

namespace sternpost::store {

/// Takes a message's octets as they arrive. Up to 64 KiB stay in memory, more go to a file of their own. Used
/// on one thread. Destroyed without finish(): what was written is removed.
class BodySink {
  public:
    virtual ~BodySink() = default;
    /// full when disk or the memory for bodies is short; too_big beyond the limit given to new_body().
    virtual Result<void> write(std::string_view octets) = 0;
    virtual std::uint64_t size() const = 0;
    /// The end. Not yet on stable storage: that is what accept() sees to.
    virtual Result<Body> finish() = 0;
};

struct QueueFilter {
    std::string id;            // queue id; empty: any
    std::string domain;        // next hop; empty: any
    std::string reverse_path;  // `<>` the null one; empty: any
    std::size_t limit = 1000;
};

/// Which TLS outcomes a question is about. Days are UTC, both ends included.
struct OutcomeFilter {
    std::chrono::sys_days from{};
    std::chrono::sys_days to = std::chrono::sys_days(std::chrono::days(3'000'000));
    std::string domain;  // whose report counts them; empty: any
};

/// Which history a question is about: one message (`id`), a next hop, or everything. With `id`, what became
/// of its next hops while it waited is part of the answer.
struct HistoryFilter {
    std::string id;        // queue id; empty: any
    std::string next_hop;  // empty: any
    WallTime from{};
    WallTime to = WallTime::max();
    std::size_t limit = 1000;  // the newest so many messages, and the newest so many entries
};

struct QueueTotals {
    std::uint64_t messages = 0;
    std::uint64_t recipients = 0;
    std::uint64_t octets = 0;
    std::optional<WallTime> oldest;
};

/// Every operation answers by its Reply exactly once, on one of the store's threads; who waits elsewhere
/// posts it home (see util/call.h). Any thread may call.
class Store {
  public:
    virtual ~Store() = default;

    // ---- mail in
    virtual std::unique_ptr<BodySink> new_body(std::uint64_t limit) = 0;
    /// Answers after the accept record, the body and every directory entry it needs are on stable storage
    /// (RFC 5321 §6.1): only then may 250 or exit 0 be said. duplicate: an earlier accept with the same
    /// submission id stands; say 250 to that too.
    virtual void accept(NewMessage message, Reply<Result<MessageId>> reply) = 0;

    // ---- results; they and `notices` (bounces) become durable together: a notice whose results were not
    // recorded is refused as a duplicate later, since its submission id is made from them
    virtual void record(std::vector<DeliveryResult> results, std::vector<NewMessage> notices,
                        Reply<Result<void>> reply) = 0;
    /// Remembered with the next batch; needs no answer, since losing it costs one connection attempt.
    virtual void record_hop(HopState state) = 0;
    virtual void act(std::vector<Act> acts, Reply<Result<void>> reply) = 0;

    // ---- octets out
    /// Up to `most` octets from `offset`; shorter only at the end.
    virtual void read_body(const StoredMessage& message, std::uint64_t offset, std::size_t most,
                           Reply<Result<std::string>> reply) = 0;

    // ---- questions (a reader of its own; short snapshots)
    /// Unfinished messages after `after` in id order, at most `limit`: how the queue manager fills its memory
    /// at start.
    virtual void load(MessageId after, std::size_t limit,
                      Reply<Result<std::vector<StoredMessage>>> reply) = 0;
    virtual void hops(Reply<Result<std::vector<HopState>>> reply) = 0;
    virtual void find(QueueFilter filter, Reply<Result<std::vector<StoredMessage>>> reply) = 0;
    virtual void totals(Reply<Result<QueueTotals>> reply) = 0;

    // ---- MTA-STS policies
    /// The policy becomes the one in force for its domain, and a version in the journal of versions.
    virtual void put_policy(StoredPolicy policy, Reply<Result<void>> reply) = 0;
    virtual void policies(Reply<Result<std::vector<StoredPolicy>>> reply) = 0;
    /// The versions of a domain's policy, the one seen first in front (D-39: at most 20).
    virtual void versions(std::string domain, Reply<Result<std::vector<PolicyVersion>>> reply) = 0;
    /// Remembered with the next batch, replacing what was known of the domain; needs no answer, since losing
    /// it costs one look-up.
    virtual void put_discovery(StoredDiscovery discovery) = 0;
    virtual void discoveries(Reply<Result<std::vector<StoredDiscovery>>> reply) = 0;

    // ---- the administrator's will, and what is to be told to the administrator
    /// Replaces the override of this scope; an empty level removes it.
    virtual void put_override(StoredOverride override, Reply<Result<void>> reply) = 0;
    virtual void overrides(Reply<Result<std::vector<StoredOverride>>> reply) = 0;  // by scope
    /// Remembered with the next batch. `last` is when it was raised, `count` how often since it was last put
    /// (0 counts as once); `first` may be left out.
    virtual void put_alarm(StoredAlarm alarm) = 0;
    /// Those raised at `since` or later, the latest in front.
    virtual void alarms(WallTime since, Reply<Result<std::vector<StoredAlarm>>> reply) = 0;

    // ---- what deliveries showed; counted exactly once from the results and states that were recorded
    virtual void hosts_seen(Reply<Result<std::vector<StoredHost>>> reply) = 0;  // MX hosts, by name
    /// By day and domain.
    virtual void outcomes(OutcomeFilter filter, Reply<Result<std::vector<StoredOutcome>>> reply) = 0;
    virtual void history(HistoryFilter filter, Reply<Result<History>> reply) = 0;
};

/// The newest id that was ever accepted, for IdSource.
struct Opened {
    MessageId newest;
    std::vector<std::string> warnings;  // what recovery dropped, kept aside or found odd
};

}  // namespace sternpost::store
