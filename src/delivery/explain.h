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
    std::optional<WallTime> next_refresh;  // of the cached policy
};

/// Awaits DNS, HTTPS for a policy not known yet, and with `probe` a session with each host, at most five:
/// EHLO, STARTTLS, EHLO, QUIT.
asio::awaitable<Explanation> explain(Delivery& delivery, dns::Resolver& resolver, const Clock& clock,
                                     std::string domain, bool probe);

/// For people, line by line.
std::vector<std::string> lines_of(const Explanation& explanation);

}  // namespace sternpost::delivery
