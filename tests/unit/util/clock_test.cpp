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

TEST(Times, AreReadAsTheyAreWritten) {
    for (const char* text : {"2026-11-03T06:07:08Z", "1969-12-31T23:59:59Z", "0000-01-01T00:00:00Z",
                             "2262-04-12T00:00:00Z", "9999-12-31T23:59:59Z", "2024-02-29T00:00:00Z"}) {
        const auto time = parse_rfc3339(text);
        ASSERT_TRUE(time) << text;
        EXPECT_EQ(rfc3339(*time), text);
    }
    EXPECT_EQ(parse_rfc3339("2026-11-03"), WallTime(std::chrono::sys_days(std::chrono::year(2026) / 11 / 3)));
}

TEST(Times, ThatAreNoneAreNotRead) {
    for (const char* text :
         {"", "2026", "2026-11", "2026-11-3", "2026-11- 3", "2026-11-+3", "-026-11-03", "2026-13-01",
          "2026-02-29", "2026-11-03T", "2026-11-03T06:07:08", "2026-11-03T06:07:08z", "2026-11-03 06:07:08Z",
          "2026-11-03T24:00:00Z", "2026-11-03T06:60:08Z", "2026-11-03T06:07:60Z", "2026-11-03T-6:07:08Z",
          "2026-11-03T06:07:08Z "})
        EXPECT_EQ(parse_rfc3339(text), std::nullopt) << text;
}

TEST(Times, AsSpansShowTheirTwoLargestUnits) {
    EXPECT_EQ(human_span(1234ms), "1.2s");
    EXPECT_EQ(human_span(200s), "3m 20s");
    EXPECT_EQ(human_span(2h + 5min + 59s), "2h 05m");
    EXPECT_EQ(human_span(99h + 59min), "4d 03h");
}

}  // namespace
}  // namespace sternpost
