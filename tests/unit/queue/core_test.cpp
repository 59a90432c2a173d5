#include "queue/core.h"

#include <gtest/gtest.h>

#include "fake/seeded_random.h"
#include "store/hop_group.h"
#include "store/sender_scope.h"

namespace sternpost::queue {
namespace {

using namespace std::chrono_literals;
using store::RecipientState;

class Queue : public testing::Test {
  protected:
    explicit Queue(Options o = options()) : core(std::move(o), random) {}

    static Options options() {
        Options out;
        out.statuses = {.delayed = "4.4.7", .expired = "5.4.7", .deleted = "5.0.0"};
        out.schedule.jitter = 0;
        // Nothing goes to the store, and all of it stays: what the window does has tests of its own.
        out.window.messages = out.window.per_hop = 1'000'000;
        out.window.horizon = 24h * 365 * 10;
        return out;
    }
    void pass(std::chrono::microseconds time) {
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
        core.window().add(std::move(message), now);
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
        core.window().add(std::move(message), now);
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
        core.window().add(std::move(message), now);
        return {last};
    }
    /// What the store would find, as the core selects from it.
    std::vector<Selected> select(const store::QueueFilter& filter) {
        std::vector<Selected> out;
        for (store::MessageId id{1}; id.value <= last; ++id.value) {
            const auto message = core.messages().stored(id);
            if (!message) continue;
            if (!filter.ids.empty() &&
                std::find(filter.ids.begin(), filter.ids.end(), id) == filter.ids.end())
                continue;
            if (!filter.sender.empty() && !store::is_sender(*message, filter.sender)) continue;
            Selected one = core.admin().select(*message, filter);
            if (!one.recipients.empty() || one.active > 0) out.push_back(std::move(one));
        }
        return out;
    }
    std::vector<Delayed> delayed() {
        std::vector<Delayed> out;
        for (store::MessageId id{1}; id.value <= last; ++id.value) {
            const auto message = core.messages().stored(id);
            if (!message || message->arrived + 4h > now.wall) continue;
            bool later = false;
            if (auto one = core.delayed(*message, now, later)) out.push_back(std::move(*one));
        }
        for (const Delayed& one : out) core.warned(one.message->id);
        return out;
    }
    void record(const std::vector<store::DeliveryResult>& results) { core.window().recorded(results, now); }
    /// The next hops of the lanes that are wanted, which run from here on.
    std::vector<std::string> open_lanes() {
        std::vector<std::string> out;
        for (Slot& slot : core.lanes_wanted(now)) {
            out.push_back(slot.hop);
            running.push_back(std::move(slot));
        }
        return out;
    }
    void end_lane(const std::string& hop) {
        const auto lane =
            std::find_if(running.begin(), running.end(), [&](const Slot& s) { return s.hop == hop; });
        ASSERT_NE(lane, running.end());
        core.hops().lane_ended(*lane);
        running.erase(lane);
    }
    static RecipientResult recipient_result(std::uint32_t recipient, RecipientState state) {
        RecipientResult out;
        out.result.recipient = recipient;
        out.result.state = state;
        out.result.status = state == RecipientState::sent ? "2.0.0" : "4.2.0";
        out.result.text = "because";
        return out;
    }

