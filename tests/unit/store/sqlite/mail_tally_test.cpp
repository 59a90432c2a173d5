#include "store/sqlite/mail_tally.h"

#include <gtest/gtest.h>

namespace sternpost::store {
namespace {

using namespace std::chrono_literals;

constexpr WallTime noon{std::chrono::hours(24 * 20'000 + 12)};

DeliveryResult ended(RecipientState state, const std::string& status, WallTime at = noon) {
    DeliveryResult out;
    out.message = MessageId{1};
    out.state = state;
    out.at = at;
    out.status = status;
    return out;
}

std::vector<MailCount> asked(const MailTally& tally, const MailCountFilter& filter) {
    MailSums sums(filter);
    for (const auto& [key, numbers] : tally.numbers()) sums.add(key, numbers);
    return sums.taken();
}

TEST(MailTally, TellsRefusedFromExpiredByTheStatus) {
    MailTally tally;
    for (const auto& [state, status] :
         {std::pair(RecipientState::sent, "2.0.0"), std::pair(RecipientState::queued, "4.2.1"),
          std::pair(RecipientState::bounced, "5.1.1"), std::pair(RecipientState::bounced, "4.4.7"),
          std::pair(RecipientState::deleted, "5.7.0")})
        tally.ended(ended(state, status), {"d.test", "192.0.2.1", "from.test"});
    for (const auto by :
         {CountedBy::all, CountedBy::destination, CountedBy::sender, CountedBy::from_domain}) {
        MailCountFilter filter;
        filter.by = by;
        const auto counts = asked(tally, filter);
        ASSERT_EQ(counts.size(), 1U) << name_of(by);
        EXPECT_EQ(counts[0].numbers, (MailNumbers{0, 0, 1, 1, 1, 1})) << name_of(by);
    }
}

TEST(MailTally, NamesErrorsByTheirReasonElseByTheirStatus) {
    MailTally tally;
    auto named = ended(RecipientState::queued, "4.7.5");
    named.reason_code = ReasonCode::certificate_expired;
    tally.ended(named, {"d.test", "", ""});
    tally.ended(ended(RecipientState::queued, "4.2.1"), {"d.test", "", ""});
    tally.ended(ended(RecipientState::sent, "2.0.0"), {"d.test", "", ""});
    MailCountFilter filter;
    filter.by = CountedBy::error;
    const auto counts = asked(tally, filter);
    ASSERT_EQ(counts.size(), 2U);
    EXPECT_EQ(counts[0].key, "4.2.1");
    EXPECT_EQ(counts[1].key, "certificate-expired");
}

TEST(MailTally, CountsANextHopThatFailsAndNotOneThatWorksAgain) {
    MailTally tally;
    HopState hop;
    hop.next_hop = "d.test";
    hop.at = noon;
    hop.status = "4.4.1";
    tally.failed(hop);
    EXPECT_TRUE(tally.numbers().empty());
    hop.failures = 2;
    tally.failed(hop);
    MailCountFilter filter;
    filter.by = CountedBy::destination;
    EXPECT_EQ(asked(tally, filter), (std::vector{MailCount{"d.test", {0, 0, 0, 1, 0, 0}}}));
}

TEST(MailTally, SaysWhoseMailItIs) {
    Origin client;
    client.address = "2001:db8:1:2:3::4";
    const auto path = mail::ReversePath::parse("ann@from.test").value();
    const auto of_client = counted_for("d.test", client, MessageClass::mail, path);
    EXPECT_EQ(of_client.sender, "2001:db8:1:2::/64");
    EXPECT_EQ(of_client.from_domain, "from.test");
    EXPECT_EQ(counted_for("d.test", {}, MessageClass::notice, {}).sender, "notices");
    EXPECT_EQ(counted_for("d.test", {}, MessageClass::report, {}).sender, "TLS reports");
    EXPECT_EQ(counted_for("d.test", {}, MessageClass::notice, {}).from_domain, "<>");
}

TEST(MailSums, AreOfTheHoursThatAreMeant) {
    MailTally tally;
    for (const auto at : {noon - 2h, noon - 1h, noon, noon + 59min, noon + 1h})
        tally.ended(ended(RecipientState::sent, "2.0.0", at), {"d.test", "", ""});
    MailCountFilter filter;
    filter.from = noon - 1h + 5min;
    filter.to = noon + 30min;
    ASSERT_EQ(asked(tally, filter).size(), 1U);
    EXPECT_EQ(asked(tally, filter)[0].numbers.sent, 3U) << "hours count whole";
    filter.by_hour = true;
    const auto hours = asked(tally, filter);
    ASSERT_EQ(hours.size(), 2U);
    EXPECT_EQ(hours[0], (MailCount{"2024-10-04T11:00:00Z", {0, 0, 1, 0, 0, 0}}));
    EXPECT_EQ(hours[1].numbers.sent, 2U);
    filter.limit = 1;
    EXPECT_EQ(asked(tally, filter).at(0).key, "2024-10-04T12:00:00Z") << "the latest";
}

TEST(MailSums, LoseNothingWithTheTail) {
    std::vector<MailCount> counts{{"a", {0, 0, 1, 0, 0, 0}},
                                  {"", {0, 0, 5, 0, 0, 0}},
                                  {"b", {2, 8, 3, 0, 0, 0}},
                                  {"c", {0, 0, 0, 2, 0, 0}}};
    const auto kept = largest(counts, 2);
    ASSERT_EQ(kept.size(), 3U);
    EXPECT_EQ(kept[0].key, "b");
    EXPECT_EQ(kept[1].key, "c");
    EXPECT_EQ(kept[2], (MailCount{"", {0, 0, 6, 0, 0, 0}}));
}

}  // namespace
}  // namespace sternpost::store
