#include "smtp/server.h"

#include <gtest/gtest.h>
#include <malloc.h>

#include <functional>
#include <random>
#include <string>
#include <vector>

#include "mail/local_names.h"
#include "mail/seven_bit.h"
#include "util/text.h"

namespace sternpost::smtp {
namespace {

constexpr WallTime now = std::chrono::sys_days(std::chrono::year(2026) / 11 / 23) + std::chrono::hours(12);

ServerOptions options() {
    const mail::LocalNames names({dns::Domain::parse("relay.example").value()},
                                 mail::ForwardPath::parse("admin@corp.example").value());
    ServerOptions o;
    o.hostname = "relay.example";
    o.max_message_size = 65536;
    o.networks = {{dns::Network::parse("192.0.2.0/24").value(), ClientRole::originate},
                  {dns::Network::parse("192.0.2.128/25").value(), ClientRole::relay}};
    o.resolve_recipient = [names](std::string_view text, bool utf8) { return names.resolve(text, utf8); };
    return o;
}

const char* const originator = "192.0.2.1";
const char* const relay = "192.0.2.200";
const char* const stranger = "198.51.100.7";

// Plays the shell: answers the core's questions, keeps what was said and accepted.
class Peer {
  public:
    explicit Peer(const char* client = originator, ServerOptions o = options(), bool starttls = false)
        : options_(std::move(o)), server_(options_, make_client(client, starttls)) {}

    // The replies to `octets`, without the greeting.
    std::string say(std::string_view octets) {
        EXPECT_FALSE(closed);
        if (!greeted_) run();
        greeted_ = true;
        said_.clear();
        server_.feed(octets);
        run();
        return said_;
    }
    // The same in single octets.
    std::string drip(std::string_view octets) {
        std::string all;
        for (const char c : octets) {
            if (closed) break;
            all += say(std::string_view(&c, 1));
        }
        return all;
    }
    std::string greeting() {
        run();
        greeted_ = true;
        return said_;
    }
    std::string end(const std::function<void(Server&)>& how) {
        said_.clear();
        how(server_);
        run();
        return said_;
    }

    struct Message {
        store::NewMessage envelope;
        std::string octets;
    };
    std::vector<Message> messages;
    std::vector<action::Rejected> rejected;
    std::vector<std::size_t> sent_at_once;  // sizes of what was sent by itself
    bool closed = false;
    std::size_t dropped = 0;
    std::optional<store::Errc> refuse_write;
    std::optional<store::Errc> refuse_accept;
    TransactionVerdict verdict = TransactionVerdict::go;
    std::uint64_t announced = 0;
    bool tls_available = true;

  private:
    Client make_client(const char* address, bool starttls) const {
        const auto parsed = dns::Address::parse(address).value();
        return Client{parsed, role_of(options_, parsed), starttls};
    }

    void run() {
        for (;;) {
            Action action = server_.next();
            if (std::holds_alternative<action::NeedInput>(action)) {
                said_ += server_.output();
                return;
            }
            if (std::holds_alternative<action::SendOutput>(action)) {
                const std::string out = server_.output();
                EXPECT_FALSE(out.empty());
                sent_at_once.push_back(out.size());
                said_ += out;
            } else if (std::holds_alternative<action::Close>(action)) {
                said_ += server_.output();
                closed = true;
                return;
            } else if (const auto* mail = std::get_if<action::AskTransaction>(&action)) {
                announced = mail->size;
                server_.transaction(verdict, "so many");
            } else if (const auto* ask = std::get_if<action::AskNextHop>(&action)) {
                server_.next_hop(ask->domain.text() == "gone.example" ? NextHopKnowledge::no_such_domain
                                 : ask->domain.text() == "null.example"
                                     ? NextHopKnowledge::null_mx
                                     : NextHopKnowledge::usable_or_unknown);
            } else if (std::holds_alternative<action::StartTls>(action)) {
                if (!tls_available) {
                    server_.refuse_tls();
                    continue;
                }
                server_.begin_tls();
                said_ += server_.output();
                server_.tls_started({"TLSv1.3", "TLS_AES_256_GCM_SHA384"});
            } else if (std::holds_alternative<action::BeginBody>(action)) {
                body_.clear();
                server_.begin_body(store::MessageId{++ids_}, now);
            } else if (const auto* write = std::get_if<action::WriteBody>(&action)) {
                body_ += write->octets;
                if (refuse_write)
                    server_.written(fail(*refuse_write, "as told"));
                else
                    server_.written({});
            } else if (std::holds_alternative<action::ShortenLines>(action)) {
                const auto shorter = mail::to_short_lines(body_);
                if (shorter) body_ = *shorter;
                if (shorter)
                    server_.shortened({});
                else
                    server_.shortened(fail(intake::Errc::bad_message, shorter.error().text));
            } else if (const auto* accept = std::get_if<action::AcceptMessage>(&action)) {
                if (refuse_accept) {
                    server_.accepted(fail(*refuse_accept, "as told"));
                } else {
                    messages.push_back({accept->message, body_});
                    server_.accepted(accept->message.id);
                }
            } else if (std::holds_alternative<action::DropBody>(action)) {
                ++dropped;
                body_.clear();
            } else if (auto* no = std::get_if<action::Rejected>(&action)) {
                rejected.push_back(*no);
            }
        }
    }

