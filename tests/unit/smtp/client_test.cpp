#include "smtp/client.h"

#include <gtest/gtest.h>

#include "smtp/command.h"
#include "smtp/dotstuff.h"

namespace sternpost::smtp {
namespace {

mail::Recipient to(const char* path) {
    return mail::Recipient(mail::ForwardPath::parse(path).value());
}

mail::Envelope from(const char* path) {
    mail::Envelope envelope;
    envelope.reverse_path = mail::ReversePath::parse(path).value();
    return envelope;
}

// Plays a server: answers each command by `answers` ("MAIL", "RCPT a@x", "DATA", ".", "RSET") or 250/354, and
// writes down what it saw. An answer "" cuts the connection there.
struct ServerDialogue {
    std::map<std::string, std::string> answers;
    std::vector<std::string> seen;
    std::deque<std::string> owed;
    bool in_data = false;

    std::string key(const std::string& line) {
        if (line.starts_with("RCPT TO:<")) return "RCPT " + line.substr(9, line.find('>') - 9);
        return line.substr(0, line.find(' '));
    }
    void take(const std::string& octets) {
        std::size_t at = 0;
        while (at < octets.size()) {
            const auto end = octets.find("\r\n", at);
            const std::string line = octets.substr(at, end - at);
            at = end + 2;
            seen.push_back(line);
            const std::string k = key(line);
            const auto known = answers.find(k);
            owed.push_back(known != answers.end() ? known->second : k == "DATA" ? "354 go" : "250 ok");
        }
    }
};

Reply reply(const std::string& text) {
    ReplyParser parser;
    parser.feed(text + "\r\n");
    return parser.next().value().value();
}

std::vector<RecipientOutcome> play(Transaction& transaction, ServerDialogue& server,
                                   bool* reusable = nullptr) {
    for (int steps = 0; steps < 10000; ++steps) {
        auto action = transaction.next();
        if (auto* send = std::get_if<Transaction::Send>(&action)) {
            server.take(send->octets);
        } else if (std::get_if<Transaction::SendMessage>(&action) != nullptr) {
            server.take("(message)\r\n");
        } else if (std::get_if<Transaction::Await>(&action) != nullptr) {
            if (server.owed.empty()) {
                ADD_FAILURE() << "a reply is awaited that nobody owes";
                break;
            }
            const std::string text = server.owed.front();
            server.owed.pop_front();
            if (text.empty())
                transaction.on_failure(Errc::closed, "gone");
            else
                transaction.on_reply(reply(text));
        } else {
            if (reusable != nullptr) *reusable = std::get<Transaction::Finished>(action).reusable;
            return transaction.outcomes();
        }
    }
    ADD_FAILURE() << "it does not end";
    return {};
}

class Pipelining : public testing::TestWithParam<bool> {
  protected:
    Extensions offered() const {
        Extensions out;
        out.esmtp = true;
        out.pipelining = GetParam();
        return out;
    }
};
INSTANTIATE_TEST_SUITE_P(BothWays, Pipelining, testing::Bool(),
                         [](const auto& row) { return row.param ? "With" : "Without"; });

TEST_P(Pipelining, KeepsTheRecipientsApart) {  // SMTP-14, SMTP-73
    Transaction transaction(from("s@x"), {to("a@x"), to("b@x"), to("c@x")}, 10, false, offered());
    ServerDialogue server{{{"RCPT b@x", "550 5.1.1 unknown"}, {"RCPT c@x", "450 4.2.0 later"}}, {}, {}};
    bool reusable = false;
    const auto outcomes = play(transaction, server, &reusable);
    EXPECT_FALSE(outcomes[0].failure);
    EXPECT_EQ(outcomes[1].failure->reply->code, 550);
    EXPECT_EQ(outcomes[2].failure->reply->code, 450);
    EXPECT_TRUE(reusable);
    EXPECT_EQ(server.seen.back(), "(message)");
}

TEST_P(Pipelining, SendsNothingWhenAllAreRefused) {  // SMTP-23
    Transaction transaction(from("s@x"), {to("a@x"), to("b@x")}, 10, false, offered());
    ServerDialogue server{
        {{"RCPT a@x", "550 no"}, {"RCPT b@x", "550 no"}, {"DATA", "554 no recipients"}}, {}, {}};
    const auto outcomes = play(transaction, server);
    EXPECT_EQ(outcomes[0].failure->stage, Stage::rcpt);
    for (const auto& line : server.seen) EXPECT_NE(line, "(message)");
    EXPECT_EQ(server.seen.back(), "RSET");
}

TEST_P(Pipelining, ASessionWhoseRsetIsRefusedCarriesNoMore) {
    for (const char* answer : {"250 ok", "500 what?"}) {
        Transaction transaction(from("s@x"), {to("a@x")}, 10, false, offered());
        ServerDialogue server{
            {{"RCPT a@x", "550 no"}, {"DATA", "554 no recipients"}, {"RSET", answer}}, {}, {}};
        bool reusable = false;
        play(transaction, server, &reusable);
        EXPECT_EQ(server.seen.back(), "RSET");
        EXPECT_EQ(reusable, *answer == '2') << answer;
    }
}

TEST_P(Pipelining, IsOnlyForHostsThatOfferIt) {  // RFC 2920 §3.1
    Transaction transaction(from("s@x"), {to("a@x")}, 10, false, offered());
    const auto octets = std::get<Transaction::Send>(transaction.next()).octets;
    EXPECT_EQ(octets, GetParam() ? "MAIL FROM:<s@x>\r\nRCPT TO:<a@x>\r\nDATA\r\n" : "MAIL FROM:<s@x>\r\n");
}

TEST(PipelinedData, EndsWithALoneDotWhenNobodyMayHaveIt) {  // SMTP-23: 354 though every recipient was refused
    Extensions offered;
    offered.esmtp = offered.pipelining = true;
    Transaction transaction(from("s@x"), {to("a@x")}, 10, false, offered);
    ServerDialogue server{{{"RCPT a@x", "550 no"}, {".", "554 no"}}, {}, {}};
    const auto outcomes = play(transaction, server);
    EXPECT_EQ(outcomes[0].failure->reply->code, 550);
    EXPECT_EQ(server.seen, (std::vector<std::string>{"MAIL FROM:<s@x>", "RCPT TO:<a@x>", "DATA", "."}));
}

TEST_P(Pipelining, RefusedMailFailsEverybody) {
    Transaction transaction(from("s@x"), {to("a@x"), to("b@x")}, 10, false, offered());
    ServerDialogue server{
        {{"MAIL", "550 5.7.1 no"}, {"RCPT a@x", "503 no"}, {"RCPT b@x", "503 no"}, {"DATA", "503 no"}},
        {},
        {}};
    const auto outcomes = play(transaction, server);
    EXPECT_EQ(outcomes[0].failure->stage, Stage::mail);
    EXPECT_EQ(outcomes[1].failure->reply->text(), "550 5.7.1 no");
}

TEST_P(Pipelining, EveryLostReplyFailsTheRest) {  // SMTP-17: each step in turn
    for (const char* step : {"MAIL", "RCPT a@x", "RCPT b@x", "DATA", "(message)"}) {
        SCOPED_TRACE(step);
        Transaction transaction(from("s@x"), {to("a@x"), to("b@x")}, 10, false, offered());
        ServerDialogue server{{{step, ""}}, {}, {}};
        bool reusable = true;
        const auto outcomes = play(transaction, server, &reusable);
        EXPECT_FALSE(reusable);
        for (const auto& outcome : outcomes) {
            ASSERT_TRUE(outcome.failure);
            EXPECT_EQ(outcome.failure->code, Errc::closed);
        }
        if (std::string_view(step) == "(message)") {
            EXPECT_EQ(outcomes[0].failure->stage, Stage::dot) << "its fate is unknown";
        }
    }
}

TEST_P(Pipelining, A421AnywhereEndsTheSession) {  // SMTP-18
    for (const char* step : {"MAIL", "RCPT b@x", "DATA", "(message)"}) {
        SCOPED_TRACE(step);
        Transaction transaction(from("s@x"), {to("a@x"), to("b@x")}, 10, false, offered());
        ServerDialogue server{{{step, "421 4.3.2 closing"}}, {}, {}};
        bool reusable = true;
        const auto outcomes = play(transaction, server, &reusable);
        EXPECT_FALSE(reusable);
        for (const auto& outcome : outcomes) EXPECT_EQ(outcome.failure->reply->code, 421);
    }
}

TEST(Data, IsNeverSentUnlessAskedFor) {  // SMTP-09
    for (const char* answer : {"250 ok", "451 later", "554 no"}) {
        Transaction transaction(from("s@x"), {to("a@x")}, 10, false, Extensions());
        ServerDialogue server{{{"DATA", answer}}, {}, {}};
        const auto outcomes = play(transaction, server);
        EXPECT_EQ(outcomes[0].failure->stage, Stage::data) << answer;
        for (const auto& line : server.seen) EXPECT_NE(line, "(message)") << answer;
    }
}

TEST(PipelineWindow, KeepsManyRecipientsFromFillingBothPipes) {  // SMTP-73
    Extensions offered;
    offered.esmtp = offered.pipelining = true;
    std::vector<mail::Recipient> many;
    for (int i = 0; i < 1000; ++i)
        many.push_back(to(("recipient-number-" + std::to_string(i) + "@x").c_str()));
    Transaction transaction(from("s@x"), many, 10, false, offered);
    const auto first = std::get<Transaction::Send>(transaction.next());
    EXPECT_LE(first.octets.size(), 4096U + 512U);
    ServerDialogue server;
    server.take(first.octets);
    const auto outcomes = play(transaction, server);
    for (const auto& outcome : outcomes) EXPECT_FALSE(outcome.failure);
}

TEST(Parameters, WithoutSmtputf8DomainsGoAsALabels) {  // SMTP-84, SMTP-85
    mail::Envelope envelope;
    envelope.reverse_path = mail::ReversePath::parse(
                                "a@b\xc3\xbc"
                                "cher.test",
                                true)
                                .value();
    const mail::Recipient to(mail::ForwardPath::parse("b@B\xc3\xbc"
                                                      "cher.test",
                                                      true)
                                 .value());
    Extensions offered;
    offered.smtputf8 = true;
    EXPECT_EQ(mail_from(envelope, 1, false, offered), "MAIL FROM:<a@xn--bcher-kva.test>");
    EXPECT_EQ(rcpt_to(to, false, offered), "RCPT TO:<b@xn--bcher-kva.test>");
    envelope.smtputf8 = true;
    EXPECT_EQ(mail_from(envelope, 1, false, offered),
              "MAIL FROM:<a@b\xc3\xbc"
              "cher.test> SMTPUTF8");
    EXPECT_EQ(rcpt_to(to, true, offered),
              "RCPT TO:<b@B\xc3\xbc"
              "cher.test>");
    EXPECT_EQ(mail_from(envelope, 1, false, {}), "MAIL FROM:<a@xn--bcher-kva.test>");
}

TEST(Parameters, GoOnlyToHostsThatOfferThem) {  // SMTP-07, SMTP-76, SMTP-85, SMTP-94
    Extensions all;
    all.esmtp = all.size = all.eight_bit_mime = all.smtputf8 = all.dsn = true;
    const auto mail_line = [](const Extensions& offered) {
        Transaction transaction(from("s@x"), {to("a@x")}, 77, true, offered);
        const auto octets = std::get<Transaction::Send>(transaction.next()).octets;
        return octets.substr(0, octets.find("\r\n"));
    };
    EXPECT_EQ(mail_line(all), "MAIL FROM:<s@x> SIZE=77 BODY=8BITMIME");
    EXPECT_EQ(mail_line(Extensions()), "MAIL FROM:<s@x>");

    mail::Envelope envelope = from("s@x");
    envelope.requiretls = true;
    envelope.ret = mail::Ret::hdrs;
    envelope.envid = "e1";
    mail::Recipient recipient = to("a@x");
    recipient.notify.success = recipient.notify.delay = true;
    recipient.orcpt = "rfc822;a@x";
    all.requiretls = true;
    EXPECT_EQ(mail_from(envelope, 77, true, all),
              "MAIL FROM:<s@x> SIZE=77 BODY=8BITMIME REQUIRETLS RET=HDRS ENVID=e1");
    EXPECT_EQ(rcpt_to(recipient, false, all), "RCPT TO:<a@x> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;a@x");
    Extensions none;
    none.esmtp = true;
    EXPECT_EQ(mail_from(envelope, 77, true, none), "MAIL FROM:<s@x>");
    EXPECT_EQ(rcpt_to(recipient, false, none), "RCPT TO:<a@x>");
}

TEST(DotStuffer, StuffsTheSameHoweverItIsCut) {  // SMTP-11, SMTP-12
    const std::string message = ".\r\n..\r\n.a\r\nb.\r\n.\r\n";
    for (std::size_t cut = 0; cut <= message.size(); ++cut) {
        DotStuffer stuffer;
        std::string wire = stuffer.stuff(message.substr(0, cut));
        wire += stuffer.stuff(message.substr(cut));
        wire += stuffer.end();
        EXPECT_EQ(wire, "..\r\n...\r\n..a\r\nb.\r\n..\r\n.\r\n") << cut;
    }
    DotStuffer unfinished;
    EXPECT_EQ(unfinished.stuff("a"), "a");
    EXPECT_EQ(unfinished.end(), "\r\n.\r\n");
}

}  // namespace
}  // namespace sternpost::smtp
