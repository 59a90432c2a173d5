#include "sts/policy.h"

#include <gtest/gtest.h>

namespace sternpost::sts {
namespace {

dns::MxHost host(const char* name) {
    return dns::MxHost(dns::Domain::parse(name).value());
}

struct Valid {
    const char* name;
    std::string text;
    Mode mode;
    std::int64_t max_age;
};
class ValidPolicy : public testing::TestWithParam<Valid> {};
TEST_P(ValidPolicy, IsRead) {
    const auto policy = Policy::parse(GetParam().text);
    ASSERT_TRUE(policy) << policy.error().text;
    EXPECT_EQ(policy->mode, GetParam().mode);
    EXPECT_EQ(policy->max_age.count(), GetParam().max_age);
}
const Valid valid[] = {
    {"Rfc8461Example",
     "version: STSv1\nmode: enforce\nmx: mail.example.com\nmx: *.example.net\nmx: "
     "backupmx.example.com\nmax_age: 604800\n",
     Mode::enforce, 604800},
    {"Crlf_STS30", "version: STSv1\r\nmode: testing\r\nmx: a.test\r\nmax_age: 1\r\n", Mode::testing, 1},
    {"Mixed_STS30", "version: STSv1\nmode: testing\r\nmx: a.test\nmax_age: 1", Mode::testing, 1},
    {"AnyOrder_STS36", "max_age: 1\nmx: a.test\nmode: enforce\nversion: STSv1\n", Mode::enforce, 1},
    {"FirstWins_STS37", "version: STSv1\nmode: testing\nmode: enforce\nmx: a.test\nmax_age: 1\nmax_age: 2\n",
     Mode::testing, 1},
    {"UnknownKeys_STS38", "version: STSv1\nx_new: \xc3\xbcn\xc3\xaf, and: more\nmode: none\nmax_age: 5\n",
     Mode::none, 5},
    {"Blanks_STS39", "version:STSv1\nmode: \t enforce \t\nmx:a.test\nmax_age:  7 \n", Mode::enforce, 7},
    {"NoneWithoutMx_STS35", "version: STSv1\nmode: none\nmax_age: 0\n", Mode::none, 0},
    {"LongAgeIsCut_D04", "version: STSv1\nmode: none\nmax_age: 9999999999\n", Mode::none, 31557600},
    {"BlankLinesAndBom_STS41", "\xef\xbb\xbfversion: STSv1\n\nmode: none\n\nmax_age: 9\n\n", Mode::none, 9},
};
INSTANTIATE_TEST_SUITE_P(Rfc8461, ValidPolicy, testing::ValuesIn(valid),
                         [](const auto& row) { return row.param.name; });

struct Invalid {
    const char* name;
    const char* text;
};
class InvalidPolicy : public testing::TestWithParam<Invalid> {};
TEST_P(InvalidPolicy, IsRefused) {
    const auto policy = Policy::parse(GetParam().text);
    ASSERT_FALSE(policy);
    EXPECT_EQ(policy.error().code, Errc::bad_policy);
    EXPECT_FALSE(policy.error().text.empty());
}
const Invalid invalid[] = {
    {"CrAlone_STS31", "version: STSv1\rmode: none\rmax_age: 1\r"},
    {"NoVersion_STS32", "mode: none\nmax_age: 1\n"},
    {"LowerVersion_STS32", "version: stsv1\nmode: none\nmax_age: 1\n"},
    {"Version2_STS32", "version: STSv2\nmode: none\nmax_age: 1\n"},
    {"NoMode_STS33", "version: STSv1\nmax_age: 1\n"},
    {"ModeCase_STS33", "version: STSv1\nmode: Enforce\nmx: a.test\nmax_age: 1\n"},
    {"ModeReport_STS33", "version: STSv1\nmode: report\nmx: a.test\nmax_age: 1\n"},
    {"NoAge_STS34", "version: STSv1\nmode: none\n"},
    {"NegativeAge_STS34", "version: STSv1\nmode: none\nmax_age: -1\n"},
    {"ExponentAge_STS34", "version: STSv1\nmode: none\nmax_age: 1e6\n"},
    {"AgeWithUnit_STS34", "version: STSv1\nmode: none\nmax_age: 7d\n"},
    {"ElevenDigits_STS34", "version: STSv1\nmode: none\nmax_age: 99999999999\n"},
    {"TestingWithoutMx_STS35", "version: STSv1\nmode: testing\nmax_age: 1\n"},
    {"EnforceWithoutMx_STS35", "version: STSv1\nmode: enforce\nmax_age: 1\n"},
    {"TypoInMx_FieldNotes12", "version: STSv1\nmode: enforce\nnmx: a.test\nmax_age: 1\n"},
    {"ListInMx_STS36", "version: STSv1\nmode: enforce\nmx: a.test, b.test\nmax_age: 1\n"},
    {"KeyCase_STS39", "version: STSv1\nMode: none\nmax_age: 1\n"},
    {"BlankBeforeKey_STS39", "version: STSv1\n mode: none\nmax_age: 1\n"},
    {"BlankBeforeColon_STS39", "version: STSv1\nmode : none\nmax_age: 1\n"},
    {"StarAlone_STS40", "version: STSv1\nmode: enforce\nmx: *\nmax_age: 1\n"},
    {"StarInLabel_STS40", "version: STSv1\nmode: enforce\nmx: *mail.d.test\nmax_age: 1\n"},
    {"StarInside_STS40", "version: STSv1\nmode: enforce\nmx: mail.*.test\nmax_age: 1\n"},
    {"TwoStars_STS40", "version: STSv1\nmode: enforce\nmx: *.*.d.test\nmax_age: 1\n"},
    {"ULabel_STS40", "version: STSv1\nmode: enforce\nmx: b\xc3\xbc.test\nmax_age: 1\n"},
    {"IpAddress_FieldNotes11", "version: STSv1\nmode: enforce\nmx: 192.0.2.1\nmax_age: 1\n"},
    {"Html", "<html><body>parked</body></html>"},
    {"Empty", ""},
};
INSTANTIATE_TEST_SUITE_P(Rfc8461, InvalidPolicy, testing::ValuesIn(invalid),
                         [](const auto& row) { return row.param.name; });

TEST(Policy, HasEachMxPatternOnce) {  // D-46
    std::string text = "version: STSv1\nmode: enforce\nmax_age: 1\n";
    for (int i = 0; i < 1000; ++i) text += "mx: A.test\nmx: *.a.test\nmx: a.test.\n";
    EXPECT_EQ(Policy::parse(text)->mx_text(), "a.test, *.a.test");
}

TEST(MxPattern, WildcardCoversOneLabel) {  // STS-62, STS-63
    const auto policy =
        Policy::parse("version: STSv1\nmode: enforce\nmx: *.D.Test.\nmx: other.test\nmax_age: 1\n").value();
    EXPECT_TRUE(policy.allows(host("mail.d.test")));
    EXPECT_TRUE(policy.allows(host("MAIL.D.TEST.")));
    EXPECT_TRUE(policy.allows(host("other.test")));
    EXPECT_FALSE(policy.allows(host("d.test")));
    EXPECT_FALSE(policy.allows(host("a.b.d.test")));
    EXPECT_FALSE(policy.allows(host("maild.test")));
}

}  // namespace
}  // namespace sternpost::sts
