#include "delivery/plan.h"

#include <algorithm>

#include "delivery/outcome_hop.h"

namespace sternpost::delivery {

Planner::Planner(PolicyOptions options, dns::Resolver& resolver, sts::Lookups& lookups, Overrides& overrides,
                 const Clock& clock, Random& random)
    : options_(std::move(options)),
      resolver_(resolver),
      lookups_(lookups),
      overrides_(overrides),
      clock_(clock),
      random_(random) {}

bool HopPlan::doubts_dns() const {
    return !hosts.secure && sts && sts->policy && sts->policy->mode == sts::Mode::enforce;
}

asio::awaitable<tl::expected<Hosts, NoHosts>> Planner::hosts_of(HopPlan& plan) {
    if (plan.route && !plan.route->mx_of) {
        Hosts only;
        Candidate candidate;
        candidate.host = plan.route->host;
        if (plan.route->address) candidate.addresses.push_back(*plan.route->address);
        only.candidates.push_back(std::move(candidate));
        co_return only;
    }
    co_return co_await find_hosts(options_.hosts, resolver_, random_, plan.domain);
}

asio::awaitable<tl::expected<HopPlan, queue::HopFailure>> Planner::look_up(store::HopGroup hop) {
    HopPlan plan;
    plan.hop = std::move(hop);
    plan.domain = plan.hop.next_hop;
    if (const Route* route = route_of(options_.routes, plan.domain)) {
        plan.route = *route;
        if (route->mx_of) plan.domain = route->mx_of->text();
    }
    auto hosts = co_await hosts_of(plan);
    const bool to_host = plan.route && !plan.route->mx_of;
    auto domain = dns::Domain::parse(plan.domain);
    if (hosts) {
        plan.hosts = std::move(*hosts);
    } else if (!hosts.error().hop_failure.permanent || hosts.error().secure || !domain) {
        co_return tl::unexpected<queue::HopFailure>(std::move(hosts.error().hop_failure));
    }
    if (!to_host && domain && (!hosts || plan.hosts.candidates.front().host)) {  // STS-54, STS-55
        auto found = co_await lookups_.find(dns::PolicyDomain(std::move(*domain)));
        plan.sts = std::move(found);
    }
    if (!hosts) {
        queue::HopFailure hop_failure = std::move(hosts.error().hop_failure);
        if (plan.doubts_dns()) hop_failure = doubted(plan, std::move(hop_failure));
        co_return tl::unexpected<queue::HopFailure>(std::move(hop_failure));
    }
    co_return plan;
}

Requirement Planner::requirement_of(const HopPlan& plan, const Candidate& candidate) const {
    Requirement out;
    out.domain = plan.domain;
    out.host = candidate.host;
    const bool to_host = plan.route && !plan.route->mx_of;
    out.name_trust = to_host             ? NameTrust::configured
                     : plan.hosts.secure ? NameTrust::dnssec
                                         : NameTrust::insecure;
    if (plan.sts && plan.sts->policy)
        if (auto domain = dns::Domain::parse(plan.domain)) {
            StsDemand demand{dns::PolicyDomain(std::move(*domain)), *plan.sts->policy, plan.sts->id,
                             plan.sts->text};
            out.sts = std::move(demand);
        }
    out.override_ = overrides_.in_force(plan.hop.next_hop, candidate.host, clock_.wall());
    if (plan.route) out.route_level = plan.route->level;
    out.requiretls = plan.hop.tls_mode == store::TlsMode::requiretls;
    out.tls_optional = plan.hop.tls_mode == store::TlsMode::tls_optional && options_.honour_tls_required_no;
    out.opportunistic_tls = options_.opportunistic_tls;
    out.fall_back_to_clear = options_.fall_back_to_clear;
    out.require_both = options_.require_both;
    return out;
}

asio::awaitable<HostPlan> Planner::look_up(const HopPlan& plan, Candidate candidate) {
    HostPlan out;
    out.candidate = std::move(candidate);
    out.port = plan.route && plan.route->port != 0 ? plan.route->port : options_.smtp_port;
    out.requirement = requirement_of(plan, out.candidate);
    out.verdict = decide(out.requirement, Observation::of_name());
    if (!out.candidate.host) {
        out.by_route = plan.route && !plan.route->mx_of;
        out.addresses = known_addresses(options_.hosts, out.candidate.addresses, out.port,
                                        out.by_route ? dns::Chooser::administrator : dns::Chooser::stranger);
        co_return out;
    }
    // Ruled out by its name. TLSA records, not looked up yet, could speak for it: where DANE is demanded, and
    // where the MX RRset is secure.
    const bool may_change =
        options_.dane && (plan.hosts.secure || out.verdict.reason_code == store::ReasonCode::dane_required);
    if (!out.verdict.go && !may_change) co_return out;
    out.addresses = co_await find_addresses(options_.hosts, resolver_, *out.candidate.host, out.port);
    if (out.addresses.usable.empty()) co_return out;
    const bool to_host = plan.route && !plan.route->mx_of;
    const bool wanted = !to_host || plan.route->level == TlsLevel::dane ||
                        (out.requirement.override_ && out.requirement.override_->level == TlsLevel::dane);
    if (options_.dane && wanted) {
        out.requirement.dane = co_await find_tlsa(resolver_, *out.candidate.host, out.addresses, out.port);
        if (auto& reference = out.requirement.dane.reference; reference && plan.hosts.secure) {
            // RFC 7672 §3.2.2: with a secure MX RRset the domain that the mail is for may stand in the
            // certificate too.
            for (const std::string& name : {plan.domain, plan.hosts.canonical})
                if (auto domain = dns::Domain::parse(name);
                    domain && std::find(reference->names.begin(), reference->names.end(), *domain) ==
                                  reference->names.end())
                    reference->names.push_back(std::move(*domain));
        }
        out.verdict = decide(out.requirement, Observation::of_name());
    }
    co_return out;
}

}  // namespace sternpost::delivery
