// What `explain` says of the attempts so far: from the queue and the history.
#include "delivery/explain.h"

#include <gtest/gtest.h>

namespace sternpost::delivery {
namespace {

using namespace std::chrono_literals;
using queue::Obstacle;
using store::RecipientState;

class Attempts : public testing::Test {
  protected:
    Attempts() {
        facts.hop = "d.test";
        facts.blocked.what = Obstacle::due;
    }
    // A message to the hop that waits, with what its last attempt met.
    void waits(const char* status, const char* text, WallTime until) {
        store::StoredMessage message = queue::mail_for("d.test");
        message.recipients[0].status = status;
        message.recipients[0].text = text;
        message.recipients[0].tries = 1;
        queue::Blocked blocked;
        blocked.what = Obstacle::schedule;
        blocked.until = until;
        facts.waiting.push_back(std::move(message));
        facts.waiting_blocked.push_back({blocked});
    }
    void result(WallTime at, RecipientState state, const char* status, const char* text = "") {
        store::DeliveryResult one;
        one.state = state;
        one.status = status;
        one.text = text;
        facts.history.push_back({at, 0, std::move(one)});
    }
    void hop_failed(WallTime at, const char* status, const char* text) {
        store::HopState state;
        state.next_hop = "d.test";
        state.failures = 1;
        state.status = status;
        state.text = text;
        facts.history.push_back({at, 0, std::move(state)});
    }

