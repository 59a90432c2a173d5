#include "delivery/sites.h"

#include <gtest/gtest.h>

namespace sternpost::delivery {
namespace {

using namespace std::chrono_literals;

TEST(Sites, AreTheSameWhateverTheOrderOfTheirHosts) {
    EXPECT_EQ(Sites::name_of({"b.test", "a.test"}), Sites::name_of({"a.test", "b.test"}));
    EXPECT_NE(Sites::name_of({"a.test"}), Sites::name_of({"a.test", "b.test"}));
}

TEST(Sites, HaveSoManyConnectionsAndNoMore) {  // SMTP-43
    Sites sites(60s);
    EXPECT_TRUE(sites.enter("a", 2));
    EXPECT_TRUE(sites.enter("a", 2));
    EXPECT_FALSE(sites.enter("a", 2));
    EXPECT_TRUE(sites.enter("b", 2));
    sites.leave("a");
    EXPECT_TRUE(sites.enter("a", 2));
}

TEST(Sites, TellWhoWaitsForRoomOneAtATime) {
    std::vector<std::string> told;
    Sites sites(60s, [&](const std::string& hop) {
        told.push_back(hop);
        return hop != "gone.test";
    });
    EXPECT_TRUE(sites.enter("a", 1));
    EXPECT_FALSE(sites.enter("a", 1));
    sites.wait("a", "gone.test");
    sites.wait("a", "x.test");
    sites.wait("a", "x.test");
    sites.wait("a", "y.test");
    sites.enter_beyond("a");
    sites.taken_over("a");
    EXPECT_TRUE(told.empty()) << "a place that changed hands is no room";
    sites.room("a");
    EXPECT_EQ(told, (std::vector<std::string>{"gone.test", "x.test"})) << "the first that still wants it";
    sites.leave("a");
    EXPECT_EQ(told, (std::vector<std::string>{"gone.test", "x.test", "y.test"}));
    EXPECT_TRUE(sites.enter("a", 1));
    sites.leave("a");
    EXPECT_EQ(told.size(), 3U);
}

TEST(DeadHosts, AreLeftAloneForAWhile) {  // SMTP-42
    Sites sites(60s);
    const SteadyTime now(1000s);
    const auto address = dns::Address::parse("192.0.2.1").value();
    EXPECT_EQ(sites.dead(address, now), nullptr);
    sites.took_no_connection(address, now, "no connection: refused");
    EXPECT_NE(sites.dead(address, now + 59s), nullptr);
    EXPECT_EQ(sites.dead(address, now + 60s), nullptr);
    sites.took_no_connection(address, now, "no connection: refused");
    sites.forget_dead();
    EXPECT_EQ(sites.dead(address, now), nullptr);
}

TEST(DeadHosts, AreRememberedUpToTenThousand) {
    Sites sites(60s);
    const SteadyTime now(1000s);
    const auto address = [](int n) {
        return dns::Address::v4(
            {198, 18, static_cast<std::uint8_t>(n / 256), static_cast<std::uint8_t>(n % 256)});
    };
    for (int n = 0; n < 10'000; ++n) sites.took_no_connection(address(n), now, "refused");
    EXPECT_NE(sites.dead(address(0), now), nullptr);
    sites.took_no_connection(address(10'000), now, "refused");
    EXPECT_EQ(sites.dead(address(0), now), nullptr);
    EXPECT_NE(sites.dead(address(10'000), now), nullptr);
    for (int n = 0; n < 10'000; ++n) sites.took_connection(address(n), now);
    sites.took_no_connection(address(0), now, "refused");
    EXPECT_EQ(sites.dead(address(0), now), nullptr) << "it lives";
    sites.took_connection(address(10'001), now);
    sites.took_no_connection(address(0), now, "refused");
    EXPECT_NE(sites.dead(address(0), now), nullptr) << "that it lives is not remembered any more";
}

TEST(DeadHosts, AreNotThoseThatRefuseOneConnectionMore) {  // SMTP-42
    Sites sites(60s);
    const SteadyTime now(1000s);
    const auto address = dns::Address::parse("192.0.2.1").value();
    sites.took_connection(address, now);
    sites.took_no_connection(address, now + 59s, "no connection: refused");
    EXPECT_EQ(sites.dead(address, now + 59s), nullptr);
    sites.took_no_connection(address, now + 60s, "no connection: refused");
    EXPECT_NE(sites.dead(address, now + 60s), nullptr);
    sites.took_connection(address, now + 61s);
    EXPECT_EQ(sites.dead(address, now + 61s), nullptr) << "whoever takes one lives";
}

}  // namespace
}  // namespace sternpost::delivery
