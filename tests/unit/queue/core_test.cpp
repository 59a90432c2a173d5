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
    store::MessageId add_mail(const char* sender, const std::vector<const char*>& paths,
                              std::string_view notify = "") {
        store::StoredMessage message;
        message.id = {++last};
        message.arrived = now.wall;
        message.envelope.reverse_path = mail::ReversePath::parse(sender).value();
        for (const std::string path : paths) {
            mail::Recipient recipient(mail::ForwardPath::parse(path).value());
            recipient.notify.failure = notify == "failure";
            recipient.notify.delay = notify == "delay";
            message.recipients.emplace_back(
                store::QueuedRecipient(std::move(recipient), path.substr(path.find('@') + 1)));
        }
        core.add(std::move(message), now);
        return {last};
    }
    store::MessageId add_from(const char* address, const char* hop,
                              store::MessageClass message_class = store::MessageClass::mail) {
        store::StoredMessage message;
        message.id = {++last};
        message.arrived = now.wall;
        message.message_class = message_class;
        message.origin.address = address;
        message.recipients.emplace_back(
            store::QueuedRecipient(mail::Recipient(mail::ForwardPath::parse("a@d.test").value()), hop));
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
    Selection selection;
    selection.domain = "D.test";
    core.retry(core.select(selection), now);
    EXPECT_EQ(core.lanes_wanted(now), std::vector<std::string>{"d.test"});
    EXPECT_TRUE(core.take("d.test", now));
    selection.domain = "other.test";
    EXPECT_TRUE(core.select(selection).empty());
}

