#include "delivery/judgement.h"

#include <gtest/gtest.h>

#include "queue/obstacle.h"

namespace sternpost::delivery {
namespace {

using smtp::Errc;
using smtp::Reply;
using smtp::Stage;
using store::RecipientState;

class Judging : public ::testing::Test {
  protected:
    Judging() {
        auto message = queue::mail_for("d.test");
        message.recipients.push_back(message.recipients.front());
        work_.message = std::make_shared<store::StoredMessage>(std::move(message));
        work_.recipients = {0, 1};
        request_.address = dns::Address::parse("2001:db8::1").value();
        opened_.evidence.version = "TLSv1.3";
        opened_.evidence.encrypted = true;
    }
    static smtp::RecipientOutcome taken() { return {Reply{250, {"ok"}}, std::nullopt}; }
    static smtp::RecipientOutcome refused(int code, const char* text) {
        smtp::RecipientOutcome out;
        const Reply reply{code, {text}};
        out.failure = smtp::Failure{Stage::rcpt, Errc::reply_negative, reply.text(), reply};
        return out;
    }
    Judged judged(std::vector<smtp::RecipientOutcome> outcomes, TransactionFacts facts = {}) const {
        return judge({work_, host_, request_, opened_, facts}, outcomes,
                     Observation::of_session(opened_.evidence));
    }

    queue::Work work_;
    HostPlan host_;
    DialRequest request_;
    smtp::Opened opened_;
};

TEST_F(Judging, SaysOfEachRecipientWhatItsHostDid) {
    const auto out = judged({taken(), refused(550, "5.1.1 nobody")});
    ASSERT_EQ(out.recipient_results.size(), 2U);
    const auto& first = out.recipient_results[0].result;
    EXPECT_EQ(first.state, RecipientState::sent);
    EXPECT_EQ(first.recipient, 0U);
    EXPECT_EQ(first.tls, "TLSv1.3");
    EXPECT_EQ(first.mx_address, "2001:db8::1");
    const auto& second = out.recipient_results[1].result;
    EXPECT_EQ(second.state, RecipientState::bounced);
    EXPECT_EQ(second.recipient, 1U);
    EXPECT_EQ(second.status, "5.1.1");
}

TEST_F(Judging, KnowsWhoIsToTellOfSuccess) {
    EXPECT_TRUE(judged({taken(), taken()}).recipient_results[0].result.relayed) << "the host has no DSN";
    opened_.offered.dsn = true;
    EXPECT_FALSE(judged({taken(), taken()}).recipient_results[0].result.relayed);
}

TEST_F(Judging, TriesTheOtherFamilyWhereNobodyWasServed) {
    TransactionFacts facts;
    facts.other_family = true;
    const auto no_ptr = refused(550, "5.7.25 no PTR record");
    EXPECT_TRUE(judged({no_ptr, no_ptr}, facts).other_family);
    const auto out = judged({taken(), no_ptr}, facts);
    EXPECT_FALSE(out.other_family) << "this transaction has its results";
    EXPECT_EQ(out.recipient_results[1].result.state, RecipientState::bounced);
    facts.other_family = false;
    EXPECT_FALSE(judged({no_ptr, no_ptr}, facts).other_family) << "there is none";
}

TEST_F(Judging, ConnectsAgainWhereTheSessionWasStale) {
    smtp::RecipientOutcome gone;
    gone.failure = smtp::Failure{Stage::mail, Errc::closed, "gone", std::nullopt};
    TransactionFacts facts;
    EXPECT_FALSE(judged({gone, gone}, facts).reconnect) << "its first transaction";
    facts.reused = true;
    EXPECT_TRUE(judged({gone, gone}, facts).reconnect);
}

TEST_F(Judging, CountsLostRepliesForEachRecipient) {
    auto message = *work_.message;
    message.recipients[1].lost_replies = 2;
    work_.message = std::make_shared<store::StoredMessage>(std::move(message));
    smtp::RecipientOutcome lost;
    lost.failure = smtp::Failure{Stage::dot, Errc::timed_out, "gone", std::nullopt};
    const auto out = judged({lost, lost});
    EXPECT_EQ(out.recipient_results[0].result.lost_replies, 1U);
    EXPECT_EQ(out.recipient_results[1].result.lost_replies, 3U);
}

}  // namespace
}  // namespace sternpost::delivery