    ServerOptions options_;
    Server server_;
    bool greeted_ = false;
    std::string said_;
    std::string body_;
    std::uint64_t ids_ = 0;
};

// Plays a dialogue of `C: ` and `S: ` lines; `\n` ends a line, a `C:` line is sent with CRLF. What S says is
// compared from the start of each line to the dialogue's end of it (`…` at its end: the rest may be
// anything).
void play(Peer& peer, std::string_view dialogue) {
    std::string replies;
    for (const auto line : split(dialogue, '\n')) {
        if (line.size() < 3) continue;
        SCOPED_TRACE(std::string(line));
        const std::string_view text = line.substr(3);
        if (line.starts_with("C: ")) {
            ASSERT_EQ(replies, "") << "not expected";
            replies = peer.say(std::string(text) + "\r\n");
            continue;
        }
        const auto eol = replies.find("\r\n");
        ASSERT_NE(eol, std::string::npos) << "no further reply";
        const std::string said = replies.substr(0, eol);
        replies.erase(0, eol + 2);
        if (text.ends_with("…"))
            EXPECT_TRUE(said.starts_with(text.substr(0, text.size() - std::string_view("…").size()))) << said;
        else
            EXPECT_EQ(said, text);
    }
    EXPECT_EQ(replies, "") << "not expected";
}

const char* const hello =
    "C: EHLO client.example\n"
    "S: 250-relay.example\n"
    "S: 250-PIPELINING\n"
    "S: 250-SIZE 65536\n"
    "S: 250-8BITMIME\n"
    "S: 250-SMTPUTF8\n"  // SMTP-83
    "S: 250-DSN\n"
    "S: 250 ENHANCEDSTATUSCODES\n";

const char* const transaction =
    "C: MAIL FROM:<alice@corp.example>\n"
    "S: 250 2.1.0 ok\n"
    "C: RCPT TO:<bob@dest.example>\n"
    "S: 250 2.1.5 ok\n"
    "C: DATA\n"
    "S: 354 end with <CRLF>.<CRLF>\n";

TEST(SmtpServer, TakesAMessage) {  // SMTP-47, SMTP-49, SMTP-57, SMTP-87
    Peer peer;
    EXPECT_EQ(peer.greeting(), "220 relay.example ESMTP Sternpost\r\n");
    play(peer, hello);
    play(peer, transaction);
    EXPECT_EQ(peer.say("Date: then\r\nMessage-ID: <1@corp.example>\r\n\r\nhi\r\n.\r\n"),
              "250 2.0.0 0000000001 queued\r\n");
    play(peer,
         "C: QUIT\n"
         "S: 221 2.0.0 relay.example closing\n");
    EXPECT_TRUE(peer.closed);
    ASSERT_EQ(peer.messages.size(), 1U);
    const auto& [message, octets] = peer.messages[0];
    EXPECT_EQ(octets,
              "Received: from client.example ([192.0.2.1])\r\n"
              " by relay.example (Sternpost) with ESMTP id 0000000001\r\n"
              " for <bob@dest.example>;\r\n"
              " Mon, 23 Nov 2026 12:00:00 +0000\r\n"
              "Date: then\r\nMessage-ID: <1@corp.example>\r\nFrom: alice@corp.example\r\n\r\nhi\r\n");
    EXPECT_EQ(message.envelope.reverse_path.text(), "alice@corp.example");
    ASSERT_EQ(message.recipients.size(), 1U);
    EXPECT_EQ(message.recipients[0].next_hop, "dest.example");
    EXPECT_EQ(message.origin.address, "192.0.2.1");
    EXPECT_EQ(message.origin.helo, "client.example");
    EXPECT_EQ(message.origin.with, "ESMTP");
    EXPECT_EQ(message.arrived, now);
    EXPECT_FALSE(message.submission);
}

TEST(SmtpServer, AddsDateAndMessageIdToWhatOriginatesHere) {  // SMTP-118, D-36, D-25
    Peer peer;
    play(peer, hello);
    play(peer, transaction);
    peer.say(
        "Subject: x\r\nBcc: secret@corp.example,\r\n other@corp.example\r\nReturn-Path: "
        "<x@y.example>\r\n\r\nhi\r\n.\r\n");
    ASSERT_EQ(peer.messages.size(), 1U);
    const std::string& octets = peer.messages[0].octets;
    EXPECT_EQ(
        octets.substr(octets.find("Subject")),
        "Subject: x\r\nFrom: alice@corp.example\r\nDate: Mon, 23 Nov 2026 12:00:00 +0000\r\nMessage-ID: "
        "<0000000001@relay.example>\r\n\r\nhi\r\n");
}

TEST(SmtpServer, AddsNothingButTraceForARelay) {  // SMTP-51, SMTP-53, SMTP-54, SMTP-118
    Peer peer(relay);
    play(peer, hello);
    play(peer, transaction);
    const std::string sent =
        "Return-Path: <x@y.example>\r\nReceived: from a by b; then\r\nBcc: c@d.example\r\n\r\nhi\r\n";
    peer.say(sent + ".\r\n");
    ASSERT_EQ(peer.messages.size(), 1U);
    EXPECT_TRUE(peer.messages[0].octets.ends_with("+0000\r\n" + sent));
}

TEST(SmtpServer, RefusesTwoFromFieldsOfWhatOriginatesHere) {  // DKIM-16
    const std::string sent = "From: a@corp.example\r\nfrom : b@corp.example\r\n\r\nhi\r\n.\r\n";
    Peer client;
    play(client, hello);
    play(client, transaction);
    EXPECT_EQ(client.say(sent).substr(0, 10), "554 5.6.0 ");
    EXPECT_TRUE(client.messages.empty());
    Peer server(relay);
    play(server, hello);
    play(server, transaction);
    server.say(sent);
    EXPECT_EQ(server.messages.size(), 1U);
}

TEST(SmtpServer, NotesWhoseMailItIs) {  // DKIM-14, D-36
    for (const bool relayed : {false, true}) {
        Peer peer(relayed ? relay : originator);
        play(peer, hello);
        play(peer, transaction);
        peer.say("From: a@corp.example\r\n\r\nhi\r\n.\r\n");
        ASSERT_EQ(peer.messages.size(), 1U);
        EXPECT_EQ(peer.messages[0].envelope.envelope.originated, !relayed);
    }
}

TEST(SmtpServer, NamesNoRecipientInTraceWhenThereAreSeveral) {  // SMTP-48
    Peer peer;
    play(peer, hello);
    play(peer,
         "C: MAIL FROM:<>\nS: 250 2.1.0 ok\n"
         "C: RCPT TO:<bob@dest.example>\nS: 250 2.1.5 ok\n"
         "C: RCPT TO:<carol@dest.example>\nS: 250 2.1.5 ok\n"
         "C: DATA\nS: 354 …\n");
    peer.say("\r\n.\r\n");
    ASSERT_EQ(peer.messages.size(), 1U);
    EXPECT_EQ(peer.messages[0].octets.find("dest.example"), std::string::npos);
    EXPECT_TRUE(peer.messages[0].envelope.envelope.reverse_path.is_null());  // SMTP-55, SMTP-121
}

TEST(SmtpServer, SaysSmtpToAHeloClient) {  // SMTP-49, SMTP-59, SMTP-87
    Peer peer;
    play(peer,
         "C: HELO client.example\nS: 250 relay.example\n"
         "C: MAIL FROM:<a@corp.example> SIZE=1\nS: 555 5.5.4 unknown parameter SIZE\n"
         "C: MAIL FROM:<a@corp.example>\nS: 250 2.1.0 ok\n"
         "C: RCPT TO:<b@dest.example>\nS: 250 2.1.5 ok\n"
         "C: DATA\nS: 354 …\n");
    peer.say("x\r\n.\r\n");
    ASSERT_EQ(peer.messages.size(), 1U);
    EXPECT_NE(peer.messages[0].octets.find("with SMTP id"), std::string::npos);
}

// ---- replies to single commands, after EHLO

struct Exchange {
    const char* name;
    const char* dialogue;
};
class SmtpDialogue : public testing::TestWithParam<Exchange> {};
TEST_P(SmtpDialogue, Goes) {
    Peer peer;
    play(peer, hello);
    play(peer, GetParam().dialogue);
    EXPECT_EQ(peer.closed, std::string_view(GetParam().dialogue).ends_with("closing\n"));
}
TEST_P(SmtpDialogue, GoesInSingleOctets) {  // SMTP-74: the same replies however the group is cut
    std::string sent;
    for (const auto line : split(GetParam().dialogue, '\n')) {
        if (line == "C: DATA") break;  // what follows it would have to wait for 354
        if (line.starts_with("C: ")) sent += std::string(line.substr(3)) + "\r\n";
    }
    Peer whole;
    Peer dripped;
    whole.say("EHLO c.example\r\n");
    dripped.say("EHLO c.example\r\n");
    EXPECT_EQ(dripped.drip(sent), whole.say(sent));
    EXPECT_EQ(dripped.closed, whole.closed);
}

const Exchange exchanges[] = {
    {"OrderErrors",  // SMTP-58
     "C: RCPT TO:<b@dest.example>\nS: 503 5.5.1 MAIL first\n"
     "C: DATA\nS: 503 5.5.1 MAIL first\n"
     "C: MAIL FROM:<a@corp.example>\nS: 250 2.1.0 ok\n"
     "C: DATA\nS: 503 5.5.1 RCPT first\n"
     "C: MAIL FROM:<c@corp.example>\nS: 503 5.5.1 a transaction is open already\n"
     "C: RCPT TO:<b@dest.example>\nS: 250 2.1.5 ok\n"
     "C: DATA\nS: 354 …\n"},
    {"NoValidRecipients",
     "C: MAIL FROM:<a@corp.example>\nS: 250 2.1.0 ok\n"
     "C: RCPT TO:<b@gone.example>\nS: 550 5.1.2 gone.example does not exist in the DNS\n"
     "C: DATA\nS: 554 5.5.1 no valid recipients\n"
     "C: RCPT TO:<b@null.example>\nS: 556 5.1.10 null.example takes no mail (null MX)\n"  // SMTP-32
     "C: RCPT TO:<b@dest.example>\nS: 250 2.1.5 ok\n"
     "C: DATA\nS: 354 …\n"},
    {"ResetClears",  // SMTP-58
     "C: MAIL FROM:<a@corp.example>\nS: 250 2.1.0 ok\n"
     "C: RCPT TO:<b@dest.example>\nS: 250 2.1.5 ok\n"
     "C: RSET\nS: 250 2.0.0 ok\n"
     "C: RCPT TO:<b@dest.example>\nS: 503 5.5.1 MAIL first\n"},
    {"EhloClears",
     "C: MAIL FROM:<a@corp.example>\nS: 250 2.1.0 ok\n"
     "C: HELO again.example\nS: 250 relay.example\n"
     "C: DATA\nS: 503 5.5.1 MAIL first\n"},
    {"SmallCommands",  // SMTP-57, SMTP-66, SMTP-67
     "C: NOOP\nS: 250 2.0.0 ok\n"
     "C: noop anything\nS: 250 2.0.0 ok\n"
     "C: VRFY bob\nS: 252 2.0.0 …\n"
     "C: VRFY\nS: 501 5.5.4 …\n"
     "C: HELP\nS: 214 2.0.0 …\n"
     "C: EXPN list\nS: 502 5.5.1 not offered here\n"
     "C: STARTTLS\nS: 502 5.5.1 not offered here\n"
     "C: XYZZY\nS: 500 5.5.2 unknown command\n"
     "C: \nS: 500 5.5.2 unknown command\n"
     "C: RSET now\nS: 501 5.5.4 …\n"
     "C: QUIT now\nS: 501 5.5.4 …\n"
     "C: DATA now\nS: 501 5.5.4 …\n"
     "C: EHLO\nS: 501 a domain name…\n"
     "C: EHLO (evil) name\nS: 501 a domain name…\n"
     "C: EHLO [IPv6:2001:db8::1]\nS: 250-relay.example\nS: 250-PIPELINING\nS: 250-SIZE 65536\nS: "
     "250-8BITMIME\nS: 250-SMTPUTF8\nS: 250-DSN\n"
     "S: 250 ENHANCEDSTATUSCODES\n"},
    {"PathSyntax",  // SMTP-56, SMTP-68, SMTP-119
     "C: MAIL FROM:alice@corp.example\nS: 501 5.5.4 …\n"
     "C: MAIL alice\nS: 501 5.5.4 …\n"
     "C: MAIL FROM:<alice@corp.example\nS: 501 5.5.4 …\n"
     "C: MAIL FROM:<alice@corp.example>SIZE=1\nS: 501 5.5.4 …\n"
     "C: MAIL FROM:<alice>\nS: 553 5.1.7 …\n"
     "C: MAIL FROM:<alice@corp>\nS: 553 5.1.8 …\n"
     "C: MAIL FROM:<al ice@corp.example>\nS: 553 5.1.7 …\n"
     "C: MAIL FROM: <@one.example,@two.example:\"a>b\"@corp.example>\nS: 250 2.1.0 ok\n"
     "C: RCPT TO:b@dest.example\nS: 501 5.5.4 …\n"
     "C: RCPT TO:<>\nS: 553 5.1.3 …\n"
     "C: RCPT TO:<b@dest>\nS: 553 5.1.2 …\n"
     "C: RCPT TO:<b@@dest.example>\nS: 553 5.1…\n"
     "C: RCPT TO:<caf\xc3\xa9@dest.example>\nS: 553 5.6.7 …\n"  // SMTP-83
     "C: RCPT TO:<b@[192.0.2.9]>\nS: 250 2.1.5 ok\n"
     "C: rcpt to: <b@dest.example>\nS: 250 2.1.5 ok\n"},
    {"Parameters",  // SMTP-67, SMTP-75, SMTP-79, SMTP-82
     "C: MAIL FROM:<a@corp.example> FOO=1\nS: 555 5.5.4 unknown parameter FOO\n"
     "C: MAIL FROM:<a@corp.example> SIZE=65537\nS: 552 5.3.4 …\n"
     "C: MAIL FROM:<a@corp.example> SIZE=99999999999999999999\nS: 552 5.3.4 …\n"
     "C: MAIL FROM:<a@corp.example> SIZE=\nS: 501 5.5.4 …\n"
     "C: MAIL FROM:<a@corp.example> SIZE=1k\nS: 501 5.5.4 …\n"
     "C: MAIL FROM:<a@corp.example> SIZE=1 SIZE=1\nS: 501 5.5.4 …\n"
     "C: MAIL FROM:<a@corp.example> BODY=8BITMIME BODY=7BIT\nS: 501 5.5.4 …\n"
     "C: MAIL FROM:<a@corp.example> BODY=9BIT\nS: 501 5.5.4 …\n"
     "C: MAIL FROM:<a@corp.example> BODY=BINARYMIME\nS: 555 5.5.4 …\n"
     "C: MAIL FROM:<a@corp.example> size=65536 body=8bitmime\nS: 250 2.1.0 ok\n"
     "C: RCPT TO:<b@dest.example> FOO=1\nS: 555 5.5.4 unknown parameter FOO\n"
     "C: RCPT TO:<b@dest.example>\nS: 250 2.1.5 ok\n"},
    {"Postmaster",  // SMTP-57
     "C: MAIL FROM:<a@corp.example>\nS: 250 2.1.0 ok\n"
     "C: RCPT TO:<Postmaster>\nS: 250 2.1.5 ok\n"
     "C: RCPT TO:<POSTMASTER>\nS: 250 2.1.5 ok\n"
     "C: RCPT TO:<root>\nS: 250 2.1.5 ok\n"
     "C: RCPT TO:<bob@relay.example>\nS: 250 2.1.5 ok\n"},
    {"Http", "C: POST / HTTP/1.1\nS: 554 5.5.1 this is SMTP, not HTTP; closing\n"},
};
INSTANTIATE_TEST_SUITE_P(Rfc5321, SmtpDialogue, testing::ValuesIn(exchanges),
                         [](const auto& row) { return row.param.name; });

TEST(SmtpServer, WantsEhloFirst) {
    Peer peer;
    play(peer, "C: MAIL FROM:<a@corp.example>\nS: 503 5.5.1 EHLO first\n");
}

TEST(SmtpServer, SendsRootsMailToTheAdministratorOnce) {
    Peer peer;
    play(peer, hello);
    play(peer,
         "C: MAIL FROM:<a@corp.example>\nS: 250 2.1.0 ok\n"
         "C: RCPT TO:<Postmaster>\nS: 250 2.1.5 ok\n"
         "C: RCPT TO:<root>\nS: 250 2.1.5 ok\n"
         "C: DATA\nS: 354 …\n");
    peer.say("x\r\n.\r\n");
    ASSERT_EQ(peer.messages.at(0).envelope.recipients.size(), 1U);
    EXPECT_EQ(peer.messages[0].envelope.recipients[0].recipient.path.text(), "admin@corp.example");
}

// ---- smuggling, and line ends

TEST(SmtpServer, ExecutesNothingAfterABareLineFeedInACommand) {  // SMTP-60
    for (const char* sent :
         {"NOOP\n", "NOOP\nMAIL FROM:<a@corp.example>\r\n", "\n", "NOOP\r\nNOOP x\nQUIT\r\n"}) {
        SCOPED_TRACE(sent);
        Peer peer;
        play(peer, hello);
        const std::string said = peer.say(sent);
        EXPECT_TRUE(said.ends_with("500 5.5.2 a line feed without carriage return before it; closing\r\n"))
            << said;
        EXPECT_EQ(said.find("2.1.0"), std::string::npos);
        EXPECT_TRUE(peer.closed);
    }
}

TEST(SmtpServer, RefusesControlCharactersInACommand) {
    Peer peer;
    play(peer, hello);
    EXPECT_EQ(peer.say("NOOP a\rb\r\n"), "500 5.5.2 a control character in the command line\r\n");
    EXPECT_EQ(peer.say(std::string("NOOP \0\r\n", 8)),
              "500 5.5.2 a control character in the command line\r\n");
    EXPECT_FALSE(peer.closed);
}

using namespace std::string_view_literals;

TEST(SmtpServer, LetsNoSecondMessageBeSmuggledIn) {  // SMTP-61, SMTP-62, D-24
    const std::string forged =
        "MAIL FROM:<ceo@corp.example>\r\nRCPT TO:<v@dest.example>\r\nDATA\r\nforged\r\n.\r\nQUIT\r\n";
    const std::string_view ends[] = {"\n.\n",   "\n.\r\n",       "\r\n.\n",       "\r.\r",         "\r.\r\n",
                                     "\r\n.\r", "\r\r\n.\r\r\n", "\r\n\0.\r\n"sv, "\r\n.\0\r\n"sv, "\n.\r",
                                     "\r.\n",   "\n\n.\n\n",     "\r\n.\r\r\n",   "\n\r.\n\r"};
    for (const char* client : {originator, relay})
        for (const auto end : ends) {
            SCOPED_TRACE(std::string(client) + printable(end));
            Peer peer(client);
            play(peer, hello);
            play(peer, transaction);
            const std::string reply = peer.say("Subject: x\r\n\r\nouter" + std::string(end) + forged);
            // The real end comes inside the forged message; what follows it is QUIT: one reply, one message
            // at most.
            const bool nul = end.find('\0') != std::string_view::npos;
            const char* expected = nul ? "554 5.6.0" : client == relay ? "550 5.6.11" : "250 2.0.0";
            EXPECT_TRUE(reply.starts_with(expected)) << reply;
            EXPECT_TRUE(peer.closed);
            ASSERT_EQ(peer.messages.size(), !nul && client == originator ? 1U : 0U);
            if (peer.messages.empty()) {
                EXPECT_EQ(peer.dropped, 1U);
                continue;
            }
            const std::string& octets = peer.messages[0].octets;
            EXPECT_NE(octets.find("forged"), std::string::npos);
            for (std::size_t i = 0; i < octets.size(); ++i) {  // SMTP-62: none passes on
                const bool after_cr = i > 0 && octets[i - 1] == '\r';
                EXPECT_EQ(octets[i] == '\n', after_cr) << "at octet " << i;
            }
        }
}

TEST(SmtpServer, RefusesMailDataThatDidNotWaitFor354) {  // SMTP-72
    Peer peer;
    play(peer, hello);
    const std::string said =
        peer.say("MAIL FROM:<a@corp.example>\r\nRCPT TO:<b@dest.example>\r\nDATA\r\nhi\r\n.\r\n");
    EXPECT_EQ(said, "250 2.1.0 ok\r\n250 2.1.5 ok\r\n554 5.5.1 mail data before the reply 354; closing\r\n");
    EXPECT_TRUE(peer.closed);
    EXPECT_TRUE(peer.messages.empty());
}

// ---- limits

TEST(SmtpServer, DrainsACommandLineThatIsTooLong) {  // SMTP-64
    for (const std::size_t n : {513U - 7U, 5000U, 200'000U}) {
        Peer peer;
        play(peer, hello);
        std::string said;
        const std::string sent = "NOOP " + std::string(n, 'x') + "\r\n";
        for (std::size_t at = 0; at < sent.size(); at += 4096)
            said += peer.say(std::string_view(sent).substr(at, 4096));
        EXPECT_EQ(said, "500 5.5.2 the command line is too long\r\n");
        EXPECT_EQ(peer.say("NOOP\r\n"), "250 2.0.0 ok\r\n");
    }
    Peer peer;
    play(peer, hello);
    EXPECT_EQ(peer.say("NOOP " + std::string(512 - 7, 'x') + "\r\n"), "250 2.0.0 ok\r\n");
    EXPECT_EQ(peer.say("NOOP " + std::string(600, 'x')), "");
    EXPECT_EQ(peer.say("\r"), "");
    EXPECT_EQ(peer.say("\nNOOP\r\n"), "500 5.5.2 the command line is too long\r\n250 2.0.0 ok\r\n");
    EXPECT_EQ(peer.say("NOOP " + std::string(600, 'x')), "");
    EXPECT_EQ(peer.say("\nMAIL FROM:<a@corp.example>\r\n").substr(0, 9), "500 5.5.2");
    EXPECT_TRUE(peer.closed);
}

TEST(SmtpServer, TakesPathsOfFullLength) {  // SMTP-64
    const std::string domain = std::string(63, 'd') + "." + std::string(63, 'e') + "." + std::string(61, 'f');
    const std::string path = std::string(64, 'l') + "@" + domain;
    ASSERT_EQ(path.size(), 254U);
    Peer peer;
    play(peer, hello);
    EXPECT_EQ(peer.say("MAIL FROM:<" + path + "> SIZE=1 BODY=8BITMIME\r\n"), "250 2.1.0 ok\r\n");
    EXPECT_EQ(peer.say("RCPT TO:<" + path + ">\r\n"), "250 2.1.5 ok\r\n");
    const std::string longest = std::string(255, 'l') + "@" + domain + "." + std::string(60, 'g');  // D-49
    EXPECT_EQ(peer.say("RCPT TO:<" + longest + ">\r\n"), "250 2.1.5 ok\r\n");
    EXPECT_EQ(peer.say("RCPT TO:<l" + longest + ">\r\n").substr(0, 9), "553 5.1.3");
}

TEST(SmtpServer, KeepsTheRecipientsBeforeTheLimit) {  // SMTP-65
    ServerOptions o = options();
    o.max_recipients = 100;
    Peer peer(originator, o);
    play(peer, hello);
    peer.say("MAIL FROM:<a@corp.example>\r\n");
    for (int i = 0; i < 100; ++i)
        EXPECT_EQ(peer.say("RCPT TO:<r" + std::to_string(i) + "@dest.example>\r\n"), "250 2.1.5 ok\r\n");
    EXPECT_EQ(peer.say("RCPT TO:<r100@dest.example>\r\n").substr(0, 9), "452 4.5.3");
    peer.say("DATA\r\n");
    EXPECT_EQ(peer.say("x\r\n.\r\n").substr(0, 3), "250");
    EXPECT_EQ(peer.messages.at(0).envelope.recipients.size(), 100U);
}

TEST(SmtpServer, DiscardsWhatIsTooBigAndSaysSoAfterTheDot) {  // SMTP-75
    Peer peer;
    play(peer, hello);
    play(peer, transaction);
    const std::string line = std::string(998, 'x') + "\r\n";
    for (int i = 0; i < 66; ++i) EXPECT_EQ(peer.say(line), "");
    EXPECT_EQ(peer.dropped, 1U);
    EXPECT_EQ(peer.say(".\r\n").substr(0, 9), "552 5.3.4");
    EXPECT_TRUE(peer.messages.empty());
    play(peer, transaction);
    EXPECT_EQ(peer.say(std::string(1000, 'y') + "\r\n.\r\n").substr(0, 3),
              "250");  // SMTP-64: text lines of 1000
}

TEST(SmtpServer, TakesExactlyTheSizeItOffers) {  // SMTP-75
    Peer peer;
    play(peer, hello);
    play(peer, transaction);
    EXPECT_EQ(peer.say(std::string(65534, 'x') + "\r\n.\r\n").substr(0, 3), "250");
    play(peer, transaction);
    EXPECT_EQ(peer.say(std::string(65535, 'x') + "\r\n.\r\n").substr(0, 3), "552");
}

TEST(SmtpServer, StopsLoops) {  // SMTP-52
    for (const int n : {99, 100, 101}) {
        Peer peer;
        play(peer, hello);
        play(peer, transaction);
        std::string message;
        for (int i = 0; i < n; ++i) message += "ReCeived: from a by b;\r\n then\r\n";
        EXPECT_EQ(peer.say(message + "\r\nReceived: in the body\r\n.\r\n").substr(0, 9),
                  n > 100 ? "554 5.4.6" : "250 2.0.0");
        EXPECT_EQ(peer.dropped, n > 100 ? 1U : 0U);
    }
}

TEST(SmtpServer, ClosesAfterTooManyErrors) {
    Peer peer;
    play(peer, hello);
    for (int i = 0; i < 19; ++i)
        EXPECT_EQ(peer.say("XYZZY\r\n"), "500 5.5.2 unknown command\r\n");  // SMTP-66
    EXPECT_EQ(peer.say("XYZZY\r\nNOOP\r\n"),
              "500 5.5.2 unknown command\r\n421 4.7.0 relay.example too many errors, closing\r\n");
    EXPECT_TRUE(peer.closed);
}

// ---- who may send

TEST(SmtpServer, RelaysForNoStranger) {  // SMTP-69
    for (const char* path :
         {"u@dest.example", "u%dest.example@relay.example", "dest.example!u", "@relay.example:u@dest.example",
          "\"u@dest.example\"@relay.example", "u@relay.example", "Postmaster", "u@[192.0.2.1]"}) {
        SCOPED_TRACE(path);
        for (const char* sender : {"", "a@corp.example", "a@relay.example"}) {
            Peer peer(stranger);
            play(peer, hello);
            EXPECT_EQ(peer.say("MAIL FROM:<" + std::string(sender) + ">\r\n"), "250 2.1.0 ok\r\n");
            EXPECT_EQ(peer.say("RCPT TO:<" + std::string(path) + ">\r\n"),
                      "550 5.7.1 198.51.100.7 may not relay here\r\n");
            EXPECT_EQ(peer.say("DATA\r\n"), "554 5.5.1 no valid recipients\r\n");
            ASSERT_EQ(peer.rejected.size(), 1U);
            EXPECT_EQ(peer.rejected[0].recipient, path);
        }
    }
}

TEST(SmtpServer, TakesTheRoleOfTheNarrowestNetwork) {  // D-36
    const ServerOptions o = options();
    EXPECT_EQ(role_of(o, dns::Address::parse("192.0.2.127").value()), ClientRole::originate);
    EXPECT_EQ(role_of(o, dns::Address::parse("192.0.2.128").value()), ClientRole::relay);
    EXPECT_EQ(role_of(o, dns::Address::parse("192.0.3.1").value()), std::nullopt);
    EXPECT_EQ(role_of(o, dns::Address::parse("2001:db8::1").value()), std::nullopt);
}

TEST(SmtpServer, RefusesMailBeforeItComesWhileThereIsNoSpace) {
    Peer peer;
    peer.verdict = TransactionVerdict::no_space;
    play(peer, hello);
    play(peer,
         "C: MAIL FROM:<a@corp.example>\n"
         "S: 452 4.3.1 no space for the message, try again later\n"
         "C: RCPT TO:<b@dest.example>\n"
         "S: 503 5.5.1 MAIL first\n");
    EXPECT_EQ(peer.announced, 0U);
    EXPECT_TRUE(peer.rejected.empty()) << "a line for each";
    peer.verdict = TransactionVerdict::does_not_fit;
    play(peer,
         "C: MAIL FROM:<a@corp.example> SIZE=1000\n"
         "S: 452 4.3.1 no space for a message of 1000 octets, try again later\n");
    EXPECT_EQ(peer.announced, 1000U);
    EXPECT_EQ(peer.rejected.size(), 1U);
    peer.verdict = TransactionVerdict::go;
    play(peer, "C: MAIL FROM:<a@corp.example>\nS: 250 2.1.0 ok\n");
    EXPECT_EQ(peer.announced, 0U) << "of the last one";
}

TEST(SmtpServer, DefersWhoSendsTooOften) {
    Peer peer;
    peer.verdict = TransactionVerdict::too_many;
    play(peer, hello);
    play(peer,
         "C: MAIL FROM:<a@corp.example>\n"
         "S: 450 4.7.1 so many\n"
         "C: RCPT TO:<b@dest.example>\n"
         "S: 503 5.5.1 MAIL first\n");
    EXPECT_TRUE(peer.rejected.empty()) << "a line for each";
}

// ---- the store's word

struct StoreCase {
    store::Errc error;
    const char* reply;
};
class StoreTrouble : public testing::TestWithParam<StoreCase> {};
TEST_P(StoreTrouble, IsSaidAfterTheDot) {  // SMTP-44
    for (const bool at_write : {false, true}) {
        if (at_write && GetParam().error == store::Errc::duplicate) continue;
        Peer peer;
        (at_write ? peer.refuse_write : peer.refuse_accept) = GetParam().error;
        play(peer, hello);
        play(peer, transaction);
        EXPECT_EQ(peer.say("x\r\n.\r\n").substr(0, 9), GetParam().reply);
        EXPECT_TRUE(peer.messages.empty());
        EXPECT_EQ(peer.dropped, at_write ? 1U : 0U);
    }
}
INSTANTIATE_TEST_SUITE_P(Replies, StoreTrouble,
                         testing::Values(StoreCase{store::Errc::full, "452 4.3.1"},
                                         StoreCase{store::Errc::too_big, "552 5.3.4"},
                                         StoreCase{store::Errc::io, "451 4.3.0"},
                                         StoreCase{store::Errc::closed, "421 4.3.2"},
                                         StoreCase{store::Errc::duplicate, "250 2.0.0"}));

// ---- STARTTLS

const char* const tls_hello =
    "C: EHLO client.example\n"
    "S: 250-relay.example\n"
    "S: 250-PIPELINING\n"
    "S: 250-SIZE 65536\n"
    "S: 250-8BITMIME\n"
    "S: 250-SMTPUTF8\n"
    "S: 250-DSN\n"
    "S: 250-REQUIRETLS\n"  // RTLS-01, RTLS-15
    "S: 250 ENHANCEDSTATUSCODES\n";

// A peer with a certificate; `encrypted`: STARTTLS and EHLO are behind it.
Peer tls_peer(bool encrypted = true) {
    Peer peer(originator, options(), true);
    if (encrypted) {
        peer.say("EHLO client.example\r\n");
        EXPECT_EQ(peer.say("STARTTLS\r\n"), "220 2.0.0 begin the TLS handshake\r\n");
        play(peer, tls_hello);
    }
    return peer;
}

TEST(StartTls, IsOfferedOutsideTlsOnly) {  // TLS-06, TLS-07
    Peer peer = tls_peer(false);
    const std::string offered = peer.say("EHLO client.example\r\n");
    EXPECT_NE(offered.find("250-STARTTLS\r\n"), std::string::npos) << offered;
    EXPECT_EQ(offered.find("REQUIRETLS"), std::string::npos) << offered;
    play(peer,
         "C: STARTTLS now\nS: 501 5.5.4 STARTTLS takes no argument\n"
         "C: STARTTLS\nS: 220 2.0.0 begin the TLS handshake\n");
    play(peer, tls_hello);
    play(peer, "C: STARTTLS\nS: 503 5.5.1 TLS is in use already\n");
    Peer without;
    play(without, hello);
    play(without, "C: STARTTLS\nS: 502 5.5.1 not offered here\n");
}

TEST(StartTls, ForgetsWhatWasSaidInClear) {  // TLS-04
    Peer peer = tls_peer(false);
    peer.say("EHLO client.example\r\nMAIL FROM:<a@corp.example>\r\nRCPT TO:<b@dest.example>\r\n");
    play(peer,
         "C: STARTTLS\nS: 220 2.0.0 begin the TLS handshake\n"
         "C: RCPT TO:<b@dest.example>\nS: 503 5.5.1 MAIL first\n"
         "C: DATA\nS: 503 5.5.1 MAIL first\n"
         "C: MAIL FROM:<a@corp.example>\nS: 503 5.5.1 EHLO first\n");
}

TEST(StartTls, ExecutesNothingThatCameInClearBehindIt) {  // TLS-05, TLS-19
    for (const char* injected :
         {"NOOP\r\n", "MAIL FROM:<x@evil.example>\r\n", "RSET\r\nEHLO evil\r\n", "x"}) {
        SCOPED_TRACE(injected);
        Peer peer = tls_peer(false);
        peer.say("EHLO client.example\r\n");
        EXPECT_EQ(peer.say("STARTTLS\r\n" + std::string(injected)),
                  "554 5.5.1 octets after STARTTLS before the reply 220; closing\r\n");
        EXPECT_TRUE(peer.closed);
        ASSERT_EQ(peer.rejected.size(), 1U);
        EXPECT_EQ(peer.rejected[0].stage, "STARTTLS");
    }
}

TEST(StartTls, MayBeUnavailableForNow) {  // TLS-07
    Peer peer = tls_peer(false);
    peer.tls_available = false;
    peer.say("EHLO client.example\r\n");
    play(peer,
         "C: STARTTLS\nS: 454 4.7.0 TLS is not available now, try again later\n"
         "C: MAIL FROM:<a@corp.example>\nS: 250 2.1.0 ok\n");  // TLS-08
}

TEST(StartTls, IsInTheTrace) {
    Peer peer = tls_peer();
    play(peer, transaction);
    peer.say("x\r\n.\r\n");
    ASSERT_EQ(peer.messages.size(), 1U);
    const auto& [message, octets] = peer.messages[0];
    EXPECT_EQ(octets.substr(0, octets.find("From:")),
              "Received: from client.example ([192.0.2.1])\r\n"
              " by relay.example (Sternpost) with ESMTPS id 0000000001\r\n"
              " for <bob@dest.example>\r\n"
              " tls TLS_AES_256_GCM_SHA384 (TLSv1.3);\r\n"
              " Mon, 23 Nov 2026 12:00:00 +0000\r\n");
    EXPECT_EQ(message.origin.with, "ESMTPS");
    EXPECT_FALSE(message.envelope.requiretls);
}

// ---- REQUIRETLS

TEST(RequireTls, TagsAMessageThatCameByTls) {  // RTLS-01, RTLS-02, RTLS-11
    Peer peer = tls_peer();
    play(peer,
         "C: MAIL FROM:<a@corp.example> REQUIRETLS=1\nS: 501 5.5.4 REQUIRETLS stands once and has no value\n"
         "C: MAIL FROM:<a@corp.example> REQUIRETLS REQUIRETLS\nS: 501 5.5.4 …\n"
         "C: MAIL FROM:<a@corp.example> requiretls SIZE=10\nS: 250 2.1.0 ok\n"
         "C: RCPT TO:<b@dest.example>\nS: 250 2.1.5 ok\n"
         "C: DATA\nS: 354 …\n");
    peer.say("TLS-Required: No\r\n\r\nx\r\n.\r\n");
    play(peer, transaction);
    peer.say("TLS-Required: No\r\n\r\nx\r\n.\r\n");
    ASSERT_EQ(peer.messages.size(), 2U);
    EXPECT_TRUE(peer.messages[0].envelope.envelope.requiretls);
    EXPECT_FALSE(peer.messages[0].envelope.envelope.tls_required_no);
    EXPECT_NE(peer.messages[0].octets.find("TLS-Required: No"), std::string::npos);
    EXPECT_FALSE(peer.messages[1].envelope.envelope.requiretls);
    EXPECT_TRUE(peer.messages[1].envelope.envelope.tls_required_no);
}

TEST(RequireTls, IsRefusedInClear) {  // RTLS-01
    Peer peer = tls_peer(false);
    peer.say("EHLO client.example\r\n");
    play(peer, "C: MAIL FROM:<a@corp.example> REQUIRETLS\nS: 530 5.7.0 …\n");
    Peer without;
    play(without, hello);
    play(without, "C: MAIL FROM:<a@corp.example> REQUIRETLS\nS: 555 5.5.4 …\n");
    play(without,
         "C: HELO client.example\nS: 250 relay.example\n"
         "C: MAIL FROM:<a@corp.example> REQUIRETLS\nS: 555 5.5.4 unknown parameter REQUIRETLS\n");
}

TEST(SmtpServer, TakesMailWithEveryParameterAtFullLength) {  // SMTP-64, RTLS-01
    Peer peer = tls_peer();
    const std::string domain = std::string(63, 'd') + "." + std::string(63, 'e') + "." + std::string(61, 'f');
    std::string line = "MAIL FROM:<" + std::string(64, 'l') + "@" + domain +
                       "> SIZE=00000000000000000001 BODY=8BITMIME SMTPUTF8 REQUIRETLS RET=FULL ENVID=" +
                       std::string(100, 'e');
    const std::size_t longest = 512 + 256 + 26 + 17 + 10 + 11 + 116 - 2;
    ASSERT_LT(line.size(), longest);
    line += std::string(longest - line.size(), ' ');
    EXPECT_EQ(peer.say(line + "\r\n"), "250 2.1.0 ok\r\n");
    peer.say("RSET\r\n");
    EXPECT_EQ(peer.say(line + " \r\n"), "500 5.5.2 the command line is too long\r\n");
}

// ---- what is corrected in originated mail (RFC 6409 §8), and not in relayed mail

std::string corrected(Peer& peer, const std::string& message) {
    play(peer, hello);
    play(peer, transaction);
    const std::string said = peer.say(message + ".\r\n");
    if (peer.messages.empty()) return said;
    const std::string& octets = peer.messages.back().octets;
    return octets.substr(octets.find("+0000\r\n") + 7);  // behind the trace
}

TEST(Originated, HeaderIsRepairedAndNeedsNoSmtpUtf8) {  // D-42, D-43
    Peer peer;
    EXPECT_EQ(corrected(peer,
                        "From bob Mon Nov 23\r\nTo: root\r\nSubject: w\xc3\xb6rld\r\nDate: d\r\nMessage-ID: "
                        "<m>\r\n\r\nx\r\n"),
              "To: root@" + options().hostname +
                  "\r\nSubject: =?UTF-8?B?d8O2cmxk?=\r\nDate: d\r\nMessage-ID: <m>\r\nFrom: "
                  "alice@corp.example\r\n\r\nx\r\n");
    const auto& envelope = peer.messages.at(0).envelope.envelope;
    EXPECT_FALSE(envelope.eight_bit_header);
    EXPECT_FALSE(envelope.smtputf8);
}

TEST(Originated, AddressWithUtf8BeforeTheAtNeedsSmtpUtf8) {  // D-42
    Peer peer;
    corrected(peer, "From: a@corp.example\r\nTo: j\xc3\xb6rg@dest.example\r\n\r\nx\r\n");
    EXPECT_TRUE(peer.messages.at(0).envelope.envelope.smtputf8);
}

TEST(Originated, LongLinesAreEncodedOrRefused) {  // D-22
    Peer peer;
    const std::string out = corrected(peer, "From: a@corp.example\r\n\r\n" + std::string(2000, 'x') + "\r\n");
    EXPECT_NE(out.find("Content-Transfer-Encoding: quoted-printable\r\n"), std::string::npos);
    EXPECT_NE(out.find("\r\n\r\nxxx"), std::string::npos);
    Peer other;
    EXPECT_EQ(
        corrected(other,
                  "From: a@corp.example\r\nContent-Type: multipart/signed; boundary=b\r\n\r\n--b\r\n\r\n" +
                      std::string(2000, 'x') + "\r\n--b--\r\n")
            .substr(0, 9),
        "554 5.6.0");
    Peer header;
    EXPECT_EQ(
        corrected(header, "From: a@corp.example\r\nMessage-ID: <" + std::string(2000, 'x') + "@y>\r\n\r\n")
            .substr(0, 9),
        "554 5.6.0");
}

TEST(Relayed, IsNotTouched) {  // D-36, D-42
    Peer peer(relay);
    const std::string message = "Subject: w\xc3\xb6rld\r\nTo: root\r\n\r\n" + std::string(2000, 'x') + "\r\n";
    EXPECT_EQ(corrected(peer, message), message);
    const auto& envelope = peer.messages.at(0).envelope.envelope;
    EXPECT_TRUE(envelope.eight_bit_header);
    EXPECT_FALSE(envelope.smtputf8);
    ServerOptions o = options();
    o.max_message_size = 4'000'000;
    Peer longer(relay, o);
    longer.say("EHLO client.example\r\n");
    play(longer, transaction);
    EXPECT_EQ(longer.say("Subject: x\r\n\r\n" + std::string(mail::max_relayed_line + 1, 'x') + "\r\n.\r\n")
                  .substr(0, 9),
              "554 5.6.0");
}

// ---- DSN

TEST(Dsn, TakesEveryWishForNotices) {  // SMTP-92
    Peer peer;
    play(peer, hello);
    play(peer,
         "C: MAIL FROM:<a@corp.example> ret=hdrs envid=QQ+2B314\nS: 250 2.1.0 ok\n"
         "C: RCPT TO:<b@dest.example> notify=failure,DELAY ORCPT=rfc822;Bob+2BB@dest.example\nS: 250 2.1.5 "
         "ok\n"
         "C: RCPT TO:<c@dest.example> NOTIFY=NEVER\nS: 250 2.1.5 ok\n"
         "C: RCPT TO:<d@dest.example> ORCPT=x-uid;7 NOTIFY=SUCCESS\nS: 250 2.1.5 ok\n"
         "C: RCPT TO:<e@dest.example>\nS: 250 2.1.5 ok\n"
         "C: DATA\nS: 354 …\n"
         "C: Subject: x\nC: \nC: y\nC: .\nS: 250 2.0.0 …\n");
    ASSERT_EQ(peer.messages.size(), 1U);
    const store::NewMessage& message = peer.messages[0].envelope;
    EXPECT_EQ(message.envelope.ret, mail::Ret::hdrs);
    EXPECT_EQ(message.envelope.envid, "QQ+2B314") << "as it came";
    const auto& to = message.recipients;
    ASSERT_EQ(to.size(), 4U);
    EXPECT_EQ(to[0].recipient.notify, (mail::Notify{false, false, true, true}));
    EXPECT_EQ(to[0].recipient.orcpt, "rfc822;Bob+2BB@dest.example");
    EXPECT_TRUE(to[1].recipient.notify.never);
    EXPECT_TRUE(to[2].recipient.notify.success);
    EXPECT_EQ(to[2].recipient.orcpt, "x-uid;7");
    EXPECT_FALSE(to[3].recipient.notify.given());
}

// To a peer of its own, since many errors end a session.
void answer(const std::string& command, const std::string& expected, bool in_transaction) {
    Peer peer;
    play(peer, hello);
    if (in_transaction) play(peer, "C: MAIL FROM:<a@corp.example>\nS: 250 2.1.0 ok\n");
    play(peer, "C: " + command + "\nS: " + expected + "\n");
}

TEST(Dsn, RefusesWhatIsNoWish) {  // SMTP-92
    for (const char* bad : {"RET=ALL", "RET=", "RET", "RET=FULL RET=FULL", "ENVID=", "ENVID=a=b", "ENVID=+G0",
                            "ENVID=a ENVID=b"})
        answer("MAIL FROM:<a@corp.example> " + std::string(bad), "501 5.5.4 …", false);
    answer("MAIL FROM:<a@corp.example> ENVID=" + std::string(101, 'e'), "501 5.5.4 …", false);
    answer("MAIL FROM:<a@corp.example> ENVID=" + std::string(100, 'e'), "250 2.1.0 ok", false);
    for (const char* bad : {"NOTIFY=NEVER,SUCCESS", "NOTIFY=", "NOTIFY", "NOTIFY=SUCCESS,SUCCESS",
                            "NOTIFY=SOMETIMES", "NOTIFY=,", "NOTIFY=DELAY NOTIFY=DELAY", "ORCPT=rfc822",
                            "ORCPT=rfc822;", "ORCPT=;a@b", "ORCPT=rfc822;a=b", "ORCPT=rfc822;+g0",
                            "ORCPT=rfc822;a ORCPT=rfc822;a", "ORCPT=utf-8;j\xc3\xb6rg@dest.example"})
        answer("RCPT TO:<b@dest.example> " + std::string(bad), "501 5.5.4 …", true);
    const std::string longest = "ORCPT=rfc822;" + std::string(493, 'o');
    answer("RCPT TO:<b@dest.example> " + longest + "o", "501 5.5.4 …", true);
    answer("RCPT TO:<b@dest.example> NOTIFY=SUCCESS,FAILURE,DELAY " + longest, "250 2.1.5 ok", true);
}

TEST(Dsn, IsNotForSessionsWithHelo) {
    Peer peer;
    play(peer,
         "C: HELO client.example\nS: 250 relay.example\n"
         "C: MAIL FROM:<a@corp.example> RET=FULL\nS: 555 5.5.4 unknown parameter RET\n"
         "C: MAIL FROM:<a@corp.example>\nS: 250 2.1.0 ok\n"
         "C: RCPT TO:<b@dest.example> NOTIFY=NEVER\nS: 555 5.5.4 unknown parameter NOTIFY\n");
}

// ---- SMTPUTF8

TEST(Smtputf8, LetsUtf8IntoAddresses) {  // SMTP-83
    Peer peer;
    play(peer, hello);
    play(peer,
         "C: MAIL FROM:<j\xc3\xb6rg@corp.example>\n"
         "S: 553 5.6.7 an address with UTF-8 needs SMTPUTF8: j??rg@corp.example\n"
         "C: MAIL FROM:<a@corp.example> SMTPUTF8=1\nS: 501 5.5.4 SMTPUTF8 stands once and has no value\n"
         "C: MAIL FROM:<a@corp.example> SMTPUTF8 SMTPUTF8\nS: 501 5.5.4 …\n"
         "C: MAIL FROM:<j\xf6rg@corp.example> SMTPUTF8\nS: 553 5.1.7 not valid UTF-8: …\n"
         "C: MAIL FROM:<j\xc3\xb6rg@corp.example> BODY=8BITMIME smtputf8\nS: 250 2.1.0 ok\n"
         "C: RCPT TO:<\xe7\x94\xb2@b\xc3\xbc"
         "cher.example>\nS: 250 2.1.5 ok\n"
         "C: RCPT TO:<\xff@dest.example>\nS: 553 5.1.3 …\n"
         "C: DATA\nS: 354 …\n");
    peer.say("Subject: \xc3\xb6\r\n\r\nx\r\n.\r\n");
    play(peer,
         "C: MAIL FROM:<a@corp.example>\nS: 250 2.1.0 ok\n"
         "C: RCPT TO:<caf\xc3\xa9@dest.example>\nS: 553 5.6.7 …\n"
         "C: RCPT TO:<b@b\xc3\xbc"
         "cher.example>\nS: 553 5.6.7 …\n");
    ASSERT_EQ(peer.messages.size(), 1U);
    const auto& [message, octets] = peer.messages[0];
    EXPECT_TRUE(message.envelope.smtputf8);
    EXPECT_TRUE(message.envelope.eight_bit_header);
    EXPECT_EQ(message.envelope.reverse_path.text(), "j\xc3\xb6rg@corp.example");
    ASSERT_EQ(message.recipients.size(), 1U);
    EXPECT_EQ(message.recipients[0].recipient.path.text(),
              "\xe7\x94\xb2@b\xc3\xbc"
              "cher.example");
    EXPECT_EQ(message.recipients[0].next_hop, "xn--bcher-kva.example");
    EXPECT_EQ(message.origin.with, "UTF8SMTP");
    // the trace field has no UTF-8: hosts without SMTPUTF8 may be able to have the message
    EXPECT_TRUE(is_ascii(octets.substr(0, octets.find("Subject"))));
    EXPECT_NE(octets.find(" with UTF8SMTP id "), std::string::npos);
}

TEST(Smtputf8, HasAKeywordForTls) {
    Peer peer = tls_peer();
    play(peer,
         "C: MAIL FROM:<a@corp.example> SMTPUTF8\nS: 250 2.1.0 ok\n"
         "C: RCPT TO:<b@dest.example>\nS: 250 2.1.5 ok\n"
         "C: DATA\nS: 354 …\n");
    peer.say("x\r\n.\r\n");
    EXPECT_EQ(peer.messages.at(0).envelope.origin.with, "UTF8SMTPS");
    EXPECT_FALSE(peer.messages[0].envelope.envelope.eight_bit_header);
}

TEST(Smtputf8, IsUnknownToAHeloClient) {
    Peer peer;
    play(peer,
         "C: HELO client.example\nS: 250 relay.example\n"
         "C: MAIL FROM:<a@corp.example> SMTPUTF8\nS: 555 5.5.4 unknown parameter SMTPUTF8\n"
         "C: MAIL FROM:<\xc3\xb6@corp.example> SMTPUTF8\nS: 553 5.6.7 …\n");
}

TEST(SmtpServer, NotesASignature) {  // D-28
    Peer peer;
    play(peer, hello);
    play(peer, transaction);
    peer.say("DKIM-Signature: v=1\r\n\r\nx\r\n.\r\n");
    play(peer, transaction);
    peer.say("X: DKIM-Signature\r\n\r\nDKIM-Signature: v=1\r\n.\r\n");
    ASSERT_EQ(peer.messages.size(), 2U);
    EXPECT_TRUE(peer.messages[0].envelope.envelope.dkim_signed);
    EXPECT_FALSE(peer.messages[1].envelope.envelope.dkim_signed);
}

// ---- hostile octets

TEST(SmtpServer, SurvivesAnyOctets) {
    const std::string_view words[] = {
        "EHLO c.example\r\n",
        "MAIL FROM:<a@corp.example>\r\n",
        "RCPT TO:<b@dest.example>\r\n",
        "DATA\r\n",
        "RSET\r\n",
        "\r\n.\r\n",
        ".\r\n",
        "\r",
        "\n",
        "\0"sv,
        "<",
        ">",
        "\"",
        "\\",
        " ",
        "SIZE=",
        "STARTTLS\r\n",
        " SMTPUTF8",
        " REQUIRETLS",
        " NOTIFY=",
        " RET=FULL ENVID=",
        "Received: x\r\n",
        "\xff\xc3\xa9",
        "QUIT\r\n",
        "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"};
    for (unsigned seed = 0; seed < 3000; ++seed) {
        SCOPED_TRACE(seed);
        std::mt19937 chance(seed);
        Peer peer(seed % 3 == 0 ? relay : originator, options(), seed % 2 == 0);
        peer.say("EHLO c.example\r\n");
        for (int i = 0; i < 60 && !peer.closed; ++i) {
            // often what is expected next, so that the deep states are reached
            std::string octets(words[chance() % 4 != 0 ? chance() % 4 + 1 : chance() % std::size(words)]);
            const std::size_t cut = chance() % (octets.size() + 1);
            peer.say(std::string_view(octets).substr(0, cut));
            if (!peer.closed) peer.say(std::string_view(octets).substr(cut));
        }
        for (const auto& message : peer.messages) EXPECT_TRUE(message.octets.ends_with("\r\n"));
    }
}

// ---- grouping of replies, ends

TEST(SmtpServer, AnswersAPipelinedGroupInOneGo) {  // SMTP-74
    Peer peer;
    play(peer, hello);
    peer.sent_at_once.clear();
    EXPECT_EQ(peer.say("MAIL FROM:<a@corp.example>\r\nRCPT TO:<b@dest.example>\r\nRSET\r\nMAIL FROM:<>\r\n"),
              "250 2.1.0 ok\r\n250 2.1.5 ok\r\n250 2.0.0 ok\r\n250 2.1.0 ok\r\n");
    EXPECT_TRUE(peer.sent_at_once.empty());
    peer.say("NOOP\r\nNOOP\r\nRSET\r\n");
    EXPECT_EQ(peer.sent_at_once.size(), 2U);  // NOOP's replies are not held back
}

TEST(SmtpServer, SendsRepliesBeforeManyOfThemWait) {
    Peer peer;
    play(peer, hello);
    const auto resets = [](int n) {
        std::string out;
        while (n-- > 0) out += "RSET\r\n";
        return out;
    };
    const std::string reply = "250 2.0.0 ok\r\n";
    peer.sent_at_once.clear();
    peer.say(resets(292));  // 4088 octets of replies
    EXPECT_TRUE(peer.sent_at_once.empty());
    EXPECT_EQ(peer.say(resets(2000)).size(), 2000 * reply.size());
    EXPECT_GT(peer.sent_at_once.size(), 5U);
    for (const auto size : peer.sent_at_once) EXPECT_LE(size, 4096 + reply.size());
}

// Octets that this program has of the heap; 0 where a sanitizer has its own.
std::size_t allocated() {
    const auto info = ::mallinfo2();
    return info.uordblks + info.hblkhd;
}

TEST(SmtpServer, KeepsNoLargeBufferBetweenMessages) {
    const ServerOptions o = options();
    const auto address = dns::Address::parse(originator).value();
    Server server(o, Client{address, role_of(o, address)});
    const auto go_on = [&server] {
        for (;;) {
            const Action action = server.next();
            if (std::holds_alternative<action::NeedInput>(action)) break;
            ASSERT_FALSE(std::holds_alternative<action::Close>(action)) << server.output();
            if (std::holds_alternative<action::AskTransaction>(action))
                server.transaction(TransactionVerdict::go);
            else if (std::holds_alternative<action::AskNextHop>(action))
                server.next_hop(NextHopKnowledge::usable_or_unknown);
            else if (std::holds_alternative<action::BeginBody>(action))
                server.begin_body(store::MessageId{1}, now);
            else if (std::holds_alternative<action::WriteBody>(action))
                server.written({});
            else if (std::holds_alternative<action::AcceptMessage>(action))
                server.accepted(store::MessageId{1});
        }
    };
    const auto say = [&](std::string_view octets) {
        server.feed(octets);
        go_on();
        return server.output();
    };
    std::string piece;
    while (piece.size() < 24'000) piece += std::string(78, 'x') + "\r\n";
    const auto message = [&](std::string_view body) {
        say("MAIL FROM:<a@corp.example>\r\nRCPT TO:<b@dest.example>\r\nDATA\r\n");
        say("Subject: x\r\n\r\n");
        say(body);
        EXPECT_EQ(say(".\r\n").substr(0, 3), "250");
    };
    go_on();
    say("EHLO client.example\r\n");
    message("x\r\n");
    const std::size_t before = allocated();
    message(piece);
    EXPECT_LT(allocated(), before + 16'384) << "each of its three buffers is larger";
}

TEST(SmtpServer, SaysWhyItEnds) {  // SMTP-66
    Peer idle;
    idle.say("EHLO c.example\r\n");
    EXPECT_EQ(idle.end([](Server& s) { s.time_out(); }),
              "421 4.4.2 relay.example waited too long, closing\r\n");
    EXPECT_TRUE(idle.closed);
    Peer in_data;
    play(in_data, hello);
    play(in_data, transaction);
    in_data.say("half a mess");
    EXPECT_EQ(in_data.end([](Server& s) { s.shut_down(); }), "421 4.3.2 relay.example shutting down\r\n");
    EXPECT_TRUE(in_data.closed);
    EXPECT_EQ(in_data.dropped, 1U);
}

TEST(SmtpServer, GivesEveryReplyItsEnhancedCode) {  // SMTP-87
    Peer peer;
    peer.greeting();
    const std::string said = peer.say(
        "HELO c\r\nNOOP\r\nMAIL\r\nMAIL FROM:<>\r\nRCPT\r\nRCPT TO:<b@gone.example>\r\nDATA\r\nVRFY "
        "x\r\nHELP\r\nX\r\nQUIT\r\n");
    std::size_t lines = 0;
    for (const auto line : split(said, '\n')) {
        if (line.empty() || line.starts_with("250 relay")) continue;
        ++lines;
        EXPECT_TRUE(line.size() > 9 && line[4] == line[0] && line[5] == '.') << line;
    }
    EXPECT_EQ(lines, 10U);
}

}  // namespace
}  // namespace sternpost::smtp
