// The decision over its whole product, against verdicts that were written by hand from the RFCs
// (tests/data/decisions.txt says how). STS-57 … STS-72, DANE-04, DANE-06, DANE-07, DANE-08, DANE-24, DANE-27,
// DANE-30, RTLS-03 … RTLS-06, RTLS-11, RTLS-12, TLS-12, TLS-13, MAP-01 … MAP-10, MAP-14, MAP-15, MAP-17.
#include <gtest/gtest.h>
#include <openssl/x509_vfy.h>

#include <array>
#include <fstream>
#include <map>
#include <set>
#include <sstream>

#include "delivery/requirement.h"

namespace sternpost::delivery {
namespace {

constexpr std::array axes{"override",     "dane", "mx",    "sts",  "requiretls",
                          "tls-required", "seen", "chain", "tlsa", "offers"};
constexpr std::size_t n_axes = axes.size();
using Point = std::array<std::string, n_axes>;
enum Axis {
    a_override,
    a_dane,
    a_mx,
    a_sts,
    a_requiretls,
    a_tls_required,
    a_seen,
    a_chain,
    a_tlsa,
    a_offers
};

bool matches(const std::string& pattern, const std::string& value) {
    if (pattern == "*") return true;
    if (pattern.size() > 1 && pattern.front() == '!') return pattern.substr(1) != value;
    std::istringstream alternatives(pattern);
    for (std::string one; std::getline(alternatives, one, '|');)
        if (one == value) return true;
    return false;
}

struct Rule {
    int line = 0;
    Point patterns;
    std::array<std::string, 3> expected;
    mutable bool used = false;
};

struct Tables {
    std::map<std::string, std::vector<Rule>> rules;
    const Rule* first(const std::string& table, const Point& point) const {
        for (const Rule& rule : rules.at(table)) {
            bool all = true;
            for (std::size_t i = 0; i < n_axes; ++i) all = all && matches(rule.patterns[i], point[i]);
            if (!all) continue;
            rule.used = true;
            return &rule;
        }
        return nullptr;
    }
};

Tables read_tables() {
    Tables out;
    std::ifstream file(STERNPOST_TEST_DATA "/decisions.txt");
    EXPECT_TRUE(file) << "tests/data/decisions.txt";
    std::string table;
    int number = 0;
    for (std::string line; std::getline(file, line);) {
        ++number;
        if (line.empty() || line.front() == '#') continue;
        if (line.front() == '[') {
            table = line.substr(1, line.find(']') - 1);
            continue;
        }
        std::istringstream words(line.substr(0, line.find(';')));
        Rule rule;
        rule.line = number;
        for (auto& pattern : rule.patterns) words >> pattern;
        for (auto& result : rule.expected) words >> result;
        EXPECT_FALSE(words.fail()) << "line " << number;
        out.rules[table].push_back(std::move(rule));
    }
    return out;
}

std::vector<Point> all_points() {
    std::vector<Point> out;
    const std::vector<std::string> overrides{"-", "none", "may", "encrypt", "verify", "dane", "sts"};
    const std::vector<std::string> danes{"-", "unusable", "usable", "failed"};
    const std::vector<std::string> mxs{"secure", "insecure"};
    const std::vector<std::string> policies{
        "-", "none", "testing", "testing-unlisted", "enforce", "enforce-unlisted"};
    const std::vector<std::string> chains{"ok", "untrusted", "expired", "early", "weak", "wrong-name"};
    for (const auto& o : overrides)
        for (const auto& dane : danes)
            for (const auto& mx : mxs)
                for (const auto& policy : policies)
                    for (const std::string requiretls : {"yes", "no"})
                        for (const std::string no : {"-", "no"}) {
                            for (const std::string seen :
                                 {"name", "unreachable", "clear", "refused", "injected", "handshake"})
                                if (o != "none" || seen == "name" || seen == "unreachable" || seen == "clear")
                                    out.push_back({o, dane, mx, policy, requiretls, no, seen, "-", "-", "-"});
                            if (o == "none") continue;
                            for (const auto& chain : chains)
                                for (const std::string tlsa : {"match", "differs", "-"})
                                    for (const std::string offers : {"requiretls", "-"})
                                        if ((tlsa == "-") == (dane != "usable"))
                                            out.push_back({o, dane, mx, policy, requiretls, no, "session",
                                                           chain, tlsa, offers});
                        }
    return out;
}

dns::Domain domain(const char* name) {
    return dns::Domain::parse(name).value();
}

tls::DaneReference reference() {
    tls::DaneReference out(domain("mx1.d.test"));
    out.records.push_back({3, 1, 1, std::vector<std::uint8_t>(32, 7)});
    return out;
}

Requirement requirement_at(const Point& at) {
    Requirement out;
    out.domain = "d.test";
    out.host = dns::MxHost(domain("mx1.d.test"));
    out.name_trust = at[a_mx] == "secure" ? NameTrust::dnssec : NameTrust::insecure;
    if (at[a_override] != "-") {
        OverrideDemand demand;
        demand.level = level_of(at[a_override]).value();
        demand.scope = "d.test";
        out.override_ = demand;
    }
    if (at[a_dane] == "unusable") {
        out.dane.state = DaneState::unusable;
    } else if (at[a_dane] == "failed") {
        out.dane.state = DaneState::failed;
    } else if (at[a_dane] == "usable") {
        out.dane.state = DaneState::usable;
        out.dane.reference = reference();
        out.dane.records = out.dane.reference->records;
    }
    if (out.dane.state != DaneState::absent) out.dane.policy_domain = "mx1.d.test";
    if (at[a_sts] != "-") {
        const bool unlisted = at[a_sts].ends_with("-unlisted");
        const std::string mode = at[a_sts].substr(0, at[a_sts].find('-'));
        const std::string mx = unlisted ? "other.d.test" : "*.d.test";
        const auto policy =
            sts::Policy::parse("version: STSv1\nmode: " + mode + "\nmx: " + mx + "\nmax_age: 86400\n");
        StsDemand demand{dns::PolicyDomain(domain("d.test")), policy.value(), "1", "text"};
        out.sts = demand;
    }
    out.requiretls = at[a_requiretls] == "yes";
    out.tls_optional = at[a_tls_required] == "no";
    return out;
}

smtp::Failure failure_at(smtp::Stage stage, smtp::Errc code) {
    smtp::Failure out;
    out.stage = stage;
    out.code = code;
    out.text = "seen";
    return out;
}

Observation observation_at(const Point& at) {
    const std::string& seen = at[a_seen];
    if (seen == "name") return Observation::of_name();
    if (seen == "unreachable")
        return Observation::of_failure(failure_at(smtp::Stage::connect, smtp::Errc::connect_refused));
    if (seen == "injected")
        return Observation::of_failure(failure_at(smtp::Stage::starttls, smtp::Errc::injected_octets));
    if (seen == "handshake")
        return Observation::of_failure(failure_at(smtp::Stage::handshake, smtp::Errc::handshake_failed));
    if (seen == "clear") return Observation::of_session({});
    if (seen == "refused")
        return Observation::of_session({}, false,
                                       failure_at(smtp::Stage::starttls, smtp::Errc::starttls_refused));
    tls::Evidence evidence;
    evidence.encrypted = evidence.has_certificate = true;
    evidence.version = "TLSv1.3";
    evidence.name_matches = at[a_chain] != "wrong-name";
    if (at[a_chain] == "untrusted") evidence.chain_error = X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN;
    if (at[a_chain] == "expired") evidence.chain_error = X509_V_ERR_CERT_HAS_EXPIRED;
    if (at[a_chain] == "early") evidence.chain_error = X509_V_ERR_CERT_NOT_YET_VALID;
    if (at[a_chain] == "weak") {
        evidence.chain_error = X509_V_ERR_EE_KEY_TOO_SMALL;
        evidence.weak_key = true;
    }
    if (at[a_tlsa] != "-") {
        evidence.dane = reference();
        evidence.dane_matched = at[a_tlsa] == "match";
        evidence.dane_error = evidence.dane_matched ? X509_V_OK : X509_V_ERR_DANE_NO_MATCH;
    }
    return Observation::of_session(evidence, at[a_offers] == "requiretls");
}

std::string text_of(const Point& point) {
    std::string out;
    for (std::size_t i = 0; i < n_axes; ++i)
        out += std::string(i == 0 ? "" : " ") + axes.at(i) + "=" + point.at(i);
    return out;
}

using Got = std::array<std::string, 3>;

std::string type_text(const std::optional<tlsrpt::ResultType>& type) {
    return type ? std::string(tlsrpt::name_of(*type)) : "-";
}

std::string or_dash(std::string_view text) {
    return std::string(text.empty() ? "-" : text);
}

Got entry_of(const std::vector<Finding>& all, store::PolicyType type) {
    Got out{"-", "-", "-"};
    for (const Finding& finding : all) {
        if (finding.policy != type) continue;
        const char* count = finding.count == store::OutcomeCount::success   ? "success"
                            : finding.count == store::OutcomeCount::failure ? "failure"
                                                                            : "detail";
        out = {count, type_text(finding.result_type), or_dash(name_of(finding.reason_code))};
    }
    return out;
}

TEST(Decision, IsOverItsWholeProductWhatTheRfcsSay) {
    const Tables tables = read_tables();
    const auto points = all_points();
    ASSERT_GT(points.size(), 20000U);
    int wrong = 0;
    std::set<int> told;
    for (const Point& point : points) {
        const Requirement requirement = requirement_at(point);
        const Observation seen = observation_at(point);
        const Verdict verdict = decide(requirement, seen);
        const auto found = findings(requirement, seen);
        const std::map<std::string, Got> got{
            {"verdict",
             {verdict.go ? "go" : "no", type_text(verdict.result_type),
              or_dash(name_of(verdict.reason_code))}},
            {"tlsa-entry", entry_of(found, store::PolicyType::tlsa)},
            {"sts-entry", entry_of(found, store::PolicyType::sts)},
            {"none-entry", entry_of(found, store::PolicyType::no_policy_found)},
        };
        for (const auto& [table, ours] : got) {
            const Rule* rule = tables.first(table, point);
            ASSERT_NE(rule, nullptr) << table << ": no rule for " << text_of(point);
            if (ours == rule->expected) continue;
            ++wrong;
            if (!told.insert(rule->line).second) continue;  // one example a rule
            ADD_FAILURE() << table << " (rule at line " << rule->line << ") for " << text_of(point)
                          << ": expected " << rule->expected[0] << ' ' << rule->expected[1] << ' '
                          << rule->expected[2] << ", got " << ours[0] << ' ' << ours[1] << ' ' << ours[2];
        }
        // A verdict that holds mail back says so to people too.
        if (!verdict.go && verdict.reason_code != store::ReasonCode::unreachable) {
            EXPECT_FALSE(verdict.sentence.empty()) << text_of(point);
        }
        // Where mail may go in clear text, nothing forbids it; where something does, no session in clear
        // passes.
        if (requirement.tls_demanded() && point[a_seen] == "clear") {
            EXPECT_FALSE(verdict.go) << text_of(point);
        }
    }
    EXPECT_EQ(wrong, 0) << "combinations that differ";
    for (const auto& [table, rules] : tables.rules)
        for (const Rule& rule : rules)
            EXPECT_TRUE(rule.used) << table << ": the rule at line " << rule.line
                                   << " is never the first to match";
}

}  // namespace
}  // namespace sternpost::delivery
