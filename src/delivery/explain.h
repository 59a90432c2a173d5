// Everything that delivery would go by for a domain now, as values and as sentences: the same look-ups and
// the same decision (plan, requirement). With a probe: what its hosts show.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <optional>
#include <string>
#include <vector>

#include "delivery/attempt.h"
#include "delivery/protection.h"

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
    protected_,     // each host that may get the mail must prove who it is, and nobody can put another one in
                    // its place
    opportunistic,  // mail can go, and somebody on the way may read or redirect it: `unprotected` says how
    held,           // what is demanded rules every host out
    suspended,      // mail could go, and an administrator has suspended the next hop
    failing,        // mail could go by what is published, and every attempt fails
    no_mail,        // for ever: no such domain, null MX, no address …
    unanswered,     // look-ups failed, or no host could be reached: nobody can say now
};
std::string_view name_of(Outlook outlook);

/// What the queue knows of the domain's next hop: how delivery fared so far.
struct QueueSays {
    std::optional<store::StoredSuspension> suspension;  // that is in force for it
    std::optional<store::HopState> failing;             // since its last attempt
    std::optional<WallTime> failing_since;  // the first failure in a row, as far back as the history goes
};

struct Explanation {
    std::string domain;  // as asked
    QueueSays queue;
    Outlook outlook = Outlook::opportunistic;
    HopPlan plan;
    std::optional<queue::HopFate> trouble;  // no hosts: why
    std::vector<ExplainedHost> hosts;
    std::string unprotected;  // which host is not protected, and why; empty where all are
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
