// Next hop to MX hosts and their addresses (RFC 5321 §5.1, RFC 7505).
#pragma once

#include <boost/asio/awaitable.hpp>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "delivery/requirement.h"
#include "dns/gate.h"
#include "dns/resolver.h"
#include "queue/work.h"
#include "util/random.h"

namespace sternpost::delivery {

namespace asio = boost::asio;

struct HostOptions {
    bool ipv4 = true;
    bool ipv6 = true;
    std::set<std::string> own_names;  // lower-case: an MX record that names one of them is ourselves
    dns::Gate gate;                   // where a connection may go
    std::size_t max_hosts = 20;       // MX hosts used of an answer, the best first
    std::size_t max_addresses = 16;   // used of one host, of each family
};

/// One host to try.
struct Candidate {
    std::optional<dns::MxHost> host;  // none: an address literal
    std::uint16_t preference = 0;
    std::vector<dns::Address> addresses;  // known beforehand only for a literal
    std::string text() const;
};

/// Where mail for a domain goes.
struct Hosts {
    std::vector<Candidate> candidates;  // in the order to try them
    bool secure = false;    // DNSSEC vouches for the MX RRset, or for that there is none (RFC 7672 §2.2.1)
    std::string canonical;  // the domain at the end of its CNAMEs (RFC 7672 §3.2.2)
    bool implicit = false;  // no MX record: the domain is its own host
    std::size_t left_out = 0;  // MX hosts beyond max_hosts
};

/// Why there is nowhere to go.
struct NoHosts {
    queue::HopFailure hop_failure;
    bool secure = false;  // DNSSEC vouches for the answer, or none was needed
};

/// The hosts for `next_hop` in the order to try them: by preference, shuffled among equals; ourselves and
/// what is worse than us left out. An error says whether it is for ever (no such domain, null MX, a loop) or
/// may pass.
asio::awaitable<tl::expected<Hosts, NoHosts>> find_hosts(const HostOptions& options, dns::Resolver& resolver,
                                                         Random& random, std::string next_hop);

struct Addresses {
    std::vector<dns::Address> usable;  // families alternating, IPv6 first, each in the resolver's order
    bool ourselves = false;            // one of them is ours
    std::string trouble;               // why none is there, or why the list may not be complete
    bool temporary = false;            // trouble may pass
    bool secure = false;    // DNSSEC vouches for every address that was found, and for the CNAMEs on the way
    std::string canonical;  // the name at the end of the CNAMEs; the host's own where there are none
};

/// Those of the host's addresses that may be dialled at `port`.
asio::awaitable<Addresses> find_addresses(const HostOptions& options, dns::Resolver& resolver,
                                          dns::MxHost host, std::uint16_t port);

/// The same for addresses that no look-up gives: a literal, or a route's.
Addresses known_addresses(const HostOptions& options, const std::vector<dns::Address>& addresses,
                          std::uint16_t port, dns::Chooser chooser);

/// The TLSA records for the host's `port`, by the rules of RFC 7672 §2.2.2: asked for only under a secure
/// address chain, at the end of its CNAMEs first and then at the name itself; a failed look-up is never
/// "none". Fills in state, policy_domain, records, trouble, and a reference with the base domain alone as its
/// name.
asio::awaitable<DaneDemand> find_tlsa(dns::Resolver& resolver, dns::MxHost host, Addresses addresses,
                                      std::uint16_t port);

}  // namespace sternpost::delivery