    fake::SeededRandom random;
    Now now{WallTime(1'800'000'000s), SteadyTime(1000s)};
    std::uint64_t last = 0;
    std::vector<Slot> running;
    Core core;
};

TEST_F(Queue, DeliversAndForgetsOnlyWhatIsRecorded) {
    add({{"a@d.test", "d.test"}});
    ASSERT_EQ(open_lanes(), std::vector<std::string>{"d.test"});
    const auto work = core.take("d.test", now);
    ASSERT_TRUE(work);
    EXPECT_EQ(core.take("d.test", now), std::nullopt);
    const auto results = core.finished(*work, {recipient_result(0, RecipientState::sent)}, now);
    ASSERT_EQ(results.size(), 1U);
    EXPECT_EQ(core.messages().totals().messages, 1U) << "the result is not on stable storage yet";
    record(results);
    EXPECT_EQ(core.messages().totals().messages, 0U);
}

TEST_F(Queue, BeginsNothingWhileResultsCannotBeKept) {
    add({{"a@d.test", "d.test"}});
    add({{"b@d.test", "d.test"}});
    add({{"c@e.test", "e.test"}});
    ASSERT_EQ(open_lanes(), (std::vector<std::string>{"d.test", "e.test"}));
    const auto work = core.take("d.test", now);
    ASSERT_TRUE(work);
    end_lane("e.test");
    core.refused(1);
    core.refused(2);
    EXPECT_EQ(core.take("d.test", now), std::nullopt) << "nor on a connection that is open";
    EXPECT_TRUE(open_lanes().empty());
    const auto results = core.finished(*work, {recipient_result(0, RecipientState::sent)}, now);
    EXPECT_EQ(results.size(), 1U) << "what is under way ends";
    core.kept(2);
    EXPECT_TRUE(open_lanes().empty()) << "one waits still";
    EXPECT_EQ(core.refused(), 1U);
    core.kept(1);
    EXPECT_EQ(open_lanes(), std::vector<std::string>{"e.test"});
    EXPECT_TRUE(core.take("d.test", now)) << "the connection goes on";
}

TEST_F(Queue, RetriesByTheSchedule) {  // SMTP-41
    add({{"a@d.test", "d.test"}});
    for (const auto wait : {5min, 10min, 20min, 30min, 60min, 120min, 120min}) {
        SCOPED_TRACE(wait.count());
        const auto work = core.take("d.test", now);
        ASSERT_TRUE(work);
        const auto results = core.finished(*work, {recipient_result(0, RecipientState::queued)}, now);
        record(results);
        EXPECT_EQ(results[0].next_at - now.wall, wait);
        pass(wait - 1s);
        EXPECT_EQ(core.take("d.test", now), std::nullopt);
        pass(1s);
    }
}

TEST_F(Queue, WaitsAtLeastAsLongAsTheOutcomeAsks) {
    add({{"a@d.test", "d.test"}});
    RecipientResult unknown = recipient_result(0, RecipientState::queued);
    const std::pair<std::chrono::seconds, std::chrono::seconds> waits[] = {{30min, 30min},
                                                                           {10min - 1s, 10min}};
    for (const auto& [least, wait] : waits) {
        unknown.least_wait = least;
        const auto results = core.finished(*core.take("d.test", now), {unknown}, now);
        record(results);
        EXPECT_EQ(results[0].next_at - now.wall, wait) << "the longer one of it and the schedule's";
        pass(wait);
    }
    pass(119h - 40min);
    unknown.least_wait = 2h;
    const auto results = core.finished(*core.take("d.test", now), {unknown}, now);
    EXPECT_EQ(results[0].next_at - now.wall, 2h) << "also beyond the message's lifetime";
}

TEST_F(Queue, OneDeferredRecipientDelaysNobodyElse) {
    add({{"a@d.test", "d.test"}, {"b@d.test", "d.test"}});
    const auto work = core.take("d.test", now);
    record(core.finished(
        *work, {recipient_result(0, RecipientState::queued), recipient_result(1, RecipientState::sent)},
        now));
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
    const auto lanes = open_lanes();
    EXPECT_EQ(lanes.size(), 2U);
    for (std::size_t i = 0; i < lanes.size(); ++i) {
        EXPECT_TRUE(core.hop_failures().failed("d.test", {false, "4.4.1", "refused"}, now, now).empty());
        end_lane("d.test");
    }
    EXPECT_TRUE(open_lanes().empty());
    pass(10min);
    EXPECT_EQ(open_lanes().size(), 1U) << "after a failure one connection asks first";
    core.hops().lane_connected("d.test");
    EXPECT_GT(open_lanes().size(), 0U);
}

TEST_F(Queue, OpensAtMostTheConnectionsThatAreAllowed) {  // SMTP-43
    for (int i = 0; i < 1000; ++i) add({{"a@d.test", "d.test"}});
    std::size_t open = 0;
    for (int round = 0; round < 100; ++round) {
        for (const auto& hop : open_lanes()) {
            ++open;
            core.hops().lane_connected(hop);
        }
    }
    EXPECT_EQ(open, 20U);
}

TEST_F(Queue, OpensTwoConnectionsToANewHopAndOneMoreForEachThatOpens) {
    for (int i = 0; i < 1000; ++i) add({{"a@d.test", "d.test"}});
    EXPECT_EQ(open_lanes().size(), 2U);
    EXPECT_TRUE(open_lanes().empty());
    core.hops().lane_connected("d.test");
    EXPECT_EQ(open_lanes().size(), 1U);
    Options wide = options();
    wide.window_start = 5;
    wide.window_growth = 3;
    Core other(wide, random);
    for (const auto& id : {1, 2, 3, 4})
        for (int i = 0; i < 100; ++i) {
            store::StoredMessage message = *core.messages().stored({static_cast<std::uint64_t>(id)});
            message.id = {++last};
            other.window().add(std::move(message), now);
        }
    EXPECT_EQ(other.lanes_wanted(now).size(), 5U);
    other.hops().lane_connected("d.test");
    EXPECT_EQ(other.lanes_wanted(now).size(), 3U);
}

// Eight connections; one sender has mail for many next hops.
class FewConnections : public Queue {
  protected:
    FewConnections() : Queue(eight()) {
        for (int n = 0; n < 9; ++n) add_from(bulk, ("bulk" + std::to_string(n) + ".test").c_str());
        EXPECT_EQ(open_lanes().size(), 7U) << "the last one is for others";
    }
    static Options eight() {
        Options out = options();
        out.max_deliveries = 8;
        return out;
    }
    static constexpr const char* bulk = "192.0.2.1";
    static constexpr const char* ann = "192.0.2.2";
    static constexpr const char* bob = "192.0.2.3";
};

TEST_F(FewConnections, AreNotKeptFromASenderWhoseMailWaitsBehindThatOfOneWhoHasEnough) {
    add_from(bulk, "d.test");
    EXPECT_TRUE(open_lanes().empty());
    const auto of_ann = add_from(ann, "d.test");
    EXPECT_EQ(open_lanes(), std::vector<std::string>{"d.test"});
    EXPECT_EQ(running.back().sender, ann);
    const auto work = core.take("d.test", now);
    ASSERT_TRUE(work);
    EXPECT_EQ(work->message->id, of_ann) << "its mail goes first";
}

TEST_F(FewConnections, GoToOthersWhoWaitOnceMoreThanHalfHaveDoneTheirWork) {
    add_from(ann, "a.test");
    ASSERT_EQ(open_lanes(), std::vector<std::string>{"a.test"});
    EXPECT_FALSE(core.hops().gives_way(running.front(), now)) << "no one waits but the sender itself";
    add_from(bob, "b.test");
    EXPECT_TRUE(open_lanes().empty());
    EXPECT_TRUE(core.hops().gives_way(running.front(), now));
    EXPECT_FALSE(core.hops().gives_way(running.back(), now)) << "Ann has but one";
    for (int n = 0; n < 3; ++n) end_lane("bulk" + std::to_string(n) + ".test");
    EXPECT_EQ(open_lanes().front(), "b.test");
    EXPECT_FALSE(core.hops().gives_way(running.front(), now)) << "no one waits any more";
}

TEST_F(Queue, AsksTheStoreForTwoThousandMessagesAtATime) {
    core.backlog().due(now.steady);
    const auto question = core.window().wanted(now);
    ASSERT_TRUE(question);
    EXPECT_EQ(question->messages, 2000U) << "there is room for a million";
}

TEST_F(Queue, ExpiresOnlyAfterAnAttemptThatBeganAfterTheDeadline) {  // D-41
    add({{"a@d.test", "d.test"}});
    auto early = core.take("d.test", now);
    pass(6 * 24h);
    auto results = core.finished(*early, {recipient_result(0, RecipientState::queued)}, now);
    EXPECT_EQ(results[0].state, RecipientState::queued) << "this attempt began in time";
    record(results);
    pass(24h);
    auto late = core.take("d.test", now);
    ASSERT_TRUE(late);
    results = core.finished(*late, {recipient_result(0, RecipientState::queued)}, now);
    EXPECT_EQ(results[0].state, RecipientState::bounced);
    EXPECT_EQ(results[0].status, "4.2.0") << "the class stays that of the last cause (SMTP-45)";
    EXPECT_NE(results[0].text.find("given up after 7d 00h"), std::string::npos) << results[0].text;
}

TEST_F(Queue, TheLastAttemptIsMadeAsTheLifetimeEnds) {
    add({{"a@d.test", "d.test"}});
    const WallTime end = now.wall + 120h;
    for (const auto wait : {5min, 10min, 20min, 30min, 60min}) {
        record(core.finished(*core.take("d.test", now), {recipient_result(0, RecipientState::queued)}, now));
        pass(wait);
    }
    pass(end - 1h - now.wall);
    const auto results =
        core.finished(*core.take("d.test", now), {recipient_result(0, RecipientState::queued)}, now);
    record(results);
    EXPECT_EQ(results[0].next_at, end) << "though the schedule's wait is two hours";
    pass(1h);
    const auto work = core.take("d.test", now);
    ASSERT_TRUE(work);
    EXPECT_TRUE(work->last);
}

TEST_F(Queue, GivesEachClassItsLifetime) {
    Options one_each = options();
    one_each.schedule.notice_lifetime = 48h;
    EXPECT_EQ(one_each.schedule.lifetime, 120h);
    EXPECT_EQ(one_each.schedule.report_lifetime, 24h);
    const std::pair<store::MessageClass, std::chrono::hours> lifetimes[] = {
        {store::MessageClass::mail, 120h},
        {store::MessageClass::notice, 48h},
        {store::MessageClass::report, 24h},
    };
    store::StoredMessage message = *core.messages().stored(add({{"a@d.test", "d.test"}}));
    for (const auto& [message_class, lifetime] : lifetimes) {
        SCOPED_TRACE(lifetime.count());
        message.message_class = message_class;
        for (const auto early : {1s, 0s}) {
            Core other(one_each, random);
            Now later = now;
            other.window().add(message, now);
            later.wall += lifetime - early;
            later.steady += lifetime - early;
            const auto work = other.take(store::hop_of(message, 0), later);
            ASSERT_TRUE(work);
            EXPECT_EQ(work->last, early == 0s);
            EXPECT_EQ(other.finished(*work, {recipient_result(0, RecipientState::queued)}, later)[0].state,
                      early == 0s ? RecipientState::bounced : RecipientState::queued);
        }
    }
}

TEST_F(Queue, NothingExpiresByAnAttemptThatLeftAnAddressAlone) {  // D-41
    add({{"a@d.test", "d.test"}});
    pass(6 * 24h);
    add({{"b@d.test", "d.test"}});
    HopFailure skipped{false, "4.4.1", "refused (a moment ago; not tried again yet)"};
    skipped.left_alone = true;
    open_lanes();
    EXPECT_TRUE(core.hop_failures().failed("d.test", skipped, now, now).empty());
    end_lane("d.test");
    ASSERT_EQ(open_lanes().size(), 1U) << "a real attempt is owed, at once";
    const auto work = core.take("d.test", now);
    ASSERT_TRUE(work);
    EXPECT_TRUE(work->last) << "whichever message is at hand";
    core.put_back(*work);
    const auto results = core.hop_failures().failed("d.test", {false, "4.4.1", "refused"}, now, now);
    ASSERT_EQ(results.size(), 1U);
    EXPECT_EQ(results[0].message, store::MessageId{1});
    EXPECT_EQ(results[0].state, RecipientState::bounced);
}

TEST_F(Queue, AnOwedAttemptThatLeavesAnAddressAloneAgainIsNotRepeatedAtOnce) {
    add({{"a@d.test", "d.test"}});
    pass(6 * 24h);
    HopFailure skipped{false, "4.4.1", "busy"};
    skipped.left_alone = true;
    for (int i = 0; i < 2; ++i) {
        ASSERT_EQ(open_lanes().size(), 1U);
        EXPECT_TRUE(core.hop_failures().failed("d.test", skipped, now, now).empty());
        end_lane("d.test");
    }
    EXPECT_TRUE(open_lanes().empty());
    pass(1h);
    EXPECT_EQ(open_lanes().size(), 1U);
}

TEST_F(Queue, ANextHopThatWorkedByAClockThatWasAheadIsNotKeptWaiting) {
    store::HopState works;
    works.next_hop = "d.test";
    works.at = works.next_at = now.wall + 8min;
    core.hops().restore(works, now);
    EXPECT_TRUE(core.hops().views().empty()) << "there is nothing to remember of it";
    add({{"a@d.test", "d.test"}});
    EXPECT_EQ(open_lanes(), std::vector<std::string>{"d.test"});
}

// Its wait is over, or someone retries it by hand, and the address of its host is busy.
TEST_F(Queue, ANextHopThatFailedIsResumedWhenThereIsRoom) {
    const auto id = add({{"a@d.test", "d.test"}});
    store::StoredMessage stored = *core.messages().stored(id);
    store::DueHop known;
    known.state.next_hop = "d.test";
    ASSERT_EQ(open_lanes().size(), 1U);
    core.hop_failures().failed("d.test", {false, "4.4.1", "refused"}, now, now);
    end_lane("d.test");
    EXPECT_FALSE(core.hops().resume("d.test", now)) << "it waits for the hosts, not for room";
    pass(5min);
    core.backlog().due(now.steady);
    ASSERT_TRUE(core.window().wanted(now));
    core.window().loaded({{stored}, {known}, false, std::nullopt}, now);
    ASSERT_EQ(open_lanes().size(), 1U);
    core.hops().pause("d.test", 60s, now);
    end_lane("d.test");
    EXPECT_TRUE(open_lanes().empty());
    EXPECT_EQ(core.blocked_by(*core.messages().stored(id), now)[0].what, Obstacle::limit);
    EXPECT_TRUE(core.hops().resume("d.test", now));
    EXPECT_EQ(open_lanes(), std::vector<std::string>{"d.test"});
}

TEST_F(Queue, AShortPauseDoesNotEndALongOne) {
    add({{"a@d.test", "d.test"}});
    core.hops().pause("d.test", 60s, now);
    core.hops().pause("d.test", 1s, now);
    pass(60s - 1us);
    EXPECT_TRUE(open_lanes().empty());
    pass(1us);
    EXPECT_EQ(open_lanes(), std::vector<std::string>{"d.test"});
}

TEST_F(Queue, ANextHopsSessionsCountOnce) {
    add({{"a@d.test", "d.test"}});
    HopFailure refused{false, "4.4.1", "refused"};
    refused.detail.outcomes.emplace_back();
    core.hop_failures().failed("d.test", refused, now, now);
    EXPECT_EQ(core.hops().changed("d.test", now).value().detail.outcomes.size(), 1U);
    core.hops().lane_connected("d.test");
    const auto works = core.hops().changed("d.test", now);
    ASSERT_TRUE(works);
    EXPECT_TRUE(works->detail.outcomes.empty()) << "it was recorded when the next hop failed";
}

TEST_F(Queue, AttemptsSideBySideFailOnce) {
    for (int i = 0; i < 40; ++i) add({{"a@d.test", "d.test"}});
    ASSERT_EQ(open_lanes().size(), 2U);
    const Now began = now;
    pass(30s);
    core.hop_failures().failed("d.test", {false, "4.4.1", "timed out"}, began, now);
    const auto next = core.hops().views().at(0).next_at;
    pass(5s);
    core.hop_failures().failed("d.test", {false, "4.4.1", "refused"}, began, now);
    EXPECT_EQ(core.hops().views().at(0).failures, 1U);
    EXPECT_EQ(core.hops().views().at(0).next_at, next) << "the second has waited for the same hosts";
    EXPECT_EQ(core.hops().views().at(0).text, "refused") << "it knows more of them all the same";
    pass(*next - now.wall);
    core.hop_failures().failed("d.test", {false, "4.4.1", "refused"}, now, now);
    EXPECT_EQ(core.hops().views().at(0).failures, 2U);
    EXPECT_GT(core.hops().views().at(0).next_at, next);
}

TEST_F(Queue, AHostThatKeepsSayingNotNowIsAskedLessAndLessOften) {
    std::vector<std::chrono::microseconds> waits;
    add({{"a@d.test", "d.test"}});
    for (int i = 0; i < 3; ++i) {
        ASSERT_EQ(open_lanes().size(), 1U);
        core.hops().lane_connected("d.test");
        HopFailure later{false, "4.7.1", "450 4.7.1 not now"};
        later.reason_code = store::ReasonCode::host_asks_to_wait;
        core.hops().lane_disconnected("d.test");
        core.hop_failures().failed("d.test", later, now, now);
        end_lane("d.test");
        const auto wait = *core.hops().views().at(0).next_at - now.wall;
        waits.push_back(wait);
        pass(wait);
    }
    EXPECT_LT(waits[0], waits[1]);
    EXPECT_LT(waits[1], waits[2]);
    const auto work = core.take("d.test", now);
    ASSERT_TRUE(work);
    record(core.finished(*work, {recipient_result(0, RecipientState::queued)}, now));
    HopFailure later{false, "4.7.1", "450 4.7.1 not now"};
    later.reason_code = store::ReasonCode::host_asks_to_wait;
    core.hop_failures().failed("d.test", later, now, now);
    EXPECT_EQ(*core.hops().views().at(0).next_at - now.wall, waits[0])
        << "mail was answered by itself in between";
}

TEST_F(Queue, NothingExpiresWhileTheClockIsNotTrusted) {
    add({{"a@d.test", "d.test"}});
    pass(30 * 24h);
    now.trusted = false;
    const auto work = core.take("d.test", now);
    const auto results = core.finished(*work, {recipient_result(0, RecipientState::queued)}, now);
    EXPECT_EQ(results[0].state, RecipientState::queued);
    EXPECT_TRUE(core.hop_failures().failed("d.test", {false, "4.4.1", "refused"}, now, now).empty());
}

TEST_F(Queue, AnAttemptThatBeganWhileTheClockWasNotTrustedIsNotTheLast) {
    add({{"a@d.test", "d.test"}});
    pass(30 * 24h);
    Now began = now;
    began.trusted = false;
    const auto work = core.take("d.test", began);
    EXPECT_EQ(core.finished(*work, {recipient_result(0, RecipientState::queued)}, now)[0].state,
              RecipientState::queued);
    EXPECT_TRUE(core.hop_failures().failed("d.test", {false, "4.4.1", "refused"}, began, now).empty());
}

TEST_F(Queue, NewMailGoesAtOnceThoughTheClockIsBehindTheTimeThatItIsKeptWith) {
    store::StoredMessage message;
    message.id = {1};
    message.arrived = now.wall;
    message.recipients.emplace_back(
        store::QueuedRecipient(mail::Recipient(mail::ForwardPath::parse("a@d.test").value()), "d.test"));
    message.recipients[0].next_at = now.wall;
    now.wall -= 7 * 24h;  // the wall clock alone
    core.window().add(message, now);
    EXPECT_EQ(open_lanes(), std::vector<std::string>{"d.test"});
    EXPECT_TRUE(core.take("d.test", now));
}

TEST_F(Queue, AHopThatIsGoneForeverBouncesAllThatWaits) {
    add({{"a@d.test", "d.test"}, {"b@e.test", "e.test"}});
    add({{"c@d.test", "d.test"}});
    const auto results = core.hop_failures().failed("d.test", {true, "5.1.2", "no such domain"}, now, now);
    EXPECT_EQ(results.size(), 2U);
    record(results);
    EXPECT_EQ(core.messages().totals().messages, 1U);
    EXPECT_TRUE(core.take("e.test", now));
}

TEST_F(Queue, TheSessionsOfAHopThatIsGoneCountWithItAndNotWithItsMail) {
    add({{"a@d.test", "d.test"}});
    add({{"b@d.test", "d.test"}});
    HopFailure gone{true, "5.7.1", "554 go away"};
    gone.detail.mx_host = "mx.d.test";
    gone.detail.outcomes.emplace_back();
    const auto results = core.hop_failures().failed("d.test", gone, now, now);
    ASSERT_EQ(results.size(), 2U);
    for (const auto& result : results) {
        EXPECT_EQ(result.mx_host, "mx.d.test");
        EXPECT_TRUE(result.detail.outcomes.empty());
    }
    EXPECT_EQ(core.hops().changed("d.test", now).value().detail.outcomes.size(), 1U);
}

TEST_F(Queue, RetryByHandPassesEveryBackoff) {
    add({{"a@d.test", "d.test"}});
    const auto work = core.take("d.test", now);
    record(core.finished(*work, {recipient_result(0, RecipientState::queued)}, now));
    core.hop_failures().failed("d.test", {false, "4.4.1", "refused"}, now, now);
    store::QueueFilter selection;
    selection.domain = "D.test";
    core.admin().retry(select(selection), now);
    EXPECT_EQ(open_lanes(), std::vector<std::string>{"d.test"});
    EXPECT_TRUE(core.take("d.test", now));
    selection.domain = "other.test";
    EXPECT_TRUE(select(selection).empty());
}

TEST_F(Queue, RetryByHandTakesEachMessageOnce) {
    const auto a = add({{"a@d.test", "d.test"}});
    record(core.finished(*core.take("d.test", now), {recipient_result(0, RecipientState::queued)}, now));
    const auto b = add({{"b@d.test", "d.test"}});
    core.admin().retry(select({}), now);
    std::vector<store::MessageId> taken;
    while (const auto work = core.take("d.test", now)) taken.push_back(work->message->id);
    EXPECT_EQ(taken, (std::vector<store::MessageId>{a, b})) << "the oldest first";
    pass(24h);
    EXPECT_EQ(core.take("d.test", now), std::nullopt) << "nothing sleeps on under the same id";
}

TEST_F(Queue, NamesWhatIsInTheWay) {
    const auto a = add({{"a@d.test", "d.test"}});
    const auto obstacle = [&](store::MessageId id) {
        return core.blocked_by(*core.messages().stored(id), now)[0];
    };
    EXPECT_EQ(obstacle(a).what, Obstacle::due);
    const auto work = core.take("d.test", now);
    EXPECT_EQ(obstacle(a).what, Obstacle::none) << "an attempt is under way";
    record(core.finished(*work, {recipient_result(0, RecipientState::queued)}, now));
    EXPECT_EQ(obstacle(a).what, Obstacle::schedule);
    EXPECT_EQ(obstacle(a).text, "because");
    core.hops().pause("d.test", 10s, now);
    const auto c = add({{"c@d.test", "d.test"}});
    EXPECT_EQ(obstacle(c).what, Obstacle::limit);
    core.hop_failures().failed("d.test", {false, "4.4.1", "refused"}, now, now);
    const auto b = add({{"b@d.test", "d.test"}});
    EXPECT_EQ(obstacle(b).what, Obstacle::hop_fails);
    EXPECT_EQ(obstacle(b).text, "refused");
    core.refused(1);
    EXPECT_EQ(obstacle(b).what, Obstacle::results_wait);
}

TEST_F(Queue, ABulkRunDelaysNobodyElsesMessageAtItsHop) {
    for (int i = 0; i < 10'000; ++i) add_from("192.0.2.1", "d.test");
    const auto one = add_from("192.0.2.2", "d.test");
    ASSERT_FALSE(open_lanes().empty());
    EXPECT_EQ(core.take("d.test", now)->message->origin.address, "192.0.2.1");
    EXPECT_EQ(core.take("d.test", now)->message->id, one);
    EXPECT_EQ(core.take("d.test", now)->message->origin.address, "192.0.2.1");
}

TEST_F(Queue, ABulkRunToManyHopsDelaysNobodyElsesMessage) {
    for (int i = 0; i < 2000; ++i) add_from("192.0.2.1", ("a" + std::to_string(i) + ".test").c_str());
    auto lanes = open_lanes();
    ASSERT_EQ(lanes.size(), 450U) << "all the connections that there may be, but a reserve for others";
    EXPECT_TRUE(open_lanes().empty());
    add_from("192.0.2.2", "z.test");
    EXPECT_EQ(open_lanes(), std::vector<std::string>{"z.test"});
}

TEST_F(Queue, ASlotOfALaneThatMakesNoProgressGoesToOtherMail) {
    for (int i = 0; i < 500; ++i) add_from("192.0.2.1", ("a" + std::to_string(i) + ".test").c_str());
    add_from("192.0.2.2", "b.test");
    ASSERT_EQ(open_lanes().size(), 450U);
    for (int i = 0; i < 60; ++i) add_from("192.0.2.3", ("c" + std::to_string(i) + ".test").c_str());
    ASSERT_EQ(open_lanes().size(), 50U);
    EXPECT_TRUE(open_lanes().empty());
    for (Slot& lane : running)
        if (lane.sender == running.front().sender) core.hops().lane_stalled(lane);
    const auto stalled =
        std::count_if(running.begin(), running.end(), [](const Slot& s) { return s.stalled; });
    EXPECT_EQ(stalled, 50) << "the second pool has a fifth of 500 places, and one sender half of them";
    EXPECT_EQ(open_lanes().size(), 10U) << "what waits for the others; the first has its half";
    for (int i = 0; i < 60; ++i) add_from("192.0.2.3", ("d" + std::to_string(i) + ".test").c_str());
    core.hops().lane_moves(running.front());
    EXPECT_EQ(open_lanes().size(), 39U) << "one of the 50 has taken its place again";
}

TEST_F(Queue, OneOwnerOfManyHopsKeepsNobodyFromHisTurn) {
    for (int i = 0; i < 400; ++i)
        add_from(("192.0.2." + std::to_string(i % 4)).c_str(),
                 ("a" + std::to_string(i) + ".slow.test").c_str());
    for (int i = 0; i < 300; ++i) add_from("192.0.2.9", ("c" + std::to_string(i) + ".test").c_str());
    std::map<std::string, int> opened;
    for (const auto& hop : open_lanes()) ++opened[hop.ends_with(".slow.test") ? "slow.test" : "others"];
    EXPECT_EQ(opened, (std::map<std::string, int>{{"slow.test", 250}, {"others", 250}}));
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
    RecipientResult fate_a = recipient_result(0, RecipientState::queued);
    fate_a.result.text = "450 Mailbox FULL";
    record(core.finished(*core.take("d.test", now), {fate_a}, now));
    HopFailure refused{false, "4.7.5", "its certificate has expired"};
    refused.reason_code = store::ReasonCode::certificate_expired;
    core.hop_failures().failed("e.test", refused, now, now);
    const auto ids = [&](const store::QueueFilter& selection) {
        std::vector<std::pair<std::uint64_t, std::size_t>> out;  // id, how many of its recipients
        for (const auto& one : select(selection))
            out.emplace_back(one.message->id.value, one.recipients.size());
        return out;
    };
    using Ids = std::vector<std::pair<std::uint64_t, std::size_t>>;
    store::QueueFilter of;
    EXPECT_EQ(ids(of), (Ids{{1, 2}, {2, 1}, {3, 1}}));
    of.ids = {b, b, store::MessageId{99}};
    EXPECT_EQ(ids(of), (Ids{{2, 1}}));
    of = {};
    of.domain = "E.test";
    EXPECT_EQ(ids(of), (Ids{{1, 1}, {2, 1}}));
    EXPECT_FALSE(select(of)[0].whole);
    EXPECT_TRUE(select(of)[1].whole);
    for (const char* reason : {"certificate-expired", "4.7.5", "HAS EXPIRED"}) {
        of.reason = reason;
        EXPECT_EQ(ids(of), (Ids{{1, 1}, {2, 1}})) << reason;
    }
    of = {};
    of.reason = "mailbox full";
    EXPECT_EQ(ids(of), (Ids{{1, 1}}));
    EXPECT_EQ(select(of)[0].recipients, std::vector<std::uint32_t>{0});
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
    core.window().add(std::move(message), now);
    store::QueueFilter of;
    for (const char* sender : {"ann@news.sender.test", "@news.sender.test", "@NEWS.sender.test"}) {
        of.sender = sender;
        EXPECT_EQ(select(of).size(), 1U) << sender;
    }
    for (const char* sender : {"<>", "bob@news.sender.test", "@sender.test", "news.sender.test"}) {
        of.sender = sender;
        EXPECT_TRUE(select(of).empty()) << sender;
    }
}

TEST_F(Queue, HeldMailWaitsUntilItIsReleased) {
    const auto id = add({{"a@d.test", "d.test"}, {"b@e.test", "e.test"}});
    const auto work = core.take("d.test", now);
    core.admin().hold(select({}), now);
    EXPECT_TRUE(open_lanes().empty());
    EXPECT_EQ(core.take("e.test", now), std::nullopt);
    const auto results = core.finished(*work, {recipient_result(0, RecipientState::queued)}, now);
    pass(24h);
    EXPECT_TRUE(open_lanes().empty()) << "also when the schedule says so";
    core.admin().release(select({}), now);
    EXPECT_EQ(open_lanes(), (std::vector<std::string>{"d.test", "e.test"}));
    EXPECT_EQ(core.take("d.test", now)->message->id, id);
    EXPECT_EQ(core.take("e.test", now)->recipients, std::vector<std::uint32_t>{1});
    core.admin().release(select({}), now);
    EXPECT_EQ(core.take("d.test", now), std::nullopt) << "released once is enough";
}

TEST_F(Queue, HeldMailIsNotTakenAsItsAttemptEnds) {
    add({{"a@d.test", "d.test"}, {"b@d.test", "d.test"}});
    const auto work = core.take("d.test", now);
    core.admin().hold(select({}), now);
    core.put_back(*work);
    EXPECT_EQ(core.take("d.test", now), std::nullopt) << "the attempt was given up";
    core.admin().release(select({}), now);
    const auto next = core.take("d.test", now);
    ASSERT_TRUE(next);
    core.admin().hold(select({}), now);
    RecipientResult again = recipient_result(1, RecipientState::queued);
    again.again = true;
    const auto results = core.finished(*next, {recipient_result(0, RecipientState::sent), again}, now);
    EXPECT_EQ(core.take("d.test", now), std::nullopt) << "a further transaction was wanted";
    record(results);
    EXPECT_EQ(core.take("d.test", now), std::nullopt);
}

TEST_F(Queue, HeldMailLeavesTheMemoryAndDoesNotBounceWithItsHop) {
    const auto id = add({{"a@d.test", "d.test"}});
    store::StoredMessage stored = *core.messages().stored(id);
    core.admin().hold(select({}), now);
    EXPECT_EQ(core.messages().stored(id), nullptr);
    EXPECT_TRUE(core.hop_failures().failed("d.test", {true, "5.1.2", "no such domain"}, now, now).empty());
    stored.held = true;
    EXPECT_FALSE(core.window().add(stored, now)) << "it comes back when it is released";
}

TEST_F(Queue, EndsByTheAdministratorsWillWhatWaits) {
    add({{"a@d.test", "d.test"}, {"b@e.test", "e.test"}});
    core.hop_failures().failed("d.test", {false, "4.4.1", "refused"}, now, now);
    const auto work = core.take("e.test", now);
    const auto all = select({});
    EXPECT_EQ(all[0].active, 1U);
    const auto results = core.admin().end(all, RecipientState::bounced, "5.4.7", "given up", now);
    ASSERT_EQ(results.size(), 1U);
    EXPECT_EQ(results[0].recipient, 0U);
    EXPECT_EQ(results[0].text, "given up; what stood in the way before: refused");
    record(results);
    EXPECT_EQ(core.messages().totals().messages, 1U) << "the other recipient is in an attempt";
    EXPECT_TRUE(core.admin().end(all, RecipientState::bounced, "5.4.7", "again", now).empty());
    record(core.finished(*work, {recipient_result(1, RecipientState::sent)}, now));
    EXPECT_EQ(core.messages().totals().messages, 0U);
    pass(24h);
    EXPECT_EQ(core.take("d.test", now), std::nullopt);
}

TEST_F(Queue, WarnsOnceOfMailThatWaitsForFourHours) {
    const auto id = add_mail("ann@sender.test", {"a@d.test", "b@e.test"});
    add({{"c@d.test", "d.test"}});  // from the null reverse-path: no one to tell
    core.hop_failures().failed("d.test", {false, "4.4.1", "refused"}, now, now);
    record(core.finished(*core.take("e.test", now), {recipient_result(1, RecipientState::queued)}, now));
    pass(4h - 1s);
    EXPECT_TRUE(delayed().empty());
    pass(1s);
    const auto told = delayed();
    ASSERT_EQ(told.size(), 1U);
    EXPECT_EQ(told[0].message->id, id);
    EXPECT_EQ(told[0].until, told[0].message->arrived + 120h);
    ASSERT_EQ(told[0].recipients.size(), 2U);
    EXPECT_TRUE(told[0].held_back.empty());
    EXPECT_EQ(told[0].recipients[0].text, "refused");
    EXPECT_EQ(told[0].recipients[1].text, "because");
    EXPECT_EQ(told[0].recipients[1].status, "4.2.0");
    pass(24h);
    EXPECT_TRUE(delayed().empty());
}

TEST_F(Queue, WarnsOfNothingThatHasGoneOrNobodyWantsToHearOf) {
    add_mail("ann@sender.test", {"a@d.test"});
    record(core.finished(*core.take("d.test", now), {recipient_result(0, RecipientState::sent)}, now));
    add_mail("ann@sender.test", {"b@d.test"}, "failure");
    pass(5h);
    EXPECT_TRUE(delayed().empty());
    const auto id = add_mail("ann@sender.test", {"c@d.test"}, "delay");
    store::StoredMessage stored = *core.messages().stored(id);
    stored.held = true;
    core.admin().hold(select({}), now);
    pass(5h);
    bool later = false;
    const auto told = core.delayed(stored, now, later);
    ASSERT_TRUE(told);
    EXPECT_EQ(told->message->id, id);
    EXPECT_EQ(told->recipients[0].text, "it is held back by the administrator of this mail system");
    EXPECT_EQ(told->held_back, std::vector<std::uint32_t>{0});
}

TEST_F(Queue, WarnsOfNothingWhoseTimeIsOver) {
    add_mail("ann@sender.test", {"a@d.test"});
    pass(120h);
    EXPECT_TRUE(delayed().empty()) << "what comes next is a bounce or a delivery";
}

TEST_F(Queue, AWarningWaitsForTheEndOfAnAttempt) {
    add_mail("ann@sender.test", {"a@d.test"});
    const auto work = core.take("d.test", now);
    pass(4h);
    bool later = false;
    EXPECT_FALSE(core.delayed(*core.messages().stored({1}), now, later));
    EXPECT_TRUE(later);
    record(core.finished(*work, {recipient_result(0, RecipientState::queued)}, now));
    pass(1min);
    EXPECT_EQ(delayed().size(), 1U);
}

TEST_F(Queue, DeletedMailIsNotSent) {
    const auto id = add({{"a@d.test", "d.test"}});
    core.admin().remove({id});
    core.admin().remove({id});
    EXPECT_EQ(core.take("d.test", now), std::nullopt);
    EXPECT_EQ(core.messages().totals().messages, 0U);
}

TEST_F(Queue, MailDeletedDuringItsAttemptEndsWithIt) {
    const auto id = add({{"a@d.test", "d.test"}});
    const auto work = core.take("d.test", now);
    core.admin().remove({id});
    EXPECT_TRUE(core.finished(*work, {recipient_result(0, RecipientState::queued)}, now).empty());
    EXPECT_EQ(core.messages().stored(id), nullptr);
    pass(24h);
    EXPECT_EQ(core.take("d.test", now), std::nullopt);
}

TEST_F(Queue, ADeletedMessagesLastAttemptTellsOfItsSessions) {
    const auto id = add({{"a@d.test", "d.test"}});
    const auto work = core.take("d.test", now);
    core.admin().remove({id});
    RecipientResult deferred = recipient_result(0, RecipientState::queued);
    deferred.result.detail.outcomes.emplace_back();
    const auto results = core.finished(*work, {deferred}, now);
    ASSERT_EQ(results.size(), 1U) << "each session counts";
    core.window().recorded(results, now);
    EXPECT_EQ(core.messages().stored(id), nullptr);
    pass(24h);
    EXPECT_EQ(core.take("d.test", now), std::nullopt);
}

TEST_F(Queue, AFurtherTransactionComesAtOnce) {  // SMTP-19
    add({{"a@d.test", "d.test"}, {"b@d.test", "d.test"}});
    const auto work = core.take("d.test", now);
    RecipientResult again = recipient_result(1, RecipientState::queued);
    again.again = true;
    record(core.finished(*work, {recipient_result(0, RecipientState::sent), again}, now));
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
    core.put_back(*again);
    EXPECT_EQ(select({})[0].active, 0U);
    record(core.finished(*core.take("d.test", now), {recipient_result(0, RecipientState::sent)}, now));
    EXPECT_EQ(core.messages().totals().messages, 0U);
}

TEST_F(Queue, WakesWhenSomethingIsDue) {
    add({{"a@d.test", "d.test"}});
    const auto work = core.take("d.test", now);
    EXPECT_EQ(core.next_wake(), std::nullopt);
    record(core.finished(*work, {recipient_result(0, RecipientState::queued)}, now));
    EXPECT_EQ(core.next_wake(), now.steady + 5min);
}

// ---- waits that do not march in step

class JitteredQueue : public Queue {
  protected:
    JitteredQueue() : Queue(jittered()) {}
    static Options jittered() {
        Options out = options();
        out.schedule.jitter = 0.2;
        return out;
    }
    // A fifth more or less than `middle`, and all that is between.
    static void expect_spread(const std::vector<std::chrono::microseconds>& waits,
                              std::chrono::seconds middle) {
        const auto [least, most] = std::minmax_element(waits.begin(), waits.end());
        EXPECT_GE(*least, middle * 0.8);
        EXPECT_LE(*most, middle * 1.2);
        EXPECT_LT(*least, middle * 0.83);
        EXPECT_GT(*most, middle * 1.17);
        std::chrono::microseconds sum{0};
        for (const auto wait : waits) sum += wait;
        const auto mean = sum / waits.size();
        EXPECT_GT(mean, middle * 0.96);
        EXPECT_LT(mean, middle * 1.04);
    }
};

TEST_F(JitteredQueue, RetriesAFifthSoonerOrLaterThanTheSchedule) {
    unsigned failures = 0;
    for (const auto middle : {5min, 10min, 20min, 30min, 60min, 120min, 120min}) {
        SCOPED_TRACE(middle.count());
        ++failures;
        std::vector<std::chrono::microseconds> waits;
        for (int i = 0; i < 200; ++i) waits.push_back(jittered().schedule.wait(failures, random));
        expect_spread(waits, middle);
    }
}

TEST_F(JitteredQueue, TriesADeferredRecipientWhenItsTimeHasComeAndNotSooner) {
    std::vector<std::chrono::microseconds> waits;
    for (int i = 0; i < 200; ++i) {
        add({{"a@d.test", "d.test"}});
        const auto work = core.take("d.test", now);
        ASSERT_TRUE(work);
        const auto results = core.finished(*work, {recipient_result(0, RecipientState::queued)}, now);
        record(results);
        waits.push_back(results[0].next_at - now.wall);
        ASSERT_LE(core.next_wake().value(), now.steady + waits.back());
        pass(waits.back() - 1us);
        ASSERT_EQ(core.take("d.test", now), std::nullopt);
        ASSERT_TRUE(open_lanes().empty());
        pass(1us);
        const auto again = core.take("d.test", now);
        ASSERT_TRUE(again);
        record(core.finished(*again, {recipient_result(0, RecipientState::sent)}, now));
    }
    expect_spread(waits, 5min);
}

TEST_F(JitteredQueue, TriesAFailingHopWhenItsTimeHasComeAndNotSooner) {
    std::vector<std::chrono::microseconds> waits;
    for (int i = 0; i < 200; ++i) {
        const std::string hop = "d" + std::to_string(i) + ".test";
        add({{"a@d.test", hop.c_str()}});
        ASSERT_EQ(open_lanes(), std::vector<std::string>{hop});
        EXPECT_TRUE(core.hop_failures().failed(hop, {false, "4.4.1", "refused"}, now, now).empty());
        end_lane(hop);
        waits.push_back(core.hops().changed(hop, now).value().next_at - now.wall);
        ASSERT_LE(core.next_wake().value(), now.steady + waits.back());
        pass(waits.back() - 1us);
        ASSERT_TRUE(open_lanes().empty());
        pass(1us);
        ASSERT_EQ(open_lanes(), std::vector<std::string>{hop});
        record(core.finished(*core.take(hop, now), {recipient_result(0, RecipientState::sent)}, now));
        end_lane(hop);
    }
    expect_spread(waits, 5min);
}

// ---- what is in memory, and what sleeps in the store

class QueueWindow : public Queue {
  protected:
    QueueWindow() : Queue(small()) {}
    static Options small() {
        Options out = options();
        out.window.messages = 100;
        out.window.per_hop = 40;
        out.window.per_sender = 5;
        out.window.hops = 20;
        out.window.horizon = 60s;
        return out;
    }
    static store::DueHop hop_of(const char* name, bool more) {
        store::DueHop out;
        out.state.next_hop = name;
        out.more = more;
        return out;
    }
    store::StoredMessage sleeping(std::uint64_t id, const char* hop,
                                  const char* address = "192.0.2.1") const {
        store::StoredMessage out;
        out.id = {id};
        out.arrived = now.wall;
        out.origin.address = address;
        out.recipients.emplace_back(
            store::QueuedRecipient(mail::Recipient(mail::ForwardPath::parse("a@d.test").value()), hop));
        out.recipients.back().next_at = now.wall;
        return out;
    }
};

TEST_F(QueueWindow, WhatWaitsForLongSleepsInTheStore) {
    const auto id = add({{"a@d.test", "d.test"}});
    store::StoredMessage stored = *core.messages().stored(id);
    record(core.finished(*core.take("d.test", now), {recipient_result(0, RecipientState::queued)}, now));
    EXPECT_EQ(core.messages().stored(id), nullptr);
    EXPECT_EQ(core.next_wake(), now.steady + 5min);
    EXPECT_EQ(core.window().wanted(now), std::nullopt);
    pass(5min);
    const auto question = core.window().wanted(now);
    ASSERT_TRUE(question);
    EXPECT_EQ(question->now, now.wall);
    EXPECT_EQ(core.window().wanted(now), std::nullopt) << "one question at a time";
    stored.recipients[0].next_at = now.wall;
    core.window().loaded({{stored}, {hop_of("d.test", false)}, false, std::nullopt}, now);
    EXPECT_EQ(open_lanes(), std::vector<std::string>{"d.test"});
    EXPECT_EQ(core.take("d.test", now)->message->id, id);
}

TEST_F(QueueWindow, ResultsThatAreNotOnStableStorageKeepAMessage) {
    const auto id = add({{"a@d.test", "d.test"}});
    const auto results =
        core.finished(*core.take("d.test", now), {recipient_result(0, RecipientState::queued)}, now);
    EXPECT_NE(core.messages().stored(id), nullptr);
    record(results);
    EXPECT_EQ(core.messages().stored(id), nullptr);
}

TEST_F(QueueWindow, AMessageStaysUntilAllItsResultsAreOnStableStorage) {
    const auto id = add({{"a@d.test", "d.test"}, {"b@e.test", "e.test"}});
    const auto at_d = core.take("d.test", now);
    const auto at_e = core.take("e.test", now);
    const auto first = core.finished(*at_d, {recipient_result(0, RecipientState::queued)}, now);
    const auto second = core.finished(*at_e, {recipient_result(1, RecipientState::queued)}, now);
    record(first);
    EXPECT_NE(core.messages().stored(id), nullptr) << "the store does not know of the second";
    record(second);
    EXPECT_EQ(core.messages().stored(id), nullptr);
}

TEST_F(QueueWindow, ABulkRunFillsItsPartOfTheMemoryAndTheRestIsAskedForAsItGoes) {
    for (int i = 0; i < 1000; ++i) add_from("192.0.2.1", "d.test");
    EXPECT_EQ(core.messages().totals().messages, 40U);
    const auto one = add_from("192.0.2.2", "d.test");
    EXPECT_NE(core.messages().stored(one), nullptr) << "another sender finds room";
    EXPECT_EQ(core.window().wanted(now), std::nullopt) << "there is enough to do";
    for (int i = 0; i < 35; ++i)
        record(core.finished(*core.take("d.test", now), {recipient_result(0, RecipientState::sent)}, now));
    const auto question = core.window().wanted(now);
    ASSERT_TRUE(question);
    EXPECT_EQ(question->per_hop, 20U);
    EXPECT_EQ(question->known.size(), core.messages().totals().messages);
    EXPECT_TRUE(question->full.empty());
}

TEST_F(QueueWindow, CountsRecipientsAsWellAsMessages) {
    Options options = small();
    options.window.recipients = 100;
    Core counting(options, random);
    const auto message = [&](std::uint64_t id) {
        store::StoredMessage out = sleeping(id, "d.test");
        while (out.recipients.size() < 30) out.recipients.push_back(out.recipients.front());
        return out;
    };
    std::size_t in = 0;
    for (std::uint64_t id = 1; id <= 20; ++id) in += counting.window().add(message(id), now) ? 1U : 0U;
    EXPECT_LE(in, 7U) << "twice the hundred recipients, and one message";
    EXPECT_FALSE(counting.window().wanted(now)) << "there is no room for what sleeps";
    while (auto work = counting.take("d.test", now)) {
        std::vector<RecipientResult> recipient_results;
        for (const auto n : work->recipients)
            recipient_results.push_back(recipient_result(n, RecipientState::sent));
        counting.window().recorded(counting.finished(*work, std::move(recipient_results), now), now);
    }
    const auto question = counting.window().wanted(now);
    ASSERT_TRUE(question);
    EXPECT_EQ(question->recipients, 100U);
}

TEST_F(QueueWindow, NoMoreThanTwiceTheWindowComesInWhateverArrives) {
    for (int i = 0; i < 10'000; ++i) add_from("192.0.2.1", ("a" + std::to_string(i) + ".test").c_str());
    EXPECT_EQ(core.messages().totals().messages, 200U);
}

TEST_F(QueueWindow, AnAnswerOfTheStoreFindsNoRoomThatNewMailHasTaken) {
    core.backlog().due(now.steady);
    ASSERT_TRUE(core.window().wanted(now));
    for (int i = 0; i < 1000; ++i) add_from("192.0.2.1", ("a" + std::to_string(i) + ".test").c_str());
    ASSERT_EQ(core.messages().totals().messages, 200U);
    store::Due due;
    for (std::uint64_t id = 5001; id <= 5100; ++id) due.messages.push_back(sleeping(id, "d.test"));
    due.hops.push_back(hop_of("d.test", false));
    core.window().loaded(std::move(due), now);
    EXPECT_EQ(core.messages().totals().messages, 200U);
    for (int i = 0; i < 1000; ++i)
        if (auto work = core.take("a" + std::to_string(i) + ".test", now))
            record(core.finished(*work, {recipient_result(0, RecipientState::sent)}, now));
    EXPECT_TRUE(core.window().wanted(now)) << "what found none is asked for again";
}

TEST_F(QueueWindow, WhatOfAnAnswerFoundNoRoomIsAskedForWhenThereIsSome) {
    core.backlog().due(now.steady);
    ASSERT_TRUE(core.window().wanted(now));
    for (int i = 0; i < 200; ++i) {
        const auto id = add_from("192.0.2.1", ("a" + std::to_string(i) + ".test").c_str());
        ASSERT_NE(core.messages().stored(id), nullptr);
    }
    core.window().loaded({{sleeping(5001, "d.test")}, {hop_of("d.test", false)}, false, std::nullopt}, now);
    EXPECT_EQ(core.messages().stored({5001}), nullptr);
    for (int i = 0; i < 150; ++i) {
        EXPECT_FALSE(core.window().wanted(now));
        const auto work = core.take("a" + std::to_string(i) + ".test", now);
        record(core.finished(*work, {recipient_result(0, RecipientState::sent)}, now));
    }
    EXPECT_TRUE(core.window().wanted(now)) << "half of the window is free";
}

// A message that is over for one next hop, and due at others, is not kept beyond the room that there is.
TEST_F(QueueWindow, WhatASweepBringsInLeavesWithItsPage) {
    for (int i = 0; i < 1000; ++i) add_from("192.0.2.1", ("a" + std::to_string(i) + ".test").c_str());
    ASSERT_EQ(core.messages().totals().messages, 200U);
    std::vector<store::StoredMessage> page;
    for (std::uint64_t id = 5001; id <= 5100; ++id) {
        store::StoredMessage two = sleeping(id, "d.test");
        two.recipients.push_back(two.recipients[0]);
        two.recipients[1].address.next_hop = "e.test";
        page.push_back(std::move(two));
    }
    pass(24h * 6);
    const Sweep sweep{"d.test", page.back().id, {false, "4.4.1", "refused"}, now};
    const auto results = core.hop_failures().swept(sweep, page, now);
    EXPECT_EQ(results.size(), 100U);
    EXPECT_EQ(core.messages().totals().messages, 300U);
    record(results);
    EXPECT_LE(core.messages().totals().messages, 200U);
    EXPECT_LE(core.next_wake(), now.steady) << "the other recipients are due still";
}

TEST_F(QueueWindow, TheMailOfAHopThatFailsLeavesTheMemory) {
    for (int i = 0; i < 30; ++i) add_from("192.0.2.1", "d.test");
    open_lanes();
    core.hop_failures().failed("d.test", {false, "4.4.1", "refused"}, now, now);
    end_lane("d.test");
    EXPECT_EQ(core.messages().totals().messages, 0U);
    const auto id = add_from("192.0.2.1", "d.test");
    EXPECT_EQ(core.messages().stored(id), nullptr) << "what comes later waits there, too";
    EXPECT_EQ(core.next_wake(), now.steady + 5min);
    ASSERT_EQ(core.hops().views().size(), 1U) << "why it waits is remembered";
    EXPECT_EQ(core.hops().views()[0].text, "refused");
}

TEST_F(QueueWindow, AFailureIsRememberedUntilTheStoreKnowsIt) {
    for (int n = 0; n < 25; ++n) {
        const std::string hop = "d" + std::to_string(n) + ".test";
        add_from("192.0.2.1", hop.c_str());
        ASSERT_EQ(open_lanes(), std::vector<std::string>{hop});
        core.hop_failures().failed(hop, {false, "4.4.1", "refused"}, now, now);
        ASSERT_TRUE(core.hops().changed(hop, now));
        end_lane(hop);
    }
    pass(3s - 1us);
    EXPECT_TRUE(open_lanes().empty());
    EXPECT_EQ(core.hops().views().size(), 25U) << "the store's answer might not know that they failed";
    pass(1us);
    EXPECT_TRUE(open_lanes().empty());
    EXPECT_EQ(core.hops().views().size(), 20U) << "there is no room for more of which nothing is in memory";
}

TEST_F(QueueWindow, OfAHopThatIsFullNothingIsAskedFor) {
    core.backlog().due(now.steady);
    ASSERT_TRUE(core.window().wanted(now));
    store::Due due;
    for (std::uint64_t id = 1; id <= 30; ++id) due.messages.push_back(sleeping(id, "d.test"));
    due.hops.push_back(hop_of("d.test", true));
    core.window().loaded(std::move(due), now);
    for (int i = 0; i < 25; ++i) ASSERT_TRUE(core.take("d.test", now));
    EXPECT_EQ(core.window().wanted(now), std::nullopt)
        << "the hop is more than half full: the answer would be nothing";
}

TEST_F(QueueWindow, AHopOfWhichNothingIsDueIsAskedForOnceMoreAtMost) {
    core.backlog().due(now.steady);
    ASSERT_TRUE(core.window().wanted(now));
    store::StoredMessage both = sleeping(1, "d.test");
    both.recipients.push_back(sleeping(1, "e.test").recipients[0]);
    both.recipients[1].next_at = now.wall + 10min;
    core.window().loaded({{both}, {hop_of("d.test", false), hop_of("e.test", true)}, false, now.wall + 10min},
                         now);
    ASSERT_TRUE(core.window().wanted(now)) << "e.test may have more that is due";
    core.window().loaded({{}, {}, false, now.wall + 10min}, now);
    EXPECT_EQ(core.window().wanted(now), std::nullopt) << "it has not";
}

TEST_F(QueueWindow, WhatABlockedHopHasInTheStoreIsAskedForWhenItIsNoMore) {
    const auto id = add({{"a@d.test", "d.test"}});
    core.backlog().due(now.steady + 1s);
    ASSERT_EQ(open_lanes().size(), 1U);
    core.hop_failures().failed("d.test", {false, "4.4.1", "refused"}, now, now);
    end_lane("d.test");
    ASSERT_EQ(core.messages().stored(id), nullptr) << "it waits in the store";
    pass(1s);
    const auto question = core.window().wanted(now);
    ASSERT_TRUE(question);
    EXPECT_EQ(question->full, std::vector<std::string>{"d.test"});
    core.window().loaded({{}, {}, false, std::nullopt}, now);
    pass(5min);
    ASSERT_TRUE(core.next_wake());
    EXPECT_LE(*core.next_wake(), now.steady);
    EXPECT_TRUE(core.window().wanted(now));
}

TEST_F(QueueWindow, AFullHopIsAskedForWhenItHasRoomAgain) {
    for (int i = 0; i < 30; ++i) add_from("192.0.2.1", "d.test");
    core.backlog().due(now.steady);
    const auto question = core.window().wanted(now);
    ASSERT_TRUE(question);
    EXPECT_EQ(question->full, std::vector<std::string>{"d.test"});
    core.window().loaded({{}, {}, false, std::nullopt}, now);
    for (int i = 0; i < 25; ++i) {
        const auto work = core.take("d.test", now);
        record(core.finished(*work, {recipient_result(0, RecipientState::sent)}, now));
    }
    EXPECT_TRUE(core.window().wanted(now)) << "what was due in the store is due still";
}

TEST_F(QueueWindow, WhatEndsWhileTheStoreIsAskedForMessagesDoesNotEndAgain) {
    const auto id = add({{"a@d.test", "d.test"}});
    const store::StoredMessage stored = *core.messages().stored(id);
    core.messages().asking();
    record(core.finished(*core.take("d.test", now), {recipient_result(0, RecipientState::sent)}, now));
    ASSERT_EQ(core.messages().stored(id), nullptr);
    core.messages().answered();
    pass(24h * 30);
    EXPECT_TRUE(core.admin().select(stored, {}).recipients.empty());
    const Sweep sweep{"d.test", id, {false, "4.4.1", "refused"}, now};
    EXPECT_TRUE(core.hop_failures().swept(sweep, {stored}, now).empty());
}

TEST_F(QueueWindow, WhatChangesWhileTheStoreIsAskedIsNotTakenFromItsAnswer) {
    core.backlog().due(now.steady);
    ASSERT_TRUE(core.window().wanted(now));
    const auto id = add({{"a@d.test", "d.test"}});
    const store::StoredMessage stored = *core.messages().stored(id);
    record(core.finished(*core.take("d.test", now), {recipient_result(0, RecipientState::sent)}, now));
    EXPECT_EQ(core.messages().stored(id), nullptr);
    core.window().loaded({{stored}, {hop_of("d.test", false)}, false, std::nullopt}, now);
    EXPECT_EQ(core.messages().stored(id), nullptr) << "it would be sent twice";
    core.backlog().due(now.steady);
    ASSERT_TRUE(core.window().wanted(now));
    core.admin().hold({core.admin().select(stored, {})}, now);
    core.window().loaded({{stored}, {hop_of("d.test", false)}, false, std::nullopt}, now);
    EXPECT_EQ(core.messages().stored(id), nullptr) << "it is on hold by now";
}

TEST_F(QueueWindow, AHopThatFailsInTheStoreIsNotTried) {
    store::DueHop failing = hop_of("d.test", false);
    failing.state.failures = 2;
    failing.state.next_at = now.wall + 10min;
    failing.state.text = "refused";
    core.backlog().due(now.steady);
    ASSERT_TRUE(core.window().wanted(now));
    store::StoredMessage two = sleeping(7, "d.test");
    two.recipients.push_back(two.recipients[0]);
    two.recipients[1].address.next_hop = "e.test";
    core.window().loaded({{two}, {failing, hop_of("e.test", false)}, false, std::nullopt}, now);
    EXPECT_EQ(open_lanes(), std::vector<std::string>{"e.test"});
    pass(10min);
    EXPECT_EQ(open_lanes(), std::vector<std::string>{"d.test"});
}

TEST_F(QueueWindow, AStoreThatCannotAnswerIsAskedAgain) {
    core.backlog().due(now.steady);
    ASSERT_TRUE(core.window().wanted(now));
    core.window().loaded({{}, {hop_of("d.test", true)}, false, std::nullopt},
                         now);  // there is more, and room for it
    ASSERT_TRUE(core.window().wanted(now));
    core.window().load_failed(now);
    EXPECT_EQ(core.window().wanted(now), std::nullopt);
    pass(1s);
    EXPECT_TRUE(core.window().wanted(now));
}

TEST_F(QueueWindow, WhatIsOverBouncesThoughItSleeps) {  // D-41
    for (int i = 0; i < 50; ++i) add_from("192.0.2.1", "d.test");
    store::StoredMessage old = sleeping(1000, "d.test");
    store::StoredMessage young = sleeping(1001, "d.test");
    pass(24h * 6);
    young.arrived = now.wall;
    open_lanes();
    auto results = core.hop_failures().failed("d.test", {false, "4.4.1", "refused"}, now, now);
    EXPECT_EQ(results.size(), 40U) << "those in memory";
    record(results);
    const auto sweeps = core.hop_failures().sweeps();
    ASSERT_EQ(sweeps.size(), 1U);
    EXPECT_EQ(sweeps[0].hop, "d.test");
    EXPECT_GT(sweeps[0].until, store::MessageId::last_at(old.arrived)) << "this lane began after its time";
    EXPECT_TRUE(core.hop_failures().sweeps().empty());
    store::StoredMessage of_another_group = sleeping(1002, "d.test");
    of_another_group.arrived = old.arrived;
    of_another_group.envelope.requiretls = true;
    results = core.hop_failures().swept(sweeps[0], {old, young, of_another_group}, now);
    EXPECT_EQ(core.messages().stored(of_another_group.id), nullptr)
        << "it is not brought into memory in vain";
    ASSERT_EQ(results.size(), 1U);
    EXPECT_EQ(results[0].message, old.id);
    EXPECT_EQ(results[0].state, RecipientState::bounced);
    EXPECT_NE(results[0].text.find("given up after 6d"), std::string::npos) << results[0].text;
    record(results);
    EXPECT_EQ(core.messages().stored(old.id), nullptr);
}

TEST_F(QueueWindow, ASuspendedHopIsNotTriedUntilItIsResumed) {
    store::StoredSuspension suspension;
    suspension.scope = "d.test";
    suspension.reason = "they asked for it";
    add({{"a@d.test", "d.test"}});
    core.admin().suspend(suspension, now);
    add({{"b@d.test", "d.test"}});
    EXPECT_TRUE(open_lanes().empty());
    EXPECT_EQ(core.take("d.test", now), std::nullopt);
    EXPECT_EQ(core.blocked_by(*core.messages().stored({1}), now)[0].what, Obstacle::hop_suspended);
    core.backlog().due(now.steady);
    const auto question = core.window().wanted(now);
    ASSERT_TRUE(question);
    EXPECT_TRUE(std::binary_search(question->full.begin(), question->full.end(), "d.test"));
    core.window().loaded({}, now);
    suspension.ended = true;
    core.admin().suspend(suspension, now);
    EXPECT_TRUE(core.window().wanted(now)) << "what sleeps may be due";
    EXPECT_EQ(open_lanes(), std::vector<std::string>{"d.test"});
    suspension.ended = false;
    suspension.scope = ".test";
    core.admin().suspend(suspension, now);
    EXPECT_EQ(core.take("d.test", now), std::nullopt) << "a domain above it";
}

TEST_F(QueueWindow, ASuspendedSendersMailIsToBeHeld) {
    store::StoredSuspension suspension;
    suspension.kind = store::SuspensionKind::sender;
    suspension.scope = "192.0.2.9";
    const auto before = add_from("192.0.2.9", "d.test");
    core.admin().suspend(suspension, now);
    const auto after = add_from("192.0.2.9", "e.test");
    add_from("192.0.2.1", "f.test");
    EXPECT_EQ(core.window().to_hold(), (std::vector<store::MessageId>{before, after}));
    EXPECT_EQ(core.messages().stored(after), nullptr);
    EXPECT_TRUE(core.window().to_hold().empty());
}

TEST_F(QueueWindow, AFailingHopWithNothingButMailThatIsToBeHeldIsNotAskedForInATightLoop) {
    for (int i = 0; i < 30; ++i) {  // more hops than are remembered
        const std::string hop = "d" + std::to_string(i) + ".test";
        store::HopState fails;
        fails.next_hop = hop;
        fails.failures = 1;
        fails.next_at = now.wall + 1h;
        core.hops().restore(fails, now);
    }
    store::StoredSuspension suspension;
    suspension.kind = store::SuspensionKind::sender;
    suspension.scope = "192.0.2.9";
    core.admin().suspend(suspension, now);
    store::DueHop failing = hop_of("e.test", false);
    failing.state.failures = 1;
    failing.state.next_at = now.wall - 1s;
    core.backlog().due(now.steady);
    ASSERT_TRUE(core.window().wanted(now));
    core.window().loaded({{sleeping(7, "e.test", "192.0.2.9")}, {failing}, false, std::nullopt}, now);
    EXPECT_EQ(core.window().to_hold().size(), 1U);
    EXPECT_FALSE(core.window().wanted(now));
    pass(1s);
    EXPECT_TRUE(core.window().wanted(now));
}

TEST_F(QueueWindow, MailThatIsToBeHeldIsNeitherTakenNorAskedForUntilItIs) {
    const auto id = add_from("192.0.2.9", "d.test");
    const store::StoredMessage stored = *core.messages().stored(id);
    store::StoredSuspension suspension;
    suspension.kind = store::SuspensionKind::sender;
    suspension.scope = "192.0.2.9";
    core.admin().suspend(suspension, now);
    const store::StoredMessage other = sleeping(7, "e.test", "192.0.2.9");
    core.window().loaded({{other}, {hop_of("e.test", false)}, false, std::nullopt}, now);
    const auto ids = core.window().to_hold();
    EXPECT_EQ(ids, (std::vector<store::MessageId>{id, other.id}));
    EXPECT_EQ(core.take("d.test", now), std::nullopt);
    core.backlog().due(now.steady);
    EXPECT_EQ(core.window().wanted(now).value().known, ids) << "the store need not name it again and again";
    core.window().loaded({{other}, {hop_of("e.test", false)}, false, std::nullopt}, now);
    EXPECT_TRUE(core.window().to_hold().empty()) << "it is known that this is to be held";
    // The suspension ends before the store could keep that.
    suspension.ended = true;
    core.admin().suspend(suspension, now);
    core.window().held(ids, now);
    EXPECT_EQ(core.take("d.test", now).value().message->id, id);
    EXPECT_TRUE(core.window().wanted(now)) << "what sleeps is asked for again";
}

TEST_F(QueueWindow, ReroutedMailWaitsForItsNewHop) {
    const auto id = add({{"a@d.test", "d.test"}, {"b@e.test", "e.test"}});
    core.admin().reroute(select({}), "d.test", "relay.test", now);
    EXPECT_EQ(core.take("d.test", now), std::nullopt);
    const auto work = core.take("relay.test", now);
    ASSERT_TRUE(work);
    EXPECT_EQ(work->recipients, std::vector<std::uint32_t>{0});
    EXPECT_EQ(core.take("e.test", now)->message->id, id);
    record(core.finished(*work, {recipient_result(0, RecipientState::sent)}, now));
}

TEST_F(QueueWindow, ReroutedMailIsAsNewAtItsNewHop) {
    const auto id = add({{"a@d.test", "d.test"}, {"b@e.test", "e.test"}});  // the second keeps it in memory
    record(core.finished(*core.take("d.test", now), {recipient_result(0, RecipientState::queued)}, now));
    ASSERT_TRUE(core.messages().stored(id));
    ASSERT_GT(core.messages().stored(id)->recipients[0].next_at, now.wall);
    core.admin().reroute(select({}), "d.test", "relay.test", now);
    const auto& moved = core.messages().stored(id)->recipients[0];
    EXPECT_EQ(moved.text, "") << "nobody there has said anything yet";
    EXPECT_EQ(moved.tries, 0U);
    EXPECT_EQ(core.take("relay.test", now).value().message->id, id)
        << "no schedule of the last hop delays it";
}

// A selection comes from the store, and may be of a moment ago: what it says of a recipient that has ended
// since counts for nothing, nor does the next hop where that one waited.
TEST_F(QueueWindow, ASelectionThatIsOfAMomentAgoEndsWhatStillWaits) {
    const auto other = add({{"b@d.test", "d.test"}});
    store::StoredMessage message;
    message.id = {++last};
    message.arrived = now.wall;
    for (const char* hop : {"d.test", "e.test"})
        message.recipients.emplace_back(store::QueuedRecipient(
            mail::Recipient(mail::ForwardPath::parse(std::string("a@") + hop).value()), hop));
    const Selected before{std::make_shared<store::StoredMessage>(message), {0, 1}};
    message.recipients[0].state = RecipientState::sent;
    core.window().add(std::move(message), now);
    const auto results = core.admin().end({before}, RecipientState::deleted, "5.7.0", "deleted", now);
    ASSERT_EQ(results.size(), 1U);
    EXPECT_EQ(results[0].recipient, 1U);
    record(results);
    EXPECT_EQ(core.messages().stored({last}), nullptr);
    record(core.admin().end(select({}), RecipientState::deleted, "5.7.0", "deleted", now));
    EXPECT_EQ(core.messages().stored(other), nullptr);
}

TEST_F(QueueWindow, KeepsTheBodiesOfNewMailUpToALimit) {
    const auto with_body = [&](std::size_t octets) {
        store::StoredMessage message;
        message.id = {++last};
        message.arrived = now.wall;
        message.body = store::Body::of(std::string(octets, 'x'));
        message.recipients.emplace_back(
            store::QueuedRecipient(mail::Recipient(mail::ForwardPath::parse("a@d.test").value()), "d.test"));
        core.window().add(std::move(message), now);
        return store::MessageId{last};
    };
    const auto first = with_body(options().window.octets - 10);
    const auto second = with_body(11);
    const auto third = with_body(10);
    EXPECT_TRUE(core.messages().stored(first)->body.octets);
    EXPECT_FALSE(core.messages().stored(second)->body.octets) << "it is read when it goes";
    EXPECT_EQ(core.messages().stored(second)->body.size, 11U);
    EXPECT_TRUE(core.messages().stored(third)->body.octets);
    record(core.admin().end(select({}), RecipientState::deleted, "5.7.0", "deleted", now));
    EXPECT_TRUE(core.messages().stored(with_body(options().window.octets))->body.octets)
        << "there is room again";
}

}  // namespace
}  // namespace sternpost::queue
