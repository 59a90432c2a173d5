// Reports of others, with what they are known to get wrong.
#include "tlsrpt/incoming.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "mail/parts.h"
#include "tlsrpt/mail.h"
#include "util/gzip.h"
#include "util/text.h"

namespace sternpost::tlsrpt {
namespace {

const std::string good = R"({
  "organization-name": "Big Mail Inc.",
  "date-range": {"start-datetime": "2026-03-14T00:00:00Z", "end-datetime": "2026-03-14T23:59:59Z"},
  "contact-info": "tls@big.example",
  "report-id": "1@big.example",
  "policies": [{
    "policy": {"policy-type": "sts", "policy-string": ["version: STSv1"], "policy-domain": "ours.example",
               "mx-host": ["*.ours.example"]},
    "summary": {"total-successful-session-count": 100, "total-failure-session-count": 7},
    "failure-details": [
      {"result-type": "certificate-expired", "sending-mta-ip": "192.0.2.1", "receiving-ip": "192.0.2.9",
       "receiving-mx-hostname": "mx1.ours.example", "failed-session-count": 7, "failure-reason-code": "x"}]}]})";

// All of a file at once.
std::vector<Result<IncomingReport>> reports_in(const std::string& file) {
    std::vector<Result<IncomingReport>> out;
    const std::size_t count = read_reports_in(file, [&](Result<IncomingReport> report) {
        out.push_back(std::move(report));
        return true;
    });
    EXPECT_EQ(count, out.size());
    return out;
}

std::string with(std::string from, const std::string& to) {
    std::string out = good;
    const auto at = out.find(from);
    EXPECT_NE(at, std::string::npos) << from;
    return out.replace(at, from.size(), to);
}

TEST(Incoming, AReportAsItShouldBeHasNothingOdd) {
    const auto report = read_report(good).value();
    EXPECT_TRUE(report.oddities.empty()) << report.oddities.front();
    EXPECT_EQ(report.organization, "Big Mail Inc.");
    ASSERT_EQ(report.entries.size(), 1U);
    const auto& entry = report.entries[0];
    EXPECT_EQ(entry.domain, "ours.example");
    EXPECT_EQ(entry.good, 100U);
    EXPECT_EQ(entry.failed, 7U);
    ASSERT_EQ(entry.details.size(), 1U);
    EXPECT_EQ(entry.details.begin()->first.mx_host, "mx1.ours.example");
    EXPECT_EQ(entry.details.begin()->second, 7U);
}

struct Odd {
    const char* name;
    std::string octets;
    const char* told;  // a part of what is said of it
};
class OddReport : public testing::TestWithParam<Odd> {};

TEST_P(OddReport, IsReadAllTheSame) {
    const auto report = read_report(GetParam().octets);
    ASSERT_TRUE(report) << report.error().text;
    ASSERT_EQ(report->entries.size(), 1U);
    EXPECT_EQ(report->entries[0].good, 100U);
    EXPECT_TRUE(std::any_of(report->oddities.begin(), report->oddities.end(), [](const std::string& odd) {
        return odd.find(GetParam().told) != std::string::npos;
    })) << (report->oddities.empty() ? "nothing was said" : report->oddities.front());
}

const Odd odd[] = {
    {"MxHostAsAText", with("[\"*.ours.example\"]", "\"*.ours.example\""), "mx-host is a text"},
    {"PolicyStringAsAText", with("[\"version: STSv1\"]", "\"version: STSv1\""), "policy-string is a text"},
    {"CountsAsTexts", with(": 100", ": \"100\""), "is a text, not a number"},
    {"NoTimeZone", with("23:59:59Z", "23:59:59"), "end-datetime has no time zone"},
    {"ContactIsNull", with("\"tls@big.example\"", "null"), "contact-info is null"},
    {"NoContact", with("\"contact-info\": \"tls@big.example\",", ""), "contact-info is missing"},
    {"CountBeyondReason",
     with("total-failure-session-count\": 7", "total-failure-session-count\": 18446744073709551615"),
     "larger than 2^53"},
    {"ReasonByAnotherName", with("failure-reason-code", "failure-error-code"),
     "is called failure-error-code"},
    {"ContactIsAUri", with("\"tls@big.example\"", "\"mailto:tls@big.example\""), "contact-info is a URI"},
    {"NoOrganization", with("\"organization-name\": \"Big Mail Inc.\",", ""), "organization-name is missing"},
    {"TypeInCapitals", with("\"sts\"", "\"STS\""), "policy-type is written STS"},
    {"UnknownResultType", with("certificate-expired", "bad-luck"), "bad-luck is not one of"},
    {"OneDetailWithoutAList",
     with("[\n      {\"result", "{\"result")
         .replace(with("[\n      {\"result", "{\"result").rfind("}]}]"), 4, "}}]"),
     "failure-details is no list"},
    {"CountIsNull", with("total-failure-session-count\": 7", "total-failure-session-count\": null"),
     "total-failure-session-count is null"},
    {"DetailsBeyondTheirSum", with("\"failed-session-count\": 7", "\"failed-session-count\": 8"),
     "failure-details tell of 8 failed sessions, total-failure-session-count of 7"},
    {"ByteOrderMark", "\xEF\xBB\xBF" + good, "byte order mark"},
    {"Latin1", with("Big Mail", "Gro\xDF"), "not UTF-8"},
};
INSTANTIATE_TEST_SUITE_P(Rows, OddReport, testing::ValuesIn(odd),
                         [](const auto& row) { return std::string(row.param.name); });

