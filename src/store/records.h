// The value types that are kept. What they look like on disk is journal.h's and sqlite/'s business
// (doc/formats.md).
#pragma once

#include <array>
#include <chrono>
#include <compare>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "mail/envelope.h"
#include "store/reason_code.h"
#include "util/clock.h"
#include "util/random.h"
#include "util/result.h"

namespace sternpost::store {

enum class Errc {
    full,          // no space, or the memory for bodies is used up: try again later
    too_big,       // beyond the message size limit
    duplicate,     // this submission was accepted before (its id is known for 7 days)
    not_found,     // no such message, policy or body
    busy,          // another daemon has the state directory
    unavailable,   // the store cannot be reached: nothing was done, try again
    fenced,        // another daemon has taken over what this one had: it ends
    newer_schema,  // made by a later release
    damaged,       // octets on disk are not what was written
    io,            // the operating system refused
    closed,        // the store is shutting down
};

template <class T>
using Result = Expected<T, Errc>;

/// A message's identity, for ever: microseconds since 2020-01-01 (UTC), never going back, and the number of
/// the thread that made it in the low 6 bits. As text the queue id: digits and consonants, so that no word
/// can arise.
struct MessageId {
    std::uint64_t value = 0;
    std::string text() const;
    WallTime time() const;  // when it was made
    static std::optional<MessageId> parse(std::string_view text);
    /// The last one that can be made at `time`.
    static MessageId last_at(WallTime time);
    auto operator<=>(const MessageId&) const = default;
};

/// Makes MessageIds. One an accepting thread, each with its own `slot` (0 … 63); `floor`: the newest id in
/// the store.
class IdSource {
  public:
    IdSource(const Clock& clock, unsigned slot, MessageId floor)
        : clock_(clock), slot_(slot), last_(floor.value >> 6U) {}
    MessageId next();

  private:
    const Clock& clock_;
    unsigned slot_;
    std::uint64_t last_;  // microseconds of the newest id given
};

/// 128 random bits made by who submits; the store accepts each only once within 7 days.
struct SubmissionId {
    std::array<std::uint8_t, 16> octets{};
    static SubmissionId make(Random& random);
    static std::optional<SubmissionId> parse(std::string_view hex32);
    std::string text() const;  // 32 hex digits
    auto operator<=>(const SubmissionId&) const = default;
};

enum class MessageClass : std::uint8_t { mail = 0, notice = 1, report = 2 };

/// Where a message came from.
struct Origin {
    std::string address;               // the client's IP address; empty for local submission
    std::string helo;                  // its EHLO name
    std::string with;                  // ESMTP, ESMTPS, local … (RFC 3848)
    std::optional<std::uint32_t> uid;  // of the local submitter, from the socket or the file's owner
    bool operator==(const Origin&) const = default;
};

/// Where the journal holds an accept record, and with it a small body.
struct JournalPlace {
    std::uint64_t segment = 0;
    std::uint64_t offset = 0;  // of the record's header in the segment's file
    auto operator<=>(const JournalPlace&) const = default;
};

/// Message octets: header, empty line, body, CRLF line ends, not dot-stuffed. Small ones in memory (and in
/// the journal), large ones in a file of their own under `bodies/`.
struct Body {
    std::shared_ptr<const std::string> octets;  // null when in a file
    std::string file;                           // file name under bodies/; empty when in memory
    std::uint64_t size = 0;
    std::uint32_t crc = 0;              // CRC-32C of all octets
    bool eight_bit = false;             // an octet above 127 is in it
    std::optional<JournalPlace> place;  // of a small body, once accepted: where read_body() finds it
    bool damaged = false;               // found unreadable at recovery: read_body() says damaged

    /// A body in memory, its size, CRC and eight_bit filled in.
    static Body of(std::string octets);
};

struct QueuedRecipient {
    mail::Recipient recipient;
    std::string next_hop;  // the recipient domain, or `[literal]`

    QueuedRecipient(mail::Recipient r, std::string hop) : recipient(std::move(r)), next_hop(std::move(hop)) {}
};

enum class RecipientState : std::uint8_t { queued = 0, sent = 1, bounced = 2, deleted = 3 };
std::string_view name_of(RecipientState state);

struct DeliveryResult;

/// What the results so far have made of one recipient.
struct RecipientProgress {
    RecipientState state = RecipientState::queued;
    WallTime next_at;
    std::uint32_t tries = 0;         // attempts so far that blame the recipient
    std::uint32_t lost_replies = 0;  // replies to the final dot that were lost in a row: it may have arrived
    std::string status;              // of the last result: RFC 3463
    std::string text;

