#include "store/clock_guard.h"

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

class ClockOf : public testing::TestWithParam<Row> {};

TEST_P(ClockOf, IsBelievedOrMadeUpFor) {
    const Row& row = GetParam();
    const WallTime wall(1'800'000'000s);
    const SteadyTime steady(1000s);
    const ClockGuard guard({wall, steady}, wall + row.newest);
    const Now now{wall + row.wall, steady + row.steady};
    EXPECT_EQ(guard.trusts(now), row.trusted);
    EXPECT_EQ((guard.trusted_wall(now) - wall).count(), std::chrono::microseconds(row.counts_as).count());
}

INSTANTIATE_TEST_SUITE_P(
    Clock, ClockOf,
    testing::Values(Row{"AtTheStart", 0s, 0s, true, 0s}, Row{"ADayLater", 24h, 24h, true, 24h},
                    Row{"AStepWithinTheBound", 24h + 10min, 24h, true, 24h + 10min},
                    Row{"AStepAhead", 24h + 11min, 24h, false, 24h},
                    Row{"AStepBack", 24h - 11min, 24h, false, 24h},
                    Row{"AWeekBehind", 1h - 7 * 24h, 1h, false, 1h}, Row{"SetRightAgain", 2h, 2h, true, 2h},
                    Row{"ALittleBehindTheNewestMail", 0s, 0s, true, 0s, 10min},
                    Row{"BehindTheNewestMail", 1h, 1h, false, 7 * 24h + 1h, 7 * 24h},
                    Row{"SetRightAfterAStartBehind", 7 * 24h + 2h, 2h, false, 7 * 24h + 2h, 7 * 24h}),
    [](const auto& one) { return one.param.name; });

}  // namespace
}  // namespace sternpost::store
