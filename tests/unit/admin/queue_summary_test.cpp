#include "admin/queue_summary.h"

#include <gtest/gtest.h>

#include "fake/no_questions.h"
#include "fake/nothing_live.h"
#include "unit/store/store_testing.h"

namespace sternpost::admin {
namespace {

using namespace std::chrono_literals;

const WallTime summed_at{std::chrono::hours(500'000)};

store::StoredMessage waiting(std::uint64_t id, const std::vector<std::string>& to, std::uint64_t size,
                             std::chrono::microseconds age) {
    auto out = store::StoredMessage::of(store::testing::message_to(id, to, "x"));
    out.body.size = size;
    out.arrived = summed_at - age;
    return out;
}

TEST(QueueSums, CountByDestinationReasonAgeAndSize) {
    QueueSums sums(20, summed_at);
    auto one = waiting(1, {"a@x.test", "b@x.test", "c@y.test"}, 1000, 2min);
    one.recipients[0].status = "4.2.2";
    one.recipients[0].text = "mailbox full";
    one.recipients[2].reason_code = store::ReasonCode::sts_required;
    sums.add(one);
    auto two = waiting(2, {"d@y.test", "e@x.test"}, 5 << 20, 100h);
    two.recipients[1].state = store::RecipientState::sent;
    sums.add(two);
    const auto found = sums.taken();
    EXPECT_EQ(found.total.messages, 2U);
    EXPECT_EQ(found.total.recipients, 4U);
    EXPECT_EQ(found.total.octets, 1000U + (5U << 20U));
    ASSERT_EQ(found.destinations.size(), 2U);
    EXPECT_EQ(found.destinations[0].key, "x.test");
    EXPECT_EQ(found.destinations[0].messages, 1U);
    EXPECT_EQ(found.destinations[0].recipients, 2U);
    EXPECT_EQ(found.destinations[0].reason, "4.2.2 mailbox full");
    EXPECT_EQ(found.destinations[1].key, "y.test");
    EXPECT_EQ(found.destinations[1].messages, 2U);
    EXPECT_EQ(found.destinations[1].oldest, summed_at - 100h);
    ASSERT_EQ(found.errors.size(), 3U);
    EXPECT_EQ(found.errors[0].key, "not tried yet");
    EXPECT_EQ(found.errors[0].recipients, 2U);
    const auto of = [](const std::vector<SummaryRow>& rows, const std::string& key) {
        for (const auto& row : rows)
            if (row.key == key) return row.messages;
        return std::uint64_t{999};
    };
    EXPECT_EQ(of(found.ages, "up to 5m"), 1U);
    EXPECT_EQ(of(found.ages, "older"), 1U);
    EXPECT_EQ(of(found.ages, "up to 3d"), 0U);
    EXPECT_EQ(of(found.sizes, "up to 10K"), 1U);
    EXPECT_EQ(of(found.sizes, "up to 10M"), 1U);
    EXPECT_EQ(of(found.sizes, "up to 1M"), 0U);
}

TEST(QueueSums, KeepsTenThousandPlacesAndSumsTheOthers) {
    QueueSums sums(2, summed_at);
    for (std::uint64_t n = 1; n <= 10'005; ++n)
        sums.add(waiting(n, {"a@d" + std::to_string(n) + ".test"}, 10, 1min));
    sums.add(waiting(20'000, {"a@d7.test"}, 10, 1min));
    const auto found = sums.taken();
    ASSERT_EQ(found.destinations.size(), 3U);
    EXPECT_EQ(found.destinations[0].key, "d7.test");
    EXPECT_EQ(found.destinations[0].recipients, 2U);
    EXPECT_EQ(found.destinations[2].key, "");
    EXPECT_EQ(found.destinations[2].recipients, 10'006U - 3U);
}

TEST(QueueSummary, ReadsPageAfterPage) {
    class Pages final : public fake::NoQuestions {
      public:
        store::Result<std::vector<store::StoredMessage>> find(const store::QueueFilter& filter) override {
            ++asked;
            if (filter.after.value >= 3) return {};
            return std::vector{waiting(filter.after.value + 1, {"a@x.test"}, 10, 1min)};
        }
        int asked = 0;
    } pages;
    const fake::NothingLive live;
    const auto found = read_now(QueueSummary({}, Caller{}, Paging::whole), pages, live);
    ASSERT_TRUE(found.value);
    EXPECT_EQ(found.value->total.messages, 3U);
    EXPECT_EQ(pages.asked, 4);
}

}  // namespace
}  // namespace sternpost::admin
