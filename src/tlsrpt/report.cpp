#include "tlsrpt/report.h"

#include <fmt/format.h>
#include <openssl/sha.h>

#include <algorithm>
#include <array>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <map>
#include <tuple>

#include "dns/name.h"
#include "tlsrpt/result_type.h"
#include "util/text.h"

namespace sternpost::tlsrpt {
namespace {

namespace json = boost::json;

constexpr std::size_t most_policy_text = 4UL * 1024 * 1024;  // ours: receivers stop at 10 MB
constexpr std::size_t most_in_words = 20;                    // failures of a policy that people read

std::string day_text(std::chrono::sys_days day) {
    return rfc3339(begin_of(day)).substr(0, 10);
}

// What is in it came over the network: no octet may break the JSON, or the line of a mail.
std::string clean(std::string_view text) {
    return printable(text, 300);
}

std::vector<std::string> lines_of(std::string_view text) {
    std::vector<std::string> out;
    for (auto line : split(text, '\n')) {
        if (line.ends_with('\r')) line.remove_suffix(1);
        out.push_back(valid_utf8(line) ? std::string(line) : printable(line, line.size() * 4));
    }
    while (!out.empty() && out.back().empty()) out.pop_back();
    return out;
}

// The patterns that a policy's text names (RFC 8461 §3.2), as A-labels. The text was parsed before it was
// kept: this one only finds them again.
std::vector<std::string> mx_patterns(const std::vector<std::string>& lines) {
    constexpr std::string_view any = "*.";
    std::vector<std::string> out;
    for (const auto& line : lines) {
        const auto colon = line.find(':');
        if (colon == std::string::npos || trimmed(std::string_view(line).substr(0, colon)) != "mx") continue;
        std::string_view value = trimmed(std::string_view(line).substr(colon + 1));
        const bool wildcard = value.starts_with(any);
        if (wildcard) value.remove_prefix(any.size());
        const auto domain = dns::Domain::parse(value);
        if (domain) out.push_back((wildcard ? std::string(any) : std::string()) + domain->text());
    }
    return out;
}

std::string unique_of(const Reporter& by, const std::string& domain, std::chrono::sys_days day) {
    const std::string text = by.node + " " + by.submitter + " " + domain + " " + day_text(day);
    std::array<std::uint8_t, SHA256_DIGEST_LENGTH> digest{};
    SHA256(reinterpret_cast<const std::uint8_t*>(text.data()), text.size(), digest.data());
    return hex(std::span(digest).first(6));
}

json::array strings(const std::vector<std::string>& texts) {
    json::array out;
    for (const auto& text : texts) out.emplace_back(text);
    return out;
}

// A number beyond what every reader of JSON holds exactly is cut there; no day has so many sessions.
std::uint64_t integer(std::uint64_t n) {
    return std::min(n, most_integer);
}

json::object json_of(const Detail& detail) {
    json::object out;
    out["result-type"] = detail.result_type;
    const auto put = [&out](std::string_view key, const std::string& value) {
        if (!value.empty()) out[key] = value;
    };
    put("sending-mta-ip", detail.local_address);
    put("receiving-mx-hostname", detail.mx_host);
    put("receiving-mx-helo", detail.helo);
    put("receiving-ip", detail.remote_address);
    out["failed-session-count"] = integer(detail.n);
    put("failure-reason-code", detail.reason_code);
    return out;
}

json::object json_of(const PolicyEntry& entry) {
    json::object policy;
    policy["policy-type"] = store::name_of(entry.type);
    if (!entry.policy_string.empty()) policy["policy-string"] = strings(entry.policy_string);
    policy["policy-domain"] = entry.policy_domain;
    if (!entry.mx_host.empty()) policy["mx-host"] = strings(entry.mx_host);  // erratum 6241: an array
    json::object summary;
    summary["total-successful-session-count"] = integer(entry.good);
    summary["total-failure-session-count"] = integer(entry.failed);
    json::array details;
    for (const auto& detail : entry.details) details.emplace_back(json_of(detail));
    json::object out;
    out["policy"] = std::move(policy);
    out["summary"] = std::move(summary);
    out["failure-details"] = std::move(details);
    return out;
}

std::string sessions(std::uint64_t n) {
    return fmt::format("{} session{}", n, n == 1 ? "" : "s");
}

std::string_view sentence_of(std::string_view result_type) {
    struct Sentence {
        ResultType type;
        std::string_view text;
    };
    static constexpr std::array sentences{
        Sentence{ResultType::starttls_not_supported, "the host did not offer or refused STARTTLS"},
        Sentence{ResultType::certificate_host_mismatch, "the certificate is not for the name of the host"},
        Sentence{ResultType::certificate_expired, "the certificate has expired"},
        Sentence{ResultType::certificate_not_trusted, "the certificate is not signed by a trusted authority"},
        Sentence{ResultType::validation_failure, "the host or its TLS did not satisfy the policy"},
        Sentence{ResultType::tlsa_invalid, "no TLSA record of the host can be used"},
        Sentence{ResultType::dnssec_invalid, "the TLSA records could not be had from the DNS"},
        Sentence{ResultType::dane_required,
                 "this sender demands DANE and the host has no secure TLSA records"},
        Sentence{ResultType::sts_policy_fetch_error, "the MTA-STS policy could not be fetched"},
        Sentence{ResultType::sts_policy_invalid, "the MTA-STS policy or its TXT record is invalid"},
        Sentence{ResultType::sts_webpki_invalid, "the certificate of the policy host does not hold"},
    };
    for (const auto& sentence : sentences)
        if (name_of(sentence.type) == result_type) return sentence.text;
    return result_type.empty() ? "the report does not say what failed"
                               : "a result type that RFC 8460 does not have";
}

std::string wrapped(std::string_view text, std::string_view indent) {
    std::string out;
    std::string line;
    for (const auto word : split(text, ' ')) {
        if (!line.empty() && line.size() + 1 + word.size() > 76) {
            out += line + "\n";
            line = std::string(indent) + "  ";
        } else if (!line.empty()) {
            line += ' ';
        }
        if (line.empty()) line = indent;
        line += word;
    }
    return out + line + "\n";
}

}  // namespace

WallTime begin_of(std::chrono::sys_days day) {
    return day;
}

WallTime end_of(std::chrono::sys_days day) {
    return begin_of(day) + std::chrono::days(1) - std::chrono::seconds(1);
}

std::uint64_t Report::good() const {
    std::uint64_t out = 0;
    for (const auto& entry : policies) out += entry.good;
    return out;
}

bool Report::has_failures() const {
    return failed() > 0 || std::any_of(policies.begin(), policies.end(),
                                       [](const auto& entry) { return !entry.details.empty(); });
}

std::uint64_t Report::failed() const {
    std::uint64_t out = 0;
    for (const auto& entry : policies) out += entry.failed;
    return out;
}

Report make_report(const Reporter& by, const std::string& domain, std::chrono::sys_days day,
                   const std::vector<store::StoredOutcome>& outcomes) {
    using PolicyKey = std::tuple<store::PolicyType, std::string, std::string>;  // and domain, text
    struct Counting {
        PolicyEntry entry;
        std::map<std::tuple<std::string, std::string, std::string, std::string, std::string, std::string>,
                 std::uint64_t>
            details;
    };
    std::map<PolicyKey, Counting> all;
    for (const auto& [outcome, n, counted_on] : outcomes) {
        if (outcome.domain != domain || counted_on != day) continue;
        auto& counting = all[{outcome.policy_type, outcome.policy_domain, outcome.policy_text}];
        counting.entry.mode = outcome.mode;
        if (outcome.count == store::OutcomeCount::success) counting.entry.good += n;
        if (outcome.count == store::OutcomeCount::failure) counting.entry.failed += n;
        if (outcome.result_type.empty()) continue;
        counting.details[{outcome.result_type, clean(outcome.reason_code), outcome.local_address,
                          outcome.remote_address, outcome.mx_host, clean(outcome.helo)}] += n;
    }
    Report out{day, domain, unique_of(by, domain, day), {}, by, {}};
    std::string compact = day_text(day);
    std::erase(compact, '-');
    out.id = compact + "." + domain + "." + out.unique + "@" + by.submitter;
    std::size_t room = most_policy_text;
    for (auto& [key, counting] : all) {
        const auto& [type, policy_domain, text] = key;
        PolicyEntry& entry = counting.entry;
        entry.type = type;
        entry.policy_domain = policy_domain;
        if (text.size() <= room) {
            room -= text.size();
            entry.policy_string = lines_of(text);
            if (type == store::PolicyType::sts) entry.mx_host = mx_patterns(entry.policy_string);
        }
        for (const auto& [what, n] : counting.details) {
            const auto& [result_type, reason, local, remote, mx_host, helo] = what;
            entry.details.push_back({result_type, reason, local, remote, mx_host, helo, n});
        }
        std::stable_sort(entry.details.begin(), entry.details.end(),
                         [](const Detail& a, const Detail& b) { return a.n > b.n; });
        out.policies.push_back(std::move(entry));
    }
    return out;
}

std::string json_of(const Report& report) {
    json::object range;
    range["start-datetime"] = rfc3339(begin_of(report.day));
    range["end-datetime"] = rfc3339(end_of(report.day));
    json::array policies;
    for (const auto& entry : report.policies) policies.emplace_back(json_of(entry));
    json::object out;
    out["organization-name"] = report.by.organization;
    out["date-range"] = std::move(range);
    out["contact-info"] = report.by.contact;
    out["report-id"] = report.id;
    out["policies"] = std::move(policies);
    return json::serialize(out);
}

std::string name_of(const PolicyEntry& entry) {
    switch (entry.type) {
        case store::PolicyType::sts:
            return "the MTA-STS policy of " + entry.policy_domain +
                   (entry.mode.empty() ? "" : " (mode " + entry.mode + ")");
        case store::PolicyType::tlsa:
            return "the TLSA records of " + entry.policy_domain + " (DANE)";
        case store::PolicyType::no_policy_found:
            return "no policy";
    }
    return "";
}

std::string in_words(const Detail& detail) {
    std::string out = sessions(detail.n) + ": ";
    if (!detail.mx_host.empty()) {
        out += detail.mx_host;
        if (!detail.remote_address.empty()) out += " [" + detail.remote_address + "]";
        out += ": ";
    }
    out += sentence_of(detail.result_type);
    std::string by_name = detail.result_type;
    if (!detail.reason_code.empty()) by_name += (by_name.empty() ? "" : ", ") + detail.reason_code;
    if (!by_name.empty()) out += " (" + by_name + ")";
    return out;
}

std::string in_words(const Report& report) {
    std::string out;
    out +=
        wrapped("This is a TLS report (RFC 8460) by " + clean(report.by.organization) + " for " +
                    report.domain + ": how mail to it was encrypted on " + day_text(report.day) + " (UTC).",
                "");
    out += "\n";
    for (const auto& entry : report.policies) {
        const bool none = entry.type == store::PolicyType::no_policy_found;
        out +=
            wrapped(fmt::format("{}: {} good, {} failed.",
                                none ? std::string("Where no policy was found") : "Under " + name_of(entry),
                                sessions(entry.good), sessions(entry.failed)),
                    "");
        for (std::size_t i = 0; i < entry.details.size() && i < most_in_words; ++i)
            out += wrapped("- " + in_words(entry.details[i]), "  ");
        if (entry.details.size() > most_in_words)
            out += fmt::format("  - and {} kinds of failures more\n", entry.details.size() - most_in_words);
        out += "\n";
    }
    if (!report.has_failures())
        out += "Nothing failed: there is nothing to mend.\n\n";
    else if (report.failed() == 0)
        out += wrapped(
                   "No session failed, but the failures above must be mended: they leave mail without its "
                   "policy.",
                   "") +
               "\n";
    out += "The attached file says the same to programs; it alone counts.\n";
    out += "Report-ID: " + report.id + "\n";
    out += "Questions: " + report.by.contact + "\n";
    return out;
}

std::string file_name(const Report& report) {
    const auto seconds = [](WallTime time) {
        return std::chrono::duration_cast<std::chrono::seconds>(time.time_since_epoch()).count();
    };
    return fmt::format("{}!{}!{}!{}!{}.json.gz", report.by.submitter, report.domain,
                       seconds(begin_of(report.day)), seconds(end_of(report.day)), report.unique);
}

}  // namespace sternpost::tlsrpt
