#include "queue/core.h"

#include <gtest/gtest.h>

#include "fake/seeded_random.h"

namespace sternpost::queue {
namespace {

using namespace std::chrono_literals;
using store::RecipientState;

class Queue : public testing::Test {
  protected:
    Queue() : core(options(), random, ClockGuard(now, WallTime::min())) {}

    static Options options() {
        Options out;
        out.schedule.jitter = 0;
        return out;
    }
    void pass(std::chrono::seconds time) {
        now.wall += time;
        now.steady += time;
    }
    store::MessageId add(std::vector<std::pair<const char*, const char*>> recipients) {
        store::StoredMessage message;
        message.id = {++last};
        message.arrived = now.wall;
        for (const auto& [path, hop] : recipients) {
            store::StoredRecipient recipient(
                store::QueuedRecipient(mail::Recipient(mail::ForwardPath::parse(path).value()), hop));
            recipient.next_at = now.wall;
            message.recipients.push_back(std::move(recipient));
        }
        core.add(std::move(message), now);
        return {last};
    }
    static Fate fate(std::uint32_t recipient, RecipientState state) {
        Fate out;
        out.result.recipient = recipient;
        out.result.state = state;
        out.result.status = state == RecipientState::sent ? "2.0.0" : "4.2.0";
        out.result.text = "because";
        return out;
    }

