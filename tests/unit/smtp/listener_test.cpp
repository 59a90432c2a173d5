#include "smtp/listener.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <boost/asio/connect.hpp>
#include <boost/asio/read_until.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <boost/asio/write.hpp>
#include <future>
#include <memory>
#include <string>
#include <vector>

#include "fake/intake_store.h"
#include "fake/io_loop.h"
#include "fake/log_lines.h"
#include "fake/temporary_folder.h"
#include "mail/local_names.h"
#include "tls/self_signed.h"
#include "util/file.h"

namespace sternpost::smtp {
namespace {

using asio::ip::tcp;
using namespace std::chrono_literals;

// A listener on loopback with two I/O threads, and what it works with.
class ListenerTest : public testing::Test {
  protected:
    static ServerOptions options() {
        const mail::LocalNames names({dns::Domain::parse("relay.example").value()}, std::nullopt);
        ServerOptions o;
        o.hostname = "relay.example";
        o.max_message_size = 1'000'000;
        o.networks = {{dns::Network::parse("127.0.0.0/8").value(), ClientRole::originate}};
        o.resolve_recipient = [names](std::string_view text, bool utf8) { return names.resolve(text, utf8); };
        return o;
    }

    void open(ServerOptions o = options()) {
        std::vector<IoThread> threads{{first_.context(), first_ids_}, {second_.context(), second_ids_}};
        auto ask = [](const dns::Domain& domain, Completion<NextHopKnowledge> reply) {
            reply(domain.text() == "gone.example" ? NextHopKnowledge::no_such_domain
                                                  : NextHopKnowledge::usable_or_unknown);
        };
        listener_ = std::make_unique<Listener>(threads, std::move(o), ask, store_, clock_, log_);
        first_.call([this] {
            ASSERT_TRUE(listener_->bind(dns::Address::parse("127.0.0.1").value(), 0).has_value());
            port_ = listener_->port();
            listener_->start();
        });
    }
    // A context with a new certificate for `name`.
    std::shared_ptr<asio::ssl::context> certificate_for(const std::string& name) {
        const auto made = tls::make_self_signed(name, clock_.wall()).value();
        tls::Identity identity;
        identity.certificate_file = folder_ / (name + ".pem");
        EXPECT_TRUE(util::write_file(identity.certificate_file, made.certificate + made.key, 0600));
        return tls::server_context(identity).value();
    }
    void use_tls(const std::string& name) {
        first_.call([this, context = certificate_for(name)] { listener_->use_tls(context); });
    }
    void TearDown() override {
        if (listener_) drain(10s);
        listener_.reset();
        EXPECT_EQ(store_.open_sinks(), 0U);
    }
    void drain(std::chrono::seconds limit) { first_.run(listener_->drain(clock_.steady() + limit)); }

