#include "delivery/notice_counts.h"

#include <gtest/gtest.h>

namespace sternpost::delivery {
namespace {

constexpr WallTime now = std::chrono::sys_days(std::chrono::year(2026) / 11 / 30) + std::chrono::hours(12);

// How notices count is in bounce_test.cpp; this is what is remembered of them.
TEST(NoticeCounts, AreOfAHundredThousandMessages) {
    NoticeCounts counts(1, 0);
    const auto to = mail::Mailbox::parse("ann@sender.test").value();
    std::uint64_t counted = 0;
    for (std::uint64_t id = 1; id <= 100'000; ++id) counted += counts.count({id}, to, now) ? 1U : 0U;
    EXPECT_EQ(counted, 100'000U);
    EXPECT_FALSE(counts.count({1}, to, now));
    EXPECT_TRUE(counts.count({100'001}, to, now));
    EXPECT_TRUE(counts.count({1}, to, now)) << "it is counted from nothing";
}

// Each at a host of its own, which counts as well.
TEST(NoticeCounts, AreOfAHundredThousandMailboxes) {
    NoticeCounts counts(1000, 1);
    const auto told = [&](std::uint64_t n) {
        const std::string address = std::to_string(n / 250) + "." + std::to_string(n % 250);
        return counts.count({1 + n / 500}, mail::Mailbox::parse("u@[10.1." + address + "]").value(), now);
    };
    std::uint64_t counted = 0;
    for (std::uint64_t n = 0; n < 49'999; ++n) counted += told(n) ? 1U : 0U;
    EXPECT_TRUE(told(49'999));
    EXPECT_EQ(counted, 49'999U);
    EXPECT_FALSE(told(0));
    EXPECT_FALSE(told(49'999));
    for (int time = 0; time < 10; ++time) EXPECT_TRUE(told(50'000)) << "it is counted by its domain alone";
    EXPECT_FALSE(told(50'000));
}

}  // namespace
}  // namespace sternpost::delivery