    fake::SeededRandom random;
    Now now{WallTime(1'800'000'000s), SteadyTime(1000s)};
    std::uint64_t last = 0;
    Core core;
};

TEST_F(Queue, DeliversAndForgetsOnlyWhatIsRecorded) {
    add({{"a@d.test", "d.test"}});
    ASSERT_EQ(core.lanes_wanted(now), std::vector<std::string>{"d.test"});
    const auto work = core.take("d.test", now);
    ASSERT_TRUE(work);
    EXPECT_EQ(core.take("d.test", now), std::nullopt);
    const auto results = core.finished(*work, {fate(0, RecipientState::sent)}, now);
    ASSERT_EQ(results.size(), 1U);
    EXPECT_EQ(core.totals().messages, 1U) << "the result is not on stable storage yet";
    core.recorded(results);
    EXPECT_EQ(core.totals().messages, 0U);
}

TEST_F(Queue, RetriesByTheSchedule) {  // SMTP-41
    add({{"a@d.test", "d.test"}});
    for (const auto wait : {5min, 10min, 20min, 30min, 60min, 120min, 120min}) {
        SCOPED_TRACE(wait.count());
        const auto work = core.take("d.test", now);
        ASSERT_TRUE(work);
        const auto results = core.finished(*work, {fate(0, RecipientState::queued)}, now);
        core.recorded(results);
        EXPECT_EQ(results[0].next_at - now.wall, wait);
        pass(wait - 1s);
        EXPECT_EQ(core.take("d.test", now), std::nullopt);
        pass(1s);
    }
}

TEST_F(Queue, OneDeferredRecipientDelaysNobodyElse) {
    add({{"a@d.test", "d.test"}, {"b@d.test", "d.test"}});
    const auto work = core.take("d.test", now);
    core.recorded(
        core.finished(*work, {fate(0, RecipientState::queued), fate(1, RecipientState::sent)}, now));
    add({{"c@d.test", "d.test"}});
    const auto next = core.take("d.test", now);
    ASSERT_TRUE(next);
    EXPECT_EQ(next->message->id, store::MessageId{2});
    pass(5min);
    const auto again = core.take("d.test", now);
    ASSERT_TRUE(again);
    EXPECT_EQ(again->recipients, std::vector<std::uint32_t>{0});
}

TEST_F(Queue, ADeadHopIsAskedOnceNotOnceAMessage) {  // SMTP-42
    for (int i = 0; i < 1000; ++i) add({{"a@d.test", "d.test"}});
    const auto lanes = core.lanes_wanted(now);
    EXPECT_EQ(lanes.size(), 2U);
    for (std::size_t i = 0; i < lanes.size(); ++i) {
        EXPECT_TRUE(core.lane_failed("d.test", {false, "4.4.1", "refused"}, now, now).empty());
        core.lane_ended("d.test");
    }
    EXPECT_TRUE(core.lanes_wanted(now).empty());
    pass(10min);
    EXPECT_EQ(core.lanes_wanted(now).size(), 1U) << "after a failure one connection asks first";
    core.lane_connected("d.test");
    EXPECT_GT(core.lanes_wanted(now).size(), 0U);
}

TEST_F(Queue, OpensAtMostTheConnectionsThatAreAllowed) {  // SMTP-43
    for (int i = 0; i < 1000; ++i) add({{"a@d.test", "d.test"}});
    std::size_t open = 0;
    for (int round = 0; round < 100; ++round) {
        for (const auto& hop : core.lanes_wanted(now)) {
            ++open;
            core.lane_connected(hop);
        }
    }
    EXPECT_EQ(open, 20U);
}

TEST_F(Queue, ExpiresOnlyAfterAnAttemptThatBeganAfterTheDeadline) {  // D-41
    add({{"a@d.test", "d.test"}});
    auto early = core.take("d.test", now);
    pass(6 * 24h);
    auto results = core.finished(*early, {fate(0, RecipientState::queued)}, now);
    EXPECT_EQ(results[0].state, RecipientState::queued) << "this attempt began in time";
    core.recorded(results);
    pass(24h);
    auto late = core.take("d.test", now);
    ASSERT_TRUE(late);
    results = core.finished(*late, {fate(0, RecipientState::queued)}, now);
    EXPECT_EQ(results[0].state, RecipientState::bounced);
    EXPECT_EQ(results[0].status, "4.2.0") << "the class stays that of the last cause (SMTP-45)";
    EXPECT_NE(results[0].text.find("given up after 7d 00h"), std::string::npos) << results[0].text;
}

TEST_F(Queue, ALeapingClockExpiresNothing) {
    add({{"a@d.test", "d.test"}});
    now.wall += 30 * 24h;  // the wall clock alone
    const auto work = core.take("d.test", now);
    const auto results = core.finished(*work, {fate(0, RecipientState::queued)}, now);
    EXPECT_EQ(results[0].state, RecipientState::queued);
    EXPECT_TRUE(core.lane_failed("d.test", {false, "4.4.1", "refused"}, now, now).empty());
}

TEST_F(Queue, AHopThatIsGoneForeverBouncesAllThatWaits) {
    add({{"a@d.test", "d.test"}, {"b@e.test", "e.test"}});
    add({{"c@d.test", "d.test"}});
    const auto results = core.lane_failed("d.test", {true, "5.1.2", "no such domain"}, now, now);
    EXPECT_EQ(results.size(), 2U);
    core.recorded(results);
    EXPECT_EQ(core.totals().messages, 1U);
    EXPECT_TRUE(core.take("e.test", now));
}

TEST_F(Queue, RetryByHandPassesEveryBackoff) {
    add({{"a@d.test", "d.test"}});
    const auto work = core.take("d.test", now);
    core.recorded(core.finished(*work, {fate(0, RecipientState::queued)}, now));
    core.lane_failed("d.test", {false, "4.4.1", "refused"}, now, now);
    store::QueueFilter filter;
    filter.domain = "D.test";
    EXPECT_EQ(core.retry(filter, now), 1U);
    EXPECT_EQ(core.lanes_wanted(now), std::vector<std::string>{"d.test"});
    EXPECT_TRUE(core.take("d.test", now));
    filter.domain = "other.test";
    EXPECT_EQ(core.retry(filter, now), 0U);
}

TEST_F(Queue, RetryByHandTakesEachMessageOnce) {
    const auto a = add({{"a@d.test", "d.test"}});
    core.recorded(core.finished(*core.take("d.test", now), {fate(0, RecipientState::queued)}, now));
    const auto b = add({{"b@d.test", "d.test"}});
    EXPECT_EQ(core.retry({}, now), 2U);
    std::vector<store::MessageId> taken;
    while (const auto work = core.take("d.test", now)) taken.push_back(work->message->id);
    EXPECT_EQ(taken, (std::vector<store::MessageId>{b, a}));
    pass(24h);
    EXPECT_EQ(core.take("d.test", now), std::nullopt) << "nothing sleeps on under the same id";
}

TEST_F(Queue, ShowsWhatIsDueAsActive) {
    const auto a = add({{"a@d.test", "d.test"}});
    ASSERT_EQ(core.list({}).size(), 1U);
    EXPECT_TRUE(core.list({})[0].active[0]);
    const auto work = core.take("d.test", now);
    EXPECT_TRUE(core.list({})[0].active[0]) << "an attempt is under way";
    core.recorded(core.finished(*work, {fate(0, RecipientState::queued)}, now));
    EXPECT_FALSE(core.list({})[0].active[0]);
    EXPECT_EQ(core.list({})[0].message->recipients[0].text, "because");
    core.lane_failed("d.test", {false, "4.4.1", "refused"}, now, now);
    add({{"b@d.test", "d.test"}});
    const auto views = core.list({});
    EXPECT_FALSE(views[1].active[0]) << "it waits for the hop";
    EXPECT_EQ(views[1].message->recipients[0].text, "refused");
    EXPECT_EQ(views[0].message->id, a);
}

TEST_F(Queue, DeletedMailIsNotSent) {
    const auto id = add({{"a@d.test", "d.test"}});
    EXPECT_EQ(core.remove({id}), std::vector<store::MessageId>{id});
    EXPECT_TRUE(core.remove({id}).empty());
    EXPECT_EQ(core.take("d.test", now), std::nullopt);
    EXPECT_EQ(core.totals().messages, 0U);
}

TEST_F(Queue, MailDeletedDuringItsAttemptEndsWithIt) {
    const auto id = add({{"a@d.test", "d.test"}});
    const auto work = core.take("d.test", now);
    EXPECT_EQ(core.remove({id}).size(), 1U);
    EXPECT_TRUE(core.finished(*work, {fate(0, RecipientState::queued)}, now).empty());
    EXPECT_EQ(core.message(id), nullptr);
    pass(24h);
    EXPECT_EQ(core.take("d.test", now), std::nullopt);
}

TEST_F(Queue, AFurtherTransactionComesAtOnce) {  // SMTP-19
    add({{"a@d.test", "d.test"}, {"b@d.test", "d.test"}});
    const auto work = core.take("d.test", now);
    Fate again = fate(1, RecipientState::queued);
    again.again = true;
    core.recorded(core.finished(*work, {fate(0, RecipientState::sent), again}, now));
    const auto next = core.take("d.test", now);
    ASSERT_TRUE(next);
    EXPECT_EQ(next->recipients, std::vector<std::uint32_t>{1});
}

TEST_F(Queue, GivesAtMostOneTransactionsRecipients) {
    std::vector<std::pair<const char*, const char*>> many(250, {"a@d.test", "d.test"});
    add(many);
    EXPECT_EQ(core.take("d.test", now)->recipients.size(), 100U);
    EXPECT_EQ(core.take("d.test", now)->recipients.size(), 100U);
    EXPECT_EQ(core.take("d.test", now)->recipients.size(), 50U);
    EXPECT_EQ(core.take("d.test", now), std::nullopt);
}

TEST_F(Queue, AnAbortedAttemptIsAsIfNeverMade) {
    add({{"a@d.test", "d.test"}});
    const auto work = core.take("d.test", now);
    core.put_back(*work);
    const auto again = core.take("d.test", now);
    ASSERT_TRUE(again);
    EXPECT_EQ(again->message->recipients[0].tries, 0U);
}

TEST_F(Queue, WakesWhenSomethingIsDue) {
    add({{"a@d.test", "d.test"}});
    const auto work = core.take("d.test", now);
    EXPECT_EQ(core.next_wake(), std::nullopt);
    core.recorded(core.finished(*work, {fate(0, RecipientState::queued)}, now));
    EXPECT_EQ(core.next_wake(), now.steady + 5min);
}

}  // namespace
}  // namespace sternpost::queue