TEST_F(Queue, RetryByHandTakesEachMessageOnce) {
    const auto a = add({{"a@d.test", "d.test"}});
    core.recorded(core.finished(*core.take("d.test", now), {fate(0, RecipientState::queued)}, now));
    const auto b = add({{"b@d.test", "d.test"}});
    core.retry(core.select({}), now);
    std::vector<store::MessageId> taken;
    while (const auto work = core.take("d.test", now)) taken.push_back(work->message->id);
    EXPECT_EQ(taken, (std::vector<store::MessageId>{a, b})) << "the oldest first";
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

TEST_F(Queue, ABulkRunDelaysNobodyElsesMessageAtItsHop) {
    for (int i = 0; i < 10'000; ++i) add_from("192.0.2.1", "d.test");
    const auto one = add_from("192.0.2.2", "d.test");
    ASSERT_FALSE(core.lanes_wanted(now).empty());
    EXPECT_EQ(core.take("d.test", now)->message->origin.address, "192.0.2.1");
    EXPECT_EQ(core.take("d.test", now)->message->id, one);
    EXPECT_EQ(core.take("d.test", now)->message->origin.address, "192.0.2.1");
}

TEST_F(Queue, ABulkRunToManyHopsDelaysNobodyElsesMessage) {
    for (int i = 0; i < 2000; ++i) add_from("192.0.2.1", ("a" + std::to_string(i) + ".test").c_str());
    auto lanes = core.lanes_wanted(now);
    ASSERT_EQ(lanes.size(), 500U) << "all the connections that there may be";
    add_from("192.0.2.2", "z.test");
    EXPECT_TRUE(core.lanes_wanted(now).empty());
    for (int ended = 0; ended < 2; ++ended) core.lane_ended(lanes[static_cast<std::size_t>(ended)]);
    lanes = core.lanes_wanted(now);
    EXPECT_NE(std::find(lanes.begin(), lanes.end(), "z.test"), lanes.end()) << "within two turns";
}

TEST_F(Queue, NoticesStandBackBehindMailAndAreNotForgotten) {
    for (int i = 0; i < 100; ++i) add_from("", "d.test", store::MessageClass::notice);
    for (int i = 0; i < 100; ++i) add_from("192.0.2.1", "d.test");
    int mail = 0;
    for (int i = 0; i < 90; ++i)
        mail += core.take("d.test", now)->message->message_class == store::MessageClass::mail ? 1 : 0;
    EXPECT_EQ(mail, 80);
}

TEST_F(Queue, SelectsByIdHopSenderAndReason) {
    const auto a = add({{"a@d.test", "d.test"}, {"a@e.test", "e.test"}});
    const auto b = add({{"b@e.test", "e.test"}});
    add({{"c@f.test", "f.test"}});
    Fate fate_a = fate(0, RecipientState::queued);
    fate_a.result.text = "450 Mailbox FULL";
    core.recorded(core.finished(*core.take("d.test", now), {fate_a}, now));
    HopFate refused{false, "4.7.5", "its certificate has expired"};
    refused.reason_code = "certificate-expired";
    core.lane_failed("e.test", refused, now, now);
    const auto ids = [&](const Selection& selection) {
        std::vector<std::pair<std::uint64_t, std::size_t>> out;  // id, how many of its recipients
        for (const auto& one : core.select(selection))
            out.emplace_back(one.message.value, one.recipients.size());
        return out;
    };
    using Ids = std::vector<std::pair<std::uint64_t, std::size_t>>;
    Selection of;
    EXPECT_EQ(ids(of), (Ids{{1, 2}, {2, 1}, {3, 1}}));
    of.ids = {b, b, store::MessageId{99}};
    EXPECT_EQ(ids(of), (Ids{{2, 1}}));
    of = {};
    of.domain = "E.test";
    EXPECT_EQ(ids(of), (Ids{{1, 1}, {2, 1}}));
    EXPECT_FALSE(core.select(of)[0].whole);
    EXPECT_TRUE(core.select(of)[1].whole);
    for (const char* reason : {"certificate-expired", "4.7.5", "HAS EXPIRED"}) {
        of.reason = reason;
        EXPECT_EQ(ids(of), (Ids{{1, 1}, {2, 1}})) << reason;
    }
    of = {};
    of.reason = "mailbox full";
    EXPECT_EQ(ids(of), (Ids{{1, 1}}));
    EXPECT_EQ(core.select(of)[0].recipients, std::vector<std::uint32_t>{0});
    of.domain = "e.test";
    EXPECT_TRUE(ids(of).empty()) << "all that is set must hold";
    of = {};
    of.sender = "<>";
    EXPECT_EQ(ids(of).size(), 3U) << "these were made without a sender";
    of.sender = "@sender.test";
    EXPECT_TRUE(ids(of).empty());
    EXPECT_EQ(a, store::MessageId{1});
}

TEST_F(Queue, SelectsSendersByAddressAndDomain) {
    store::StoredMessage message;
    message.id = {++last};
    message.envelope.reverse_path = mail::ReversePath::parse("Ann@News.sender.test").value();
    message.recipients.emplace_back(
        store::QueuedRecipient(mail::Recipient(mail::ForwardPath::parse("a@d.test").value()), "d.test"));
    core.add(std::move(message), now);
    Selection of;
    for (const char* sender : {"ann@news.sender.test", "@news.sender.test", "@NEWS.sender.test"}) {
        of.sender = sender;
        EXPECT_EQ(core.select(of).size(), 1U) << sender;
    }
    for (const char* sender : {"<>", "bob@news.sender.test", "@sender.test", "news.sender.test"}) {
        of.sender = sender;
        EXPECT_TRUE(core.select(of).empty()) << sender;
    }
}

TEST_F(Queue, HeldMailWaitsUntilItIsReleased) {
    const auto id = add({{"a@d.test", "d.test"}, {"b@e.test", "e.test"}});
    const auto work = core.take("d.test", now);
    core.hold(core.select({}));
    EXPECT_TRUE(core.lanes_wanted(now).empty());
    EXPECT_EQ(core.take("e.test", now), std::nullopt);
    core.recorded(core.finished(*work, {fate(0, RecipientState::queued)}, now));
    pass(24h);
    EXPECT_TRUE(core.lanes_wanted(now).empty()) << "also when the schedule says so";
    EXPECT_EQ(core.next_wake(), std::nullopt);
    EXPECT_TRUE(core.list({})[0].message->held);
    core.release(core.select({}), now);
    EXPECT_EQ(core.lanes_wanted(now), (std::vector<std::string>{"d.test", "e.test"}));
    EXPECT_EQ(core.take("d.test", now)->message->id, id);
    EXPECT_EQ(core.take("e.test", now)->recipients, std::vector<std::uint32_t>{1});
    core.release(core.select({}), now);
    EXPECT_EQ(core.take("d.test", now), std::nullopt) << "released once is enough";
}

TEST_F(Queue, HeldMailDoesNotExpireNorBounceWithItsHop) {
    add({{"a@d.test", "d.test"}});
    core.hold(core.select({}));
    pass(24h * 30);
    EXPECT_TRUE(core.lane_failed("d.test", {true, "5.1.2", "no such domain"}, now, now).empty());
    core.retry(core.select({}), now);
    EXPECT_TRUE(core.take("d.test", now)) << "a retry by hand releases";
}

TEST_F(Queue, EndsByTheAdministratorsWillWhatWaits) {
    add({{"a@d.test", "d.test"}, {"b@e.test", "e.test"}});
    core.lane_failed("d.test", {false, "4.4.1", "refused"}, now, now);
    const auto work = core.take("e.test", now);
    const auto all = core.select({});
    EXPECT_EQ(all[0].active, 1U);
    const auto results = core.end(all, RecipientState::bounced, "5.4.7", "given up", now);
    ASSERT_EQ(results.size(), 1U);
    EXPECT_EQ(results[0].recipient, 0U);
    EXPECT_EQ(results[0].text, "given up; what stood in the way before: refused");
    core.recorded(results);
    EXPECT_EQ(core.totals().messages, 1U) << "the other recipient is in an attempt";
    EXPECT_TRUE(core.end(all, RecipientState::bounced, "5.4.7", "again", now).empty());
    core.recorded(core.finished(*work, {fate(1, RecipientState::sent)}, now));
    EXPECT_EQ(core.totals().messages, 0U);
    pass(24h);
    EXPECT_EQ(core.take("d.test", now), std::nullopt);
}

TEST_F(Queue, WarnsOnceOfMailThatWaitsForFourHours) {
    const auto id = add_mail("ann@sender.test", {"a@d.test", "b@e.test"});
    add({{"c@d.test", "d.test"}});  // from the null reverse-path: nobody to tell
    core.lane_failed("d.test", {false, "4.4.1", "refused"}, now, now);
    core.recorded(core.finished(*core.take("e.test", now), {fate(1, RecipientState::queued)}, now));
    pass(4h - 1s);
    EXPECT_TRUE(core.delayed(now).empty());
    pass(1s);
    EXPECT_LE(core.next_wake(), now.steady);
    const auto delayed = core.delayed(now);
    ASSERT_EQ(delayed.size(), 1U);
    EXPECT_EQ(delayed[0].message->id, id);
    EXPECT_EQ(delayed[0].until, delayed[0].message->arrived + 120h);
    ASSERT_EQ(delayed[0].recipients.size(), 2U);
    EXPECT_EQ(delayed[0].recipients[0].text, "refused");
    EXPECT_EQ(delayed[0].recipients[1].text, "because");
    EXPECT_EQ(delayed[0].recipients[1].status, "4.2.0");
    pass(24h);
    EXPECT_TRUE(core.delayed(now).empty());
}

TEST_F(Queue, WarnsOfNothingThatHasGoneOrNobodyWantsToHearOf) {
    add_mail("ann@sender.test", {"a@d.test"});
    core.recorded(core.finished(*core.take("d.test", now), {fate(0, RecipientState::sent)}, now));
    add_mail("ann@sender.test", {"b@d.test"}, "failure");
    pass(5h);
    EXPECT_TRUE(core.delayed(now).empty());
    const auto id = add_mail("ann@sender.test", {"c@d.test"}, "delay");
    core.hold(core.select({}));
    pass(5h);
    const auto delayed = core.delayed(now);
    ASSERT_EQ(delayed.size(), 1U);
    EXPECT_EQ(delayed[0].message->id, id);
    EXPECT_EQ(delayed[0].recipients[0].text, "it is on hold");
}

TEST_F(Queue, WarnsOfNothingWhoseTimeIsOver) {
    add_mail("ann@sender.test", {"a@d.test"});
    pass(120h);
    EXPECT_TRUE(core.delayed(now).empty()) << "what comes next is a bounce or a delivery";
}

TEST_F(Queue, WarnsOfNothingByAClockThatHasLeapt) {
    add_mail("ann@sender.test", {"a@d.test"});
    core.hold(core.select({}));
    now.steady += 4h;
    now.wall += 24h;
    EXPECT_TRUE(core.delayed(now).empty());
    EXPECT_GT(core.next_wake(), now.steady) << "it is not looked at again at once";
    now.wall -= 20h;
    EXPECT_TRUE(core.delayed(now).empty());
    pass(1min);
    EXPECT_EQ(core.delayed(now).size(), 1U);
}

TEST_F(Queue, AWarningWaitsForTheEndOfAnAttempt) {
    add_mail("ann@sender.test", {"a@d.test"});
    const auto work = core.take("d.test", now);
    pass(4h);
    EXPECT_TRUE(core.delayed(now).empty());
    core.recorded(core.finished(*work, {fate(0, RecipientState::queued)}, now));
    pass(1min);
    EXPECT_EQ(core.delayed(now).size(), 1U);
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