    const WallTime noon{std::chrono::seconds(1'800'000'000)};
    QueueFacts facts;
};

TEST_F(Attempts, NoneMeansNothingFails) {
    EXPECT_FALSE(QueueSays::of(facts).failing);
}

TEST_F(Attempts, ThatFailedForTheWholeHopAreToldWithTheirNextTime) {
    facts.blocked = {Obstacle::hop_fails, store::ReasonCode::unreachable, "4.4.1", "no connection",
                     noon + 1h};
    hop_failed(noon - 2h, "4.4.1", "no connection");
    hop_failed(noon - 1h, "4.4.1", "no connection");
    const auto says = QueueSays::of(facts);
    ASSERT_TRUE(says.failing);
    EXPECT_TRUE(says.failing->all());
    EXPECT_EQ(says.failing->attempts, 2U);
    EXPECT_EQ(says.failing->since, noon - 2h);
    EXPECT_EQ(says.failing->last, noon - 1h);
    EXPECT_EQ(says.failing->next_at, noon + 1h);
}

TEST_F(Attempts, ThatEachMessageFailedByItselfCountAsWell) {
    waits("4.3.0", "the host answered MAIL with: 451 4.3.0 no", noon + 1h);
    waits("4.3.0", "the host answered MAIL with: 451 4.3.0 no", noon + 30min);
    result(noon - 1h, RecipientState::queued, "4.3.0", "451 4.3.0 no");
    result(noon - 30min, RecipientState::queued, "4.3.0", "451 4.3.0 no");
    const auto says = QueueSays::of(facts);
    ASSERT_TRUE(says.failing);
    EXPECT_TRUE(says.failing->all());
    EXPECT_EQ(says.failing->attempts, 2U);
    EXPECT_EQ(says.failing->next_at, noon + 30min);
}

TEST_F(Attempts, AreToldThoughTheHistoryDoesNotKnowThemYet) {
    waits("4.2.1", "the host answered RCPT with: 450 4.2.1 not yet", noon + 5min);
    const auto says = QueueSays::of(facts);
    ASSERT_TRUE(says.failing);
    EXPECT_TRUE(says.failing->all()) << "no mail was ever taken there";
    EXPECT_EQ(says.failing->status, "4.2.1");
}

TEST_F(Attempts, OfOneFullMailboxSayNothingOfTheOthers) {
    result(noon - 2h, RecipientState::sent, "2.0.0");
    result(noon - 1h, RecipientState::queued, "4.2.2", "452 4.2.2 full");
    waits("4.2.2", "452 4.2.2 full", noon + 1h);
    const auto says = QueueSays::of(facts);
    ASSERT_TRUE(says.failing);
    EXPECT_FALSE(says.failing->all());
    EXPECT_EQ(says.failing->delivered, noon - 2h);
}

TEST_F(Attempts, BeforeTheLastSuccessDoNotCount) {
    result(noon - 3h, RecipientState::queued, "4.3.0", "451 4.3.0 no");
    result(noon - 2h, RecipientState::sent, "2.0.0");
    EXPECT_FALSE(QueueSays::of(facts).failing);
    result(noon - 1h, RecipientState::queued, "4.3.0", "451 4.3.0 no");
    waits("4.3.0", "451 4.3.0 no", noon + 1h);
    const auto says = QueueSays::of(facts);
    ASSERT_TRUE(says.failing);
    EXPECT_EQ(says.failing->attempts, 1U);
    EXPECT_TRUE(says.failing->all()) << "451 does not speak of one mailbox";
}

TEST_F(Attempts, InWhichTheHostTookMailForSomeHaveNotFailed) {
    result(noon - 1h, RecipientState::sent, "2.0.0");
    result(noon - 1h, RecipientState::queued, "4.7.1", "451 4.7.1 greylisted");
    waits("4.7.1", "451 4.7.1 greylisted", noon + 1h);
    EXPECT_FALSE(QueueSays::of(facts).failing);
    result(noon - 30min, RecipientState::queued, "4.7.1", "451 4.7.1 greylisted");
    EXPECT_TRUE(QueueSays::of(facts).failing) << "and nobody was served then";
}

// The store has the deferral of mail that waits; its time is not known, and mail was taken since.
TEST_F(Attempts, OfMailThatWaitsDoNotCountOnceOtherMailWasTaken) {
    result(noon - 3h, RecipientState::queued, "4.3.0", "451 4.3.0 no");
    waits("4.3.0", "451 4.3.0 no", noon + 1h);
    EXPECT_TRUE(QueueSays::of(facts).failing);
    result(noon - 2h, RecipientState::sent, "2.0.0");
    EXPECT_FALSE(QueueSays::of(facts).failing);
}

TEST_F(Attempts, OfMailWithAnotherWishForTlsAreLeftOut) {
    store::History history;
    for (const bool requiretls : {true, false}) {
        store::StoredMessage message = queue::mail_for(requiretls ? "d.test requiretls" : "d.test");
        message.id = {requiretls ? 1U : 2U};
        store::DeliveryResult failed;
        failed.message = message.id;
        failed.text = requiretls ? "no REQUIRETLS" : "451 4.3.0 no";
        history.messages.push_back(std::move(message));
        history.entries.push_back({noon, 0, std::move(failed)});
    }
    const auto of_hop = history_of_hop(history, "d.test");
    ASSERT_EQ(of_hop.size(), 1U);
    EXPECT_EQ(std::get<store::DeliveryResult>(of_hop.front().what).text, "451 4.3.0 no");
    EXPECT_EQ(history_of_hop(history, "d.test requiretls").size(), 1U);
}

TEST_F(Attempts, AreToldThoughTheMailThatFailedIsNotAmongWhatWasLookedAt) {
    result(noon - 1h, RecipientState::queued, "4.3.0", "451 4.3.0 no");
    EXPECT_FALSE(QueueSays::of(facts).failing) << "nothing waits";
    facts.more_waits = true;
    EXPECT_TRUE(QueueSays::of(facts).failing);
}

TEST_F(Attempts, AreToldInWords) {
    Explanation e;
    e.domain = "d.test";
    e.outlook = Outlook::failing;
    facts.blocked = {Obstacle::hop_fails, store::ReasonCode::unreachable, "4.4.1", "no connection",
                     noon + 1h};
    e.queue = QueueSays::of(facts);
    EXPECT_EQ(lines_of(e)[0],
              "d.test: mail waits: the last attempt failed, and the next one is at " + rfc3339(noon + 1h));
    EXPECT_EQ(lines_of(e)[1], "  the last one: 4.4.1 no connection");
}

TEST_F(Attempts, DoNotBeginWhileResultsCannotBeKept) {
    Explanation e;
    e.domain = "d.test";
    e.outlook = Outlook::failing;
    facts.blocked = {Obstacle::results_wait, store::ReasonCode::results_wait, "", "the disk is full",
                     std::nullopt};
    e.queue = QueueSays::of(facts);
    EXPECT_EQ(lines_of(e)[0], "d.test: mail waits: the disk is full");
}

}  // namespace
}  // namespace sternpost::delivery
