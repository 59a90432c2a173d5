#include "control/reports.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>
#include <tuple>

#include "control/reasons.h"
#include "util/text.h"

namespace sternpost::control {
namespace {

constexpr std::size_t most_failures = 10;  // of a domain, in the digest

std::vector<std::string> lines_of(const std::string& text) {
    std::vector<std::string> out;
    for (const auto line : split(text, '\n')) out.emplace_back(line);
    while (!out.empty() && out.back().empty()) out.pop_back();
    return out;
}

}  // namespace

std::string day_text(std::chrono::sys_days day) {
    return rfc3339(WallTime(day)).substr(0, 10);
}

std::optional<std::chrono::sys_days> day_of(std::string_view text, WallTime now,
                                            std::chrono::sys_days otherwise) {
    const auto today = std::chrono::floor<std::chrono::days>(now);
    if (text.empty()) return otherwise;
    if (text == "today") return today;
    if (text == "yesterday") return today - std::chrono::days(1);
    constexpr std::size_t day_size = 10;  // 2026-11-26
    const auto time = text.size() == day_size ? parse_rfc3339(text) : std::nullopt;
    if (!time) return std::nullopt;
    return std::chrono::floor<std::chrono::days>(*time);
}

json::object to_json(const tlsrpt::Report& report) {
    json::object out;
    out["day"] = day_text(report.day);
    out["domain"] = report.domain;
    out["report"] = json::parse(tlsrpt::json_of(report));
    out["lines"] = to_json(lines_of(tlsrpt::in_words(report)));
    return out;
}

json::array places_of(const tlsrpt::Record& record) {
    json::array out;
    for (const auto& destination : record.destinations) out.emplace_back(destination.uri);
    return out;
}

json::object to_json(const store::StoredReport& report) {
    json::object out;
    out["day"] = day_text(report.day);
    out["domain"] = report.domain;
    out["id"] = report.id;
    out["state"] = store::name_of(report.state);
    out["good"] = report.good;
    out["failed"] = report.failed;
    out["tries"] = report.tries;
    out["resent"] = report.resent;
    out["first_tried"] = rfc3339(report.first_tried);
    out["at"] = rfc3339(report.at);
    if (report.state == store::ReportState::waiting) out["next_at"] = rfc3339(report.next_at);
    out["reason"] = report.text;
    json::array places;
    for (const auto& place : report.places) {
        json::object one;
        one["uri"] = place.uri;
        one["state"] = store::name_of(place.state);
        one["at"] = rfc3339(place.at);
        one["text"] = place.text;
        places.push_back(std::move(one));
    }
    out["places"] = std::move(places);
    return out;
}

json::object digest(std::chrono::sys_days day, const std::vector<store::StoredOutcome>& outcomes,
                    const std::vector<store::StoredReport>& reports) {
    std::map<std::string, std::vector<store::StoredOutcome>> by_domain;
    for (const auto& outcome : outcomes)
        if (outcome.day == day) by_domain[outcome.outcome.domain].push_back(outcome);
    std::map<std::string, const store::StoredReport*> report_to;
    for (const auto& report : reports)
        if (report.day == day) report_to[report.domain] = &report;
    struct Partner {
        tlsrpt::Report report;
        json::object shown;
    };
    std::vector<Partner> partners;
    std::uint64_t good = 0;
    std::uint64_t failed = 0;
    std::uint64_t failing = 0;
    for (const auto& [domain, counted] : by_domain) {
        Partner partner{tlsrpt::make_report({}, domain, day, counted), {}};
        const auto& report = partner.report;
        json::array policies;
        for (const auto& entry : report.policies) {
            json::object one;
            one["policy"] = tlsrpt::name_of(entry);
            one["type"] = store::name_of(entry.type);
            one["mode"] = entry.mode;
            one["good"] = entry.good;
            one["failed"] = entry.failed;
            json::array failures;
            for (std::size_t i = 0; i < entry.details.size() && i < most_failures; ++i)
                failures.emplace_back(tlsrpt::in_words(entry.details[i]));
            one["failures"] = std::move(failures);
            one["kinds"] = entry.details.size();
            policies.push_back(std::move(one));
        }
        partner.shown["domain"] = domain;
        partner.shown["good"] = report.good();
        partner.shown["failed"] = report.failed();
        const auto known = report_to.find(domain);
        partner.shown["report"] = known == report_to.end() ? "" : store::name_of(known->second->state);
        partner.shown["policies"] = std::move(policies);
        good += report.good();
        failed += report.failed();
        if (report.has_failures()) ++failing;
        partners.push_back(std::move(partner));
    }
    std::stable_sort(partners.begin(), partners.end(), [](const Partner& a, const Partner& b) {
        const auto rank = [](const tlsrpt::Report& r) {
            return std::tuple(r.failed(), r.has_failures(), r.good());
        };
        return rank(a.report) > rank(b.report);
    });
    json::array domains;
    for (auto& partner : partners) domains.push_back(std::move(partner.shown));
    json::object out;
    out["day"] = day_text(day);
    out["good"] = good;
    out["failed"] = failed;
    out["failing_domains"] = failing;
    out["domains"] = std::move(domains);
    return out;
}

std::string digest_in_words(const json::object& digest) {
    const auto& domains = digest.at("domains").as_array();
    std::string out =
        fmt::format("TLS on {} (UTC): {} domain(s), {} with failures; {} good and {} failed session(s).\n",
                    text_of(digest, "day"), domains.size(), number_of(digest, "failing_domains"),
                    number_of(digest, "good"), number_of(digest, "failed"));
    for (const auto& item : domains) {
        const auto& domain = item.as_object();
        const std::string report = text_of(domain, "report");
        out += fmt::format("\n{}: {} good, {} failed{}\n", text_of(domain, "domain"),
                           number_of(domain, "good"), number_of(domain, "failed"),
                           report.empty()          ? ""
                           : report == "not-asked" ? "; asks for no report"
                                                   : "; its report: " + report);
        for (const auto& entry : domain.at("policies").as_array()) {
            const auto& policy = entry.as_object();
            out += fmt::format("  {}: {} good, {} failed\n", text_of(policy, "policy"),
                               number_of(policy, "good"), number_of(policy, "failed"));
            const auto& failures = policy.at("failures").as_array();
            for (const auto& failure : failures) out += "    " + std::string(failure.as_string()) + "\n";
            if (number_of(policy, "kinds") > failures.size())
                out += fmt::format("    and {} kinds of failures more\n",
                                   number_of(policy, "kinds") - failures.size());
        }
    }
    return out;
}

}  // namespace sternpost::control
