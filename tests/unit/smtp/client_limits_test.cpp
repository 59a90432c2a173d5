#include "smtp/client_limits.h"

#include <gtest/gtest.h>

namespace sternpost::smtp {
namespace {

using Verdict = ClientLimits::Verdict;

dns::Address address(std::string_view text) {
    return dns::Address::parse(text).value();
}

TEST(ClientLimits, BoundConnectionsInAllAndPerClient) {
    ClientLimits limits(3, 2);
    const auto a = address("192.0.2.1");
    EXPECT_EQ(limits.connect(a), Verdict::go);
    EXPECT_EQ(limits.connect(a), Verdict::go);
    EXPECT_EQ(limits.connect(a), Verdict::too_many_from_client);
    EXPECT_EQ(limits.connect(address("192.0.2.2")), Verdict::go);
    EXPECT_EQ(limits.connect(address("192.0.2.3")), Verdict::too_many);
    limits.disconnect(a);
    EXPECT_EQ(limits.connect(a), Verdict::go);
}

TEST(ClientLimits, TakeAnIpv6NetworkForOneClient) {
    ClientLimits limits(10, 1);
    EXPECT_EQ(limits.connect(address("2001:db8:0:1::1")), Verdict::go);
    EXPECT_EQ(limits.connect(address("2001:db8:0:1:ffff::2")), Verdict::too_many_from_client);
    EXPECT_EQ(limits.connect(address("2001:db8:0:2::1")), Verdict::go);
}

}  // namespace
}  // namespace sternpost::smtp
