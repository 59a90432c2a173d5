#include "intake/sender_limits.h"

#include <gtest/gtest.h>

namespace sternpost::intake {
namespace {

using namespace std::chrono_literals;
constexpr SteadyTime start{};

dns::Address address(std::string_view text) {
    return dns::Address::parse(text).value();
}

SenderRule rule(std::string_view match, std::optional<unsigned> messages,
                std::optional<unsigned> recipients) {
    SenderRule out = SenderRule::parse_match(match).value();
    out.messages_per_minute = messages;
    out.recipients_per_hour = recipients;
    return out;
}

TEST(SenderLimits, LetAMinutesWorthOfMessagesComeAtOnceAndTheRestAtTheRate) {
    SenderLimits limits({60, 0}, {});
    const Sender a = limits.client(address("192.0.2.1"));
    for (int i = 0; i < 60; ++i) EXPECT_FALSE(limits.message(a, start));
    const auto refused = limits.message(a, start);
    ASSERT_TRUE(refused);
    EXPECT_EQ(refused->why,
              "192.0.2.1 has sent as many messages as it may in a minute, 60; try again in 1 seconds");
    EXPECT_FALSE(limits.message(limits.client(address("192.0.2.2")), start)) << "each by itself";
    EXPECT_TRUE(limits.message(a, start + 500ms));
    EXPECT_FALSE(limits.message(a, start + 1500ms));
    EXPECT_TRUE(limits.message(a, start + 1501ms));
}

TEST(SenderLimits, CountRecipientsOfWhatWasAcceptedByTheHour) {
    SenderLimits limits({0, 100}, {});
    const Sender user = limits.user(33, "www-data");
    EXPECT_FALSE(limits.message(user, start));
    limits.accepted(user, 160, start);
    const auto refused = limits.message(user, start + 1min);
    ASSERT_TRUE(refused);
    EXPECT_EQ(refused->why,
              "www-data (uid 33) has sent to as many recipients as it may in an hour, 100; try again in 36 "
              "minutes");
    EXPECT_TRUE(limits.message(user, start + 36min));
    EXPECT_FALSE(limits.message(user, start + 37min));
}

TEST(SenderLimits, AreTheFirstThatARuleSaysOfEach) {
    const SenderLimits limits(
        {10, 20}, {rule("192.0.2.7", 0, {}), rule("192.0.2.0/24", 5, 50), rule("2001:db8::/32", 1, {}),
                   rule("user:33", {}, 7), rule("user:www-data", 3, 9)});
    const auto of = [](const Sender& sender) {
        return std::pair(sender.limit.messages_per_minute, sender.limit.recipients_per_hour);
    };
    EXPECT_EQ(of(limits.client(address("192.0.2.7"))), std::pair(0U, 50U));
    EXPECT_EQ(of(limits.client(address("192.0.2.8"))), std::pair(5U, 50U));
    EXPECT_EQ(of(limits.client(address("198.51.100.1"))), std::pair(10U, 20U));
    EXPECT_EQ(of(limits.client(address("2001:db8:1:2::5"))), std::pair(1U, 20U));
    EXPECT_EQ(of(limits.user(33, "www-data")), std::pair(3U, 7U));
    EXPECT_EQ(of(limits.user(34, "")), std::pair(10U, 20U));
    EXPECT_EQ(limits.client(address("2001:db8:1:2::5")).name, "2001:db8:1:2::/64");
    EXPECT_EQ(limits.user(34, "").name, "uid 34");
}

TEST(SenderLimits, MatchNetworksAndUsersAlone) {
    for (const char* wrong : {"", "user:", "example.com", "192.0.2.0/33", "ann@example.com"})
        EXPECT_FALSE(SenderRule::parse_match(wrong)) << wrong;
}

TEST(SenderLimits, AreSaidOnceInTenMinutes) {
    SenderLimits limits({1, 0}, {});
    const Sender a = limits.client(address("192.0.2.1"));
    EXPECT_FALSE(limits.message(a, start));
    EXPECT_TRUE(limits.message(a, start)->first);
    EXPECT_FALSE(limits.message(a, start)->first);
    EXPECT_FALSE(limits.message(a, start + 5min)) << "it may again";
    EXPECT_FALSE(limits.message(a, start + 5min)->first);
    EXPECT_FALSE(limits.message(a, start + 11min));
    EXPECT_TRUE(limits.message(a, start + 11min)->first);
}

TEST(SenderLimits, RememberNoMoreThanTenThousand) {
    SenderLimits limits({60, 0}, {});
    for (int i = 0; i < 30'000; ++i)
        limits.message(
            limits.client(address("10.0." + std::to_string(i / 256) + "." + std::to_string(i % 256))),
            start + i * 1ms);
    EXPECT_LE(limits.known(), 10'000U);
}

TEST(SenderLimits, OfNothingRememberNobody) {
    SenderLimits limits({}, {});
    for (int i = 0; i < 1000; ++i) EXPECT_FALSE(limits.message(limits.client(address("192.0.2.1")), start));
    EXPECT_EQ(limits.known(), 0U);
}

}  // namespace
}  // namespace sternpost::intake
