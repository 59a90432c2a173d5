// Everything that delivery would go by for a domain now, as values and as sentences: the same look-ups and
// the same decision (plan, requirement). With a probe: what its hosts show.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <optional>
#include <string>
#include <vector>

#include "delivery/attempt.h"

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
    protected_,     // at least one host may have the mail, and a policy says who it is
    opportunistic,  // mail can go, and nothing protects it from somebody on the way
    held,           // what is demanded rules every host out
    no_mail,        // for ever: no such domain, null MX, no address …
    unanswered,     // look-ups failed, or no host could be reached: nobody can say now
};
std::string_view name_of(Outlook outlook);

struct Explanation {
    std::string domain;  // as asked
    Outlook outlook = Outlook::opportunistic;
    HopPlan plan;
    std::optional<queue::HopFate> trouble;  // no hosts: why
    std::vector<ExplainedHost> hosts;
    bool resolver_trusted = false;
    WallTime now{};
    std::optional<PublishedSts> published;  // where a policy is looked up at all
};

/// Awaits DNS, HTTPS for a policy not known yet, and with `probe` a session with each host, at most five:
/// EHLO, STARTTLS, EHLO, QUIT.
asio::awaitable<Explanation> explain(Delivery& delivery, dns::Resolver& resolver, const Clock& clock,
                                     std::string domain, bool probe);

/// For people, line by line.
std::vector<std::string> lines_of(const Explanation& explanation);

}  // namespace sternpost::delivery
