#include "sts/schedule.h"

#include <gtest/gtest.h>

namespace sternpost::sts {
namespace {

using std::chrono::hours;
using std::chrono::minutes;
using std::chrono::seconds;

const WallTime start{std::chrono::sys_days(std::chrono::year(2026) / 3 / 1)};

struct ScheduleRow {
    const char* name;
    seconds max_age;
    double spread;
    unsigned failures;
    seconds failed_after;  // fetched
    std::optional<seconds> due;
};

class RefreshTime : public ::testing::TestWithParam<ScheduleRow> {};
TEST_P(RefreshTime, IsWellBeforeExpiry) {  // STS-48
    const ScheduleRow& row = GetParam();
    RefreshFacts facts;
    facts.fetched = facts.mailed = start;
    facts.expires = start + row.max_age;
    facts.spread = row.spread;
    facts.failures = row.failures;
    facts.failed_at = start + row.failed_after;
    const auto due = next_refresh({}, facts, start);
    ASSERT_EQ(due.has_value(), row.due.has_value());
    if (due) {
        EXPECT_EQ(*due - start, *row.due);
    }
}
INSTANTIATE_TEST_SUITE_P(
    At, RefreshTime,
    ::testing::Values(ScheduleRow{"Daily", hours(24 * 365), 0, 0, {}, hours(24)},
                      ScheduleRow{"DailySpread", hours(24 * 365), 1, 0, {}, seconds(77760)},
                      ScheduleRow{"HalfOfADay", hours(24), 0, 0, {}, hours(12)},
                      ScheduleRow{"NoMoreThanHourly", minutes(90), 0, 0, {}, hours(1)},
                      ScheduleRow{"LongerThanItsLife", hours(1), 0, 0, {}, std::nullopt},
                      ScheduleRow{"ExpiredAtOnce", seconds(0), 0, 0, {}, std::nullopt},
                      ScheduleRow{"FirstFailure", hours(24 * 7), 0, 1, hours(24), hours(24) + minutes(5)},
                      ScheduleRow{"ThirdFailure", hours(24 * 7), 0, 3, hours(24), hours(24) + minutes(20)},
                      ScheduleRow{"ManyFailures", hours(24 * 7), 0, 99, hours(24), hours(30)},
                      ScheduleRow{"FailuresOfAShortLife", hours(8), 0, 99, hours(4), hours(5)}),
    [](const auto& row) { return std::string(row.param.name); });

TEST(RefreshTime, NeverComesForWhatNobodyMails) {  // D-39
    RefreshFacts facts;
    facts.fetched = start;
    facts.expires = start + hours(24 * 365);
    facts.mailed = start - hours(24 * 60);
    EXPECT_TRUE(next_refresh({}, facts, start));
    facts.mailed -= seconds(1);
    EXPECT_FALSE(next_refresh({}, facts, start));
}

TEST(RefreshTime, NeverComesAfterExpiry) {
    RefreshFacts facts;
    facts.fetched = facts.mailed = start;
    facts.expires = start + hours(24);
    EXPECT_TRUE(next_refresh({}, facts, start + hours(23)));
    EXPECT_FALSE(next_refresh({}, facts, start + hours(24)));
}

TEST(RefreshTime, IsSpreadOverTheDomains) {
    int early = 0;
    for (int i = 0; i < 1000; ++i) {
        const double spread = spread_of("domain" + std::to_string(i) + ".example");
        ASSERT_GE(spread, 0.0);
        ASSERT_LT(spread, 1.0);
        early += spread < 0.5 ? 1 : 0;
    }
    EXPECT_GT(early, 400);
    EXPECT_LT(early, 600);
}

}  // namespace
}  // namespace sternpost::sts
