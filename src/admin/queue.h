// The queue as administrators see it: messages, next hops and suspensions.
#pragma once

#include <boost/describe/class.hpp>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "admin/reading.h"

namespace sternpost::admin {

// ---- messages

struct RecipientRow {
    std::string path;
    std::string next_hop;
    store::RecipientState state = store::RecipientState::queued;
    bool active = false;                        // an attempt is under way, or begins at once
    std::optional<WallTime> next_at;            // of one that waits
    std::optional<queue::Obstacle> blocked_by;  // of one that waits
    std::optional<std::string> blocks;          // of one that waits: a sentence
    std::uint32_t tries = 0;
    std::string status;  // what the next hop said last stands before what the recipient's own attempt met
    std::string reason;
};
BOOST_DESCRIBE_STRUCT(RecipientRow, (),
                      (path, next_hop, state, active, next_at, blocked_by, blocks, tries, status, reason))

struct OriginRow {
    std::string address;
    std::string helo;
    std::string with;
    std::optional<std::uint32_t> uid;
};
BOOST_DESCRIBE_STRUCT(OriginRow, (), (address, helo, with, uid))

struct MessageRow {
    std::string id;
    WallTime arrived{};
    std::uint64_t size = 0;  // octets
    std::string class_;      // mail, notice, report
    std::string reverse_path;
    bool held = false;
    bool requiretls = false;
    bool tls_required_no = false;
    bool smtputf8 = false;
    OriginRow origin;
    std::vector<RecipientRow> recipients;
};
BOOST_DESCRIBE_STRUCT(MessageRow, (),
                      (id, arrived, size, class_, reverse_path, held, requiretls, tls_required_no, smtputf8,
                       origin, recipients))

/// `blocked`: what is in the way of each recipient.
MessageRow row_of(const store::StoredMessage& message, const std::vector<queue::Blocked>& blocked);

struct Totals {
    std::uint64_t messages = 0;
    std::uint64_t recipients = 0;  // that wait
    std::uint64_t octets = 0;
    std::optional<WallTime> oldest;
};
BOOST_DESCRIBE_STRUCT(Totals, (), (messages, recipients, octets, oldest))
Totals totals_of(const store::QueueTotals& totals);

/// Which messages are meant: all of these hold.
struct Selection {
    std::vector<std::string> ids;  // queue ids; empty: any
    std::string domain;            // the next hop of a recipient that waits
    std::string sender;            // a form of store/sender_scope
    std::string reason;            // a part of a reason, its code or its status
    std::string recipient;         // a part of the address of a recipient that waits
    std::string from;              // a part of the reverse-path
    std::optional<WallTime> arrived_before;
    std::uint64_t larger = 0;  // with more octets than that
    bool held = false;         // only what is on hold
    std::uint64_t limit = 1000;
};
BOOST_DESCRIBE_STRUCT(Selection, (),
                      (ids, domain, sender, reason, recipient, from, arrived_before, larger, held, limit))
/// The same as the store takes it. The error is for people.
Expected<store::QueueFilter, ExitCode> filter_of(const Selection& selection);

struct Listing {
    std::vector<MessageRow> messages;
    Totals totals;    // of the whole queue
    Totals selected;  // of what is listed
    bool more = false;
};
BOOST_DESCRIBE_STRUCT(Listing, (), (messages, totals, selected, more))

class QueueList : public ReadingVerb {
  public:
    using Request = Selection;
    using Value = Listing;
    using Row = MessageRow;
    static constexpr std::string_view name = "queue.list";
    static constexpr std::string_view pieces = "messages";
    static constexpr Access access = Access::read;

    QueueList(const Request& request, const Caller& caller, Paging paging);
    store::Result<void> read(store::Questions& questions);
    void look(const Live& live);
    std::vector<Row>& rows() { return listing_.messages; }
    Answer<Value> answer(const Live&) { return std::move(listing_); }

  private:
    Paging paging_;
    store::QueueFilter filter_;
    std::size_t left_ = 0;
    std::size_t recipients_ = 0;
    std::vector<store::StoredMessage> found_;
    store::QueueTotals selected_;
    Listing listing_;
};

struct IdRequest {
    std::string id;
};
BOOST_DESCRIBE_STRUCT(IdRequest, (), (id))

class QueueShow : public ReadingVerb {
  public:
    using Request = IdRequest;
    using Value = MessageRow;
    static constexpr std::string_view name = "queue.show";
    static constexpr Access access = Access::read;

    QueueShow(Request request, const Caller&, Paging) : request_(std::move(request)) {}
    store::Result<void> read(store::Questions& questions);
    Answer<Value> answer(const Live& live);

