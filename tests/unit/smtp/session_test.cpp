// The client's shell against a scripted host on loopback: each step of the dialogue fails in turn, by error,
// close and silence.
#include "smtp/session.h"

#include <gtest/gtest.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/read_until.hpp>
#include <boost/asio/write.hpp>

#include "tls/self_signed.h"

namespace sternpost::smtp {
namespace {

using asio::ip::tcp;
using namespace std::chrono_literals;

/// What the host answers, by step: connect (the greeting), EHLO, STARTTLS, handshake, MAIL, RCPT, DATA,
/// message (which is read without an answer), dot, QUIT. CLOSE ends the connection there, SILENCE says and
/// reads nothing more, LATE says what is usual after `late`.
using Script = std::map<std::string, std::string>;
constexpr auto late = 1000ms;

class Host {
  public:
    Host(asio::io_context& io, Script script) : script_(std::move(script)), acceptor_(io, tcp::v4()) {
        // what waits to be read is little, so that a message does not fit
        if (script_.contains("message")) acceptor_.set_option(tcp::acceptor::receive_buffer_size(4096));
        acceptor_.bind(tcp::endpoint(asio::ip::address_v4::loopback(), 0));
        acceptor_.listen();
        asio::co_spawn(io, serve(), asio::detached);
    }
    std::uint16_t port() const { return acceptor_.local_endpoint().port(); }
    /// What the client writes from now on fails.
    void reset() {
        connected_->set_option(tcp::socket::linger(true, 0));
        connected_->close();
    }
    std::vector<std::string> seen;

  private:
    asio::awaitable<bool> answer(tcp::socket& socket, std::string step, std::string otherwise) {
        const auto known = script_.find(step);
        const std::string text = known == script_.end() ? otherwise : known->second;
        if (text == "CLOSE") {
            socket.close();
            co_return false;
        }
        if (text == "SILENCE") {
            asio::steady_timer wait(socket.get_executor(), 5s);
            co_await wait.async_wait(asio::use_awaitable);
            co_return false;
        }
        if (text == "LATE") {
            asio::steady_timer wait(socket.get_executor(), late);
            co_await wait.async_wait(asio::use_awaitable);
        }
        const std::string line = (text == "LATE" ? otherwise : text) + "\r\n";
        co_await asio::async_write(socket, asio::buffer(line), asio::use_awaitable);
        co_return true;
    }
    asio::awaitable<void> serve() {
        try {
            tcp::socket socket = co_await acceptor_.async_accept(asio::use_awaitable);
            connected_ = &socket;
            std::string buffer;
            bool on = co_await answer(socket, "connect", "220 host.test");
            while (on) {
                const auto n = co_await asio::async_read_until(socket, asio::dynamic_buffer(buffer), "\r\n",
                                                               asio::use_awaitable);
                const std::string line = buffer.substr(0, n - 2);
                buffer.erase(0, n);
                seen.push_back(line);
                const std::string verb = line.substr(0, line.find(' '));
                if (verb == "DATA") {
                    on = co_await answer(socket, "DATA", "354 go");
                    const auto given = script_.find("DATA");
                    if (!on || (given != script_.end() && given->second[0] != '3')) continue;
                    if (script_.contains("message")) on = co_await answer(socket, "message", "");
                    if (!on) continue;
                    const auto end = co_await asio::async_read_until(socket, asio::dynamic_buffer(buffer),
                                                                     "\r\n.\r\n", asio::use_awaitable);
                    seen.push_back(buffer.substr(0, end));
                    buffer.erase(0, end);
                    on = co_await answer(socket, "dot", "250 taken");
                } else {
                    on = co_await answer(socket, verb, verb == "QUIT" ? "221 bye" : "250 ok");
                    if (on && verb == "STARTTLS") on = co_await answer(socket, "handshake", "");
                }
            }
        } catch (const boost::system::system_error&) {
            // the client has gone: that is how dialogues end
        }
    }

