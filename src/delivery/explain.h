// Everything that delivery would go by for a domain now, as values and as sentences: the same look-ups and
// the same decision (plan, requirement). With a probe: what its hosts show.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <optional>
#include <string>
#include <vector>

#include "delivery/attempt.h"
#include "delivery/protection.h"
#include "queue/obstacle.h"

namespace sternpost::delivery {

struct ExplainedHost {
    HostPlan plan;
    bool probed = false;
    dns::Address address = dns::Address::v4({0, 0, 0, 0});  // that was probed
    Verdict verdict;                                        // of the probe; else of what is known by name
    std::optional<smtp::Opened> opened;
    std::optional<smtp::Failure> failure;
};

/// What a domain publishes of MTA-STS now, past the cache of policies.
struct PublishedSts {
    std::string name;                   // where the record is asked for
    std::string alias;                  // where its CNAMEs lead; empty: it has none
    std::vector<std::string> records;   // TXT, each with its strings joined, at most 10
    std::string records_problem;        // why they could not be had
    std::optional<std::string> policy;  // the body; only looked at with a probe
    std::string policy_problem;         // why it could not be had
};

enum class Outlook {
    protected_,     // each host that may get the mail must prove who it is, and no one can put another one in
                    // its place
    opportunistic,  // mail can go, and an attacker on the path may read or redirect it: `unprotected` says
                    // how
    held,           // what is demanded rules every host out
    suspended,      // mail could go, and an administrator has suspended the next hop
    failing,        // mail could go by what is published, and every attempt fails
    no_mail,        // for ever: no such domain, null MX, no address …
    unanswered,     // look-ups failed, or no host could be reached: no one can say now
};
std::string_view name_of(Outlook outlook);

/// How the attempts to deliver to a next hop went since one last succeeded.
struct FailedAttempts {
    std::size_t attempts = 0;  // in a row, as far back as the history goes
    std::optional<WallTime> since;
    WallTime last{};
    std::optional<WallTime> next_at;    // of what waits, the first
    std::optional<WallTime> delivered;  // a recipient's mail was taken there, last
    std::string status;                 // of the last one
    std::string text;
    bool of_hop = false;        // the next hop itself fails: all mail for it waits
    bool of_mailboxes = false;  // each of them failed by a status that speaks of one mailbox alone (4.2.x)
    /// Nothing says that other mail would fare better.
    bool all() const { return of_hop || !(of_mailboxes && delivered); }
};

/// Facts of the queue and the history about a next hop.
struct QueueFacts {
    std::string hop;
    queue::Blocked blocked;                                    // of mail that comes now
    std::optional<store::StoredSuspension> suspension;         // that is in force for it
    std::vector<store::StoredMessage> waiting;                 // some of its mail
    bool more_waits = false;                                   // there may be more than these
    std::vector<std::vector<queue::Blocked>> waiting_blocked;  // of these, by recipient
    std::vector<store::HistoryEntry> history;                  // of the hop and of its mail, in time order
};

/// What a history says of the next hop and of its mail. Mail with another TLS mode goes to a group of its
/// own (store/hop_group): how it fared says nothing of the others.
std::vector<store::HistoryEntry> history_of_hop(store::History history, const std::string& hop);

/// What the queue knows of the domain's next hop: how delivery fared so far.
struct QueueSays {
    queue::Blocked blocked;                             // what stands in the way of mail that comes now
    std::optional<store::StoredSuspension> suspension;  // that is in force for it
    std::optional<FailedAttempts> failing;

    static QueueSays of(const QueueFacts& facts);
};

struct Explanation {
    std::string domain;  // as asked
    QueueSays queue;
    Outlook outlook = Outlook::opportunistic;
    HopPlan plan;
    std::optional<queue::HopFailure> trouble;  // no hosts: why
    std::vector<ExplainedHost> hosts;
    std::string unprotected;          // which host is not protected, and why; empty where all are
    bool protection_unknown = false;  // that host's protection is unknown now; all others are protected
    bool resolver_trusted = false;
    WallTime now{};
    std::optional<PublishedSts> published;  // where a policy is looked up at all
};

/// Awaits DNS, HTTPS for a policy not known yet, and with `probe` a session with each host, at most five:
/// EHLO, STARTTLS, EHLO, QUIT.
asio::awaitable<Explanation> explain(Delivery& delivery, dns::Resolver& resolver, const Clock& clock,
                                     std::string domain, bool probe, QueueSays queue);

/// For people, line by line.
std::vector<std::string> lines_of(const Explanation& explanation);

}  // namespace sternpost::delivery
