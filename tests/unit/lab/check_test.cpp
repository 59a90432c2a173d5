#include "lab/check.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>

#include "lab/report.h"
#include "lab/stage.h"
#include "util/file.h"

namespace sternpost::lab {
namespace {

constexpr std::string_view good = R"(
[[check]]
ids = ["STS-58", "MAP-01"]
name = "no mail without STARTTLS"
world = '''
[domain."b.example"]
mx = ["mx.b.example"]
[mx."mx.b.example"]
starttls = "none"
'''
steps = [
    { send = ["bob@b.example", "carol@b.example"], requiretls = true, header = "X: y\n" },
    { set = "mx.mx.b.example.listening", to = false },
    { arrived = "bob@b.example", tls = "no", count = 2 },
    { logged = "attempt", with = { status = "sent" } },
]
)";

TEST(LabCheck, IsReadWithItsWorldAndItsSteps) {
    Suite suite;
    read_checks(good, "c.toml", suite);
    ASSERT_TRUE(suite.errors.empty()) << suite.errors.front();
    ASSERT_EQ(suite.checks.size(), 1U);
    const Check& check = suite.checks.front();
    EXPECT_EQ(check.ids, (std::vector<std::string>{"STS-58", "MAP-01"}));
    EXPECT_EQ(check.line, 2U);
    const World& world = check.scenario.world;
    EXPECT_EQ(world.mx.at("mx.b.example").starttls, StartTls::none);
    EXPECT_TRUE(world.domains.contains("sender.example"));  // where notices go
    EXPECT_EQ(world.general.ttl, 0U);
    ASSERT_EQ(check.steps.size(), 4U);
    EXPECT_EQ(check.steps[0].kind, StepKind::send);
    EXPECT_EQ(check.steps[0].of.size(), 2U);
    EXPECT_EQ(check.steps[0].requiretls, true);
    EXPECT_EQ(check.steps[1].to, "false");
    EXPECT_EQ(check.steps[2].count, 2U);
    EXPECT_EQ(check.steps[3].with.at("status"), "sent");
    EXPECT_EQ(check.steps[3].line, 15U);
}

struct WrongSuite {
    const char* name;
    std::string_view from, to;  // what of the good one is changed
    std::string_view error;
};
class WrongCheck : public testing::TestWithParam<WrongSuite> {};
TEST_P(WrongCheck, IsToldWithItsLine) {
    std::string text(good);
    const auto at = text.find(GetParam().from);
    ASSERT_NE(at, std::string::npos);
    text.replace(at, GetParam().from.size(), GetParam().to);
    Suite suite;
    read_checks(text, "c.toml", suite);
    ASSERT_FALSE(suite.errors.empty());
    EXPECT_EQ(suite.errors.front(), GetParam().error);
}
const WrongSuite wrong_suites[] = {
    {"World", "\"none\"", "\"off\"",
     "c.toml:9: mx.\"mx.b.example\": starttls = \"off\": one of \"offered\", \"none\", \"refused\", "
     "\"injected\", "
     "\"garbage\", \"drop\""},
    {"Section", "[[check]]", "[[chek]]", "c.toml:2: only [[check]] may stand here, not chek"},
    {"Key", "name =", "title =", "c.toml:4: unknown key \"title\"; there are ids, name, world, steps"},
    {"Step", "{ arrived", "{ arived",
     "c.toml:14: this is no step: one of send, set, flush, restart, pass, wait, run, dialogue, arrived, "
     "deferred, "
     "told_nothing, not_contacted, sessions, asked, requested, logged"},
    {"Option", "tls = \"no\"", "type = \"no\"",
     "c.toml:14: type = \"no\": arrived has at, tls, requiretls, count, sni, says, says_not"},
    {"Value", "count = 2", "count = -2", "c.toml:14: count = -2: a whole number, 0 or more"},
    {"Subject", "send = [\"bob@b.example\", \"carol@b.example\"]", "send = 1",
     "c.toml:12: send = 1: a text in quotes, or a list of them"},
    {"Span", "set = \"mx.mx.b.example.listening\", to = false", "pass = \"2 days\"",
     "c.toml:13: a span is as in \"90s\", \"5m\", \"12h\", \"2d\""},
    {"Signal", "set = \"mx.mx.b.example.listening\", to = false", "restart = \"stop\"",
     "c.toml:13: restart is by \"term\" or \"kill\""},
    {"Dialogue", "set = \"mx.mx.b.example.listening\", to = false", "dialogue = \"EHLO x\"",
     "c.toml:13: a line of a dialogue is \"C: …\", \"S: …\", \"TLS\", \"no TLS\" or \"closed\", not \"EHLO "
     "x\""},
};
INSTANTIATE_TEST_SUITE_P(LabCheck, WrongCheck, testing::ValuesIn(wrong_suites),
                         [](const auto& row) { return row.param.name; });

TEST(LabCheck, SpansHaveAUnit) {
    EXPECT_EQ(span_of("2d"), std::chrono::hours(48));
    EXPECT_EQ(span_of("90s"), std::chrono::seconds(90));
    EXPECT_FALSE(span_of("90"));
    EXPECT_FALSE(span_of("d"));
    EXPECT_FALSE(span_of("-1d"));
}

TEST(LabSuite, ShowsEveryObligationOrSaysWhyNot) {
    const Suite suite = read_suite(STERNPOST_TEST_DATA "/../../etc/lab/checks");
    EXPECT_TRUE(suite.errors.empty()) << suite.errors.front();
    EXPECT_GT(suite.checks.size(), 50U);
    EXPECT_GT(suite.obligations.size(), 150U);
}

class SuiteFolder : public testing::Test {
  protected:
    SuiteFolder() {
        std::string name = testing::TempDir() + "suite.XXXXXX";
        path_ = ::mkdtemp(name.data());
        write("obligations.tsv", "id\tsection\tdemand\nSTS-58\t§5\tno mail\nMAP-01\t§4\ta name\n");
        write("unseen.tsv", "id\twhy\n");
        write("a.toml", good);
    }
    ~SuiteFolder() override {
        std::error_code ignored;
        std::filesystem::remove_all(path_, ignored);
    }
    void write(const char* name, std::string_view text) { EXPECT_TRUE(util::write_file(path_ / name, text)); }
    std::string first_error() const {
        const Suite suite = read_suite(path_);
        return suite.errors.empty() ? "" : suite.errors.front();
    }
    std::filesystem::path path_;
};

TEST_F(SuiteFolder, IsWholeWhenChecksAndReasonsCoverTheObligations) {
    EXPECT_EQ(first_error(), "");
}

TEST_F(SuiteFolder, MissesAnObligationThatNothingShows) {
    write("obligations.tsv", "id\tsection\tdemand\nSTS-58\t\t\nMAP-01\t\t\nMAP-99\t\t\n");
    EXPECT_EQ(first_error(), "MAP-99: no check shows it, and unseen.tsv does not say why");
    write("unseen.tsv", "id\twhy\nMAP-99\tnot built\n");
    EXPECT_EQ(first_error(), "");
    write("unseen.tsv", "id\twhy\nMAP-99\tnot built\nMAP-01\tso\n");
    EXPECT_EQ(first_error(), "MAP-01: a check shows it, and unseen.tsv says that none does");
}

TEST_F(SuiteFolder, KnowsItsObligations) {
    write("obligations.tsv", "id\tsection\tdemand\nSTS-58\t\t\n");
    EXPECT_EQ(first_error(), (path_ / "a.toml").string() + ":2: there is no obligation MAP-01");
    write("obligations.tsv", "id\tsection\tdemand\nSTS-58\n");
    EXPECT_EQ(first_error(), (path_ / "obligations.tsv").string() + ":2: 3 fields, separated by tabs");
}

Suite two_checks() {
    Suite suite;
    suite.obligations = {{"A-1", "RFC 1 §1", "one | two", ""},
                         {"A-2", "", "", ""},
                         {"A-3", "", "", "not built"},
                         {"A-4", "", "", ""}};
    suite.checks.resize(3);
    suite.checks[0].ids = {"A-1", "A-2"};
    suite.checks[0].name = "first";
    suite.checks[1].ids = {"A-2"};
    suite.checks[1].name = "second";
    suite.checks[2].ids = {"A-4"};
    return suite;
}

TEST(LabReport, SaysOfEachObligationWhatItsChecksHaveShown) {
    const Suite suite = two_checks();
    const std::vector<Verdict> verdicts{{true, "", {}}, {true, "expected x; seen y", {}}, {}};
    const auto rows = rows_of(suite, verdicts);
    ASSERT_EQ(rows.size(), 4U);
    EXPECT_EQ(rows[0].state, Row::State::passed);
    EXPECT_EQ(rows[1].state, Row::State::failed);  // one check of two
    EXPECT_EQ(rows[1].troubles, std::vector<std::string>{"second: expected x; seen y (:0)"});
    EXPECT_EQ(rows[2].state, Row::State::unseen);
    EXPECT_EQ(rows[3].state, Row::State::not_run);
    const Totals totals = totals_of(rows, verdicts);
    EXPECT_EQ(totals.checks, 2U);
    EXPECT_EQ(totals.checks_failed, 1U);
    const std::string text = as_text(rows, totals, std::chrono::milliseconds(1500));
    EXPECT_NE(text.find("A-2      FAIL"), std::string::npos) << text;
    EXPECT_NE(text.find("4 obligations: 1 passed, 1 failed, 1 not seen from outside, 1 not run; 2 checks, 1 "
                        "failed; 1.5 s"),
              std::string::npos)
        << text;
    EXPECT_EQ(text.find("A-4"), std::string::npos) << text;
    EXPECT_NE(as_markdown(rows, totals, {}).find("| A-1 | RFC 1 §1 | one \\| two | pass |  |"),
              std::string::npos);
    const auto json = as_json(suite, rows, verdicts, {});
    EXPECT_EQ(json.at("obligations").as_array().at(1).at("result").as_string(), "fail");
}

TEST(LabCheck, ReadsLogLinesByTheirTags) {
    const auto events = events_of(
        "2026-11-24T04:00:42Z attempt to=<b@x> reason=\"say \\\"no\\\" = x\" dsn=4.7.5\n<6>attempt "
        "to=<c@x>\nattempted to=<d@x>\n",
        "attempt");
    ASSERT_EQ(events.size(), 2U);
    EXPECT_EQ(events[0].at("reason"), "say \"no\" = x");
    EXPECT_EQ(events[0].at("dsn"), "4.7.5");
    EXPECT_EQ(events[1].at("to"), "<c@x>");
}

}  // namespace
}  // namespace sternpost::lab