TEST(Incoming, NullIsNamedOnceAndIsNoPolicy) {
    const auto report = read_report(R"({"organization-name":"X","contact-info":null,"report-id":"n",
        "date-range":{"start-datetime":"2026-06-01T00:00:00Z","end-datetime":"2026-06-01T23:59:59Z"},
        "policies":null})");
    ASSERT_TRUE(report);
    EXPECT_TRUE(report->entries.empty());
    EXPECT_EQ(report->oddities,
              (std::vector<std::string>{"contact-info is null",
                                        "policies is null: nothing is said of any domain"}));
}

// The members of `policy` next to it, as some senders write them.
TEST(Incoming, AFlatPolicyIsReadWhereItStands) {
    const auto report = read_report(R"({"organization-name":"X","contact-info":"a@x.example","report-id":"f",
        "date-range":{"start-datetime":"2026-06-01T00:00:00Z","end-datetime":"2026-06-01T23:59:59Z"},
        "policies":[{"policy-type":"sts","policy-domain":"ours.example","mx-host":["mx.ours.example"],
          "summary":{"total-successful-session-count":5,"total-failure-session-count":0}}]})");
    ASSERT_TRUE(report);
    ASSERT_EQ(report->entries.size(), 1U);
    EXPECT_EQ(report->entries[0].domain, "ours.example");
    EXPECT_EQ(report->entries[0].type, "sts");
    EXPECT_EQ(report->entries[0].good, 5U);
    EXPECT_EQ(report->oddities,
              std::vector<std::string>{"policy is missing, and its members stand where it should be"});
}

TEST(Incoming, WhatIsNoneIsSaidToBeNone) {
    for (const std::string& none :
         {std::string(), std::string("<html>"), std::string("[]"), std::string("{}"),
          std::string("\x1F\x8B garbage"), util::gzip(good).substr(0, 60), std::string(5000, '[')}) {
        const auto report = read_report(none);
        ASSERT_FALSE(report) << none.substr(0, 20);
        EXPECT_FALSE(report.error().text.empty());
    }
}

TEST(Incoming, GzipIsUnpackedWithinItsBounds) {
    EXPECT_EQ(read_report(util::gzip(good)).value().entries.size(), 1U);
    const std::string two = util::gzip(good.substr(0, 50)) + util::gzip(good.substr(50));
    EXPECT_EQ(read_report(two + "garbage").value().entries.size(), 1U);
    std::string bomb = util::gzip(std::string(150UL << 20U, ' '));
    EXPECT_NE(read_report(bomb).error().text.find("unpacks to more"), std::string::npos);
}

