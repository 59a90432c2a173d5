// A policy over HTTPS (RFC 8461 §3.3): addresses from our resolver, one GET, every rule on what counts as a
// policy.
#pragma once

#include <boost/asio/awaitable.hpp>

#include "dns/gate.h"
#include "dns/resolver.h"
#include "sts/policy.h"
#include "util/https.h"

namespace sternpost::sts {

namespace asio = boost::asio;

struct FetchOptions {
    std::chrono::milliseconds timeout{60000};  // RFC 8461 §3.3 suggests a minute
    std::size_t max_size = 65536;              // and 64 KB
    std::uint16_t port = 443;
    dns::Gate gate;                        // where a connection may go
    bool allow_special_addresses = false;  // policy hosts on loopback and private networks: the lab
    bool ipv4 = true;
    bool ipv6 = true;
};

/// What the policy host serves, whether it is a policy or not.
struct Served {
    std::string text;                         // verbatim
    std::string fingerprint;                  // SHA-256 of the policy host's certificate, hex
    std::optional<std::string> content_type;  // as sent; nullopt: the field was missing
};

struct Fetched {
    Policy policy;
    std::string text;                         // verbatim
    std::string fingerprint;                  // SHA-256 of the policy host's certificate, hex
    std::optional<std::string> content_type;  // as sent; nullopt: the field was missing (D-03)
};

/// Fetches https://mta-sts.<domain>/.well-known/mta-sts.txt. Awaits DNS and HTTPS, `timeout` at most for the
/// latter.
asio::awaitable<Result<Fetched>> fetch(const FetchOptions& options, dns::Resolver& resolver,
                                       util::Https& https, dns::PolicyDomain domain);

/// The same without a judgement of what came: for those who are to mend it.
asio::awaitable<Result<Served>> fetch_text(const FetchOptions& options, dns::Resolver& resolver,
                                           util::Https& https, dns::PolicyDomain domain);

}  // namespace sternpost::sts
