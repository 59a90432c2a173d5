#include "queue/obstacle.h"

#include <gtest/gtest.h>

#include "store/hop_group.h"

namespace sternpost::queue {
namespace {

using namespace std::chrono_literals;

// A recipient at whose next hop, sender, store and schedule each test changes one thing.
class Obstacles : public testing::Test {
  protected:
    Obstacles() {
        message.recipients.emplace_back(store::QueuedRecipient(
            mail::Recipient(mail::ForwardPath(mail::Mailbox::parse("a@d.test").value())), "d.test"));
        facts.now = WallTime(1'800'000'000s);
        message.recipients[0].next_at = facts.now - 1h;
        suspension.scope = "d.test";
        suspension.reason = "maintenance";
        suspension.author = "uid 0";
        hop.failures = 3;
        hop.next_at = facts.now + 5min;
        hop.status = "4.4.1";
        hop.text = "no connection: refused";
        hop.reason_code = store::ReasonCode::unreachable;
    }
    Blocked now() const { return blocked_by(message, 0, facts); }

    store::StoredMessage message;
    store::StoredSuspension suspension;
    store::HopState hop;
    ObstacleFacts facts;
};

TEST_F(Obstacles, OtherMailGoesFirst) {
    facts.in_line = true;
    EXPECT_EQ(now().what, Obstacle::in_line);
    EXPECT_EQ(now().code, store::ReasonCode::in_line);
    facts.hop = &hop;
    EXPECT_EQ(now().what, Obstacle::hop_fails) << "what lasts longer is told";
}

// As the store tells of it for people, where the next hop is not in memory.
TEST_F(Obstacles, ANextHopThatFailsIsNamedThoughTheStoreAloneKnowsIt) {
    auto& recipient = message.recipients[0];
    recipient.next_at = facts.now + 5min;
    recipient.text = "no connection: refused";
    recipient.reason_code = store::ReasonCode::unreachable;
    EXPECT_EQ(now().what, Obstacle::schedule);
    recipient.waits_for_hop = true;
    EXPECT_EQ(now().what, Obstacle::hop_fails);
    EXPECT_EQ(now().code, store::ReasonCode::unreachable);
    EXPECT_EQ(now().until, facts.now + 5min);
}

TEST(ObstaclesOfNewMail, AreAskedForByItsNextHop) {
    EXPECT_EQ(mail_for("d.test").recipients[0].address.next_hop, "d.test");
    EXPECT_EQ(mail_for("[192.0.2.1]").recipients[0].address.next_hop, "[192.0.2.1]");
    for (const char* group : {"d.test", "d.test requiretls", "d.test tls-optional"})
        EXPECT_EQ(store::hop_of(mail_for(group), 0), group);
}

TEST_F(Obstacles, NothingIsInTheWayOfWhatIsDue) {
    EXPECT_EQ(now().what, Obstacle::due);
    EXPECT_EQ(now().text, "");
    facts.in_attempt = true;
    message.held = true;
    EXPECT_EQ(now().what, Obstacle::none) << "an attempt that is under way ends as it ends";
}

TEST_F(Obstacles, ASuspensionIsNamedWithItsReason) {
    facts.of_hop = &suspension;
    EXPECT_EQ(now().what, Obstacle::hop_suspended);
    EXPECT_NE(now().text.find("maintenance"), std::string::npos);
    EXPECT_EQ(now().until, std::nullopt);
    facts.of_hop = nullptr;
    facts.of_sender = &suspension;
    message.held = true;
    EXPECT_EQ(now().what, Obstacle::sender_suspended) << "which is why it is on hold";
}

TEST_F(Obstacles, TheGraverOneIsNamed) {
    facts.hop = &hop;
    facts.no_connection = true;
    facts.running = false;
    EXPECT_EQ(now().what, Obstacle::hop_fails);
    facts.results_wait = true;
    EXPECT_EQ(now().what, Obstacle::results_wait);
    facts.of_hop = &suspension;
    EXPECT_EQ(now().what, Obstacle::hop_suspended);
    message.held = true;
    EXPECT_EQ(now().what, Obstacle::held);
}

TEST_F(Obstacles, WhateverEndsLaterIsWaitedFor) {
    facts.hop = &hop;
    EXPECT_EQ(now().until, hop.next_at);
    EXPECT_EQ(now().code, store::ReasonCode::unreachable);
    message.recipients[0].next_at = facts.now + 1h;
    message.recipients[0].text = "the host answered RCPT TO with: 450 4.2.1 not yet";
    EXPECT_EQ(now().what, Obstacle::schedule);
    EXPECT_EQ(now().until, facts.now + 1h);
    hop.next_at = facts.now - 1s;
    message.recipients[0].next_at = facts.now;
    EXPECT_EQ(now().what, Obstacle::due) << "a time that is past is in nobody's way";
}

TEST_F(Obstacles, ALimitAndADaemonThatIsDownAreNamedForWhatIsDue) {
    facts.no_connection = true;
    EXPECT_EQ(now().what, Obstacle::limit);
    facts.running = false;
    EXPECT_EQ(now().what, Obstacle::daemon_down);
}

TEST_F(Obstacles, ALostReplyKeepsItsName) {
    message.recipients[0].next_at = facts.now + 30min;
    message.recipients[0].lost_replies = 1;
    EXPECT_EQ(now().code, store::ReasonCode::possibly_delivered);
}

}  // namespace
}  // namespace sternpost::queue
