#include "delivery/limits.h"

#include <gtest/gtest.h>

namespace sternpost::delivery {
namespace {

using namespace std::chrono_literals;

DestinationLimit limit(const char* match, std::optional<unsigned> connections,
                       std::optional<unsigned> a_connection = {}, std::optional<unsigned> a_minute = {}) {
    return {match, connections, a_connection, a_minute};
}

TEST(DestinationLimits, MeanDomainsAndMxHosts) {
    const std::vector<std::string> hosts{"mx1.a.test", "mx.b.test"};
    EXPECT_TRUE(limit("d.test", 1).covers("d.test", hosts));
    EXPECT_FALSE(limit("d.test", 1).covers("x.d.test", hosts));
    EXPECT_TRUE(limit(".d.test", 1).covers("x.d.test", hosts));
    EXPECT_FALSE(limit(".d.test", 1).covers("d.test", hosts));
    EXPECT_FALSE(limit(".d.test", 1).covers("evild.test", hosts));
    EXPECT_TRUE(limit("mx:mx.b.test", 1).covers("d.test", hosts));
    EXPECT_TRUE(limit("mx:.a.test", 1).covers("d.test", hosts));
    EXPECT_FALSE(limit("mx:.c.test", 1).covers("d.test", hosts));
    EXPECT_FALSE(limit("mx:d.test", 1).covers("d.test", hosts));
}

TEST(DestinationLimits, AreReadFromTheConfiguration) {
    EXPECT_EQ(DestinationLimit::parse_match("Example.COM").value(), "example.com");
    EXPECT_EQ(DestinationLimit::parse_match("mx:.Example.net").value(), "mx:.example.net");
    for (const char* bad : {"", "*", "mx:", "mx:*.example.net", "a b", ".", "mx:.mx:.a"}) {
        const auto parsed = DestinationLimit::parse_match(bad);
        ASSERT_FALSE(parsed) << bad;
        EXPECT_NE(parsed.error().text.find("allowed are"), std::string::npos);
    }
}

TEST(DestinationLimits, OfTheAdministratorComeBeforeTheBuiltInOnesAndTheCloserFirst) {
    const LimitTable table({limit("mx:.yahoodns.net", {}, {}, 60), limit(".d.test", 7),
                            limit("a.d.test", {}, 3), limit("mx:.google.com", 1)},
                           20, 100);
    Limits out = table.of("x.test", {"mx.x.test"}, "mx.x.test");
    EXPECT_EQ(out.site, "mx.x.test") << "each set of hosts has its own";
    EXPECT_EQ(out.connections, 20U);
    EXPECT_EQ(out.messages_per_connection, 100U);
    EXPECT_EQ(out.messages_per_minute, 0U);
    out = table.of("yahoo.com", {"mta5.am0.yahoodns.net"}, "site");
    EXPECT_EQ(out.site, "mx:.yahoodns.net") << "all domains there share the connections";
    EXPECT_EQ(out.connections, 5U) << "built in";
    EXPECT_EQ(out.messages_per_connection, 20U);
    EXPECT_EQ(out.messages_per_minute, 60U);
    EXPECT_EQ(out.rate, "mx:.yahoodns.net");
    out = table.of("a.d.test", {"aspmx.l.google.com"}, "site");
    EXPECT_EQ(out.messages_per_connection, 3U);
    EXPECT_EQ(out.connections, 7U) << "what one section leaves out, the next one says";
    EXPECT_EQ(out.site, ".d.test");
    EXPECT_EQ(table.of("x.test", {"aspmx.l.google.com"}, "site").connections, 1U);
}

TEST(Rates, LetSoManyMessagesGoInAMinute) {
    Rates rates;
    Limits limits;
    limits.rate = "d.test";
    limits.messages_per_minute = 60;
    SteadyTime now(1000s);
    for (int i = 0; i < 6; ++i) EXPECT_EQ(rates.take(limits, now), std::nullopt) << i;
    const auto next = rates.take(limits, now);
    ASSERT_TRUE(next);
    EXPECT_GT(*next, now + 990ms);
    EXPECT_LE(*next, now + 1s);
    EXPECT_EQ(rates.take(limits, *next), std::nullopt);
    EXPECT_TRUE(rates.take(limits, *next)) << "one a second from there on";
    int sent = 0;
    for (now = *next; now < *next + 60s; now += 10ms) sent += rates.take(limits, now) ? 0 : 1;
    EXPECT_GE(sent, 58);
    EXPECT_LE(sent, 60);
    limits.messages_per_minute = 0;
    for (int i = 0; i < 1000; ++i) EXPECT_EQ(rates.take(limits, now), std::nullopt);
}

TEST(Rates, RememberTenThousandDestinations) {
    Rates rates;
    const SteadyTime now(1000s);
    const auto take = [&](int n) {
        Limits limits;
        limits.rate = "d" + std::to_string(n) + ".test";
        limits.messages_per_minute = 1;
        return rates.take(limits, now);
    };
    for (int n = 0; n < 9'999; ++n) EXPECT_FALSE(take(n));
    EXPECT_TRUE(take(0)) << "it has had its message";
    EXPECT_FALSE(take(9'999));
    EXPECT_FALSE(take(0)) << "nobody's message is remembered any more";
}

}  // namespace
}  // namespace sternpost::delivery
