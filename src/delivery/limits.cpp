#include "delivery/limits.h"

#include <algorithm>

#include "util/text.h"

namespace sternpost::delivery {
namespace {

constexpr std::size_t most_buckets = 10'000;  // ours: destinations whose rate is remembered
constexpr double burst = 0.1;                 // ours: of a minute's messages, may go at once

bool covers_name(std::string_view pattern, std::string_view name) {
    return pattern.starts_with('.') ? name.size() > pattern.size() && name.ends_with(pattern)
                                    : name == pattern;
}

// The closer a section says whom it means, the more it counts: a domain before a host, a name before all
// under one.
std::size_t weight(const DestinationLimit& limit) {
    const bool host = limit.match.starts_with("mx:");
    const bool below = limit.match.find('.') == (host ? 3U : 0U);
    return limit.match.size() + (below ? 0U : 10'000U) + (host ? 0U : 100'000U);
}

}  // namespace

Expected<std::string, dns::Errc> DestinationLimit::parse_match(std::string_view text) {
    std::string_view name = text;
    const bool host = name.starts_with("mx:");
    if (host) name.remove_prefix(3);
    const bool below = name.starts_with('.');
    if (below) name.remove_prefix(1);
    const auto domain = dns::Domain::parse(name);
    if (!domain)
        return fail(dns::Errc::bad_name,
                    "\"" + printable(text) +
                        "\" is not what a limit can be for: allowed are a domain (example.com), the domains "
                        "under one "
                        "(.example.com), an MX host (mx:mx1.example.net) and the MX hosts under a name "
                        "(mx:.example.net)");
    return (host ? "mx:" : "") + std::string(below ? "." : "") + domain->text();
}

bool DestinationLimit::covers(std::string_view domain, const std::vector<std::string>& mx_hosts) const {
    if (!match.starts_with("mx:")) return covers_name(match, domain);
    const std::string_view pattern = std::string_view(match).substr(3);
    return std::any_of(mx_hosts.begin(), mx_hosts.end(),
                       [&](const std::string& host) { return covers_name(pattern, host); });
}

// Ours: what these providers took without complaint from small senders in many reports, on the cautious side.
// Their own pages name few figures.
const std::vector<DestinationLimit>& large_providers() {
    static const std::vector<DestinationLimit> all{
        {"mx:.google.com", 20, 100, {}},
        {"mx:.googlemail.com", 20, 100, {}},
        {"mx:.mail.protection.outlook.com", 20, 100, {}},
        {"mx:.olc.protection.outlook.com", 10, 50, {}},
        {"mx:.yahoodns.net", 5, 20, {}},
        {"mx:.mail.icloud.com", 5, 50, {}},
        {"mx:.gmx.net", 5, 50, {}},
        {"mx:.web.de", 5, 50, {}},
        {"mx:.t-online.de", 5, 50, {}},
        {"mx:.orange.fr", 3, 50, {}},
        {"mx:.free.fr", 3, 50, {}},
        {"mx:.comcast.net", 10, 50, {}},
        {"mx:.mail.ru", 10, 50, {}},
    };
    return all;
}

LimitTable::LimitTable(std::vector<DestinationLimit> own, unsigned connections,
                       unsigned messages_per_connection)
    : own_(std::move(own)), connections_(connections), messages_per_connection_(messages_per_connection) {
    std::stable_sort(own_.begin(), own_.end(),
                     [](const auto& a, const auto& b) { return weight(a) > weight(b); });
}

Limits LimitTable::of(std::string_view domain, const std::vector<std::string>& mx_hosts,
                      std::string site) const {
    Limits out;
    out.site = std::move(site);
    bool counted = false;
    bool paced = false;
    for (const auto* set : {&own_, &large_providers()}) {
        for (const DestinationLimit& limit : *set) {
            if (!limit.covers(domain, mx_hosts)) continue;
            if (limit.connections && !counted) {
                counted = true;
                out.connections = *limit.connections;
                out.site = limit.match;
            }
            if (limit.messages_per_connection && out.messages_per_connection == 0)
                out.messages_per_connection = *limit.messages_per_connection;
            if (limit.messages_per_minute && !paced) {
                paced = true;
                out.messages_per_minute = *limit.messages_per_minute;
                if (out.messages_per_minute > 0) out.rate = limit.match;
            }
        }
    }
    if (out.connections == 0) out.connections = connections_;
    if (out.messages_per_connection == 0) out.messages_per_connection = messages_per_connection_;
    return out;
}

std::optional<SteadyTime> Rates::take(const Limits& limits, SteadyTime now) {
    if (limits.messages_per_minute == 0) return std::nullopt;
    const double a_minute = limits.messages_per_minute;
    const double most = std::max(1.0, a_minute * burst);
    if (buckets_.size() >= most_buckets) buckets_.clear();
    const auto [known, fresh] = buckets_.try_emplace(limits.rate, Bucket{most, now});
    Bucket& bucket = known->second;
    const double minutes = std::chrono::duration<double, std::ratio<60>>(now - bucket.at).count();
    bucket.tokens = std::min(most, bucket.tokens + minutes * a_minute);
    bucket.at = now;
    if (bucket.tokens >= 1) {
        bucket.tokens -= 1;
        return std::nullopt;
    }
    const std::chrono::duration<double, std::ratio<60>> wait((1 - bucket.tokens) / a_minute);
    return now + std::chrono::ceil<SteadyTime::duration>(wait);
}

}  // namespace sternpost::delivery
