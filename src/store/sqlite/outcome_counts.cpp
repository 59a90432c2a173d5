#include "store/sqlite/outcome_counts.h"

#include <algorithm>
#include <set>
#include <tuple>

#include "store/journal/codec.h"

namespace sternpost::store {
namespace {

// RFC 8460 §4.3's name for a host that offers no TLS: what tells a session in clear from one that failed.
constexpr std::string_view no_starttls = "starttls-not-supported";

}  // namespace

void OutcomeCounts::add(const AttemptDetail& detail) {
    std::set<std::tuple<std::string_view, std::string_view, WallTime>> sessions;
    for (const auto& outcome : detail.outcomes) {
        const auto day =
            std::max(std::chrono::floor<std::chrono::days>(outcome.at), closed_ + std::chrono::days(1));
        auto& counted = outcomes_[{day, outcome.domain, outcome.policy_text, encode_alike(outcome)}];
        ++counted.n;
        counted.last = std::max(counted.last, outcome.at);
        if (outcome.mx_host.empty()) continue;
        StoredHost seen;
        const bool first = sessions.emplace(outcome.mx_host, outcome.remote_address, outcome.at).second;
        if (!outcome.tls.empty()) {
            seen.tls_sessions = first ? 1 : 0;
            seen.last_tls = outcome.at;
        } else if (outcome.result_type == no_starttls) {
            seen.last_clear = outcome.at;
        }
        if (outcome.policy_type == PolicyType::tlsa && outcome.count == OutcomeCount::success &&
            outcome.result_type.empty())  // not records that cannot be used: they authenticate no one
            seen.last_dane = outcome.at;
        if (seen == StoredHost()) continue;
        auto& host = hosts_[outcome.mx_host];
        host.name = outcome.mx_host;
        merge(host, seen);
    }
}

void merge(StoredHost& host, const StoredHost& more) {
    host.tls_sessions += more.tls_sessions;
    host.last_tls = std::max(host.last_tls, more.last_tls);
    host.last_clear = std::max(host.last_clear, more.last_clear);
    host.last_dane = std::max(host.last_dane, more.last_dane);
}

OutcomeKey coarser(const OutcomeKey& key, Coarseness coarseness) {
    if (coarseness == Coarseness::whole) return key;
    auto outcome = outcome_of(key, {});
    if (!outcome) return key;
    outcome->helo.clear();
    outcome->local_address.clear();
    outcome->remote_address.clear();
    if (coarseness == Coarseness::without_hosts) {
        outcome->mx_host.clear();
        outcome->reason_code.clear();
        outcome->if_enforced.clear();
    }
    OutcomeKey out = key;
    out.alike = encode_alike(*outcome);
    return out;
}

Result<TlsOutcome> outcome_of(const OutcomeKey& key, WallTime last) {
    auto outcome = decode<TlsOutcome>(key.alike);
    if (!outcome) return outcome;
    outcome->at = last;
    if (outcome->policy_domain.empty()) outcome->policy_domain = key.domain;  // absent in `alike`: the same
    outcome->domain = key.domain;
    outcome->policy_text = key.policy_text;
    return outcome;
}

}  // namespace sternpost::store