TEST(Incoming, GzipHasAThousandMembersAtMost) {
    const std::string one = util::gzip("x");
    std::string members;
    for (int n = 0; n < 1000; ++n) members += one;
    EXPECT_EQ(util::gunzip(members, 10'000).value(), std::string(1000, 'x'));
    const auto refused = util::gunzip(members + one, 10'000);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, util::GzipErrc::too_big);
}

TEST(Incoming, HasTenThousandPoliciesAndTenThousandDetailsOfOne) {
    std::string policies = R"({"policies":[)";
    std::string details = R"({"policies":[{"failure-details":[)";
    for (int n = 0; n < 10'002; ++n) {
        policies += "{},";
        details += R"({"receiving-ip":")" + std::to_string(n) + R"("},)";
    }
    const auto many = read_report(policies + "]}");
    ASSERT_TRUE(many) << many.error().text;
    EXPECT_EQ(many->entries.size(), 10'000U);
    const auto deep = read_report(details + "]}]}");
    ASSERT_TRUE(deep) << deep.error().text;
    ASSERT_EQ(deep->entries.size(), 1U);
    EXPECT_EQ(deep->entries[0].details.size(), 10'000U);
}

TEST(Incoming, KeepsAThousandOctetsOfAText) {
    for (const std::size_t octets : {1000U, 5000U}) {
        const std::string name(octets, 'x');
        const auto report = read_report(with("Big Mail Inc.", name)).value();
        EXPECT_EQ(std::count(report.organization.begin(), report.organization.end(), 'x'), 1000);
    }
}

// Found in a mail, however it is put into it.
TEST(Incoming, ManySmallValuesDoNotTakeMuchMemory) {
    std::string many = "{\"policies\":[";
    while (many.size() < (15U << 20U)) many += "[],";
    const auto refused = read_report(many + "[]]}");
    ASSERT_FALSE(refused);
    EXPECT_NE(refused.error().text.find("64 MiB of memory"), std::string::npos) << refused.error().text;
    // A report of ten thousand policies is a small part of that.
    std::string large = "{\"organization-name\":\"o\",\"policies\":[";
    for (int i = 0; i < 10'000; ++i)
        large +=
            R"({"policy":{"policy-type":"sts","policy-domain":"a.test","policy-string":["version: STSv1",)"
            R"("mode: enforce","mx: *.a.test","max_age: 86400"]},"summary":)"
            R"({"total-successful-session-count":1,"total-failure-session-count":0}},)";
    large.back() = ']';
    const auto read = read_report(large + "}");
    ASSERT_TRUE(read) << read.error().text;
    EXPECT_EQ(read->entries.size(), 10'000U);
}

TEST(Incoming, DetailsOfAllPoliciesAreBoundedTogether) {
    std::string text = "{\"policies\":[";
    for (int policy = 0; policy < 8; ++policy) {
        text += "{\"failure-details\":[";
        for (int i = 0; i < 9'000; ++i) text += "{\"receiving-ip\":\"" + std::to_string(i) + "\"},";
        text.back() = ']';
        text += "},";
    }
    text.back() = ']';
    const auto report = read_report(text + "}");
    ASSERT_TRUE(report) << report.error().text;
    std::size_t details = 0;
    for (const auto& entry : report->entries) details += entry.details.size();
    EXPECT_EQ(report->entries.size(), 8U);
    EXPECT_EQ(details, 50'000U);
}

TEST(Incoming, IsFoundInMailsOfAllKinds) {
    Reporter by{"Northfield", "tls@northfield.example", "northfield.example", "relay"};
    store::StoredOutcome one;
    one.outcome.domain = one.outcome.policy_domain = "ours.example";
    one.day = std::chrono::sys_days(std::chrono::year(2026) / 3 / 14);
    one.n = 3;
    const auto report = make_report(by, "ours.example", one.day, {one});
    const std::string own =
        compose(report, pack(report), {"tls@ours.example", "m@northfield.example", WallTime(one.day)});
    std::string lf = own;
    std::erase(lf, '\r');
    const std::string zipped = base64(util::gzip(good));
    const std::string other =
        "From: noreply@big.example\nSubject: x\nContent-Type: "
        "multipart/mixed;\n\tboundary=b\n\npreamble\n--b\n\ntext\n--b\n"
        "Content-Type: application/octet-stream\nContent-Disposition: attachment;\n "
        "filename=\"a!b!1!2.json.gz\"\n"
        "Content-Transfer-Encoding: base64\n\n" +
        zipped + "\n--b--\n";
    const std::string single = "From: x\nContent-Type: application/tlsrpt+json\n\n" + good;
    const std::string quoted =
        "From: x\nContent-Type: application/json\nContent-Transfer-Encoding: quoted-printable\n\n" +
        with("Big Mail", "Big=20=\nMail");
    const std::string forwarded = "Subject: fwd\nContent-Type: message/rfc822\n\n" + other;
    for (const std::string& mail : {own, lf, other, single, quoted, forwarded}) {
        const auto found = reports_in(mail);
        ASSERT_EQ(found.size(), 1U) << mail.substr(0, 200);
        const auto& read = found[0];
        ASSERT_TRUE(read) << read.error().text;
        EXPECT_EQ(read->entries.size(), 1U);
    }
    EXPECT_EQ(reports_in(good).size(), 1U);
    EXPECT_EQ(reports_in(util::gzip(good)).size(), 1U);
    EXPECT_EQ(reports_in("From a Mon\n" + other + "\nFrom b Tue\n" + lf).size(), 2U);  // mbox
    EXPECT_TRUE(reports_in("From: x\n\nhello\n").empty());
    EXPECT_TRUE(
        reports_in(
            "Content-Type: application/gzip; name=dmarc.xml.gz\nContent-Transfer-Encoding: base64\n\n" +
            base64(util::gzip("<feedback/>")) + "\n")
            .empty());
    EXPECT_EQ(reports_in("Content-Type: application/octet-stream\n\n" + good).size(), 1U);
    EXPECT_TRUE(reports_in("").empty());
}

TEST(Incoming, ReportsOfAFileAreReadUntilThereShallBeNoMore) {
    std::string mbox;
    for (int i = 0; i < 5; ++i)
        mbox +=
            "From x Mon\nContent-Type: application/tlsrpt+json\n\n" + (i == 1 ? "garbage" : good) + "\n\n";
    EXPECT_EQ(reports_in(mbox).size(), 5U);
    EXPECT_FALSE(reports_in(mbox)[1]);
    int left = 3;
    EXPECT_EQ(read_reports_in(mbox, [&](const auto&) { return --left > 0; }), 3U);
}

// A report with so many failure details that no other one has.
IncomingReport with_details(int report, int details) {
    IncomingReport out;
    out.organization = "Big Mail Inc.";
    out.id = std::to_string(report);
    IncomingEntry entry;
    entry.domain = "ours.example";
    entry.type = "sts";
    entry.failed = static_cast<std::uint64_t>(details);
    for (int i = 0; i < details; ++i)
        entry.details[{"validation-failure", std::to_string(report) + "-" + std::to_string(i), "", "", ""}] =
            1;
    out.entries.push_back(std::move(entry));
    return out;
}

TEST(SumsOfReports, HaveFewDetailsHoweverManyReportsThereAre) {  // D-46
    Sums sums({1UL << 20U, 100});
    EXPECT_EQ(sums.add(with_details(1, 60)), Added::whole);
    EXPECT_EQ(sums.add(with_details(2, 60)), Added::without_details);
    EXPECT_EQ(sums.add(with_details(3, 40)), Added::whole) << "these fit";
    EXPECT_EQ(sums.add(with_details(2, 60)), Added::before);
    IncomingReport again = with_details(1, 60);
    again.id = "4";
    EXPECT_EQ(sums.add(again), Added::whole) << "the same kinds of failures take no room";
    const auto& row = sums.rows().begin()->second;
    EXPECT_EQ(row.reports, 4U);
    EXPECT_EQ(row.failed, 220U) << "sessions are counted all the same";
    EXPECT_EQ(row.details.size(), 100U);
    EXPECT_EQ(row.details.begin()->second, 2U);
}

TEST(SumsOfReports, TakeBoundedOctets) {  // D-46
    Sums of_details({50'000, 1'000'000});
    EXPECT_EQ(of_details.add(with_details(1, 10)), Added::whole);
    EXPECT_EQ(of_details.add(with_details(2, 1000)), Added::without_details);
    Sums of_rows({50'000, 1'000'000});
    int counted = 0;
    for (int i = 0; i < 1000; ++i) {
        IncomingReport report = with_details(i, 0);
        report.entries[0].domain = std::string(200, 'x') + std::to_string(i);
        const auto added = of_rows.add(report);
        if (added == Added::whole)
            ++counted;
        else
            EXPECT_EQ(added, Added::left_out);
    }
    EXPECT_GT(counted, 30);
    EXPECT_LT(counted, 150);
    EXPECT_EQ(of_rows.rows().size(), static_cast<std::size_t>(counted)) << "what is left out leaves no trace";
}

TEST(Incoming, ManyReportsAreSummedAndNoneTwice) {
    Sums sums;
    EXPECT_EQ(sums.add(read_report(good).value()), Added::whole);
    EXPECT_EQ(sums.add(read_report(good).value()), Added::before);
    EXPECT_EQ(sums.add(read_report(with("1@big.example", "2@big.example")).value()), Added::whole);
    // the same id for another domain, or another day, is another report
    Sums other;
    EXPECT_EQ(other.add(read_report(good).value()), Added::whole);
    EXPECT_EQ(other.add(read_report(with("\"ours.example\"", "\"second.example\"")).value()), Added::whole);
    EXPECT_EQ(other.add(read_report(with("2026-03-14T00:00:00Z", "2026-03-13T00:00:00Z")).value()),
              Added::whole);
    EXPECT_EQ(other.add(read_report(with("\"report-id\": \"1@big.example\",", "")).value()), Added::whole);
    EXPECT_EQ(other.add(read_report(with("\"report-id\": \"1@big.example\",", "")).value()), Added::before);
    EXPECT_EQ(other.rows().size(), 2U);
    ASSERT_EQ(sums.rows().size(), 1U);
    const auto& row = sums.rows().begin()->second;
    EXPECT_EQ(row.reports, 2U);
    EXPECT_EQ(row.good, 200U);
    EXPECT_EQ(row.details.begin()->second, 14U);
}

}  // namespace
}  // namespace sternpost::tlsrpt
