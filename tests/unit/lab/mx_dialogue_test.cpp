#include "lab/mx_dialogue.h"

#include <gtest/gtest.h>

namespace sternpost::lab {
namespace {

// Plays the shell for one session: all that is said, with the turns that are not octets in brackets.
class Session {
  public:
    explicit Session(const MxHost& host) : dialogue_(host, "mx.example") { run(); }

    std::string say(std::string_view octets) {
        dialogue_.feed(octets);
        return run();
    }
    std::string greeting() const { return greeting_; }
    std::vector<say::Message> messages;

  private:
    std::string run() {
        std::string said;
        for (;;) {
            Turn turn = dialogue_.next();
            if (std::holds_alternative<say::NeedInput>(turn)) break;
            if (auto* octets = std::get_if<say::Send>(&turn)) said += octets->octets;
            if (auto* message = std::get_if<say::Message>(&turn)) messages.push_back(std::move(*message));
            if (std::holds_alternative<say::StartTls>(turn)) {
                said += "[tls]";
                dialogue_.tls_started();
            }
            if (std::holds_alternative<say::Hang>(turn)) return said + "[hang]";
            if (std::holds_alternative<say::Close>(turn)) return said + "[close]";
        }
        if (greeting_.empty()) greeting_ = said;
        return said;
    }

