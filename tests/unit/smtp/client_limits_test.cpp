#include "smtp/client_limits.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

namespace sternpost::smtp {
namespace {

using Group = ClientLimits::Group;
using Verdict = ClientLimits::Verdict;

dns::Address address(std::string_view text) {
    return dns::Address::parse(text).value();
}

ClientLimits limits_of(std::size_t connections, std::size_t for_this_machine, std::size_t per_client) {
    ClientLimits::Limits limits;
    limits.connections = connections;
    limits.for_this_machine = for_this_machine;
    limits.per_client = per_client;
    limits.strangers = 3;
    limits.per_stranger = 2;
    return ClientLimits(limits);
}

TEST(ClientLimits, BoundConnectionsInAllAndPerClient) {
    auto limits = limits_of(3, 0, 2);
    const auto a = address("192.0.2.1");
    EXPECT_EQ(limits.connect(a, Group::permitted), Verdict::go);
    EXPECT_EQ(limits.connect(a, Group::permitted), Verdict::go);
    EXPECT_EQ(limits.connect(a, Group::permitted), Verdict::too_many_from_client);
    EXPECT_EQ(limits.connect(address("192.0.2.2"), Group::permitted), Verdict::go);
    EXPECT_EQ(limits.connect(address("192.0.2.3"), Group::permitted), Verdict::too_many);
    limits.disconnect(a, Group::permitted);
    EXPECT_EQ(limits.connect(a, Group::permitted), Verdict::go);
}

TEST(ClientLimits, StrangersTakeNothingFromOthers) {
    auto limits = limits_of(4, 2, 4);
    for (const auto* stranger : {"192.0.2.1", "192.0.2.1", "192.0.2.2"})
        EXPECT_EQ(limits.connect(address(stranger), Group::stranger), Verdict::go);
    EXPECT_EQ(limits.connect(address("192.0.2.3"), Group::stranger), Verdict::too_many);
    EXPECT_EQ(limits.connect(address("10.0.0.1"), Group::permitted), Verdict::go);
    EXPECT_EQ(limits.connect(address("10.0.0.1"), Group::permitted), Verdict::go);
    limits.disconnect(address("192.0.2.2"), Group::stranger);
    EXPECT_EQ(limits.connect(address("192.0.2.1"), Group::stranger), Verdict::too_many_from_client);
    EXPECT_EQ(limits.connect(address("192.0.2.3"), Group::stranger), Verdict::go);
}

TEST(ClientLimits, KeepTheLastPlacesForThisMachine) {
    auto limits = limits_of(4, 2, 4);
    EXPECT_EQ(limits.connect(address("10.0.0.1"), Group::permitted), Verdict::go);
    EXPECT_EQ(limits.connect(address("10.0.0.2"), Group::permitted), Verdict::go);
    EXPECT_EQ(limits.connect(address("10.0.0.3"), Group::permitted), Verdict::too_many);
    EXPECT_EQ(limits.connect(address("127.0.0.1"), Group::this_machine), Verdict::go);
    EXPECT_EQ(limits.connect(address("127.0.0.1"), Group::this_machine), Verdict::go);
    EXPECT_EQ(limits.connect(address("127.0.0.1"), Group::this_machine), Verdict::too_many);
}

TEST(ClientLimits, KeepPlacesForOthersThanThisMachine) {
    ClientLimits limits{ClientLimits::Limits()};
    std::size_t here = 0;
    for (int n = 0; n < 600; ++n)
        here += limits.connect(address(fmt::format("127.0.{}.{}", n / 200, n % 200 + 1)),
                               Group::this_machine) == Verdict::go;
    EXPECT_EQ(here, 450U);
    std::size_t others = 0;
    for (int n = 0; n < 60; ++n)
        others += limits.connect(address(fmt::format("192.0.2.{}", n + 1)), Group::permitted) == Verdict::go;
    EXPECT_EQ(others, 50U);
    limits.disconnect(address("192.0.2.1"), Group::permitted);
    EXPECT_EQ(limits.connect(address("127.0.0.1"), Group::this_machine), Verdict::too_many)
        << "that place is theirs";
}

TEST(ClientLimits, RefuseStrangersAtOnceWhereThereIsNoPool) {
    ClientLimits::Limits none;
    none.strangers = 0;
    ClientLimits limits(none);
    EXPECT_EQ(limits.connect(address("192.0.2.1"), Group::stranger), Verdict::no_strangers);
    EXPECT_EQ(limits.connect(address("192.0.2.1"), Group::permitted), Verdict::go);
}

TEST(ClientLimits, CountTheNetworksAroundAnIpv6Client) {
    auto limits = limits_of(100, 0, 2);
    const auto connect = [&](int subnet56, int subnet64) {
        return limits.connect(address(fmt::format("2001:db8:1:{:02x}{:02x}::1", subnet56, subnet64)),
                              Group::permitted);
    };
    EXPECT_EQ(connect(1, 1), Verdict::go);
    EXPECT_EQ(limits.connect(address("2001:db8:1:101:ffff::2"), Group::permitted), Verdict::go);
    EXPECT_EQ(connect(1, 1), Verdict::too_many_from_client);  // a /64: 2
    EXPECT_EQ(connect(1, 2), Verdict::go);
    EXPECT_EQ(connect(1, 3), Verdict::go);
    EXPECT_EQ(connect(1, 4), Verdict::too_many_from_client);  // a /56: 4
    for (const int other : {2, 2, 3, 3}) EXPECT_EQ(connect(other, other), Verdict::go);
    EXPECT_EQ(connect(4, 1), Verdict::too_many_from_client);  // a /48: 8
    EXPECT_EQ(limits.connect(address("2001:db8:2::1"), Group::permitted), Verdict::go);
    limits.disconnect(address("2001:db8:1:202::1"), Group::permitted);
    EXPECT_EQ(connect(4, 1), Verdict::go);
}

}  // namespace
}  // namespace sternpost::smtp
