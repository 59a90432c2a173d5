// What every store promises (store/store.h), asked of each engine that there is: another engine is one more
// row.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <functional>
#include <mutex>

#include "fake/temporary_folder.h"
#include "store/alarms.h"
#include "store/open.h"
#include "unit/store/store_testing.h"

namespace sternpost::store {
namespace {

using namespace std::chrono_literals;

struct Engine {
    const char* name;
    /// Opens the store of this folder, again or again.
    Result<std::unique_ptr<Store>> (*open)(const std::string& folder, Events events, Log& log,
                                           TrustedClock& clock, Random& random);
};

class StoreContract : public ::testing::TestWithParam<Engine> {
  protected:
    StoreContract() { open(); }
    ~StoreContract() override { store_.reset(); }

    void open() {
        store_.reset();
        Events events;
        events.accepted = [this](const std::vector<StoredMessage>& messages) {
            const std::lock_guard lock(mutex_);
            for (const auto& one : messages) told_.push_back(one.id);
        };
        auto opened = GetParam().open(folder_.path().string(), std::move(events), log_, clock_, random_);
        if (!opened) throw std::runtime_error(opened.error().text);
        store_ = std::move(*opened);
    }
    template <class T>
    static T await(const std::function<void(Completion<T>)>& start) {
        std::promise<T> promise;
        start([&](T value) { promise.set_value(std::move(value)); });
        return promise.get_future().get();
    }
    Result<MessageId> accept(NewMessage message) {
        return await<Result<MessageId>>(
            [&](auto reply) { store_->accept(std::move(message), std::move(reply)); });
    }
    Result<void> record(std::vector<DeliveryResult> results, std::vector<NewMessage> notices = {}) {
        return await<Result<void>>(
            [&](auto reply) { store_->record(std::move(results), std::move(notices), std::move(reply)); });
    }
    Result<void> act(ActKind kind, MessageId id, const std::string& to = "") {
        return await<Result<void>>([&](auto reply) {
            store_->act({{kind, id, now(), "root", "", to}}, std::move(reply));
        });
    }
    Result<void> keep(Kept kept) {
        return await<Result<void>>([&](auto reply) { store_->keep(std::move(kept), std::move(reply)); });
    }
    template <class Asked>
    auto ask(Asked question) {
        return testing::asked(*store_, question);
    }
    std::vector<StoredMessage> found(const QueueFilter& filter = {}) {
        return ask([&](Questions& questions) { return questions.find(filter); }).value();
    }
    Due due() {
        DueQuestion question;
        question.now = now();
        return await<Result<Due>>([&](auto reply) { store_->due(question, std::move(reply)); }).value();
    }
    std::string body_of(const StoredMessage& message) {
        return await<Result<std::string>>(
                   [&](auto reply) { store_->read_body(message, 0, 1'000'000, std::move(reply)); })
            .value();
    }
    WallTime now() const {
        return std::chrono::time_point_cast<std::chrono::microseconds>(machine_clock_.wall());
    }
    NewMessage message(std::uint64_t id, const std::vector<std::string>& recipients,
                       std::string octets = "octets") const {
        NewMessage out = testing::message_to(id, recipients, std::move(octets));
        out.arrived = now();
        return out;
    }
    std::vector<MessageId> told() {
        const std::lock_guard lock(mutex_);
        return told_;
    }