    Script script_;
    tcp::acceptor acceptor_;
    tcp::socket* connected_ = nullptr;
};

struct Told {
    std::optional<Failure> opening;  // the session could not be opened
    std::vector<RecipientOutcome> outcomes;
    bool reusable = false;
    std::size_t most_read = 0;  // octets of the message that were asked for at once
    std::vector<std::string> seen;
};

const ClientTimeouts each_short{300ms, 300ms, 300ms, 300ms, 300ms, 300ms, 300ms, 300ms, 300ms, 100ms, 1min};

asio::awaitable<void> converse(asio::any_io_executor executor, std::uint16_t port, ClientTimeouts timeouts,
                               Told& told, std::string text = "Subject: x\r\n\r\n.dot\r\n",
                               std::function<void(Session&)> before_each_piece = nullptr) {
    Target target;
    target.address = dns::Address::v4({127, 0, 0, 1});
    target.port = port;
    target.helo_name = "us.test";
    target.tls = TlsUse::if_offered;
    target.timeouts = timeouts;
    target.contexts.opportunistic = std::make_shared<asio::ssl::context>(asio::ssl::context::tls_client);
    Session session(executor, std::move(target));
    auto opened = co_await session.open();
    if (!opened) {
        told.opening = std::move(opened).error();
        co_return;
    }
    mail::Envelope envelope;
    envelope.reverse_path = mail::ReversePath::parse("s@us.test").value();
    std::vector<mail::Recipient> recipients{mail::Recipient(mail::ForwardPath::parse("a@host.test").value())};
    Message message;
    message.size = text.size();
    message.read = [&](std::uint64_t offset, std::size_t most) -> asio::awaitable<Result<std::string>> {
        told.most_read = std::max(told.most_read, most);
        if (before_each_piece) before_each_piece(session);
        co_return text.substr(offset, most);
    };
    told.outcomes = co_await session.transact(std::move(envelope), std::move(recipients), std::move(message));
    told.reusable = session.reusable();
    co_await session.quit();
}

Told play(Script script, ClientTimeouts timeouts = each_short,
          const std::string& text = "Subject: x\r\n\r\n.dot\r\n",
          const std::function<void(Session&, Host&)>& before_each_piece = nullptr) {
    asio::io_context io;
    Host host(io, std::move(script));
    Told told;
    std::function<void(Session&)> before;
    if (before_each_piece) before = [&](Session& session) { before_each_piece(session, host); };
    asio::co_spawn(io, converse(io.get_executor(), host.port(), timeouts, told, text, std::move(before)),
                   [&](std::exception_ptr error) {
                       EXPECT_FALSE(error);
                       io.stop();
                   });
    io.run_for(10s);
    told.seen = host.seen;
    return told;
}

TEST(Dialogue, RunsToItsEnd) {
    const Told told = play({});
    ASSERT_FALSE(told.opening);
    ASSERT_EQ(told.outcomes.size(), 1U);
    EXPECT_FALSE(told.outcomes[0].failure);
    EXPECT_TRUE(told.reusable);
    EXPECT_EQ(told.seen,
              (std::vector<std::string>{"EHLO us.test", "MAIL FROM:<s@us.test>", "RCPT TO:<a@host.test>",
                                        "DATA", "Subject: x\r\n\r\n..dot\r\n.\r\n", "QUIT"}));
}

struct Step {
    const char* name;  // of the script's step
    Stage stage;
    bool opening;  // it fails while the session is opened
};
class EachStep : public testing::TestWithParam<Step> {};
INSTANTIATE_TEST_SUITE_P(Rfc5321, EachStep,
                         testing::Values(Step{"connect", Stage::greeting, true},
                                         Step{"EHLO", Stage::helo, true}, Step{"MAIL", Stage::mail, false},
                                         Step{"RCPT", Stage::rcpt, false}, Step{"DATA", Stage::data, false},
                                         Step{"dot", Stage::dot, false}),
                         [](const auto& row) { return row.param.name; });

Failure failure_of(const Told& told, bool opening) {
    if (opening) {
        EXPECT_TRUE(told.opening);
        return told.opening.value_or(Failure{});
    }
    EXPECT_FALSE(told.opening);
    EXPECT_EQ(told.outcomes.size(), 1U);
    return told.outcomes.empty() ? Failure{} : told.outcomes[0].failure.value_or(Failure{});
}

TEST_P(EachStep, ClosedByTheHostIsALostConnection) {  // SMTP-17
    const Failure failure = failure_of(play({{GetParam().name, "CLOSE"}}), GetParam().opening);
    EXPECT_EQ(failure.stage, GetParam().stage);
    EXPECT_TRUE(failure.code == Errc::closed || failure.code == Errc::io) << static_cast<int>(failure.code);
    EXPECT_FALSE(failure.reply);
}

TEST_P(EachStep, SilenceIsEndedByTheStepsOwnLimit) {  // SMTP-01
    const auto began = std::chrono::steady_clock::now();
    const Failure failure = failure_of(play({{GetParam().name, "SILENCE"}}), GetParam().opening);
    EXPECT_EQ(failure.stage, GetParam().stage);
    EXPECT_EQ(failure.code, Errc::timed_out);
    EXPECT_LT(std::chrono::steady_clock::now() - began, 4s);
}

TEST_P(EachStep, ATemporaryReplyIsKeptWithItsText) {
    const Failure failure = failure_of(play({{GetParam().name, "450 4.2.0 later"}}), GetParam().opening);
    EXPECT_EQ(failure.stage, GetParam().stage);
    EXPECT_EQ(failure.code, Errc::reply_negative);
    EXPECT_EQ(failure.reply.value_or(Reply{}).text(), "450 4.2.0 later");
}

TEST_P(EachStep, NonsenseEndsTheConnection) {  // SMTP-08
    const Failure failure = failure_of(play({{GetParam().name, "what?"}}), GetParam().opening);
    EXPECT_EQ(failure.stage, GetParam().stage);
    EXPECT_EQ(failure.code, Errc::reply_malformed);
}

// Each limit alone is short, so that it is the one that ends the session.
TEST(Dialogue, SilenceAfterStarttlsIsEndedByItsLimit) {
    EXPECT_EQ(ClientTimeouts().starttls, 2min);
    ClientTimeouts timeouts;
    timeouts.starttls = 50ms;
    timeouts.quit = 50ms;
    for (const auto& [step, stage] :
         {std::pair("STARTTLS", Stage::starttls), std::pair("handshake", Stage::handshake)}) {
        Script script{{"EHLO", "250-host.test\r\n250 STARTTLS"}, {"STARTTLS", "220 go"}};
        script[step] = "SILENCE";
        const Failure failure = failure_of(play(script, timeouts), true);
        EXPECT_EQ(failure.stage, stage);
        EXPECT_EQ(failure.code, Errc::timed_out);
    }
}

TEST(Dialogue, AHostThatTakesNothingOfAMessageIsEndedByItsLimit) {
    EXPECT_EQ(ClientTimeouts().data_block, 3min);
    ClientTimeouts timeouts;
    timeouts.data_block = 50ms;
    timeouts.quit = 50ms;
    const std::string large(16'000'000, 'x');
    const Failure failure = failure_of(play({{"message", "SILENCE"}}, timeouts, large), false);
    EXPECT_EQ(failure.stage, Stage::body);
    EXPECT_EQ(failure.code, Errc::timed_out);
}

TEST(Dialogue, HasAPieceOfTheMessageInMemory) {
    const Told told = play({}, ClientTimeouts(), std::string(400'000, 'x') + "\r\n");
    ASSERT_EQ(told.outcomes.size(), 1U);
    EXPECT_FALSE(told.outcomes[0].failure);
    EXPECT_EQ(told.most_read, 131'072U);
}

// A socket whose queue is full answers no further connection.
TEST(Dialogue, AnAddressThatDoesNotAnswerIsEndedByItsLimit) {
    EXPECT_EQ(ClientTimeouts().connect, 30s);
    asio::io_context io;
    tcp::acceptor full(io, tcp::v4());
    full.bind(tcp::endpoint(asio::ip::address_v4::loopback(), 0));
    full.listen(0);
    tcp::socket first(io);
    first.connect(full.local_endpoint());
    ClientTimeouts timeouts;
    timeouts.connect = 50ms;
    Told told;
    asio::co_spawn(io, converse(io.get_executor(), full.local_endpoint().port(), timeouts, told),
                   [&](std::exception_ptr error) {
                       EXPECT_FALSE(error);
                       io.stop();
                   });
    io.run_for(10s);
    ASSERT_TRUE(told.opening);
    EXPECT_EQ(told.opening->stage, Stage::connect);
    EXPECT_EQ(told.opening->code, Errc::connect_timed_out);
}

// The host may have the dot, though the write failed: to send again at once could deliver twice.
TEST(Dialogue, AConnectionThatBreaksWithTheLastPieceBreaksAfterTheDot) {
    const auto reset = [](Session&, Host& host) { host.reset(); };
    EXPECT_EQ(failure_of(play({}, each_short, "Subject: x\r\n", reset), false).stage, Stage::dot);
    EXPECT_EQ(failure_of(play({}, each_short, std::string(400'000, 'x'), reset), false).stage, Stage::body)
        << "that was not the last piece";
}

TEST(Dialogue, InTheMiddleOfAMessageIsNotCutOff) {
    const Told told =
        play({}, each_short, "Subject: x\r\n", [](Session& session, Host&) { session.abort(); });
    ASSERT_EQ(told.outcomes.size(), 1U);
    EXPECT_FALSE(told.outcomes[0].failure);
    EXPECT_EQ(told.outcomes[0].reply.text(), "250 taken");
}

TEST(Dialogue, BeforeTheMessageIsCutOffAtOnce) {
    asio::io_context io;
    Host host(io, {});
    std::vector<RecipientOutcome> outcomes;
    auto run = [](asio::any_io_executor executor, std::uint16_t port,
                  std::vector<RecipientOutcome>& out) -> asio::awaitable<void> {
        Target target;
        target.address = dns::Address::v4({127, 0, 0, 1});
        target.port = port;
        target.helo_name = "us.test";
        Session session(executor, std::move(target));
        auto opened = co_await session.open();
        EXPECT_TRUE(opened);
        session.abort();
        EXPECT_FALSE(session.reusable());
        std::vector<mail::Recipient> recipients{
            mail::Recipient(mail::ForwardPath::parse("a@host.test").value())};
        mail::Envelope envelope;
        Message message;
        out = co_await session.transact(std::move(envelope), std::move(recipients), std::move(message));
    };
    asio::co_spawn(io, run(io.get_executor(), host.port(), outcomes), [&](std::exception_ptr) { io.stop(); });
    io.run_for(10s);
    ASSERT_EQ(outcomes.size(), 1U);
    EXPECT_EQ(outcomes[0].failure.value_or(Failure{}).stage, Stage::mail);
}

// A host with STARTTLS, up to its reply to the EHLO inside TLS.
asio::awaitable<void> serve_tls(tcp::acceptor& acceptor, asio::ssl::context& context) {
    tcp::socket socket = co_await acceptor.async_accept(asio::use_awaitable);
    std::string in;
    for (const std::string reply : {"220 host.test\r\n", "250-host.test\r\n250 STARTTLS\r\n", "220 go\r\n"}) {
        co_await asio::async_write(socket, asio::buffer(reply), asio::use_awaitable);
        if (reply == "220 go\r\n") break;
        const auto n =
            co_await asio::async_read_until(socket, asio::dynamic_buffer(in), "\r\n", asio::use_awaitable);
        in.erase(0, n);
    }
    asio::ssl::stream<tcp::socket&> tls(socket, context);
    co_await tls.async_handshake(asio::ssl::stream_base::server, asio::use_awaitable);
    co_await asio::async_read_until(tls, asio::dynamic_buffer(in), "\r\n", asio::use_awaitable);
    const std::string reply = "250 host.test\r\n";
    co_await asio::async_write(tls, asio::buffer(reply), asio::use_awaitable);
    co_await asio::async_read_until(tls, asio::dynamic_buffer(in), "\r\n", asio::use_awaitable);
}

// Which of the contexts was used shows in the version.
TEST(Dialogue, IsStrictAboutTlsWhereTlsIsRequired) {
    const auto made = tls::make_self_signed("host.test", SystemClock().wall()).value();
    asio::ssl::context server(asio::ssl::context::tls_server);
    server.use_certificate_chain(asio::buffer(made.certificate));
    server.use_private_key(asio::buffer(made.key), asio::ssl::context::pem);
    tls::ClientContexts contexts;
    contexts.strict = std::make_shared<asio::ssl::context>(asio::ssl::context::tlsv13_client);
    contexts.opportunistic = std::make_shared<asio::ssl::context>(asio::ssl::context::tlsv12_client);
    for (const auto& [use, version] :
         {std::pair(TlsUse::required, "TLSv1.3"), std::pair(TlsUse::if_offered, "TLSv1.2")}) {
        asio::io_context io;
        tcp::acceptor acceptor(io, tcp::endpoint(asio::ip::address_v4::loopback(), 0));
        asio::co_spawn(io, serve_tls(acceptor, server), asio::detached);
        Target target;
        target.address = dns::Address::v4({127, 0, 0, 1});
        target.port = acceptor.local_endpoint().port();
        target.helo_name = "us.test";
        target.tls = use;
        target.contexts = contexts;
        std::string seen;
        auto run = [](asio::any_io_executor executor, Target to, std::string& out) -> asio::awaitable<void> {
            Session session(executor, std::move(to));
            auto opened = co_await session.open();
            EXPECT_TRUE(opened);
            if (opened) out = opened->evidence.version;
            co_await session.quit();
        };
        asio::co_spawn(io, run(io.get_executor(), std::move(target), seen),
                       [&](std::exception_ptr) { io.stop(); });
        io.run_for(10s);
        EXPECT_EQ(seen, version);
    }
}

TEST(Dialogue, ALostReplyToQuitHarmsNothing) {  // SMTP-21
    for (const char* end : {"CLOSE", "SILENCE", "500 no"}) {
        const Told told = play({{"QUIT", end}});
        ASSERT_EQ(told.outcomes.size(), 1U);
        EXPECT_FALSE(told.outcomes[0].failure) << end;
    }
}

// Every step is in time, and all together are not.
TEST(Dialogue, AHostThatIsJustInTimeEachTimeIsGivenUp) {
    const ClientTimeouts patient{5s, 5s, 5s, 5s, 5s, 5s, 5s, 5s, 5s, 100ms, late * 3 / 2};
    for (const auto& [script, opening] : {std::pair(Script{{"connect", "LATE"}, {"EHLO", "LATE"}}, true),
                                          std::pair(Script{{"MAIL", "LATE"}, {"RCPT", "LATE"}}, false)}) {
        const Failure failure = failure_of(play(script, patient), opening);
        EXPECT_EQ(failure.code, Errc::timed_out);
        EXPECT_NE(failure.text.find("delivery.transaction_timeout"), std::string::npos) << failure.text;
    }
    // One slow step is within it.
    const Told slow = play({{"MAIL", "LATE"}}, patient);
    ASSERT_EQ(slow.outcomes.size(), 1U);
    EXPECT_FALSE(slow.outcomes[0].failure);
    // To hang up on a host that has the message would deliver twice.
    ClientTimeouts hasty = patient;
    hasty.whole = late / 2;
    const Told told = play({{"dot", "LATE"}}, hasty);
    ASSERT_EQ(told.outcomes.size(), 1U);
    EXPECT_FALSE(told.outcomes[0].failure);
    // What ends that wait is its own limit, and is called so.
    hasty.dot = late;
    const Failure silent = failure_of(play({{"dot", "SILENCE"}}, hasty), false);
    EXPECT_EQ(silent.stage, Stage::dot);
    EXPECT_EQ(silent.text, "timed out");
}

TEST(Dialogue, FallsBackToHelo) {  // SMTP-06
    const Told told = play({{"EHLO", "502 5.5.1 what?"}});
    ASSERT_FALSE(told.opening);
    EXPECT_FALSE(told.outcomes[0].failure);
    EXPECT_EQ(told.seen[1], "HELO us.test");
}

TEST(Dialogue, WaitsForTheGreetingAndSaysQuitToARefusal) {  // SMTP-03, SMTP-04
    const Told told = play({{"connect", "554 5.7.1 go away"}});
    ASSERT_TRUE(told.opening);
    EXPECT_EQ(told.seen, std::vector<std::string>{"QUIT"});
}

TEST(Dialogue, AHostThatCallsItselfByOurNameEndsAsALoop) {  // D-45
    for (const Script& script :
         {Script{{"connect", "220 us.test ESMTP"}}, Script{{"connect", "220 US.TEST. hello"}},
          Script{{"EHLO", "250-us.test\r\n250 SIZE"}},
          Script{{"EHLO", "502 5.5.1 what?"}, {"HELO", "250 us.test"}}}) {
        const Told told = play(script);
        ASSERT_TRUE(told.opening);
        EXPECT_EQ(told.opening->code, Errc::loop);
        EXPECT_NE(told.opening->text.find("us.test"), std::string::npos);
        EXPECT_EQ(told.seen.back(), "QUIT");
    }
    // A name that only contains ours is another one.
    EXPECT_FALSE(play({{"connect", "220 mx.us.test"}, {"EHLO", "250 us.test.example"}}).opening);
}

TEST(Dialogue, AMessageThatCannotBeReadIsNeverSentHalf) {
    asio::io_context io;
    Host host(io, {});
    std::vector<RecipientOutcome> outcomes;
    auto run = [](asio::any_io_executor executor, std::uint16_t port,
                  std::vector<RecipientOutcome>& out) -> asio::awaitable<void> {
        Target target;
        target.address = dns::Address::v4({127, 0, 0, 1});
        target.port = port;
        target.helo_name = "us.test";
        Session session(executor, std::move(target));
        auto opened = co_await session.open();
        EXPECT_TRUE(opened);
        mail::Envelope envelope;
        std::vector<mail::Recipient> recipients{
            mail::Recipient(mail::ForwardPath::parse("a@host.test").value())};
        Message message;
        message.size = 200000;
        message.read = [](std::uint64_t offset, std::size_t most) -> asio::awaitable<Result<std::string>> {
            if (offset > 0) co_return fail(Errc::body_unreadable, "the disk failed");
            co_return std::string(most, 'x');
        };
        out = co_await session.transact(std::move(envelope), std::move(recipients), std::move(message));
        co_await session.quit();
    };
    asio::co_spawn(io, run(io.get_executor(), host.port(), outcomes), [&](std::exception_ptr) { io.stop(); });
    io.run_for(10s);
    ASSERT_EQ(outcomes.size(), 1U);
    EXPECT_EQ(outcomes[0].failure.value_or(Failure{}).stage, Stage::body);
    for (const auto& line : host.seen)
        EXPECT_EQ(line.find("xxx"), std::string::npos) << "no final dot was sent";
}

}  // namespace
}  // namespace sternpost::smtp
