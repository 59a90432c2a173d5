#include "util/text.h"

#include <gtest/gtest.h>

namespace sternpost {
namespace {

TEST(Xtext, RoundTripsAndRefusesWhatIsNotXtext) {  // RFC 3461 §4
    EXPECT_EQ(xtext("a+b=c d"), "a+2Bb+3Dc+20d");
    EXPECT_EQ(unxtext("a+2Bb+3Dc+20d"), "a+b=c d");
    EXPECT_EQ(unxtext("a=b"), std::nullopt);
    EXPECT_EQ(unxtext("+G0"), std::nullopt);
    EXPECT_EQ(unxtext("+4"), std::nullopt);
}

TEST(Base64, MatchesTheRfcsVectors) {  // RFC 4648 §10
    const std::pair<const char*, const char*> vectors[] = {
        {"", ""},        {"f", "Zg=="},        {"fo", "Zm8="},
        {"foo", "Zm9v"}, {"foob", "Zm9vYg=="}, {"foobar", "Zm9vYmFy"}};
    for (const auto& [plain, coded] : vectors) {
        EXPECT_EQ(base64(plain), coded);
        EXPECT_EQ(unbase64(coded), plain);
    }
    EXPECT_EQ(unbase64("Zg="), std::nullopt);
    EXPECT_EQ(unbase64("Z=g="), std::nullopt);
}

TEST(Printable, LetsNothingSteerATerminal) {
    EXPECT_EQ(printable("a\x1b[2Jb\r\n"), "a\\x1b[2Jb\\x0d\\x0a");
    EXPECT_EQ(printable("caf\xc3\xa9"), "caf\xc3\xa9");
    EXPECT_EQ(printable("\xc2\x9b"
                        "31m"),
              "\\xc2\\x9b31m");
    EXPECT_EQ(printable("\xff"), "\\xff");
    EXPECT_EQ(printable("a\u202egnp"), "a\\xe2\\x80\\xaegnp");
    for (const std::string steering :
         {"\u0085", "\u061c", "\u200b", "\u200f", "\u2028", "\u2066", "\ufeff", "\U000e0041", "\u00ad",
          "\x7f", "\u00a0", "\u1680", "\u2003", "\u202f", "\u3000", "\u3164", "\u034f", "\u2800"})
        EXPECT_TRUE(is_ascii(printable(steering))) << printable(steering);
    for (const std::string harmless : {"\u00e4", "\u0416", "\u4e2d", "\u20ac", "\U0001f600"})
        EXPECT_EQ(printable(harmless), harmless);
    EXPECT_EQ(printable_lines("a\x1b\nb\u009b\n"), "a\\x1b\nb\\xc2\\x9b\n");
    EXPECT_EQ(printable("abcdef", 3), "abc…");
}

TEST(PrintableJson, IsTheSameValueAndSteersNothing) {
    EXPECT_EQ(printable_json("{\"a\":\"x\u202ey\"}"), "{\"a\":\"x\\u202ey\"}");
    EXPECT_EQ(printable_json("\"\u009b\U000e0041\x7f\""), "\"\\u009b\\udb40\\udc41\\u007f\"");
    EXPECT_EQ(printable_json("\"caf\u00e9\"\n"), "\"caf\u00e9\"\n");
}

TEST(Decimal, TakesDigitsThatFitAndNothingElse) {
    EXPECT_EQ(decimal("18446744073709551615"), UINT64_MAX);
    EXPECT_EQ(decimal("18446744073709551616"), std::nullopt);
    EXPECT_EQ(decimal("-1"), std::nullopt);
    EXPECT_EQ(decimal(""), std::nullopt);
    EXPECT_EQ(decimal("1d"), std::nullopt);
}

TEST(Nearest, FindsTheKeyThatWasMeant) {
    const std::string_view known[] = {"hostname", "admin_address", "resolvers"};
    EXPECT_EQ(nearest("hostnmae", known), "hostname");
    EXPECT_EQ(nearest("resolver", known), "resolvers");
    EXPECT_EQ(nearest("zzz", known), "");
}

}  // namespace
}  // namespace sternpost
