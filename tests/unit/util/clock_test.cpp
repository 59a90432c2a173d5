#include "util/clock.h"

#include <gtest/gtest.h>

namespace sternpost {
namespace {

using namespace std::chrono_literals;

const WallTime moment = std::chrono::sys_days(std::chrono::year(2026) / 11 / 3) + 6h + 7min + 8s + 999999us;

TEST(Times, AreWrittenAsTheRfcsWant) {
    EXPECT_EQ(rfc3339(moment), "2026-11-03T06:07:08Z");
    EXPECT_EQ(rfc5322_date(moment), "Tue, 3 Nov 2026 06:07:08 +0000");
    EXPECT_EQ(rfc3339(WallTime(-1us)), "1969-12-31T23:59:59Z");
}

TEST(Times, AsSpansShowTheirTwoLargestUnits) {
    EXPECT_EQ(human_span(1234ms), "1.2s");
    EXPECT_EQ(human_span(200s), "3m 20s");
    EXPECT_EQ(human_span(2h + 5min + 59s), "2h 05m");
    EXPECT_EQ(human_span(99h + 59min), "4d 03h");
}

}  // namespace
}  // namespace sternpost
