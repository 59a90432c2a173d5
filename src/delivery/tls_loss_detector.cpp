#include "delivery/tls_loss_detector.h"

namespace sternpost::delivery {
namespace {

constexpr std::uint64_t known = 3;          // ours: sessions with TLS before its lack is news
constexpr std::size_t max_hosts = 100'000;  // ours

}  // namespace

void TlsLossDetector::restore(const std::vector<store::StoredHost>& hosts) {
    for (const auto& host : hosts) hosts_.insert_or_assign(hosts_.end(), host.name, host);
}

std::optional<store::NewAlarm> TlsLossDetector::observe(const store::TlsOutcome& outcome, bool without_dane) {
    if (outcome.mx_host.empty()) return std::nullopt;
    if (hosts_.size() >= max_hosts) hosts_.clear();
    store::StoredHost& host = hosts_[outcome.mx_host];
    host.name = outcome.mx_host;
    std::optional<store::NewAlarm> out;
    if (outcome.result_type == "starttls-not-supported") {
        if (host.tls_sessions >= known && host.last_clear <= host.last_tls)
            out = store::NewAlarm{store::AlarmKind::tls_gone, outcome.mx_host,
                                  outcome.mx_host + " (for " + outcome.domain +
                                      ") offers no TLS, though it did until " + rfc3339(host.last_tls) +
                                      ": the host has changed, or an attacker on the path strips STARTTLS"};
        host.last_clear = outcome.at;
        return out;
    }
    if (outcome.tls.empty()) return std::nullopt;
    if (without_dane && host.last_dane != WallTime{}) {
        out = store::NewAlarm{
            store::AlarmKind::dane_gone, outcome.mx_host,
            outcome.mx_host + " (for " + outcome.domain + ") was authenticated by its TLSA records until " +
                rfc3339(host.last_dane) +
                ", and has none now that DNSSEC secures: its zone has changed, or the resolver no longer "
                "validates"};
        host.last_dane = {};
    }
    ++host.tls_sessions;
    host.last_tls = outcome.at;
    const bool authenticated = outcome.policy_type == store::PolicyType::tlsa &&
                               outcome.count == store::OutcomeCount::success && outcome.result_type.empty();
    if (authenticated) host.last_dane = outcome.at;
    return out;
}

}  // namespace sternpost::delivery
