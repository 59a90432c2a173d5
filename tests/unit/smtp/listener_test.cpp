#include "smtp/listener.h"

#include <gtest/gtest.h>

#include <boost/asio/connect.hpp>
#include <boost/asio/read_until.hpp>
#include <boost/asio/write.hpp>
#include <memory>
#include <string>

#include "fake/intake_store.h"
#include "fake/io_loop.h"
#include "fake/log_lines.h"
#include "mail/local_names.h"

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
        o.resolve_recipient = [names](std::string_view text) { return names.resolve(text); };
        return o;
    }

    void open(ServerOptions o = options()) {
        std::vector<IoThread> threads{{first_.context(), first_ids_}, {second_.context(), second_ids_}};
        auto ask = [](const dns::Domain& domain, Reply<NextHopKnowledge> reply) {
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
    void TearDown() override {
        if (listener_) drain(10s);
        listener_.reset();
        EXPECT_EQ(store_.open_sinks(), 0U);
    }
    void drain(std::chrono::seconds limit) { first_.run(listener_->drain(clock_.steady() + limit)); }

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
class Client {
  public:
    explicit Client(std::uint16_t port) : socket_(context_) {
        socket_.connect(tcp::endpoint(asio::ip::address_v4::loopback(), port));
    }
    void send(std::string_view octets) {
        boost::system::error_code ignored;
        asio::write(socket_, asio::buffer(octets), ignored);
    }
    // One reply, all its lines; empty at the end of the connection.
    std::string reply() {
        std::string all;
        for (;;) {
            boost::system::error_code ec;
            const std::size_t n = asio::read_until(socket_, asio::dynamic_buffer(pending_), "\r\n", ec);
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
    void close() { socket_.close(); }

  private:
    asio::io_context context_;
    tcp::socket socket_;
    std::string pending_;
};

TEST_F(ListenerTest, TakesMessagesOnAllItsThreads) {
    open();
    for (int i = 0; i < 4; ++i) {
        Client client(port_);
        client.open_transaction();
        EXPECT_EQ(client.say("DATA").substr(0, 3), "354");
        const std::string done = client.say("Subject: x\r\n\r\n" + std::string(300'000, 'x') + "\r\n.");
        ASSERT_EQ(store_.accepted().size(), static_cast<std::size_t>(i + 1));
        const auto message = store_.accepted().back();
        EXPECT_EQ(done, "250 2.0.0 " + message.id.text() + " queued\r\n");
        EXPECT_EQ(message.id.value & 63U, static_cast<std::uint64_t>(i % 2));
        EXPECT_GT(message.body.size, 300'000U);
        EXPECT_EQ(client.say("QUIT").substr(0, 3), "221");
        EXPECT_EQ(client.reply(), "");
        const std::string line = log_.find("accept qid=" + message.id.text());
        EXPECT_NE(line.find(" from=<a@corp.example> size=300"), std::string::npos) << line;
        EXPECT_NE(line.find(" nrcpt=1 client=127.0.0.1 helo=client.example message-id=<"), std::string::npos)
            << line;
    }
}

TEST_F(ListenerTest, LogsWhatItRefuses) {
    open();
    Client client(port_);
    client.open_transaction();
    EXPECT_EQ(client.say("RCPT TO:<x@gone.example>").substr(0, 9), "550 5.1.2");
    EXPECT_EQ(log_.find("reject "),
              "reject client=127.0.0.1 at=RCPT from=<a@corp.example> to=<x@gone.example> "
              "reply=\"550 5.1.2 gone.example does not exist in the DNS\"");
}

TEST_F(ListenerTest, HoldsClientsToTheirLimits) {
    ServerOptions o = options();
    o.max_connections_per_client = 1;
    o.messages_per_minute = 1;
    open(o);
    Client one(port_);
    one.open_transaction();
    EXPECT_EQ(one.say("RSET").substr(0, 3), "250");
    EXPECT_EQ(one.say("MAIL FROM:<a@corp.example>").substr(0, 9), "450 4.7.1");
    Client two(port_);
    EXPECT_EQ(two.reply(),
              "421 4.7.0 relay.example too many connections from 127.0.0.1, try again later\r\n");
    EXPECT_EQ(two.reply(), "");
    EXPECT_EQ(one.say("QUIT").substr(0, 3), "221");
    EXPECT_NE(log_.find("reject client=127.0.0.1 at=MAIL"), "");
    EXPECT_NE(log_.find("reject client=127.0.0.1 at=connect"), "");
}

TEST_F(ListenerTest, EndsIdleSessionsWith421) {  // SMTP-66
    ServerOptions o = options();
    o.command_timeout = 1s;
    open(o);
    Client client(port_);
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
        Client client(port_);
        client.send(sent);
        client.reply();
    }
    Client client(port_);
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
    Client idle(port_);
    EXPECT_EQ(idle.reply().substr(0, 3), "220");
    Client in_data(port_);
    in_data.open_transaction();
    in_data.say("DATA");
    in_data.send("half a mess");
    store_.hold_replies = true;
    Client past_dot(port_);
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
