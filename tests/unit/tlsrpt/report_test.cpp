// A day's outcomes as the report that a domain gets (RFC 8460 §4.4, §5.1, §5.3).
#include "tlsrpt/report.h"

#include <gtest/gtest.h>
#include <zlib.h>

#include <boost/json.hpp>

#include "tlsrpt/mail.h"
#include "util/text.h"

namespace sternpost::tlsrpt {
namespace {

namespace json = boost::json;
using store::OutcomeCount;
using store::PolicyType;

const auto day = std::chrono::sys_days(std::chrono::year(2026) / 3 / 14);
const Reporter northfield{"Northfield Relay Cooperative", "tlsrpt@northfield.example", "northfield.example",
                          "relay.northfield.example"};
const std::string policy_text =
    "version: STSv1\r\nmode: testing\r\nmx: MX1.harbour.example\r\nmx: *.mail.harbour.example.\r\n"
    "max_age: 604800\r\nx-note: kept\r\n";

store::StoredOutcome outcome(PolicyType type, std::uint64_t n, OutcomeCount count = OutcomeCount::success) {
    store::StoredOutcome out;
    out.outcome.at = begin_of(day) + std::chrono::hours(10);
    out.outcome.domain = "harbour.example";
    out.outcome.policy_domain = type == PolicyType::tlsa ? "mx1.harbour.example" : "harbour.example";
    out.outcome.policy_type = type;
    if (type == PolicyType::sts) {
        out.outcome.policy_text = policy_text;
        out.outcome.mode = "testing";
    }
    if (type == PolicyType::tlsa) out.outcome.policy_text = "3 1 1 ABCD\n2 0 1 EF01\n";
    out.outcome.mx_host = "mx1.harbour.example";
    out.outcome.local_address = "192.0.2.1";
    out.outcome.remote_address = "2001:db8::25";
    out.outcome.helo = "mx1.harbour.example";
    out.outcome.count = count;
    out.n = n;
    out.day = day;
    return out;
}

store::StoredOutcome failed(PolicyType type, std::uint64_t n, const char* result_type, const char* reason) {
    auto out = outcome(type, n, OutcomeCount::failure);
    out.outcome.result_type = result_type;
    out.outcome.reason_code = reason;
    return out;
}

json::object report_of(const std::vector<store::StoredOutcome>& outcomes) {
    return json::parse(json_of(make_report(northfield, "harbour.example", day, outcomes))).as_object();
}

// RPT-17 RPT-18 RPT-19 RPT-20 RPT-22 RPT-24 RPT-25 RPT-26 RPT-27 RPT-28 RPT-29 RPT-30 RPT-31 RPT-32 RPT-34
// RPT-35 RPT-36 RPT-37 RPT-38
TEST(TlsReport, IsThatOfItsGoldenFile) {
    auto odd = failed(PolicyType::sts, 2, "certificate-expired", "X509_V_ERR_CERT_HAS_EXPIRED");
    odd.outcome.helo = "evil\"\r\nhelo\xFF";
    const auto report =
        make_report(northfield, "harbour.example", day,
                    {outcome(PolicyType::sts, 40), odd,
                     failed(PolicyType::sts, 3, "starttls-not-supported", "starttls-not-offered"),
                     outcome(PolicyType::tlsa, 7), outcome(PolicyType::no_policy_found, 1)});
    EXPECT_EQ(
        json_of(report),
        R"({"organization-name":"Northfield Relay Cooperative",)"
        R"("date-range":{"start-datetime":"2026-03-14T00:00:00Z","end-datetime":"2026-03-14T23:59:59Z"},)"
        R"("contact-info":"tlsrpt@northfield.example","report-id":")" +
            report.id +
            R"(","policies":[{"policy":{"policy-type":"no-policy-found","policy-domain":"harbour.example"},)"
            R"("summary":{"total-successful-session-count":1,"total-failure-session-count":0},"failure-details":[]},)"
            R"({"policy":{"policy-type":"sts","policy-string":["version: STSv1","mode: testing",)"
            R"("mx: MX1.harbour.example","mx: *.mail.harbour.example.","max_age: 604800","x-note: kept"],)"
            R"("policy-domain":"harbour.example","mx-host":["mx1.harbour.example","*.mail.harbour.example"]},)"
            R"("summary":{"total-successful-session-count":40,"total-failure-session-count":5},"failure-details":[)"
            R"({"result-type":"starttls-not-supported","sending-mta-ip":"192.0.2.1",)"
            R"("receiving-mx-hostname":"mx1.harbour.example","receiving-mx-helo":"mx1.harbour.example",)"
            R"("receiving-ip":"2001:db8::25","failed-session-count":3,"failure-reason-code":"starttls-not-offered"},)"
            R"({"result-type":"certificate-expired","sending-mta-ip":"192.0.2.1",)"
            R"("receiving-mx-hostname":"mx1.harbour.example","receiving-mx-helo":"evil\"\\x0d\\x0ahelo\\xff",)"
            R"("receiving-ip":"2001:db8::25","failed-session-count":2,)"
            R"("failure-reason-code":"X509_V_ERR_CERT_HAS_EXPIRED"}]},)"
            R"({"policy":{"policy-type":"tlsa","policy-string":["3 1 1 ABCD","2 0 1 EF01"],)"
            R"("policy-domain":"mx1.harbour.example"},)"
            R"("summary":{"total-successful-session-count":7,"total-failure-session-count":0},"failure-details":[]}]})");
}

TEST(TlsReport, HasAnIdThatIsItsOwnForEver_RPT21) {
    const auto id = [](const std::string& domain, std::chrono::sys_days when, const Reporter& by) {
        return make_report(by, domain, when, {}).id;
    };
    const std::string first = id("harbour.example", day, northfield);
    EXPECT_TRUE(first.starts_with("20260314.harbour.example.")) << first;
    EXPECT_TRUE(first.ends_with("@northfield.example")) << first;
    EXPECT_EQ(id("harbour.example", day, northfield), first);
    EXPECT_NE(id("harbour.example", day + std::chrono::days(1), northfield).substr(25), first.substr(25));
    EXPECT_NE(id("other.example", day, northfield), first);
    Reporter second_relay = northfield;
    second_relay.node = "relay2.northfield.example";
    EXPECT_NE(id("harbour.example", day, second_relay), first);
}

TEST(TlsReport, KeepsPoliciesOfADayApart_RPT23) {
    auto later = outcome(PolicyType::sts, 2);
    later.outcome.policy_text = "version: STSv1\nmode: enforce\nmx: mx1.harbour.example\nmax_age: 1\n";
    const auto report = report_of({outcome(PolicyType::sts, 1), later});
    ASSERT_EQ(report.at("policies").as_array().size(), 2U);
}

TEST(TlsReport, PassesOverWhatIsOfOtherDaysAndDomains) {  // RPT-09
    auto yesterday = outcome(PolicyType::sts, 5);
    yesterday.day = day - std::chrono::days(1);
    auto other = outcome(PolicyType::sts, 5);
    other.outcome.domain = "other.example";
    const auto report =
        make_report(northfield, "harbour.example", day, {yesterday, other, outcome(PolicyType::sts, 1)});
    EXPECT_EQ(report.good(), 1U);
}

TEST(TlsReport, SaysWhatWasWrongWithoutASession_D40) {
    auto fetch = failed(PolicyType::sts, 4, "sts-policy-fetch-error", "HTTP status 500");
    fetch.outcome.count = OutcomeCount::detail;
    fetch.outcome.policy_text.clear();
    fetch.outcome.mx_host.clear();
    fetch.outcome.helo.clear();
    fetch.outcome.local_address.clear();
    fetch.outcome.remote_address.clear();
    const auto report = report_of({fetch});
    const auto& entry = report.at("policies").as_array().at(0).as_object();
    EXPECT_FALSE(entry.at("policy").as_object().contains("policy-string"));
    EXPECT_FALSE(entry.at("policy").as_object().contains("mx-host"));
    EXPECT_EQ(entry.at("summary").at("total-failure-session-count").as_int64(), 0);
    const auto& detail = entry.at("failure-details").as_array().at(0).as_object();
    EXPECT_EQ(detail.at("failed-session-count").as_int64(), 4);
    for (const char* absent :
         {"sending-mta-ip", "receiving-mx-hostname", "receiving-mx-helo", "receiving-ip"})
        EXPECT_FALSE(detail.contains(absent)) << absent;  // RPT-32, RPT-33
}

TEST(TlsReport, StaysBelowWhatReceiversTake_RPT70) {
    std::vector<store::StoredOutcome> outcomes;
    for (int i = 0; i < 200; ++i) {
        auto one = outcome(PolicyType::sts, 10);
        one.outcome.policy_text =
            "version: STSv1\nmode: enforce\nmx: mx" + std::to_string(i) + ".test\nmax_age: 1\n";
        one.outcome.policy_text += std::string(60'000, static_cast<char>('a' + i % 26));
        outcomes.push_back(one);
    }
    const auto report = make_report(northfield, "harbour.example", day, outcomes);
    EXPECT_EQ(report.good(), 2000U);
    EXPECT_EQ(report.policies.size(), 200U);
    EXPECT_LT(json_of(report).size(), 5UL << 20U);
}

TEST(TlsReport, IsToldToPeople) {
    const auto report = make_report(northfield, "harbour.example", day,
                                    {outcome(PolicyType::sts, 40),
                                     failed(PolicyType::sts, 1, "certificate-expired", "CERT_HAS_EXPIRED")});
    const std::string words = in_words(report);
    std::string on_one_line;
    for (const auto line : split(words, '\n')) on_one_line += std::string(trimmed(line)) + " ";
    EXPECT_NE(
        on_one_line.find("Under the MTA-STS policy of harbour.example (mode testing): 40 sessions good, 1 "
                         "session failed."),
        std::string::npos)
        << words;
    EXPECT_NE(words.find("1 session: mx1.harbour.example [2001:db8::25]: the certificate has"),
              std::string::npos)
        << words;
    for (const auto line : split(words, '\n')) EXPECT_LE(line.size(), 78U) << line;
    EXPECT_NE(in_words(make_report(northfield, "harbour.example", day, {outcome(PolicyType::sts, 1)}))
                  .find("Nothing failed"),
              std::string::npos);
}

std::string gunzip(const std::string& octets) {
    z_stream stream{};
    EXPECT_EQ(inflateInit2(&stream, 15 + 16), Z_OK);
    std::string out(1UL << 20U, '\0');
    std::string in = octets;
    stream.next_in = reinterpret_cast<Bytef*>(in.data());
    stream.avail_in = static_cast<uInt>(in.size());
    stream.next_out = reinterpret_cast<Bytef*>(out.data());
    stream.avail_out = static_cast<uInt>(out.size());
    EXPECT_EQ(inflate(&stream, Z_FINISH), Z_STREAM_END);
    EXPECT_EQ(stream.avail_in, 0U);
    out.resize(stream.total_out);
    inflateEnd(&stream);
    return out;
}

TEST(TlsReportMail, SaysTheSameInNameSubjectFieldsAndJson_RPT71) {
    const auto report = make_report(northfield, "harbour.example", day, {outcome(PolicyType::sts, 1)});
    const Packed packed = pack(report);
    EXPECT_EQ(gunzip(packed.gzip), packed.json);  // RPT-59
    EXPECT_EQ(file_name(report),                  // RPT-57
              "northfield.example!harbour.example!1773446400!1773532799!" + report.unique + ".json.gz");
    const std::string mail =
        compose(report, packed, {"tls@harbour.example", "m1@northfield.example", begin_of(day)});
    const auto has = [&mail](const std::string& part) { return mail.find(part) != std::string::npos; };
    EXPECT_TRUE(has("\r\nTLS-Report-Domain: harbour.example\r\n"));        // RPT-61
    EXPECT_TRUE(has("\r\nTLS-Report-Submitter: northfield.example\r\n"));  // RPT-61
    EXPECT_TRUE(has("Submitter: northfield.example\r\n Report-ID: <" + report.id + ">\r\n") ||
                has("Submitter: northfield.example Report-ID: <" + report.id + ">\r\n") ||
                has("Report-ID:\r\n <" + report.id + ">\r\n"))
        << mail;                                                                  // RPT-62
    EXPECT_TRUE(has("Content-Type: multipart/report; report-type=\"tlsrpt\";"));  // RPT-60
    EXPECT_TRUE(has("\r\nContent-Type: application/tlsrpt+gzip\r\n"));
    EXPECT_TRUE(has("filename=\"" + file_name(report) + "\"\r\n"));
    EXPECT_TRUE(has("\r\nTLS-Required: No\r\n"));
    EXPECT_TRUE(is_ascii(mail));
    for (const auto line : split(mail, '\n')) EXPECT_LE(line.size(), 200U);
}

TEST(TlsReportMail, NamesAnOrganizationInAnyScript) {
    Reporter by = northfield;
    by.organization = "Nordfelder Genossenschaft für Pöst und mehr \xE2\x9C\x89";
    const auto report = make_report(by, "harbour.example", day, {outcome(PolicyType::sts, 1)});
    const std::string mail =
        compose(report, pack(report), {"tls@harbour.example", "m1@northfield.example", begin_of(day)});
    EXPECT_TRUE(is_ascii(mail));
    EXPECT_NE(mail.find("From: =?UTF-8?B?"), std::string::npos);
    EXPECT_NE(mail.find("Content-Transfer-Encoding: base64\r\n\r\n"), std::string::npos);
}

}  // namespace
}  // namespace sternpost::tlsrpt
