#include "smtp/client_limits.h"

#include <gtest/gtest.h>

#include <string>

namespace sternpost::smtp {
namespace {

using namespace std::chrono_literals;
using Verdict = ClientLimits::Verdict;

constexpr SteadyTime start{};

dns::Address address(std::string_view text) {
    return dns::Address::parse(text).value();
}

TEST(ClientLimits, BoundConnectionsInAllAndPerClient) {
    ClientLimits limits(3, 2, 0);
    const auto a = address("192.0.2.1");
    EXPECT_EQ(limits.connect(a, start), Verdict::go);
    EXPECT_EQ(limits.connect(a, start), Verdict::go);
    EXPECT_EQ(limits.connect(a, start), Verdict::too_many_from_client);
    EXPECT_EQ(limits.connect(address("192.0.2.2"), start), Verdict::go);
    EXPECT_EQ(limits.connect(address("192.0.2.3"), start), Verdict::too_many);
    limits.disconnect(a);
    EXPECT_EQ(limits.connect(a, start), Verdict::go);
}

TEST(ClientLimits, TakeAnIpv6NetworkForOneClient) {
    ClientLimits limits(10, 1, 0);
    EXPECT_EQ(limits.connect(address("2001:db8:0:1::1"), start), Verdict::go);
    EXPECT_EQ(limits.connect(address("2001:db8:0:1:ffff::2"), start), Verdict::too_many_from_client);
    EXPECT_EQ(limits.connect(address("2001:db8:0:2::1"), start), Verdict::go);
}

TEST(ClientLimits, LetAMinutesWorthOfMessagesComeAtOnceAndTheRestAtTheRate) {
    ClientLimits limits(10, 10, 60);
    const auto a = address("192.0.2.1");
    for (int i = 0; i < 60; ++i) EXPECT_TRUE(limits.message(a, start));
    EXPECT_FALSE(limits.message(a, start));
    EXPECT_TRUE(limits.message(address("192.0.2.2"), start));
    EXPECT_FALSE(limits.message(a, start + 500ms));
    EXPECT_TRUE(limits.message(a, start + 1500ms));
    EXPECT_FALSE(limits.message(a, start + 1501ms));
}

TEST(ClientLimits, ForgetWhoIsGone) {
    ClientLimits limits(10, 10, 60);
    for (int i = 0; i < 30'000; ++i)
        limits.message(address("10.0." + std::to_string(i / 256) + "." + std::to_string(i % 256)),
                       start + i * 100ms);
    EXPECT_LE(limits.known_clients(), 10'002U);
}

}  // namespace
}  // namespace sternpost::smtp
