#include "tlsrpt/schedule.h"

#include <gtest/gtest.h>

#include <set>

namespace sternpost::tlsrpt {
namespace {

using namespace std::chrono_literals;
const auto a_day = std::chrono::sys_days(std::chrono::year(2026) / 11 / 26);
const WallTime midnight = WallTime(a_day) + std::chrono::days(1);

TEST(ReportSchedule, ADayIsClosedALittleAfterItsEnd_RPT09) {
    const Schedule schedule;
    EXPECT_EQ(schedule.closes(a_day), midnight + 5min);
    EXPECT_EQ(schedule.last_ended(midnight + 5min), a_day);
    EXPECT_EQ(schedule.last_ended(midnight + 5min - 1us), a_day - std::chrono::days(1));
    EXPECT_EQ(schedule.last_ended(midnight - 1us), a_day - std::chrono::days(1));
}

TEST(ReportSchedule, ReportsAreSpreadOverTheWindow_RPT10) {
    const Schedule schedule;
    std::set<WallTime> times;
    WallTime first = WallTime::max();
    WallTime last{};
    for (int i = 0; i < 1000; ++i) {
        const auto due = schedule.due(a_day, "d" + std::to_string(i) + ".test", "relay.test");
        EXPECT_GE(due, schedule.closes(a_day));
        EXPECT_LT(due, midnight + 4h);
        times.insert(due);
        first = std::min(first, due);
        last = std::max(last, due);
    }
    EXPECT_GT(times.size(), 900U);
    EXPECT_LT(first, midnight + 10min);
    EXPECT_GT(last, midnight + 3h + 50min);
    EXPECT_EQ(schedule.due(a_day, "d1.test", "a"), schedule.due(a_day, "d1.test", "a"));
    EXPECT_NE(schedule.due(a_day, "d1.test", "a"), schedule.due(a_day, "d1.test", "b"));
    EXPECT_NE(schedule.due(a_day, "d1.test", "a"),
              schedule.due(a_day + std::chrono::days(1), "d1.test", "a") - 24h);
}

TEST(ReportSchedule, WithoutAWindowAllAreDueAtMidnight) {
    Schedule schedule;
    schedule.window = 0s;
    EXPECT_EQ(schedule.closes(a_day), midnight);
    EXPECT_EQ(schedule.due(a_day, "d.test", "relay.test"), midnight);
}

TEST(ReportSchedule, IsTriedForADayWithGrowingWaits_RPT11) {
    const Schedule schedule;
    const WallTime first = midnight + 1h;
    WallTime now = first;
    std::vector<std::chrono::microseconds> waits;
    for (std::uint32_t tries = 1; tries < 50; ++tries) {
        const auto next = schedule.again(first, tries, now);
        if (!next) break;
        waits.push_back(*next - now);
        now = *next;
    }
    ASSERT_GE(waits.size(), 9U);
    for (std::size_t i = 1; i + 1 < waits.size(); ++i) EXPECT_GE(waits[i], waits[i - 1]) << i;
    EXPECT_EQ(waits.front(), 5min);
    EXPECT_EQ(now, first + 24h) << "the last attempt comes when the a_day is over";
    EXPECT_LT(waits.size(), 20U);
}

}  // namespace
}  // namespace sternpost::tlsrpt