    static RecipientProgress after(const DeliveryResult& result);
    /// It waits for another next hop from now on, as new mail does: nothing was tried there. What may have
    /// arrived before stays known.
    void move_on(WallTime at);
    bool operator==(const RecipientProgress&) const = default;
};

/// What had become of a message when its accept record was copied forward in the journal.
struct CopiedState {
    bool held = false;
    bool warned = false;
    std::vector<RecipientProgress> recipients;  // in the message's order
    bool operator==(const CopiedState&) const = default;
};

/// A message on its way into the store. envelope.recipients is empty here: the recipients stand in
/// `recipients`.
struct NewMessage {
    MessageId id;
    std::optional<SubmissionId> submission;
    WallTime arrived;
    MessageClass message_class = MessageClass::mail;
    mail::Envelope envelope;
    std::vector<QueuedRecipient> recipients;
    Origin origin;
    Body body;
    std::optional<CopiedState> copied;  // of a copy; its recipients' next hops are those of then
};

enum class PolicyType : std::uint8_t { no_policy_found = 0, sts = 1, tlsa = 2 };  // RFC 8460 §4.4 policy-type
std::string_view name_of(PolicyType type);

/// How a TLS outcome enters a policy's totals (RFC 8460 §4.2). detail: a failure detail that is no session of
/// its own, such as a policy fetch that failed while mail went on (D-40).
enum class OutcomeCount : std::uint8_t { success = 0, failure = 1, detail = 2 };

/// What one session, or one host that could not be used, showed against one policy: the stuff of TLS reports
/// (RFC 8460 §4.3, §4.4), of `why` and of `policy whatif`. A session that two policies apply to gives two of
/// these.
struct TlsOutcome {
    WallTime at;         // when the session ended, or the look-up failed
    std::string domain;  // whose report counts it: recipient's or route's domain
    PolicyType policy_type = PolicyType::no_policy_found;
    std::string policy_domain;  // `domain`; of a tlsa policy its TLSA base domain (D-12)
    std::string
        policy_text;   // sts: as served, octet for octet; tlsa: a line `3 1 1 HEX` a record; else empty
    std::string mode;  // of an sts policy: enforce, testing, none
    OutcomeCount count = OutcomeCount::success;
    std::string result_type;  // RFC 8460 §4.3's name; empty: no failure
    std::string
        reason_code;      // the name of a ReasonCode, and more words where a library has them; no user data
    std::string mx_host;  // the rest is empty where there was none
    std::string helo;     // the name that the host gave itself
    std::string local_address;
    std::string remote_address;
    std::string tls;          // `TLSv1.3`
    std::string if_enforced;  // what would have held the mail if the policy, or any, had been enforced;
                              // empty: nothing
    bool operator==(const TlsOutcome&) const = default;
};

/// How an attempt went, for `why`: kept with its result, never with message text or secrets.
struct AttemptDetail {
    std::vector<std::string> hosts;  // a sentence a host that was tried or left out, in order; at most 20
    std::string dialogue;  // of the last session that failed: lines `C: …`, `S: …`; at most 4 KiB
    std::vector<TlsOutcome> outcomes;  // of the sessions of this attempt, each in one result only
    std::string mx_host;     // the last host whose reply ended a session before any recipient was named
    std::string diagnostic;  // that reply, `421 4.7.0 …`; empty: there was none
    bool operator==(const AttemptDetail&) const = default;
};

/// What became of one recipient in one attempt. state `queued` is a deferral.
struct DeliveryResult {
    MessageId message;
    std::uint32_t recipient = 0;  // index into NewMessage::recipients
    RecipientState state = RecipientState::queued;
    WallTime at;
    WallTime next_at;                // when deferred: not before this
    std::uint32_t tries = 0;         // attempts so far that blame the recipient
    std::uint32_t lost_replies = 0;  // replies to the final dot that were lost in a row, this one included
    std::string status;              // RFC 3463 code, `2.0.0`
    std::string text;                // the sentence for people
    std::string diagnostic;          // the remote reply, empty if none
    std::string mx_host;             // name and address, where a host was contacted
    std::string mx_address;
    std::string tls;          // `TLSv1.3`, empty: in clear
    std::string policy;       // `sts/enforce`, `none`
    std::string result_type;  // RFC 8460 §4.3's name for what was wrong with TLS; empty: nothing
    ReasonCode reason_code = ReasonCode::none;
    AttemptDetail detail;
    bool relayed = false;  // sent to a host without DSN: whoever wants to hear of success hears of it from
                           // us. Not kept: it matters at the moment that the result is recorded
};

/// A next hop that cannot take mail now: one row for all that wait for it.
struct HopState {
    std::string next_hop;
    WallTime at;
    WallTime next_at;            // no attempt before this; at == next_at with failures 0: it works again
    std::uint32_t failures = 0;  // in a row
    std::string status;
    std::string text;
    ReasonCode reason_code = ReasonCode::none;
    AttemptDetail detail;  // of the attempt that ended in this state
};

/// warned: its sender was told that it is delayed; the others are an administrator's. retry: what waits is
/// due, and its next hops are blocked no more.
enum class ActKind : std::uint8_t { remove = 1, hold = 2, release = 3, retry = 4, warned = 5, reroute = 6 };

/// What was done to a message beside delivering it.
struct Act {
    ActKind kind = ActKind::retry;
    MessageId message;
    WallTime at;
    std::string who;     // user name or uid; empty: the daemon itself
    std::string from{};  // reroute: of recipients that wait for this next hop; empty: for any
    std::string to{};    // reroute: the next hop that they wait for now
};

/// One fetched MTA-STS policy, as kept (RFC 8461 §3.3). The text is what the policy host served, octet for
/// octet.
struct StoredPolicy {
    std::string domain;  // the policy domain, A-labels
    std::string id;      // from the TXT record
    std::string text;
    WallTime fetched;
    WallTime expires;         // fetched (or last seen to be current) + max_age, at most a year
    WallTime checked;         // when the TXT record was last seen to carry this id
    std::string fingerprint;  // SHA-256 of the policy host's certificate, hex
    bool operator==(const StoredPolicy&) const = default;
};

/// A version of a domain's policy that was served to us at some time (the journal of versions).
struct PolicyVersion {
    std::string id;
    std::string text;
    std::string fingerprint;
    WallTime first_seen;
    WallTime last_seen;
    bool operator==(const PolicyVersion&) const = default;
};

/// What MTA-STS discovery must remember of a domain besides its policy, so that a restart changes nothing
/// (D-02, STS-27, D-39).
struct StoredDiscovery {
    std::string domain;
    WallTime unknown_since{};  // the TXT record could not be looked up since; the epoch: it could
    std::string failed_id;     // the id whose last GET failed; empty: none
    WallTime failed_at{};
    WallTime mailed{};  // mail for the domain was last looked at
    bool operator==(const StoredDiscovery&) const = default;
};

/// An administrator's override (delivery/overrides decides what it means).
struct StoredOverride {
    std::string scope;   // `example.com`, `.example.com` (the domain's sub-domains too), `mx:mx1.example.net`
    std::string level;   // none, may, encrypt, verify, dane, sts; empty: the override is removed
    std::string reason;  // why, in the administrator's words
    std::string author;
    WallTime set{};
    WallTime expires{};  // the epoch: never
    bool operator==(const StoredOverride&) const = default;
};

enum class SuspensionKind : std::uint8_t { next_hop = 0, sender = 1 };

/// No attempt begins for what an administrator has suspended: a next hop (`example.com`, `.example.com`:
/// those under it), or a sender (as is_sender() takes it).
struct StoredSuspension {
    SuspensionKind kind = SuspensionKind::next_hop;
    std::string scope;
    std::string reason;
    std::string author;
    WallTime set{};
    bool ended = false;  // it is no more
    bool operator==(const StoredSuspension&) const = default;
};

/// Something an administrator should look at, raised by policy or delivery. Those of one kind and subject are
/// merged: the first time and the latest time and text stay, counts add up.
struct StoredAlarm {
    std::string kind;     // policy-vanished, policy-changed-without-id, policy-weakened, …
    std::string subject;  // the domain or host
    std::string text;     // the sentence
    WallTime first{};
    WallTime last{};
    std::uint64_t count = 0;
    bool operator==(const StoredAlarm&) const = default;
};

/// What the sessions with an MX host have shown so far: whether it is news that it has no TLS or no DANE.
struct StoredHost {
    std::string name;
    std::uint64_t tls_sessions = 0;
    WallTime last_tls{};
    WallTime last_clear{};
    WallTime last_dane{};  // when a session was last authenticated by its TLSA records
    bool operator==(const StoredHost&) const = default;
};

/// A message as the index or the running store knows it.
struct StoredRecipient : RecipientProgress {
    QueuedRecipient address;
    ReasonCode reason_code = ReasonCode::none;  // of what blocks its next hop, where that is why it waits
    bool waits_for_hop = false;  // likewise: status, text and next_at are its next hop's, not its own