    fake::TemporaryFolder folder_;
    testing::NullLog log_;
    SystemClock machine_clock_;
    TrustedClock clock_{machine_clock_};
    SystemRandom random_;
    std::mutex mutex_;
    std::vector<MessageId> told_;
    std::unique_ptr<Store> store_;
};

TEST_P(StoreContract, WhatIsAcceptedIsThereAfterARestart) {
    ASSERT_EQ(accept(message(7, {"bob@example.com", "carol@example.net"})), MessageId{7});
    EXPECT_EQ(told(), std::vector{MessageId{7}});
    for (const bool again : {false, true}) {
        if (again) open();
        const auto all = found();
        ASSERT_EQ(all.size(), 1U);
        EXPECT_EQ(all[0].recipients.size(), 2U);
        EXPECT_EQ(body_of(all[0]), "octets");
        const auto totals = ask([](Questions& questions) { return questions.totals(); }).value();
        EXPECT_EQ(totals.messages, 1U);
        EXPECT_EQ(totals.recipients, 2U);
    }
    EXPECT_EQ(store_->opened().newest, MessageId{7});
}

TEST_P(StoreContract, ALargeBodyIsKeptToo) {
    auto sink = store_->new_body(10'000'000);
    const std::string text(300'000, 'x');
    ASSERT_TRUE(sink->write(text));
    NewMessage large = message(7, {"bob@example.com"});
    large.body = sink->finish().value();
    sink.reset();
    ASSERT_TRUE(accept(std::move(large)));
    open();
    EXPECT_EQ(body_of(found().at(0)), text);
}

TEST_P(StoreContract, ABodyHasALimit) {
    const auto sink = store_->new_body(3);
    EXPECT_EQ(sink->write("four").error().code, Errc::too_big);
}

TEST_P(StoreContract, ASubmissionIsTakenOnce) {
    NewMessage first = message(7, {"bob@example.com"});
    first.submission = SubmissionId::make(random_);
    NewMessage second = message(8, {"bob@example.com"});
    second.submission = first.submission;
    ASSERT_TRUE(accept(std::move(first)));
    open();
    const auto refused = accept(std::move(second));
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, Errc::duplicate);
    EXPECT_EQ(found().size(), 1U);
}

TEST_P(StoreContract, AResultEndsARecipientAndItsNoticeComesWithIt) {
    const NewMessage bounced = message(7, {"bob@example.com", "carol@example.net"});
    ASSERT_TRUE(accept(bounced));
    auto results = testing::results_for(bounced, RecipientState::bounced);
    results[1].state = RecipientState::queued;
    results[1].next_at = now() + 1h;
    results[1].tries = 1;
    results[1].status = "4.2.0";
    results[1].text = "not now";
    NewMessage notice = message(8, {"alice@example.org"});
    notice.message_class = MessageClass::notice;
    ASSERT_TRUE(record(results, {notice}));
    open();
    const auto all = found();
    ASSERT_EQ(all.size(), 2U);
    EXPECT_EQ(all[0].recipients[0].state, RecipientState::bounced);
    EXPECT_EQ(all[0].recipients[1].text, "not now");
    EXPECT_EQ(all[1].message_class, MessageClass::notice);
    const auto ready = due().messages;
    ASSERT_EQ(ready.size(), 1U) << "what is deferred sleeps";
    EXPECT_EQ(ready[0].id, MessageId{8});
    ASSERT_TRUE(record(testing::sent(notice)));
    EXPECT_EQ(found().size(), 1U);
}

TEST_P(StoreContract, ActsAreKept) {
    const NewMessage one = message(7, {"bob@example.com"});
    ASSERT_TRUE(accept(one));
    ASSERT_TRUE(act(ActKind::hold, one.id));
    EXPECT_TRUE(due().messages.empty());
    open();
    EXPECT_TRUE(found().at(0).held);
    ASSERT_TRUE(act(ActKind::release, one.id));
    ASSERT_TRUE(act(ActKind::reroute, one.id, "relay.example"));
    EXPECT_EQ(found().at(0).recipients[0].address.next_hop, "relay.example");
    EXPECT_EQ(due().messages.size(), 1U);
    ASSERT_TRUE(act(ActKind::remove, one.id));
    open();
    EXPECT_TRUE(found().empty());
}

TEST_P(StoreContract, ALaterOneOfTheSameKeyReplacesWhatIsKept) {
    for (const char* id : {"1", "2"})
        ASSERT_TRUE(keep(StoredPolicy{"example.com", id, id, now(), now() + 1h, now(), "ab"}));
    for (const char* level : {"may", "encrypt"})
        ASSERT_TRUE(keep(StoredOverride{"example.com", level, "they asked", "root", now(), {}}));
    StoredSuspension suspension;
    suspension.scope = "example.com";
    suspension.set = now();
    ASSERT_TRUE(keep(suspension));
    StoredAlarm alarm{"policy-vanished", "example.com", "gone", {}, now(), 0};
    ASSERT_TRUE(keep(alarm));
    ASSERT_TRUE(keep(alarm));
    ASSERT_TRUE(keep(HopState{"example.com", now(), now() + 1h, 3, "4.4.1", "refused", {}, {}}));
    ASSERT_TRUE(keep(StoredDiscovery{"example.com", now(), "", {}, now()}));
    for (const bool again : {false, true}) {
        if (again) open();
        const auto looked = ask([this](Questions& questions) {
            EXPECT_EQ(questions.policies().value().at(0).id, "2");
            EXPECT_EQ(questions.versions("example.com").value().size(), 2U);
            EXPECT_EQ(questions.all<StoredOverride>().value().at(0).level, "encrypt");
            EXPECT_EQ(questions.all<StoredSuspension>().value().size(), 1U);
            EXPECT_EQ(alarms_since(questions, now() - 1h).value().at(0).count, 2U);
            EXPECT_EQ(questions.hops({}).value().at(0).state.failures, 3U);
            EXPECT_EQ(questions.all<StoredDiscovery>().value().size(), 1U);
            return Result<void>();
        });
        ASSERT_TRUE(looked);
    }
    ASSERT_TRUE(keep(StoredOverride{"example.com", "", "", "root", now(), {}}));
    suspension.ended = true;
    ASSERT_TRUE(keep(suspension));
    open();
    EXPECT_TRUE(ask([](Questions& questions) { return questions.all<StoredOverride>(); }).value().empty());
    EXPECT_TRUE(ask([](Questions& questions) { return questions.all<StoredSuspension>(); }).value().empty());
}

TEST_P(StoreContract, AClosedDayTakesNoMoreOutcomes) {
    const NewMessage one = message(7, {"bob@example.com", "carol@example.com"});
    ASSERT_TRUE(accept(one));
    auto results = testing::sent(one);
    const auto day = std::chrono::floor<std::chrono::days>(now());
    results[0].detail.outcomes = {testing::outcome_with("mx.example.com", now())};
    ASSERT_TRUE(record({results[0]}));
    ASSERT_TRUE(keep(ClosedDay{day}));
    const auto state =
        ask([&](Questions& questions) { return questions.reporting(day - std::chrono::days(1)); });
    EXPECT_EQ(state.value().closed, day) << "it is answered when all answers know it";
    results[1].detail.outcomes = {testing::outcome_with("mx.example.com", now())};
    ASSERT_TRUE(record({results[1]}));
    open();
    const auto outcomes = ask([](Questions& questions) { return questions.outcomes({}); }).value();
    ASSERT_EQ(outcomes.size(), 2U);
    EXPECT_EQ(outcomes[0].day, day);
    EXPECT_EQ(outcomes[1].day, day + std::chrono::days(1));
}

TEST_P(StoreContract, TheHistoryTellsWhatBecameOfAMessage) {
    const NewMessage one = message(7, {"bob@example.com"});
    ASSERT_TRUE(accept(one));
    auto results = testing::sent(one);
    results[0].at = now();
    ASSERT_TRUE(record(results));
    HistoryFilter filter;
    filter.id = one.id.text();
    const auto history = ask([&](Questions& questions) { return questions.history(filter); }).value();
    ASSERT_EQ(history.messages.size(), 1U);
    EXPECT_EQ(history.messages[0].recipients[0].state, RecipientState::sent);
    EXPECT_EQ(history.entries.size(), 1U);
}

TEST_P(StoreContract, MailIsCountedOnceWhateverComesBetween) {
    const auto counts = [this](CountedBy by) {
        MailCountFilter filter;
        filter.by = by;
        return ask([&](Questions& questions) { return questions.mail_counts(filter); }).value();
    };
    ASSERT_TRUE(accept(message(1, {"bob@example.com", "carol@example.net"})));
    ASSERT_EQ(counts(CountedBy::all).size(), 1U);  // the index has followed: what comes is no longer fresh
    const auto result = [this](std::uint32_t n, RecipientState state, const std::string& status) {
        DeliveryResult out;
        out.message = MessageId{1};
        out.recipient = n;
        out.state = state;
        out.at = out.next_at = now();
        out.status = status;
        return out;
    };
    const auto later = result(0, RecipientState::queued, "4.2.2");
    ASSERT_TRUE(record({later}));
    open();
    const auto sent = result(0, RecipientState::sent, "2.0.0");
    const auto refused = result(1, RecipientState::bounced, "5.1.1");
    ASSERT_TRUE(record({sent, refused, sent}));
    for (const bool again : {false, true}) {
        if (again) open();
        const auto all = counts(CountedBy::all);
        ASSERT_EQ(all.size(), 1U);
        EXPECT_EQ(all[0], (MailCount{"", {1, 6, 1, 1, 1, 0}}));
        const auto destinations = counts(CountedBy::destination);
        ASSERT_EQ(destinations.size(), 2U);
        EXPECT_EQ(destinations[0], (MailCount{"example.com", {0, 0, 1, 1, 0, 0}}));
        EXPECT_EQ(destinations[1], (MailCount{"example.net", {0, 0, 0, 0, 1, 0}}));
        const auto errors = counts(CountedBy::error);
        ASSERT_EQ(errors.size(), 2U);
        EXPECT_EQ(errors[0], (MailCount{"4.2.2", {0, 0, 0, 1, 0, 0}}));
        EXPECT_EQ(errors[1], (MailCount{"5.1.1", {0, 0, 0, 0, 1, 0}}));
        EXPECT_EQ(counts(CountedBy::sender).at(0).numbers, all[0].numbers);
        EXPECT_EQ(counts(CountedBy::from_domain).at(0).numbers, all[0].numbers);
    }
}

TEST_P(StoreContract, AfterTheStopEverythingIsAnsweredWithClosed) {
    EXPECT_EQ(store_->stop(), "");
    EXPECT_EQ(accept(message(7, {"bob@example.com"})).error().code, Errc::closed);
    EXPECT_EQ(record({}).error().code, Errc::closed);
    EXPECT_EQ(keep(ClosedDay{std::chrono::floor<std::chrono::days>(now())}).error().code, Errc::closed);
    EXPECT_EQ(ask([](Questions& questions) { return questions.totals(); }).error().code, Errc::closed);
    EXPECT_EQ(store_->stop(), "") << "once more does no harm";
}

TEST_P(StoreContract, SaysWhoItIsFor) {
    EXPECT_GE(store_->identity().slots, 2U);
    EXPECT_GT(store_->lease(), machine_clock_.steady());
    EXPECT_TRUE(store_->steward());
    EXPECT_TRUE(store_->has_room(1000));
}

INSTANTIATE_TEST_SUITE_P(Of, StoreContract,
                         ::testing::Values(Engine{"OneMachine",
                                                  [](const std::string& folder, Events events, Log& log,
                                                     TrustedClock& clock, Random& random) {
                                                      OpenOptions options;
                                                      options.state_dir = folder;
                                                      return open(options, std::move(events), log, clock,
                                                                  random);
                                                  }}),
                         [](const auto& row) { return row.param.name; });

}  // namespace
}  // namespace sternpost::store
