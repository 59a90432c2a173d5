#include "sts/advice.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace sternpost::sts {
namespace {

using ::testing::HasSubstr;

const WallTime now{std::chrono::sys_days(std::chrono::year(2026) / 3 / 1)};

dns::Domain named(const std::string& name) {
    return dns::Domain::parse(name).value();
}

Published sound() {
    Published out(named("example.com"));
    out.records = {"v=STSv1; id=20260301;"};
    out.policy =
        "version: STSv1\r\nmode: enforce\r\nmx: mx1.example.com\r\nmx: *.example.net\r\nmax_age: 2592000\r\n";
    out.content_type = "text/plain; charset=utf-8";
    out.mx = {"mx1.example.com", "a.example.net"};
    out.certificate_ends = now + std::chrono::hours(24 * 60);
    out.reports_known = out.reports_usable = true;
    return out;
}

struct AdviceRow {
    const char* name;
    void (*change)(Published&);
    Severity severity;
    const char* text;
};
class PublishedPolicy : public ::testing::TestWithParam<AdviceRow> {};
TEST_P(PublishedPolicy, IsFoundWanting) {
    Published published = sound();
    GetParam().change(published);
    const auto findings = lint(published, now);
    ASSERT_FALSE(findings.empty());
    EXPECT_EQ(findings[0].severity, GetParam().severity) << findings[0].text;
    EXPECT_THAT(findings[0].text, HasSubstr(GetParam().text));
}

void replace(Published& published, const std::string& what, const std::string& with) {
    published.policy->replace(published.policy->find(what), what.size(), with);
}

INSTANTIATE_TEST_SUITE_P(
    If, PublishedPolicy,
    ::testing::Values(
        AdviceRow{"Sts02NoRecord", [](Published& p) { p.records->pop_back(); }, Severity::error, "no TXT record"},
        AdviceRow{"Sts02Case", [](Published& p) { p.records->back() = "V=STSV1; id=1"; }, Severity::error,
            "just these letters"},
        AdviceRow{"Sts03TwoRecords", [](Published& p) { p.records->push_back("v=STSv1; id=2"); }, Severity::error,
            "exactly one"},
        AdviceRow{"Sts04NoId", [](Published& p) { p.records->back() = "v=STSv1; foo=1"; }, Severity::error,
            "no id"},
        AdviceRow{"Sts05OddId", [](Published& p) { p.records->back() = "v=STSv1; id=2024-01"; }, Severity::error,
            "letters and digits"},
        AdviceRow{"D01BlankBeforeDelimiter", [](Published& p) { p.records->back() = "v=STSv1 ; id=1"; },
            Severity::warning, "blanks"},
        AdviceRow{"D46ManyMxPatterns",
            [](Published& p) {
                for (int i = 0; i < 500; ++i) p.policy->insert(p.policy->find("mx:"), "mx: h" + std::to_string(i) + ".test\r\n");
            },
            Severity::error, "takes no policy with more than 500"},
        AdviceRow{"RecordUnknown", [](Published& p) { p.records.reset(); }, Severity::error, "cannot be looked up"},
        AdviceRow{"PolicyUnknown",
            [](Published& p) {
                p.policy.reset();
                p.policy_problem = "404";
            },
            Severity::error, "404"},
        AdviceRow{"Sts18Type", [](Published& p) { p.content_type = "text/html"; }, Severity::error, "text/html"},
        AdviceRow{"D03NoType", [](Published& p) { p.content_type.reset(); }, Severity::warning,
            "without Content-Type"},
        AdviceRow{"Sts20CertificateEnds",
            [](Published& p) { p.certificate_ends = now + std::chrono::hours(24 * 13); }, Severity::warning,
            "ends at"},
        AdviceRow{"Sts33Mode", [](Published& p) { replace(p, "enforce", "Enforce"); }, Severity::error,
            "must be in small letters: `enforce`"},
        AdviceRow{"Sts34MaxAge", [](Published& p) { replace(p, "2592000", "30d"); }, Severity::error,
            "max_age is not"},
        AdviceRow{"MaxAgeBelowADay", [](Published& p) { replace(p, "2592000", "86399"); }, Severity::warning,
            "less than a day"},
        AdviceRow{"MaxAgeBelowAWeek", [](Published& p) { replace(p, "2592000", "86400"); }, Severity::hint,
            "less than a week"},
        AdviceRow{"Sts38UnknownKey", [](Published& p) { replace(p, "mode:", "nmx: x\r\nmode:"); },
            Severity::warning, "did you mean `mx`"},
        AdviceRow{"Sts37Twice", [](Published& p) { replace(p, "mode:", "mode: testing\r\nmode:"); },
            Severity::warning, "stands there twice"},
        AdviceRow{"Sts40ULabel",
            [](Published& p) {
                replace(p, "mx1.example.com",
                        "mx1.b\xc3\xbc"
                        "cher.example");
            },
            Severity::error, "A-label"},
        AdviceRow{"Sts41BlankLine", [](Published& p) { replace(p, "mode:", "\r\nmode:"); }, Severity::warning,
            "empty line"},
        AdviceRow{"Sts41Bom", [](Published& p) { replace(p, "version", "\xef\xbb\xbfversion"); }, Severity::error,
            "byte order mark"},
        AdviceRow{"Sts57MxMissing", [](Published& p) { p.mx->push_back("mx9.example.org"); }, Severity::error,
            "mx9.example.org is not in the policy"},
        AdviceRow{"Sts62WildcardDepth", [](Published& p) { p.mx->push_back("a.b.example.net"); }, Severity::error,
            "covers one label only"},
        AdviceRow{"NoMxAllowed", [](Published& p) { p.mx = {"mx.example.org"}; }, Severity::error,
            "mx.example.org"},
        AdviceRow{"PatternWithoutHost", [](Published& p) { p.mx->pop_back(); }, Severity::hint, "*.example.net"},
        AdviceRow{"ModeTesting", [](Published& p) { replace(p, "enforce", "testing"); }, Severity::hint,
            "publish enforce"},
        AdviceRow{"ModeNone", [](Published& p) { replace(p, "enforce", "none"); }, Severity::hint, "mode none"},
        AdviceRow{"AnotherRecord", [](Published& p) { p.records->insert(p.records->begin(), "v=spf1 -all"); }, Severity::hint,
            "another TXT record"},
        AdviceRow{"NoDelimiter", [](Published& p) { p.records->push_back("v=STSv1"); }, Severity::warning, "lacks the `;`"},
        AdviceRow{"D51FinalDot", [](Published& p) { replace(p, "mx1.example.com", "mx1.example.com."); }, Severity::warning,
            "ends with a dot"},
        AdviceRow{"D04MaxAge", [](Published& p) { replace(p, "2592000", "9999999999"); }, Severity::warning,
            "above the maximum"},
        AdviceRow{"KeyInCapitals", [](Published& p) { replace(p, "version", "Version"); }, Severity::error,
            "the key `Version` must be in small letters"},
        AdviceRow{"TrailingBlank", [](Published& p) { p.records->back() += " "; }, Severity::warning, "blanks at the end"},
        AdviceRow{"ControlCharacter", [](Published& p) { replace(p, "mode:", "x-note: a\tb\r\nmode:"); }, Severity::warning,
            "a control character"},
        AdviceRow{"IdInCapitals", [](Published& p) { p.records->back() = "v=STSv1; ID=1;"; }, Severity::error,
            "must be in small letters: `id`"},
        AdviceRow{"BlankBeforeEquals", [](Published& p) { p.records->back() = "v=STSv1; id =1;"; }, Severity::error,
            "a blank stands before the `=`"},
        AdviceRow{"AnotherVersion", [](Published& p) { p.records->push_back("v=STSv12; id=2;"); }, Severity::warning,
            "no version that senders know"},
        AdviceRow{"D51TwoIds", [](Published& p) { p.records->back() = "v=STSv1; id=1; id=2;"; }, Severity::warning,
            "`id` stands twice"},
        AdviceRow{"MxUnknown",
            [](Published& p) {
                p.mx.reset();
                p.mx_problem = "SERVFAIL";
            },
            Severity::error, "the MX records of example.com cannot be looked up: SERVFAIL"},
        AdviceRow{"NullMx", [](Published& p) { p.mx = {""}; }, Severity::hint, "takes no mail"},
        AdviceRow{"ReportsUnknown", [](Published& p) { p.reports_problem = "SERVFAIL"; }, Severity::warning,
            "_smtp._tls.example.com cannot be looked up"},
        AdviceRow{"LargePolicy", [](Published& p) { *p.policy += "x-note: " + std::string(11000, 'x') + "\r\n"; },
            Severity::warning, "read only the first 10240"},
        AdviceRow{"NotAscii", [](Published& p) { *p.policy += "x-note: \xc3\xa4\r\n"; }, Severity::warning, "not ASCII"},
        AdviceRow{"SecondColon", [](Published& p) { *p.policy += "x-note: a:b\r\n"; }, Severity::warning, "a second `:`"},
        AdviceRow{"UnusableReports",
            [](Published& p) {
                p.reports_usable = false;
                p.report_problems = {"_smtp._tls.example.com: no sender can send a report"};
            },
            Severity::error, "no sender can send"},
        AdviceRow{"NoReports", [](Published& p) { p.reports_usable = false; }, Severity::hint, "no TLS reports"}),
    [](const auto& row) { return std::string(row.param.name); });

TEST(PublishedPolicy, IsNotFaultedForWhatIsAllowed) {  // STS-30
    Published published = sound();
    EXPECT_TRUE(lint(published, now).empty());
    published.policy =
        "version: STSv1\nmode: enforce\nmx: mx1.example.com\nmx: *.example.net\nmax_age: 2592000";
    EXPECT_TRUE(lint(published, now).empty()) << "LF, and no final newline";
}

TEST(Publication, IsReadyToPaste) {
    PublicationPlan plan(named("example.com"));
    plan.mx = {"MX1.example.com.", "*.example.net"};
    plan.id = "1";
    plan.rua = "mailto:tls@example.com";
    const auto out = publication(plan).value();
    EXPECT_EQ(out.record, "_mta-sts.example.com. 3600 IN TXT \"v=STSv1; id=1;\"");
    EXPECT_EQ(out.policy_url, "https://mta-sts.example.com/.well-known/mta-sts.txt");
    EXPECT_EQ(
        out.policy,
        "version: STSv1\r\nmode: testing\r\nmx: mx1.example.com\r\nmx: *.example.net\r\nmax_age: 604800\r\n");
    EXPECT_EQ(out.report_record,
              "_smtp._tls.example.com. 3600 IN TXT \"v=TLSRPTv1; rua=mailto:tls@example.com\"");
    ASSERT_EQ(out.steps.size(), 4U);
    EXPECT_THAT(out.steps[3], HasSubstr("enforce"));
    plan.rua.clear();
    EXPECT_EQ(publication(plan).value().report_record, "");
}

TEST(Publication, RefusesWhatSendersWouldRefuse) {
    PublicationPlan plan(named("example.com"));
    plan.mx = {"mx1.example.com"};
    plan.id = "not an id";
    EXPECT_EQ(publication(plan).error().code, Errc::bad_record);
    plan.id = "1";
    plan.mx = {"mx..example"};
    EXPECT_EQ(publication(plan).error().code, Errc::bad_policy);
    plan.mx.clear();
    EXPECT_EQ(publication(plan).error().code, Errc::bad_policy) << "testing needs an mx";
    plan.mode = Mode::none;
    EXPECT_TRUE(publication(plan));
}

TEST(PolicyDiff, ShowsWhatWentAndWhatCame) {
    EXPECT_EQ(
        diff("version: STSv1\r\nmode: testing\r\nmx: a\r\n", "version: STSv1\nmode: enforce\nmx: a\nmx: b\n"),
        (std::vector<std::string>{"  version: STSv1", "- mode: testing", "+ mode: enforce", "  mx: a",
                                  "+ mx: b"}));
    EXPECT_TRUE(diff("", "").empty());
    EXPECT_EQ(diff("a\n", ""), std::vector<std::string>{"- a"});
}

TEST(PolicyDiff, IsOfTheFirst500Lines) {
    std::string lines;
    for (int n = 0; n < 500; ++n) lines += "mx: a\n";
    EXPECT_EQ(diff("", lines).size(), 500U);
    EXPECT_EQ(diff(lines + "mx: b\n", lines + "mx: c\n"), diff(lines, lines));
}

}  // namespace
}  // namespace sternpost::sts
