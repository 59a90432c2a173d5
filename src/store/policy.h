// What is remembered of domains that publish a policy, and of MX hosts.
#pragma once

#include <cstdint>
#include <string>

#include "util/clock.h"

namespace sternpost::store {

/// One fetched MTA-STS policy, as kept (RFC 8461 §3.3). The text is what the policy host served, octet for
/// octet.
struct StoredPolicy {
    std::string domain;  // the policy domain, A-labels
    std::string id;      // from the TXT record
    std::string text;
    WallTime fetched;
    WallTime expires;         // fetched (or last seen to be current) + max_age, at most a year
    WallTime checked;         // when the TXT record was last seen to carry this id
    std::string fingerprint;  // SHA-256 of the policy host's certificate, hex
    bool operator==(const StoredPolicy&) const = default;
};

/// A version of a domain's policy that was served to us at some time (the journal of versions).
struct PolicyVersion {
    std::string id;
    std::string text;
    std::string fingerprint;
    WallTime first_seen;
    WallTime last_seen;
    bool operator==(const PolicyVersion&) const = default;
};

/// What MTA-STS discovery must remember of a domain besides its policy, so that a restart changes nothing
/// (D-02, STS-27, D-39).
struct StoredDiscovery {
    std::string domain;
    WallTime unknown_since{};  // the TXT record could not be looked up since; the epoch: it could
    std::string failed_id;     // the id whose last GET failed; empty: none
    WallTime failed_at{};
    WallTime mailed{};  // mail for the domain was last looked at
    bool operator==(const StoredDiscovery&) const = default;
};

/// What the sessions with an MX host have shown so far: whether it is news that it has no TLS or no DANE.
struct StoredHost {
    std::string name;
    std::uint64_t tls_sessions = 0;
    WallTime last_tls{};
    WallTime last_clear{};
    WallTime last_dane{};  // when a session was last authenticated by its TLSA records
    bool operator==(const StoredHost&) const = default;
};

}  // namespace sternpost::store