    fake::TemporaryFolder folder_;
    SystemClock clock_;
    fake::LogLines log_;
    fake::IntakeStore store_;
    fake::IoLoop first_;
    fake::IoLoop second_;
    store::IdSource first_ids_{clock_, 0, {}};
    store::IdSource second_ids_{clock_, 1, {}};
    std::unique_ptr<Listener> listener_;
    std::uint16_t port_ = 0;
};

// A client that blocks.
class SmtpClient {
  public:
    /// `room`: octets of a send that need not wait for the listener; 0: as is usual.
    explicit SmtpClient(std::uint16_t port, int room = 0) : socket_(context_, tcp::v4()) {
        if (room > 0) socket_.set_option(tcp::socket::send_buffer_size(room));
        socket_.connect(tcp::endpoint(asio::ip::address_v4::loopback(), port));
    }
    void send(std::string_view octets) {
        boost::system::error_code ignored;
        if (tls_)
            asio::write(*tls_, asio::buffer(octets), ignored);
        else
            asio::write(socket_, asio::buffer(octets), ignored);
    }
    // One reply, all its lines; empty at the end of the connection.
    std::string reply() {
        std::string all;
        for (;;) {
            boost::system::error_code ec;
            const std::size_t n = tls_
                                      ? asio::read_until(*tls_, asio::dynamic_buffer(pending_), "\r\n", ec)
                                      : asio::read_until(socket_, asio::dynamic_buffer(pending_), "\r\n", ec);
            end_ = ec;
            if (ec) return all;
            all += pending_.substr(0, n);
            const bool last = n < 4 || pending_[3] != '-';
            pending_.erase(0, n);
            if (last) return all;
        }
    }
    std::string say(const std::string& line) {
        send(line + "\r\n");
        return reply();
    }
    void open_transaction() {
        EXPECT_EQ(reply(), "220 relay.example ESMTP Sternpost\r\n");
        EXPECT_EQ(say("EHLO client.example").substr(0, 3), "250");
        EXPECT_EQ(say("MAIL FROM:<a@corp.example>"), "250 2.1.0 ok\r\n");
        EXPECT_EQ(say("RCPT TO:<b@dest.example>"), "250 2.1.5 ok\r\n");
    }
    // After 220. Empty: it succeeded.
    std::string handshake(int most = TLS1_3_VERSION) {
        tls_context_.set_verify_mode(asio::ssl::verify_none);
        SSL_CTX_set_max_proto_version(tls_context_.native_handle(), most);
        SSL_CTX_set_security_level(tls_context_.native_handle(), 0);
        tls_ = std::make_unique<asio::ssl::stream<tcp::socket&>>(socket_, tls_context_);
        boost::system::error_code ec;
        tls_->handshake(asio::ssl::stream_base::client, ec);
        return ec ? ec.message() : "";
    }
    std::string version() const { return SSL_get_version(tls_->native_handle()); }
    // Whose certificate the listener showed.
    std::string peer_name() const {
        const std::unique_ptr<X509, void (*)(X509*)> shown(SSL_get1_peer_certificate(tls_->native_handle()),
                                                           X509_free);
        std::array<char, 256> name{};
        X509_NAME_get_text_by_NID(X509_get_subject_name(shown.get()), NID_commonName, name.data(),
                                  name.size());
        return name.data();
    }
    const boost::system::error_code& end() const { return end_; }
    void close() { socket_.close(); }

