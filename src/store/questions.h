// What a store can be asked: filters, and the questions themselves.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "store/admin.h"
#include "store/errc.h"
#include "store/history.h"
#include "store/kept.h"
#include "store/mail_counts.h"
#include "store/message.h"
#include "store/policy.h"
#include "store/report.h"
#include "store/results.h"
#include "util/task_queue.h"

namespace sternpost::store {

/// Where relays share a store: what is this one's, or everybody's.
enum class Whose { ours, all };

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
    std::optional<WallTime> arrived_before{};  // nullopt: whenever they did
    std::uint64_t larger = 0;                  // with more octets than that
    bool held = false;                         // only those on hold
    bool unwarned = false;                     // only those whose sender has heard of no delay
    std::size_t recipients =
        SIZE_MAX;  // no further message once those found have so many: a page of bounded memory
    std::size_t limit = 1000;
    Whose whose = Whose::ours;
};

/// Whether `reason` is why the recipient waits: a part of the text, the status or the reason code; empty:
/// any.
bool waits_for(const StoredRecipient& recipient, std::string_view reason);
/// Whether the recipient is one of those that the filter means, of a message that it means.
bool matches(const QueueFilter& filter, const StoredRecipient& recipient);
bool matches(const QueueFilter& filter, const StoredMessage& message);

/// As many of the first messages as the limits of the filter allow, one at least.
void cut_to(const QueueFilter& filter, std::vector<StoredMessage>& messages);

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
    bool asked_for = false;  // without those that no one asks for
    std::size_t limit = 100'000;
};
bool matches(const ReportFilter& filter, const StoredReport& report);

/// Which history a question is about: one message (`id`), a next hop, a name, or everything. With `id`, what
/// became of its next hops while it waited is part of the answer.
struct HistoryFilter {
    std::string id;                 // queue id; empty: any
    std::string next_hop;           // empty: any
    std::string name;               // an address, or a Message-ID without its brackets; empty: any
    std::optional<NameOf> name_of;  // what it must be the name of; nullopt: any of them
    WallTime from{};
    WallTime to = WallTime::max();
    std::size_t limit = 1000;        // the newest so many messages
    std::size_t entry_limit = 1000;  // the newest so many entries
};
bool has_name(const StoredMessage& message, const HistoryFilter& filter);

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
    std::vector<std::string>
        names;                 // groups (store/hop_group); empty: all that something waits for, or that fail
    std::size_t limit = 1000;  // the longest lines first; of lines that are as long, by name
    std::optional<HopKey> after{};
    Whose whose = Whose::ours;
};

/// Each question is answered from one snapshot of the store. Used on one thread at a time. Errors: busy,
/// damaged, io.
class Questions {
  public:
    virtual ~Questions() = default;

    // ---- the queue
    /// Unfinished messages in id order. Where a recipient waits for its next hop longer than for itself,
    /// status, text, reason code and next_at are the next hop's.
    virtual Result<std::vector<StoredMessage>> find(const QueueFilter& filter) = 0;
    virtual Result<QueueTotals> totals() = 0;
    virtual Result<std::vector<HopLoad>> hops(const HopFilter& filter) = 0;

    // ---- MTA-STS policies
    virtual Result<std::vector<StoredPolicy>> policies() = 0;
    /// The versions of a domain's policy, the one seen first in front (D-39: at most 20).
    virtual Result<std::vector<PolicyVersion>> versions(const std::string& domain) = 0;

    // ---- what is read with all others of its kind (kept.h, Keyed)
    /// Gives each one to `take`, by key.
    virtual Result<void> each_kept(RecordType type, const std::function<void(Kept)>& take) = 0;
    template <Keyed Value>
    Result<std::vector<Value>> all() {
        std::vector<Value> out;
        const auto done = each_kept(Description<Value>::record, [&out](Kept one) {
            if (auto* value = std::get_if<Value>(&one)) out.push_back(std::move(*value));
        });
        if (!done) return fail(done.error());
        return out;
    }

    // ---- what deliveries showed
    virtual Result<std::vector<StoredHost>> hosts_seen() = 0;  // MX hosts, by name
    virtual Result<std::vector<StoredOutcome>> outcomes(
        const OutcomeFilter& filter) = 0;  // by day and domain
    virtual Result<History> history(const HistoryFilter& filter) = 0;
    virtual Result<std::vector<MailCount>> mail_counts(const MailCountFilter& filter) = 0;

    // ---- TLS reports
    virtual Result<std::vector<StoredReport>> reports(const ReportFilter& filter) = 0;  // by day and domain
    /// Days before `from` are passed over.
    virtual Result<ReportingState> reporting(std::chrono::sys_days from) = 0;
};

/// Called once, on a thread of the store's, with the questions or with why there is no answer: closed, or
/// busy.
using Question = Completion<Result<Questions*>>;

}  // namespace sternpost::store
