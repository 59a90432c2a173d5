// Where a connection may go, in a table of who asks and what is allowed.
#include "dns/gate.h"

#include <gtest/gtest.h>

#include "dns/local_route.h"

namespace sternpost::dns {
namespace {

Address address(const char* text) {
    return Address::parse(text).value();
}

// 203.0.114.9 is what the world sees; 8.8.4.4 and 10.0.0.5 are on interfaces; sockets at 25 and 587.
Gate gate(bool allow_special) {
    Gate::Options options;
    options.own_addresses = {address("203.0.114.9")};
    options.listening = {Server::parse("127.0.0.1:25").value(), Server::parse("0.0.0.0:587").value(),
                         Server::parse("[::1]:25").value()};
    options.allow_special = allow_special;
    options.is_local = [](const Address& a) { return a == address("8.8.4.4") || a == address("10.0.0.5"); };
    return Gate(std::move(options));
}

struct Row {
    const char* name;
    const char* address;
    std::uint16_t port;
    Passage strangers;      // the default
    Passage special;        // where special addresses are allowed
    Passage administrator;  // where a route names the address
};

class GateRow : public ::testing::TestWithParam<Row> {};

TEST_P(GateRow, JudgesEveryConnection) {  // D-45
    const Row& row = GetParam();
    EXPECT_EQ(gate(false).judge(address(row.address), row.port), row.strangers);
    EXPECT_EQ(gate(true).judge(address(row.address), row.port), row.special);
    EXPECT_EQ(gate(false).judge(address(row.address), row.port, Chooser::administrator), row.administrator);
}

constexpr auto open = Passage::open;
constexpr auto special = Passage::special;
constexpr auto ourselves = Passage::ourselves;

INSTANTIATE_TEST_SUITE_P(
    , GateRow,
    ::testing::Values(Row{"AHostOnTheInternet", "8.8.8.8", 25, open, open, open},
                      Row{"APrivateHost", "10.0.0.6", 25, special, open, open},
                      Row{"AnInterface", "8.8.4.4", 25, ourselves, open, open},
                      Row{"AnInterfaceInside", "10.0.0.5", 25, ourselves, open, open},
                      Row{"AMappedInterface", "::ffff:8.8.4.4", 25, ourselves, open, open},
                      Row{"ANat64Interface", "64:ff9b::808:404", 25, ourselves, open, open},
                      Row{"AnOwnAddress", "203.0.114.9", 25, ourselves, ourselves, open},
                      Row{"AMappedOwnAddress", "::ffff:203.0.114.9", 25, ourselves, ourselves, open},
                      Row{"AnotherLoopback", "127.0.0.25", 25, special, open, open},
                      Row{"TheOwnSocket", "127.0.0.1", 25, special, ourselves, ourselves},
                      Row{"TheOwnSocketMapped", "::ffff:127.0.0.1", 25, special, ourselves, ourselves},
                      Row{"TheOwnSocket6", "::1", 25, special, ourselves, ourselves},
                      Row{"AnotherPortOfIt", "127.0.0.1", 2525, special, open, open},
                      Row{"TheWildcardOnLoopback", "127.0.0.25", 587, special, ourselves, ourselves},
                      Row{"TheWildcardOnAnInterface", "8.8.4.4", 587, ourselves, ourselves, ourselves},
                      Row{"TheWildcardIsNoOtherHost", "8.8.8.8", 587, open, open, open},
                      Row{"TheUnspecifiedAddress", "0.0.0.0", 25, special, ourselves, ourselves},
                      Row{"TheUnspecifiedAddress6", "::", 25, special, ourselves, ourselves}),
    [](const auto& row) { return row.param.name; });

TEST(GateOfLiterals, KnowsMailToThisHost) {
    for (const char* text :
         {"127.0.0.1", "8.8.4.4", "10.0.0.5", "203.0.114.9", "::1", "::ffff:8.8.4.4", "0.0.0.0"})
        EXPECT_TRUE(gate(false).is_ours(address(text), 25)) << text;
    for (const char* text : {"8.8.8.8", "10.0.0.6"})
        EXPECT_FALSE(gate(false).is_ours(address(text), 25)) << text;
    // In a lab the other hosts stand on the same machine.
    EXPECT_TRUE(gate(true).is_ours(address("127.0.0.1"), 25));
    EXPECT_FALSE(gate(true).is_ours(address("127.0.0.25"), 25));
}

TEST(GateOfSpecialAddresses, IsSetForEachUse) {
    EXPECT_EQ(gate(true).allowing_special(false).judge(address("10.0.0.6"), 443), Passage::special);
    EXPECT_EQ(gate(false).allowing_special(true).judge(address("10.0.0.6"), 443), Passage::open);
}

TEST(LocalRoute, IsWhatTheKernelSays) {
    EXPECT_TRUE(is_local_route(address("127.0.0.1")));
    EXPECT_TRUE(is_local_route(address("127.200.0.9")));
    EXPECT_FALSE(is_local_route(address("8.8.8.8")));
    EXPECT_FALSE(is_local_route(address("2606:4700::1111")));
}

}  // namespace
}  // namespace sternpost::dns
