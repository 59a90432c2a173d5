// What is known and demanded before a connection is made: route, hosts, policies, and the requirement of each
// host. Delivery acts on it, `explain` shows it: the same look-ups, the same requirement.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <optional>
#include <string>
#include <vector>

#include "delivery/hosts.h"
#include "delivery/override.h"
#include "delivery/requirement.h"
#include "delivery/route.h"
#include "store/hop_group.h"
#include "sts/lookup.h"
#include "util/clock.h"

namespace sternpost::delivery {

struct PolicyOptions {
    HostOptions hosts;
    std::uint16_t smtp_port = 25;
    std::vector<Route> routes;
    bool dane = true;                // use TLSA records
    bool require_both = false;       // DANE and MTA-STS where a domain has both (D-08)
    bool opportunistic_tls = true;   // STARTTLS where it is offered though nothing demands it
    bool fall_back_to_clear = true;  // clear text after TLS that failed, where nothing forbids it (TLS-13)
    bool honour_tls_required_no = true;  // RFC 8689 §3
};

/// A next hop, looked up.
struct HopPlan {
    store::HopGroup hop;
    std::optional<Route> route;
    std::string domain;  // whose MX records and policies count: the next hop, or the route's domain
    Hosts hosts;
    std::optional<sts::Lookup> sts;  // not for literals, and not for a route to a host

    /// An enforced policy stands, and DNSSEC does not vouch for where mail goes: a forged "there is nowhere"
    /// must not make a bounce of what the policy protects.
    bool doubts_dns() const;
};

/// One of its hosts, looked up.
struct HostPlan {
    Candidate candidate;
    Requirement requirement;
    Addresses addresses;
    std::uint16_t port = 25;
    bool by_route = false;  // the configuration names its address
    Verdict verdict;        // of what is known before a connection
};

/// Lives on the control thread.
class Planner {
  public:
    Planner(PolicyOptions options, dns::Resolver& resolver, sts::Lookups& lookups, Overrides& overrides,
            const Clock& clock, Random& random);

    /// Awaits DNS, and HTTPS for a policy not known yet. The error says what stands in the way, and whether
    /// for ever.
    asio::awaitable<tl::expected<HopPlan, queue::HopFailure>> look_up(store::HopGroup hop);
    /// The host's own look-ups, and what follows from them.
    asio::awaitable<HostPlan> look_up(const HopPlan& plan, Candidate candidate);
    /// What is demanded of the host by what is known without asking for it: its name, policies, overrides.
    Requirement requirement_of(const HopPlan& plan, const Candidate& candidate) const;
    const PolicyOptions& options() const { return options_; }

  private:
    asio::awaitable<tl::expected<Hosts, NoHosts>> hosts_of(HopPlan& plan);

    PolicyOptions options_;
    dns::Resolver& resolver_;
    sts::Lookups& lookups_;
    Overrides& overrides_;
    const Clock& clock_;
    Random& random_;
};

}  // namespace sternpost::delivery
