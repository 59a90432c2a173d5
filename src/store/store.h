// The store: named operations on value types, and their promises. Engines stand behind it (sqlite/ with the
// journal today).
#pragma once

#include <chrono>
#include <cstdint>
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
    /// All that was written so far.
    virtual Result<std::string> contents() = 0;
    /// The end. Not yet on stable storage: that is what accept() sees to.
    virtual Result<Body> finish() = 0;
};

/// Which messages a question is about. What is set must all hold.
struct QueueFilter {
    std::vector<MessageId> ids;   // empty: any
    std::string domain;           // next hop of a recipient that waits; empty: any
    std::string sender;           // see sender_scope.h; empty: any
    std::string reason;           // see waits_for(); empty: any
    std::string recipient;        // a part of the address of a recipient that waits, in any case; empty: any
    std::string from;             // a part of the reverse-path, in any case; empty: any
    MessageId after{};            // of those with ids behind this one
    MessageId until{UINT64_MAX};  // this one included
    bool unwarned = false;        // only those whose sender has heard of no delay
    std::size_t recipients =
        SIZE_MAX;          // no further message once those found have so many: a page of bounded memory
    bool current = false;  // rather an error (busy) than an answer that may be out of date
    std::size_t limit = 1000;
};

/// Whether `reason` is why the recipient waits: a part of the text, the status or the reason code; empty:
/// any.
bool waits_for(const StoredRecipient& recipient, std::string_view reason);
/// Whether the recipient is one of those that the filter means, of a message that it means.
bool matches(const QueueFilter& filter, const StoredRecipient& recipient);
bool matches(const QueueFilter& filter, const StoredMessage& message);

/// As many of the first messages as the limits of the filter allow, one at least.
void cut_to(const QueueFilter& filter, std::vector<StoredMessage>& messages);

/// What the queue asks for when it has room: mail that sleeps in the store and is due.
struct DueQuestion {
    WallTime now;
    std::size_t messages = 1000;        // at most
    std::size_t per_hop = 1000;         // at most, of one next hop
    std::vector<std::string> full;      // ascending: groups (store/hop) that shall have no more
    std::vector<MessageId> known;       // ascending: those that the queue has already
    std::size_t recipients = SIZE_MAX;  // no further message once those found have so many
};

struct DueHop {
    HopState state;     // its group's
    bool more = false;  // there is more due for it than is in the answer
};

struct Due {
    std::vector<StoredMessage> messages;
    std::vector<DueHop> hops;      // of all recipients that wait, of these messages
    bool more = false;             // for other next hops too there is more
    std::optional<WallTime> next;  // when the next message becomes due; nullopt: none sleeps
};

/// Which TLS outcomes a question is about. Days are UTC, both ends included.
struct OutcomeFilter {
    std::chrono::sys_days from{};
    std::chrono::sys_days to = std::chrono::sys_days(std::chrono::days(3'000'000));
    std::string domain;  // whose report counts them; empty: any
};

/// Which TLS reports a question is about. Days are UTC, both ends included.
struct ReportFilter {
    std::chrono::sys_days from{};
    std::chrono::sys_days to = std::chrono::sys_days(std::chrono::days(3'000'000));
    std::string domain;      // empty: any
    std::string id;          // the report-id; empty: any
    bool asked_for = false;  // without those that nobody asks for
    std::size_t limit = 100'000;
};
bool matches(const ReportFilter& filter, const StoredReport& report);

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

/// Next hops for people: what waits for each.
struct HopLoad {
    HopState state;
    std::uint64_t recipients = 0;  // that wait
    std::optional<WallTime> due;   // when the first of them is; nullopt: all are on hold
};

/// Where a list of next hops goes on: behind the one with so many recipients, and this name.
struct HopKey {
    std::uint64_t recipients = 0;
    std::string name;
};

struct HopFilter {
    std::vector<std::string> names;  // groups (store/hop); empty: all that something waits for, or that fail
    std::size_t limit = 1000;        // the longest lines first; of lines that are as long, by name
    std::optional<HopKey> after{};
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
    /// Mail that is due: how the queue manager fills its memory. In turn by sender where none of a next hop's
    /// mail was tried yet, by the time that it is due where it was.
    virtual void due(DueQuestion question, Reply<Result<Due>> reply) = 0;
    virtual void hops(HopFilter filter, Reply<Result<std::vector<HopLoad>>> reply) = 0;
    /// Unfinished messages in id order. Where a recipient waits for its next hop longer than for itself,
    /// status, text, reason code and next_at are the next hop's.
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
    /// Replaces the suspension of this kind and scope; one that has ended is removed.
    virtual void put_suspension(StoredSuspension suspension, Reply<Result<void>> reply) = 0;
    virtual void suspensions(Reply<Result<std::vector<StoredSuspension>>> reply) = 0;  // by kind and scope
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

    // ---- TLS reports
    /// Outcomes recorded from now on count in the day after `day` or later. The index says so a moment later:
    /// reporting() tells when.
    virtual void close_day(std::chrono::sys_days day, Reply<Result<void>> reply) = 0;
    /// Replaces what is known of the day's report to this domain.
    virtual void put_report(StoredReport report, Reply<Result<void>> reply) = 0;
    virtual void reports(ReportFilter filter,
                         Reply<Result<std::vector<StoredReport>>> reply) = 0;  // by day, domain
    /// Days before `from` are passed over.
    virtual void reporting(std::chrono::sys_days from, Reply<Result<ReportingState>> reply) = 0;
};

/// The newest id that was ever accepted, for IdSource.
struct Opened {
    MessageId newest;
    std::vector<std::string> warnings;  // what recovery dropped, kept aside or found odd
};

}  // namespace sternpost::store
