#include "delivery/outcome.h"

#include <gtest/gtest.h>

namespace sternpost::delivery {
namespace {

using smtp::Errc;
using smtp::Reply;
using smtp::Stage;
using store::RecipientState;

smtp::RecipientOutcome said(Stage stage, int code, const char* text) {
    smtp::RecipientOutcome out;
    const Reply reply{code, {text}};
    out.failure = smtp::Failure{stage, Errc::reply_negative, reply.text(), reply};
    return out;
}

smtp::RecipientOutcome broke(Stage stage, Errc code) {
    smtp::RecipientOutcome out;
    out.failure = smtp::Failure{stage, code, "gone", std::nullopt};
    return out;
}

struct MeaningCase {
    const char* name;
    smtp::RecipientOutcome outcome;
    RecipientState state;
    const char* status;
    bool blames_hop;
};
class Meanings : public testing::TestWithParam<MeaningCase> {};
TEST_P(Meanings, AreDecidedHere) {
    const auto meaning = meaning_of(GetParam().outcome, {});
    EXPECT_EQ(meaning.recipient_result.result.state, GetParam().state);
    EXPECT_EQ(meaning.recipient_result.result.status, GetParam().status);
    EXPECT_EQ(meaning.recipient_result.blames_hop, GetParam().blames_hop);
    EXPECT_FALSE(meaning.recipient_result.again);
}
const MeaningCase cases[] = {
    {"MailRefused", said(Stage::mail, 550, "5.7.1 no"), RecipientState::bounced, "5.7.1", false},
    {"NoSuchUser_SMTP14", said(Stage::rcpt, 550, "5.1.1 no"), RecipientState::bounced, "5.1.1", false},
    {"PlainCode_SMTP106", said(Stage::rcpt, 550, "no"), RecipientState::bounced, "5.0.0", false},
    {"WrongClass_SMTP106", said(Stage::rcpt, 550, "2.1.5 no"), RecipientState::bounced, "5.0.0", false},
    {"Greylisted", said(Stage::rcpt, 450, "4.7.1 greylisted"), RecipientState::queued, "4.7.1", false},
    {"RateLimited", said(Stage::mail, 450, "4.7.28 slow down"), RecipientState::queued, "4.7.28", true},
    {"Closing_SMTP18", said(Stage::rcpt, 421, "4.3.2 closing"), RecipientState::queued, "4.3.2", true},
    {"DotTemporary_SMTP15", said(Stage::dot, 451, "4.3.0 later"), RecipientState::queued, "4.3.0", false},
    {"DotPermanent_SMTP15", said(Stage::dot, 554, "5.6.0 no"), RecipientState::bounced, "5.6.0", false},
    {"OddDigit_SMTP08", said(Stage::rcpt, 699, "?"), RecipientState::queued, "4.5.0", false},
    {"PositiveToData_SMTP09", said(Stage::data, 250, "ok"), RecipientState::queued, "4.5.0", false},
    {"LostAtMail_SMTP17", broke(Stage::mail, Errc::closed), RecipientState::queued, "4.4.2", false},
    {"DamagedHere", broke(Stage::body, Errc::body_damaged), RecipientState::bounced, "5.3.0", false},
    {"NotConvertible_SMTP78", broke(Stage::body, Errc::not_convertible), RecipientState::bounced, "5.6.3",
     false},
    {"NotSigned", broke(Stage::body, Errc::not_signed), RecipientState::queued, "4.7.5", false},
    {"UnreadableHere", broke(Stage::body, Errc::body_unreadable), RecipientState::queued, "4.3.0", false},
    {"SilentAtRcpt_SMTP01", broke(Stage::rcpt, Errc::timed_out), RecipientState::queued, "4.4.2", false},
};
INSTANTIATE_TEST_SUITE_P(Rfc5321, Meanings, testing::ValuesIn(cases),
                         [](const auto& row) { return row.param.name; });

TEST(TooManyRecipients, GoInAFurtherTransaction) {  // SMTP-19, D-30
    TransactionFacts some;
    some.any_accepted = true;
    EXPECT_TRUE(meaning_of(said(Stage::rcpt, 452, "4.5.3 too many"), some).recipient_result.again);
    EXPECT_TRUE(meaning_of(said(Stage::rcpt, 552, "too many"), some).recipient_result.again);
    EXPECT_TRUE(meaning_of(said(Stage::rcpt, 452, "too many"), some).recipient_result.again);
    EXPECT_FALSE(meaning_of(said(Stage::rcpt, 452, "4.2.2 mailbox full"), some).recipient_result.again);
    EXPECT_FALSE(meaning_of(said(Stage::rcpt, 552, "5.2.2 mailbox full"), some).recipient_result.again);
    EXPECT_FALSE(meaning_of(said(Stage::rcpt, 452, "4.5.3 too many"), {}).recipient_result.again)
        << "nobody was accepted: no progress";
    EXPECT_TRUE(meaning_of(said(Stage::rcpt, 552, "5.5.3 limit of 2 recipients reached"), some)
                    .recipient_result.again);
    EXPECT_TRUE(meaning_of(said(Stage::rcpt, 550, "5.5.3 too many"), some).recipient_result.again);
    EXPECT_EQ(meaning_of(said(Stage::rcpt, 552, "5.3.4 too big"), some).recipient_result.result.state,
              RecipientState::bounced);
    EXPECT_EQ(meaning_of(said(Stage::rcpt, 552, "no"), {}).recipient_result.result.state,
              RecipientState::bounced)
        << "of the first recipient";
    const Meaning first = meaning_of(said(Stage::rcpt, 552, "5.5.3 too many"), {});
    EXPECT_EQ(first.recipient_result.result.state, RecipientState::queued) << "it counts what it had before";
    EXPECT_EQ(first.recipient_result.result.status, "4.5.3");
}

TEST(LostReplyToTheDot, WaitsThirtyMinutesAndDoubles) {  // SMTP-46
    TransactionFacts facts;
    const auto first = meaning_of(broke(Stage::dot, Errc::closed), facts);
    EXPECT_EQ(first.recipient_result.least_wait, std::chrono::minutes(30));
    EXPECT_TRUE(first.recipient_result.result.text.starts_with("possibly-delivered"));
    facts.lost_replies = 2;
    EXPECT_EQ(meaning_of(broke(Stage::dot, Errc::timed_out), facts).recipient_result.least_wait,
              std::chrono::hours(2));
}

TEST(PtrComplaint, OverIpv6TriesIpv4First) {  // D-21
    TransactionFacts facts;
    facts.over_ipv6 = facts.other_family = true;
    EXPECT_TRUE(meaning_of(said(Stage::rcpt, 550, "5.7.25 no PTR record"), facts).other_family);
    EXPECT_TRUE(meaning_of(said(Stage::mail, 550, "5.7.1 your IP has no reverse DNS"), facts).other_family);
    facts.other_family = false;
    EXPECT_EQ(meaning_of(said(Stage::rcpt, 550, "5.7.25 no PTR record"), facts).recipient_result.result.state,
              RecipientState::bounced);
}

// Only what the reply itself says: a code that stands for many things, and words that stand elsewhere, name
// nothing.
TEST(ReasonCode, NamesWhatTheReplySays) {
    const auto code = [](const smtp::RecipientOutcome& outcome, bool over_ipv6 = false) {
        TransactionFacts facts;
        facts.over_ipv6 = over_ipv6;
        return std::string(name_of(meaning_of(outcome, facts).recipient_result.result.reason_code));
    };
    EXPECT_EQ(code(said(Stage::rcpt, 450, "4.2.0 <a@b.test>: Recipient address rejected: Greylisted")),
              "greylisted");
    EXPECT_EQ(code(said(Stage::dot, 451, "4.7.1 Gray-listing in action, come back")), "greylisted");
    EXPECT_EQ(code(said(Stage::rcpt, 450, "4.7.1 Client host rejected: cannot find your hostname")), "");
    EXPECT_EQ(code(said(Stage::rcpt, 550, "5.7.1 greylisted for ever")), "");
    EXPECT_EQ(code(said(Stage::rcpt, 550, "5.7.25 no PTR record"), true), "ipv6-without-ptr");  // D-21
    EXPECT_EQ(code(said(Stage::rcpt, 550, "5.7.25 no PTR record"), false), "");
    EXPECT_EQ(code(said(Stage::rcpt, 550, "5.1.1 no"), true), "");
    EXPECT_EQ(code(broke(Stage::body, Errc::not_signed)), "dkim-key");
    EXPECT_EQ(code(broke(Stage::dot, Errc::closed)), "possibly-delivered");
}

TEST(StaleSession, IsNobodysFault) {
    TransactionFacts facts;
    facts.reused = true;
    EXPECT_TRUE(meaning_of(broke(Stage::mail, Errc::closed), facts).reconnect);
    EXPECT_TRUE(meaning_of(said(Stage::mail, 421, "4.4.2 idle"), facts).reconnect);
    EXPECT_FALSE(meaning_of(broke(Stage::rcpt, Errc::closed), facts).reconnect);
}

TEST(FailedOpen, FallsBackToClearTextOnlyForTlsTroubleAndOnlyIfAllowed) {  // TLS-13, TLS-14
    const auto step = [](Stage stage, Errc code, bool allowed) {
        return after_failed_open({stage, code, "", std::nullopt}, allowed);
    };
    EXPECT_EQ(step(Stage::handshake, Errc::handshake_failed, true), NextStep::clear_text);
    EXPECT_EQ(step(Stage::handshake, Errc::timed_out, true), NextStep::clear_text);
    EXPECT_EQ(step(Stage::starttls, Errc::injected_octets, true), NextStep::clear_text);
    EXPECT_EQ(step(Stage::handshake, Errc::handshake_failed, false), NextStep::next_host);
    EXPECT_EQ(step(Stage::greeting, Errc::timed_out, true), NextStep::next_host);
    EXPECT_EQ(step(Stage::connect, Errc::connect_refused, true), NextStep::next_host);
}

}  // namespace
}  // namespace sternpost::delivery
