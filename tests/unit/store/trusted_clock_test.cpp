#include "store/trusted_clock.h"

#include <gtest/gtest.h>

#include <ostream>
#include <string>

namespace sternpost::store {
namespace {

using namespace std::chrono_literals;

// Times since the start, or before it; the newest message is an hour old where nothing else is said.
struct Row {
    std::string name;
    std::chrono::seconds wall;
    std::chrono::seconds steady;
    bool trusted;
    std::chrono::seconds counts_as;
    std::chrono::seconds newest = -1h;
};

void PrintTo(const Row& row, std::ostream* out) {
    *out << row.name;
}

class ClockOf : public ::testing::TestWithParam<Row> {};

struct TwoClocks final : Clock {
    WallTime wall() const override { return wall_time; }
    SteadyTime steady() const override { return steady_time; }
    SteadyTime since_boot() const override { return steady_time + asleep; }
    WallTime wall_time{1'800'000'000s};
    SteadyTime steady_time{1000s};
    std::chrono::seconds asleep{0};
};

TEST_P(ClockOf, IsBelievedOrMadeUpFor) {
    const Row& row = GetParam();
    TwoClocks clocks;
    const WallTime start = clocks.wall_time;
    TrustedClock clock(clocks);
    clock.learn(start + row.newest);
    clocks.wall_time += row.wall;
    clocks.steady_time += row.steady;
    EXPECT_EQ(clock.now().trusted, row.trusted);
    EXPECT_EQ(clock.now().steady, clocks.steady_time);
    EXPECT_EQ(clock.wall(), start + row.counts_as);
    EXPECT_EQ(clock.believed(clocks.wall_time), start + row.counts_as);
}

INSTANTIATE_TEST_SUITE_P(
    Clock, ClockOf,
    ::testing::Values(Row{"AtTheStart", 0s, 0s, true, 0s}, Row{"ADayLater", 24h, 24h, true, 24h},
                      Row{"AStepWithinTheBound", 24h + 10min, 24h, true, 24h + 10min},
                      Row{"AStepAhead", 24h + 11min, 24h, false, 24h},
                      Row{"AStepBack", 24h - 11min, 24h, false, 24h},
                      Row{"AWeekBehind", 1h - 7 * 24h, 1h, false, 1h}, Row{"SetRightAgain", 2h, 2h, true, 2h},
                      Row{"ALittleBehindTheNewestMail", 0s, 0s, true, 0s, 10min},
                      Row{"BehindTheNewestMail", 1h, 1h, false, 7 * 24h + 1h, 7 * 24h},
                      Row{"SetRightAfterAStartBehind", 7 * 24h + 2h, 2h, false, 7 * 24h + 2h, 7 * 24h}),
    [](const auto& one) { return one.param.name; });

TEST(TrustedClock, BelievesNoTimeThatWasReadBeforeItWasSetRight) {
    TwoClocks clocks;
    const TrustedClock clock(clocks);
    const WallTime now = clocks.wall_time;
    EXPECT_EQ(clock.believed(now - 10min), now - 10min);
    EXPECT_EQ(clock.believed(now - 24h), now);
    EXPECT_EQ(clock.believed(now + 24h), now);
}

TEST(TrustedClock, BelievesAMachineThatWasSuspended) {
    TwoClocks clocks;
    const TrustedClock clock(clocks);
    clocks.asleep = 24h;
    clocks.wall_time += 24h;
    EXPECT_TRUE(clock.now().trusted) << "the time since boot has gone on";
    EXPECT_EQ(clock.wall(), clocks.wall_time);
    clocks.asleep = 48h;
    EXPECT_FALSE(clock.now().trusted) << "the clock has stood still";
    EXPECT_EQ(clock.wall(), clocks.wall_time + 24h);
}

}  // namespace
}  // namespace sternpost::store
