#include "admin/stats.h"

#include <gtest/gtest.h>

#include "fake/no_questions.h"
#include "fake/nothing_live.h"

namespace sternpost::admin {
namespace {

// Remembers what it was asked, and answers with what it holds.
class Counted final : public fake::NoQuestions {
  public:
    store::Result<std::vector<store::MailCount>> mail_counts(const store::MailCountFilter& filter) override {
        asked.push_back(filter);
        if (filter.by == store::CountedBy::all && !filter.by_hour)
            return std::vector<store::MailCount>{{"", {5, 500, 4, 3, 2, 1}}};
        return std::vector<store::MailCount>{{"d.test", {0, 0, 4, 0, 0, 0}}, {"", {0, 0, 0, 3, 2, 1}}};
    }
    std::vector<store::MailCountFilter> asked;
};

Answer<StatsAnswer> stats(Counted& counted, StatsRequest request) {
    const fake::NothingLive live;
    return read_now(Stats(request, Caller{}, Paging::whole), counted, live);
}

TEST(Stats, HasTheRowsThatAreAskedForAndTheTotalOfAllMail) {
    Counted counted;
    const WallTime from{std::chrono::hours(480'000) + std::chrono::minutes(7)};
    const auto answer = stats(counted, {from, "destination", 20});
    ASSERT_TRUE(answer.value);
    EXPECT_EQ(answer.value->from, from - std::chrono::minutes(7)) << "hours count whole";
    ASSERT_EQ(answer.value->rows.size(), 2U);
    EXPECT_EQ(answer.value->rows[0].key, "d.test");
    EXPECT_EQ(answer.value->rows[1].deferred, 3U);
    EXPECT_EQ(answer.value->total.accepted, 5U);
    EXPECT_EQ(answer.value->total.octets, 500U);
    EXPECT_EQ(counted.asked[0].by, store::CountedBy::destination);
    EXPECT_EQ(counted.asked[0].from, from);
}

TEST(Stats, AreByTheHourOfAllMail) {
    Counted counted;
    ASSERT_TRUE(stats(counted, {{}, "hour", 20}).value);
    EXPECT_EQ(counted.asked[0].by, store::CountedBy::all);
    EXPECT_TRUE(counted.asked[0].by_hour);
    EXPECT_FALSE(counted.asked[1].by_hour);
}

TEST(Stats, RefuseWhatMailIsNotCountedBy) {
    Counted counted;
    const auto answer = stats(counted, {{}, "colour", 20});
    EXPECT_FALSE(answer.value);
    EXPECT_NE(answer.text.find("colour"), std::string::npos);
    EXPECT_TRUE(counted.asked.empty());
}

TEST(Stats, HasTenThousandRowsAtMost) {
    Counted counted;
    stats(counted, {{}, "sender", 1'000'000});
    EXPECT_EQ(counted.asked[0].limit, 10'000U);
}

}  // namespace
}  // namespace sternpost::admin