  private:
    Request request_;
    std::vector<store::StoredMessage> found_;
};

// ---- next hops

struct HopRow {
    std::string name;
    std::uint64_t recipients = 0;  // that wait
    std::uint32_t connections = 0;
    std::uint32_t failures = 0;       // in a row
    std::optional<WallTime> next_at;  // where it fails
    bool suspended = false;
    std::string status;
    std::string reason;
    queue::Obstacle blocked_by = queue::Obstacle::none;  // of mail that comes now
    std::string blocks;                                  // a sentence
};
BOOST_DESCRIBE_STRUCT(HopRow, (),
                      (name, recipients, connections, failures, next_at, suspended, status, reason,
                       blocked_by, blocks))
/// Where memory knows a next hop, it knows better than the store.
HopRow row_of(const store::HopLoad& stored, const Live& live);

struct LimitRequest {
    std::uint64_t limit = 1000;
};
BOOST_DESCRIBE_STRUCT(LimitRequest, (), (limit))

/// Next hops that mail waits for, or that fail: the longest lines first.
class QueueHops : public ReadingVerb {
  public:
    using Request = LimitRequest;
    using Value = std::vector<HopRow>;
    using Row = HopRow;
    static constexpr std::string_view name = "queue.hops";
    static constexpr std::string_view pieces = "items";
    static constexpr Access access = Access::read;

    QueueHops(const Request& request, const Caller& caller, Paging paging);
    store::Result<void> read(store::Questions& questions);
    void look(const Live& live);
    std::vector<Row>& rows() { return rows_; }
    Answer<Value> answer(const Live& live);

  private:
    Paging paging_;
    std::size_t limit_;
    std::size_t left_;
    store::HopFilter filter_;
    std::vector<store::HopLoad> found_;
    bool cut_off_ = false;  // the store has others
    std::optional<std::set<std::string>> in_use_;
    std::vector<HopRow> rows_;
};

// ---- suspensions

struct SuspensionRow {
    std::string kind;  // sender, next-hop
    std::string scope;
    std::string reason;
    std::string author;
    WallTime set{};
};
BOOST_DESCRIBE_STRUCT(SuspensionRow, (), (kind, scope, reason, author, set))
SuspensionRow row_of(const store::StoredSuspension& suspension);
std::vector<SuspensionRow> rows_of(const std::vector<store::StoredSuspension>& suspensions);

class QueueSuspended : public ReadingVerb {
  public:
    using Request = NoRequest;
    using Value = std::vector<SuspensionRow>;
    static constexpr std::string_view name = "queue.suspended";
    static constexpr Access access = Access::read;

    QueueSuspended(Request, const Caller&, Paging) {}
    store::Result<void> read(store::Questions&) { return {}; }
    Answer<Value> answer(const Live& live) { return rows_of(live.suspensions()); }
};

// ---- what an administrator does

struct ActionRequest : Selection {
    std::string to;        // reroute: the domain whose MX hosts get it, or an address literal
    bool quiet = false;    // that nothing matches is no failure
    bool dry_run = false;  // nothing is done: what it would be done to is counted
};
BOOST_DESCRIBE_STRUCT(ActionRequest, (Selection), (to, quiet, dry_run))

struct ActionRow {
    std::uint64_t messages = 0;
    std::uint64_t recipients = 0;
    std::uint64_t active = 0;            // further recipients, which are in an attempt
    std::uint64_t held = 0;              // further messages, which a retry leaves alone
    std::uint64_t sender_suspended = 0;  // further messages, which stay on hold
    bool results_wait = false;           // nothing is sent now, since no result can be kept
    std::uint64_t suspended = 0;         // of the recipients: those whose next hop is suspended
    bool dry_run = false;                // nothing was done
};
BOOST_DESCRIBE_STRUCT(ActionRow, (),
                      (messages, recipients, active, held, sender_suspended, results_wait, suspended,
                       dry_run))

struct SuspendRequest {
    std::string domain;  // a next hop; `.example.com`: those under it
    std::string sender;  // a form of store/sender_scope
    std::string reason;
};
BOOST_DESCRIBE_STRUCT(SuspendRequest, (), (domain, sender, reason))

struct SuspensionDone : SuspensionRow {
    std::uint64_t messages = 0;               // of a sender: put on hold, or released
    std::optional<std::uint64_t> recipients;  // of a next hop: that wait for it
};
BOOST_DESCRIBE_STRUCT(SuspensionDone, (SuspensionRow), (messages, recipients))

/// A domain, or an address literal, as a recipient's next hop; empty: neither.
std::string next_hop_of(const std::string& text);
/// Why a sender cannot be understood.
Refusal unknown_sender(const std::string& text);

}  // namespace sternpost::admin
