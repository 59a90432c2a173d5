// The simulator's oracle: what it must call a violation, and what not.
#include "simulation/oracle.h"

#include <gtest/gtest.h>

#include "fake/step_world.h"
#include "unit/store/store_testing.h"

namespace sternpost::simulation {
namespace {

using std::chrono::minutes;
using store::RecipientState;
using store::testing::message_to;

class OracleTest : public ::testing::Test {
  protected:
    OracleTest() : trace_(clock_, false), oracle_(trace_, clock_, queue::Options()) {
        Letter letter;
        letter.name = "L1";
        letter.reverse_path = "alice@example.org";
        letter.recipients = {"bob@example.com"};
        oracle_.started();
        oracle_.submitted(letter);
        oracle_.given(message_, letter.name);
        oracle_.accepted(message_.id);
        oracle_.acknowledged(letter.name);
    }
    std::vector<store::DeliveryResult> results(RecipientState state, minutes wait = minutes(0)) {
        auto out = store::testing::results_for(message_, state);
        out[0].at = clock_.wall();
        out[0].next_at = clock_.wall() + wait;
        return out;
    }
    void restart() {
        oracle_.ended();
        oracle_.started();
    }
    std::string look_after(minutes time) {
        clock_.pass(time);
        oracle_.look();
        return trace_.violation() ? trace_.violation()->invariant : "";
    }
    // The history that the store has in the end.
    std::string finish(std::vector<store::MessageId> messages) {
        Oracle::Kept kept;
        for (const auto id : messages) {
            kept.history.messages.emplace_back();
            kept.history.messages.back().id = id;
        }
        kept.history.entries.push_back({clock_.wall(), 2, results(RecipientState::bounced)[0]});
        oracle_.finish(kept);
        return trace_.violation() ? trace_.violation()->invariant : "";
    }

    fake::StepClock clock_;
    Trace trace_;
    Oracle oracle_;
    store::NewMessage message_ = message_to(1, {"bob@example.com"}, "x");
    store::NewMessage notice_ = message_to(2, {"alice@example.org"}, "sorry");
};

TEST_F(OracleTest, SeesThatNobodyTries) {
    EXPECT_EQ(look_after(minutes(99)), "");
    EXPECT_EQ(look_after(minutes(2)), "nothing-stuck");
}

TEST_F(OracleTest, WaitsAsLongAsADeferralThatIsKept) {
    const auto deferral = results(RecipientState::queued, minutes(120));
    oracle_.asked_to_record(deferral, {});
    oracle_.recorded(deferral, {});
    restart();
    EXPECT_EQ(look_after(minutes(219)), "");
    EXPECT_EQ(look_after(minutes(2)), "nothing-stuck");
}

// Its sync failed, which the process did not survive; the record did.
TEST_F(OracleTest, WaitsAsLongAsADeferralThatMayBeKept) {
    oracle_.asked_to_record(results(RecipientState::queued, minutes(120)), {});
    restart();
    EXPECT_EQ(look_after(minutes(219)), "");
    EXPECT_EQ(look_after(minutes(2)), "nothing-stuck");
}

TEST_F(OracleTest, WaitsForNoDeferralThatTheStoreRefused) {
    const auto deferral = results(RecipientState::queued, minutes(120));
    oracle_.asked_to_record(deferral, {});
    oracle_.not_recorded(deferral);
    restart();
    EXPECT_EQ(look_after(minutes(101)), "nothing-stuck");
}

TEST_F(OracleTest, MissesTheNoticeOfABounceThatIsKept) {
    oracle_.asked_to_record(results(RecipientState::bounced), {notice_});
    restart();
    EXPECT_EQ(finish({message_.id}), "bounce-has-its-notice");
}

TEST_F(OracleTest, IsContentWithANoticeOfAnEarlierTry) {
    oracle_.asked_to_record(results(RecipientState::bounced), {notice_});
    restart();
    oracle_.asked_to_record(results(RecipientState::bounced),
                            {message_to(3, {"alice@example.org"}, "sorry once more")});
    EXPECT_EQ(finish({message_.id, notice_.id}), "");
}

}  // namespace
}  // namespace sternpost::simulation