    MxDialogue dialogue_;
    std::string greeting_;
};

MxHost plain() {
    MxHost host;
    host.extensions.clear();
    return host;
}

TEST(LabMx, TakesAMessageAsItWasSent) {
    const MxHost host;
    Session session(host);
    EXPECT_EQ(session.greeting(), "220 mx.example ESMTP sternpost-lab\r\n");
    session.say("EHLO client.example\r\n");
    EXPECT_EQ(session.say(
                  "MAIL FROM:<> BODY=8BITMIME\r\nRCPT TO:<a@x.example>\r\nRCPT TO:<b@x.example>\r\nDATA\r\n"),
              "250 2.1.0 ok\r\n250 2.1.5 ok\r\n250 2.1.5 ok\r\n354 go on, end with a dot\r\n");
    const std::string_view text = "Subject: x\r\n\r\n..dot\r\nbare\n.\nlines\r\n.\r\n";
    std::string reply;
    for (const char c : text) reply += session.say(std::string_view(&c, 1));
    EXPECT_EQ(reply, "250 2.0.0 taken\r\n");
    ASSERT_EQ(session.messages.size(), 1U);
    EXPECT_EQ(session.messages[0].octets, "Subject: x\r\n\r\n.dot\r\nbare\n.\nlines\r\n");
    EXPECT_EQ(session.messages[0].recipients, (std::vector<std::string>{"a@x.example", "b@x.example"}));
    EXPECT_EQ(session.messages[0].reverse_path, "");
    EXPECT_EQ(session.messages[0].helo, "client.example");
    EXPECT_EQ(session.say("QUIT\r\n"), "221 2.0.0 bye\r\n[close]");
}

struct StartTlsCase {
    const char* name;
    StartTls starttls;
    std::string_view ehlo;
    std::string_view reply;
};
class LabMxStartTls : public testing::TestWithParam<StartTlsCase> {};
TEST_P(LabMxStartTls, AnswersAsTold) {
    MxHost host = plain();
    host.starttls = GetParam().starttls;
    Session session(host);
    EXPECT_EQ(session.say("EHLO c\r\n"), GetParam().ehlo);
    EXPECT_EQ(session.say("STARTTLS\r\n"), GetParam().reply);
}
constexpr std::string_view offering = "250-mx.example\r\n250 STARTTLS\r\n";
const StartTlsCase starttls_cases[] = {
    {"Offered", StartTls::offered, offering, "220 2.0.0 go ahead\r\n[tls]"},
    {"None", StartTls::none, "250 mx.example\r\n", "502 5.5.2 command not known\r\n"},
    {"Refused", StartTls::refused, offering, "454 4.7.0 TLS not available\r\n"},
    {"Injected", StartTls::injected, offering,
     "220 2.0.0 go ahead\r\n250-mx.example\r\n250 INJECTED\r\n[tls]"},
    {"Garbage", StartTls::garbage, offering, "220 2.0.0 go ahead\r\nthis is not TLS\r\n[close]"},
    {"Drop", StartTls::drop, offering, "[close]"},
};
INSTANTIATE_TEST_SUITE_P(Kinds, LabMxStartTls, testing::ValuesIn(starttls_cases),
                         [](const auto& row) { return row.param.name; });

TEST(LabMx, OffersNoStartTlsUnderTls) {
    const MxHost host = plain();
    Session session(host);
    session.say("EHLO c\r\nSTARTTLS\r\n");
    EXPECT_EQ(session.say("EHLO c\r\n"), "250 mx.example\r\n");
}

struct PhaseCase {
    const char* name;
    Say MxHost::*phase;
    std::string_view told;
    std::string_view end;  // how what is said ends, after a whole dialogue up to the dot
};
class LabMxPhase : public testing::TestWithParam<PhaseCase> {};
TEST_P(LabMxPhase, SaysWhatItIsTold) {
    MxHost host = plain();
    host.*GetParam().phase = Say{std::string(GetParam().told)};
    Session session(host);
    std::string said = session.greeting();
    for (const char* line :
         {"EHLO c\r\n", "MAIL FROM:<a@x>\r\n", "RCPT TO:<b@x>\r\n", "DATA\r\n", "text\r\n.\r\n"})
        if (!said.ends_with(']')) said += session.say(line);
    EXPECT_TRUE(said.ends_with(GetParam().end)) << said;
    EXPECT_TRUE(session.messages.empty());
}
const PhaseCase phase_cases[] = {
    {"Mail", &MxHost::mail, "451 4.3.0 later",
     "503 5.5.1 say MAIL first\r\n554 5.5.1 no valid recipients\r\n"
     "502 5.5.2 command not known\r\n502 5.5.2 command not known\r\n"},
    {"Rcpt", &MxHost::rcpt, "550 5.1.1 no",
     "554 5.5.1 no valid recipients\r\n502 5.5.2 command not known\r\n"
     "502 5.5.2 command not known\r\n"},
    {"DataHangs", &MxHost::data, "hang", "250 2.1.5 ok\r\n[hang]"},
    {"DotDrops", &MxHost::dot, "drop", "354 go on, end with a dot\r\n[close]"},
    {"DotRefused", &MxHost::dot, "554 5.7.1 no", "354 go on, end with a dot\r\n554 5.7.1 no\r\n"},
    {"Closing", &MxHost::rcpt, "421 4.3.2 down", "250 2.1.0 ok\r\n421 4.3.2 down\r\n[close]"},
};
INSTANTIATE_TEST_SUITE_P(Phases, LabMxPhase, testing::ValuesIn(phase_cases),
                         [](const auto& row) { return row.param.name; });

TEST(LabMx, RefusesOneLocalPartAlone) {
    MxHost host = plain();
    host.rcpt_to["carol"] = Say{"550 5.1.1 no such user"};
    Session session(host);
    EXPECT_EQ(session.say("HELO c\r\nMAIL FROM:<a@x>\r\nRCPT TO:<Carol@x>\r\nRCPT TO:<bob@x>\r\n"),
              "250 mx.example\r\n250 2.1.0 ok\r\n550 5.1.1 no such user\r\n250 2.1.5 ok\r\n");
}

TEST(LabMx, FollowsAChangeWithinASession) {
    MxHost host = plain();
    Session session(host);
    session.say("EHLO c\r\n");
    host.mail = Say{"450 4.7.1 not now"};
    EXPECT_EQ(session.say("MAIL FROM:<a@x>\r\n"), "450 4.7.1 not now\r\n");
}

TEST(LabMx, BoundsACommandLine) {
    const MxHost host = plain();
    Session session(host);
    EXPECT_EQ(session.say(std::string(5000, 'x')), "500 5.5.2 line too long\r\n[close]");
}

TEST(LabMx, OffersOtherThingsInsideTls) {
    MxHost host = plain();
    host.extensions = {"PIPELINING"};
    host.extensions_in_tls = std::vector<std::string>{"8BITMIME"};
    host.requiretls = RequireTls::after;
    Session session(host);
    EXPECT_EQ(session.say("EHLO c\r\n"), "250-mx.example\r\n250-PIPELINING\r\n250 STARTTLS\r\n");
    EXPECT_EQ(session.say("STARTTLS\r\n"), "220 2.0.0 go ahead\r\n[tls]");
    EXPECT_EQ(session.say("EHLO c\r\n"), "250-mx.example\r\n250-8BITMIME\r\n250 REQUIRETLS\r\n");
    host.requiretls = RequireTls::before;
    EXPECT_EQ(session.say("EHLO c\r\n"), "250-mx.example\r\n250 8BITMIME\r\n");
    host.requiretls = RequireTls::always;
    session.say("EHLO c\r\nMAIL FROM:<a@x.example> REQUIRETLS SIZE=1\r\nRCPT TO:<b@y.example>\r\nDATA\r\n");
    session.say("x\r\n.\r\n");
    ASSERT_EQ(session.messages.size(), 1U);
    EXPECT_EQ(session.messages[0].parameters, "REQUIRETLS SIZE=1");
}

TEST(LabMx, RefusesStartTlsWithAnyReplyAndCutsReplies) {
    MxHost host = plain();
    host.starttls_reply.text = "554 5.7.0 never";
    host.dot.text = "cut";
    Session session(host);
    session.say("EHLO c\r\n");
    EXPECT_EQ(session.say("STARTTLS\r\n"), "554 5.7.0 never\r\n");
    session.say("MAIL FROM:<a@x.example>\r\nRCPT TO:<b@y.example>\r\nDATA\r\n");
    EXPECT_EQ(session.say("x\r\n.\r\n"), "250 2.0.0 taken[close]");
    EXPECT_TRUE(session.messages.empty());
}

}  // namespace
}  // namespace sternpost::lab