  private:
    asio::io_context context_;
    tcp::socket socket_;
    asio::ssl::context tls_context_{asio::ssl::context::tls_client};
    std::unique_ptr<asio::ssl::stream<tcp::socket&>> tls_;
    boost::system::error_code end_;
    std::string pending_;
};

TEST_F(ListenerTest, TakesMessagesOnAllItsThreads) {
    open();
    for (int i = 0; i < 4; ++i) {
        SmtpClient client(port_);
        client.open_transaction();
        EXPECT_EQ(client.say("DATA").substr(0, 3), "354");
        std::string body;
        while (body.size() < 300'000) body += std::string(98, 'x') + "\r\n";
        const std::string done = client.say("Subject: x\r\n\r\n" + body + ".");
        ASSERT_EQ(store_.accepted().size(), static_cast<std::size_t>(i + 1));
        const auto message = store_.accepted().back();
        EXPECT_EQ(done, "250 2.0.0 " + message.id.text() + " queued\r\n");
        EXPECT_EQ(message.id.value & 63U, static_cast<std::uint64_t>(i % 2));
        EXPECT_GT(message.body.size, 300'000U);
        EXPECT_EQ(client.say("QUIT").substr(0, 3), "221");
        EXPECT_EQ(client.reply(), "");
        const std::string line = log_.find("accept qid=" + message.id.text());
        EXPECT_NE(line.find(" from=<a@corp.example> size=300"), std::string::npos) << line;
        EXPECT_NE(line.find(" nrcpt=1 client=127.0.0.1 helo=client.example tls=none message-id=<"),
                  std::string::npos)
            << line;
    }
}

// All of the message is there before the first piece of it is written.
TEST_F(ListenerTest, Reads64KiBOfAMessageAtATime) {
    std::promise<void> sent;
    const auto all = sent.get_future().share();
    std::vector<std::size_t> pieces;
    store_.on_write = [&](std::string_view octets) {
        all.wait_for(5s);
        pieces.push_back(octets.size());
    };
    open();
    SmtpClient client(port_, 1'000'000);
    client.open_transaction();
    EXPECT_EQ(client.say("DATA").substr(0, 3), "354");
    std::string body = "Subject: x\r\n\r\n";
    while (body.size() < 400'000) body += std::string(98, 'x') + "\r\n";
    client.send(body);
    sent.set_value();
    EXPECT_EQ(client.say(".").substr(0, 3), "250");
    ASSERT_EQ(store_.accepted().size(), 1U);
    EXPECT_GT(*std::max_element(pieces.begin(), pieces.end()), 32'768U);
    EXPECT_LE(*std::max_element(pieces.begin(), pieces.end()), 65'536U + 1000U) << "a piece, and the trace";
}

TEST_F(ListenerTest, LogsWhatItRefuses) {
    open();
    SmtpClient client(port_);
    client.open_transaction();
    EXPECT_EQ(client.say("RCPT TO:<x@gone.example>").substr(0, 9), "550 5.1.2");
    EXPECT_EQ(log_.find("reject "),
              "reject client=127.0.0.1 at=RCPT from=<a@corp.example> to=<x@gone.example> "
              "reply=\"550 5.1.2 gone.example does not exist in the DNS\"");
}

TEST_F(ListenerTest, HoldsClientsToTheirLimits) {
    ServerOptions o = options();
    o.connections.per_client = 1;
    o.sender_limit = {1, 0};
    open(o);
    SmtpClient one(port_);
    one.open_transaction();
    EXPECT_EQ(one.say("RSET").substr(0, 3), "250");
    EXPECT_EQ(one.say("MAIL FROM:<a@corp.example>").substr(0, 9), "450 4.7.1");
    SmtpClient two(port_);
    EXPECT_EQ(two.reply(),
              "421 4.7.0 relay.example too many connections from 127.0.0.1, try again later\r\n");
    EXPECT_EQ(two.reply(), "");
    EXPECT_EQ(one.say("MAIL FROM:<a@corp.example>").substr(0, 9), "450 4.7.1");
    EXPECT_EQ(one.say("QUIT").substr(0, 3), "221");
    EXPECT_EQ(log_.find("sender-limit "),
              "sender-limit client=127.0.0.1 reason=\"127.0.0.1 has sent as many messages as it may in a "
              "minute, 1; "
              "try again in 60 seconds\"");
    EXPECT_EQ(log_.find("reject client=127.0.0.1 at=MAIL"), "") << "said once";
    EXPECT_NE(log_.find("reject client=127.0.0.1 at=connect"), "");
}

TEST_F(ListenerTest, EndsAStrangersSessionInTimeHoweverBusyItIs) {
    ServerOptions o = options();
    o.networks.clear();
    o.stranger_time = 1s;
    o.max_stranger_commands = 1'000'000;
    open(o);
    SmtpClient stranger(port_);
    EXPECT_EQ(stranger.reply().substr(0, 3), "220");
    const auto began = clock_.steady();
    std::string last;
    do {
        last = stranger.say("NOOP");
    } while (last == "250 2.0.0 ok\r\n" && clock_.steady() - began < 30s);
    EXPECT_EQ(last, "421 4.4.2 relay.example waited too long, closing\r\n");
}

TEST_F(ListenerTest, LogsWhatStrangersDoUnderOneKey) {
    ServerOptions o = options();
    o.networks.clear();
    open(o);
    SmtpClient stranger(port_);
    EXPECT_EQ(stranger.reply().substr(0, 3), "220");
    stranger.say("EHLO x");
    stranger.say("MAIL FROM:<a@corp.example>");
    EXPECT_EQ(stranger.say("RCPT TO:<b@dest.example>").substr(0, 9), "550 5.7.1");
    EXPECT_EQ(log_.limited("reject"), "strangers at RCPT 1");
}

TEST_F(ListenerTest, EndsIdleSessionsWith421) {  // SMTP-66
    ServerOptions o = options();
    o.command_timeout = 1s;
    open(o);
    SmtpClient client(port_);
    EXPECT_EQ(client.reply().substr(0, 3), "220");
    EXPECT_EQ(client.reply(), "421 4.4.2 relay.example waited too long, closing\r\n");
    EXPECT_EQ(client.reply(), "");
}

TEST_F(ListenerTest, ForgetsWhatAClientLeavesUnfinished) {
    open();
    for (const char* sent :
         {"", "EHLO c",
          "EHLO c.example\r\nMAIL FROM:<a@corp.example>\r\nRCPT TO:<b@dest.example>\r\nDATA\r\n",
          "EHLO c.example\r\nMAIL FROM:<>\r\n"}) {
        SmtpClient client(port_);
        client.send(sent);
        client.reply();
    }
    SmtpClient client(port_);
    client.open_transaction();
    client.say("DATA");
    client.send("half a mess");
    client.close();
    drain(10s);
    listener_.reset();
    EXPECT_TRUE(store_.accepted().empty());
    EXPECT_EQ(store_.open_sinks(), 0U);
}

TEST_F(ListenerTest, StopsWithAWordToEverySession) {
    open();
    SmtpClient idle(port_);
    EXPECT_EQ(idle.reply().substr(0, 3), "220");
    SmtpClient in_data(port_);
    in_data.open_transaction();
    in_data.say("DATA");
    in_data.send("half a mess");
    store_.hold_replies = true;
    SmtpClient past_dot(port_);
    past_dot.open_transaction();
    EXPECT_EQ(past_dot.say("DATA").substr(0, 3), "354");
    past_dot.send("x\r\n.\r\n");
    while (store_.held() == 0) std::this_thread::yield();

    std::thread stopping([this] { drain(20s); });
    EXPECT_EQ(idle.reply(), "421 4.3.2 relay.example shutting down\r\n");
    EXPECT_EQ(in_data.reply(), "421 4.3.2 relay.example shutting down\r\n");
    store_.release();
    EXPECT_EQ(past_dot.reply().substr(0, 9), "250 2.0.0");  // durable, so it is said
    EXPECT_EQ(past_dot.reply(), "421 4.3.2 relay.example shutting down\r\n");
    stopping.join();
    listener_.reset();
    EXPECT_EQ(store_.accepted().size(), 1U);
}

// ---- STARTTLS, with OpenSSL's own client

TEST_F(ListenerTest, TakesMailInsideTls) {  // RTLS-01, RTLS-15, TLS-04
    open();
    use_tls("relay.example");
    for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
        SmtpClient client(port_);
        EXPECT_EQ(client.reply().substr(0, 3), "220");
        EXPECT_NE(client.say("EHLO client.example").find("250-STARTTLS\r\n"), std::string::npos);
        EXPECT_EQ(client.say("STARTTLS"), "220 2.0.0 begin the TLS handshake\r\n");
        ASSERT_EQ(client.handshake(version), "");
        EXPECT_EQ(client.peer_name(), "relay.example");
        EXPECT_EQ(client.say("MAIL FROM:<a@corp.example>").substr(0, 9), "503 5.5.1");
        const std::string offered = client.say("EHLO client.example");
        EXPECT_EQ(offered.find("STARTTLS"), std::string::npos) << offered;
        EXPECT_NE(offered.find("250-REQUIRETLS\r\n"), std::string::npos) << offered;
        EXPECT_EQ(client.say("MAIL FROM:<a@corp.example> REQUIRETLS"), "250 2.1.0 ok\r\n");
        EXPECT_EQ(client.say("RCPT TO:<b@dest.example>"), "250 2.1.5 ok\r\n");
        EXPECT_EQ(client.say("DATA").substr(0, 3), "354");
        EXPECT_EQ(client.say("Subject: x\r\n\r\n" + std::string(300'000, 'x') + "\r\n.").substr(0, 9),
                  "250 2.0.0");
        const auto message = store_.accepted().back();
        EXPECT_TRUE(message.envelope.requiretls);
        EXPECT_EQ(message.origin.with, "ESMTPS");
        EXPECT_GT(message.body.size, 300'000U);
        const std::string octets = *message.body.octets;
        EXPECT_NE(octets.find(" (" + client.version() + ");\r\n"), std::string::npos)
            << octets.substr(0, 300);
        EXPECT_NE(octets.find("\r\n tls TLS_"), std::string::npos) << octets.substr(0, 300);
        EXPECT_NE(log_.find("accept qid=" + message.id.text()).find(" tls=" + client.version()),
                  std::string::npos);
        EXPECT_EQ(client.say("QUIT").substr(0, 3), "221");
        EXPECT_EQ(client.reply(), "");
        EXPECT_EQ(client.end(), asio::error::eof) << client.end().message();  // with close_notify (TLS-18)
    }
}

TEST_F(ListenerTest, HandshakesWithTls12AndLaterOnly) {  // RFC 9325 §3.1.1
    open();
    use_tls("relay.example");
    SmtpClient client(port_);
    client.reply();
    EXPECT_EQ(client.say("STARTTLS").substr(0, 3), "220");
    EXPECT_NE(client.handshake(TLS1_1_VERSION), "");
    EXPECT_EQ(client.reply(), "");
    SmtpClient next(port_);
    EXPECT_EQ(next.reply().substr(0, 3), "220");  // which shows that the first one has been dealt with
    while (log_.find("reject ").empty()) std::this_thread::yield();
    EXPECT_NE(log_.find("reject client=127.0.0.1 at=handshake reason=\"the TLS handshake failed: "), "");
}

TEST_F(ListenerTest, DropsWhatWasInjectedBehindStartTls) {  // TLS-05, TLS-19
    open();
    use_tls("relay.example");
    SmtpClient client(port_);
    client.reply();
    client.say("EHLO client.example");
    client.send("STARTTLS\r\nMAIL FROM:<x@evil.example>\r\n");
    EXPECT_EQ(client.reply(), "554 5.5.1 octets after STARTTLS before the reply 220; closing\r\n");
    EXPECT_EQ(client.reply(), "");
    EXPECT_NE(log_.find("reject client=127.0.0.1 at=STARTTLS"), "");
    // sent after the 220, in clear, where the handshake is due
    SmtpClient late(port_);
    late.reply();
    EXPECT_EQ(late.say("STARTTLS").substr(0, 3), "220");
    late.send("NOOP\r\nMAIL FROM:<x@evil.example>\r\n");
    EXPECT_EQ(late.reply().find("250"), std::string::npos);
}

TEST_F(ListenerTest, ShowsNewSessionsANewCertificate) {
    open();
    SmtpClient before(port_);
    before.reply();
    EXPECT_EQ(before.say("STARTTLS").substr(0, 9), "502 5.5.1");
    use_tls("one.example");
    SmtpClient one(port_);
    one.reply();
    use_tls("two.example");
    SmtpClient two(port_);
    two.reply();
    EXPECT_EQ(one.say("STARTTLS").substr(0, 3), "220");
    ASSERT_EQ(one.handshake(), "");
    EXPECT_EQ(one.peer_name(), "one.example");  // what it began with
    EXPECT_EQ(two.say("STARTTLS").substr(0, 3), "220");
    ASSERT_EQ(two.handshake(), "");
    EXPECT_EQ(two.peer_name(), "two.example");
    EXPECT_EQ(one.say("NOOP"), "250 2.0.0 ok\r\n");
}

TEST_F(ListenerTest, DoesNotWaitForAHandshakeForEver) {
    ServerOptions o = options();
    o.handshake_timeout = 1s;
    open(o);
    use_tls("relay.example");
    SmtpClient silent(port_);
    silent.reply();
    EXPECT_EQ(silent.say("STARTTLS").substr(0, 3), "220");
    EXPECT_EQ(silent.reply(), "");
    SmtpClient stopped(port_);
    stopped.reply();
    EXPECT_EQ(stopped.say("STARTTLS").substr(0, 3), "220");
    drain(10s);  // nor does a stop
    EXPECT_EQ(stopped.reply(), "");
}

TEST_F(ListenerTest, SaysInsideTlsToo) {  // SMTP-66
    ServerOptions o = options();
    o.command_timeout = 1s;
    open(o);
    use_tls("relay.example");
    SmtpClient idle(port_);
    idle.reply();
    EXPECT_EQ(idle.say("STARTTLS").substr(0, 3), "220");
    ASSERT_EQ(idle.handshake(), "");
    EXPECT_EQ(idle.reply(), "421 4.4.2 relay.example waited too long, closing\r\n");
    SmtpClient stopped(port_);
    stopped.reply();
    EXPECT_EQ(stopped.say("STARTTLS").substr(0, 3), "220");
    ASSERT_EQ(stopped.handshake(), "");
    EXPECT_EQ(stopped.say("NOOP"), "250 2.0.0 ok\r\n");  // the handshake is over on both sides
    std::thread stopping([this] { drain(20s); });
    EXPECT_EQ(stopped.reply(), "421 4.3.2 relay.example shutting down\r\n");
    stopping.join();
}

TEST_F(ListenerTest, SaysWhyItCannotBind) {
    open();
    first_.call([this] {
        const auto again = listener_->bind(dns::Address::parse("127.0.0.1").value(), port_);
        ASSERT_FALSE(again.has_value());
        EXPECT_NE(again.error().text.find("cannot listen on 127.0.0.1 port"), std::string::npos);
    });
}

}  // namespace
}  // namespace sternpost::smtp