    explicit StoredRecipient(QueuedRecipient a) : address(std::move(a)) {}
};

struct StoredMessage {
    MessageId id;
    WallTime arrived;
    MessageClass message_class = MessageClass::mail;
    mail::Envelope envelope;  // without recipients
    std::vector<StoredRecipient> recipients;
    Origin origin;
    Body body;  // octets may be null though small: then read_body() fetches them from the journal
    bool held = false;
    bool warned = false;  // its sender was told that it is delayed

    /// The message as it stands right after its accept.
    static StoredMessage of(const NewMessage& message);
};

/// TLS outcomes of one UTC day that are alike in all but their time. outcome.at: of the latest of them.
struct StoredOutcome {
    TlsOutcome outcome;
    std::uint64_t n = 0;
    std::chrono::sys_days day{};  // that it counts in: that of outcome.at, or a later one (ClosedDay)
    bool operator==(const StoredOutcome&) const = default;
};

/// waiting: tried again at next_at; done: every place took it, or those that did not were given up;
/// not_asked: the domain publishes no valid TLSRPT record; given_up: nobody took it in time (RFC 8460 §5.5).
enum class ReportState : std::uint8_t { waiting = 0, done = 1, not_asked = 2, given_up = 3 };
std::string_view name_of(ReportState state);
enum class PlaceState : std::uint8_t { waiting = 0, accepted = 1, given_up = 2 };
std::string_view name_of(PlaceState state);

/// One of the URIs that a TLSRPT record names, and what became of the report there.
struct ReportPlace {
    std::string uri;
    PlaceState state = PlaceState::waiting;
    WallTime at{};     // of the latest attempt
    std::string text;  // what came of it
    bool operator==(const ReportPlace&) const = default;
};

/// How it stands with a domain's TLS report of a day. What it says is made of the day's outcomes, which
/// change no more.
struct StoredReport {
    std::chrono::sys_days day{};  // UTC
    std::string domain;
    std::string id;  // RFC 8460 §4.4 report-id; empty before it was made
    ReportState state = ReportState::waiting;
    WallTime first_tried{};
    WallTime at{};  // of the latest attempt
    WallTime next_at{};
    std::uint32_t tries = 0;
    std::uint32_t resent = 0;  // how often an administrator had it sent once more
    std::string text;          // why it is not done
    std::uint64_t good = 0;    // sessions, of all policies
    std::uint64_t failed = 0;
    std::vector<ReportPlace> places;
    bool operator==(const StoredReport&) const = default;
};

/// The counters of that day and of those before it change no more: what is heard of later counts in the day
/// after.
struct ClosedDay {
    std::chrono::sys_days day{};  // UTC
};

/// How far reporting has come.
struct ReportingState {
    struct Unreported {
        std::chrono::sys_days day;
        std::string domain;
        WallTime next_at{};  // of a report that was tried before
    };
    std::chrono::sys_days closed{};  // the newest day that is; 1970-01-01: none yet
    std::vector<Unreported>
        unreported;  // days and domains with outcomes and without a report that is finished
};

/// One entry of a message's or a next hop's history. The details hold no outcomes: those are counted.
struct HistoryEntry {
    WallTime at;
    std::uint64_t sequence = 0;  // of its record in the journal
    std::variant<DeliveryResult, HopState, Act> what;
};

/// What is remembered of messages, those that are gone too.
struct History {
    std::vector<StoredMessage> messages;  // oldest first; each recipient as its last entry left it
    std::vector<HistoryEntry> entries;    // in time order
};

}  // namespace sternpost::store
