// Deadlines and whole writes of a stream in clear, and what one proves under TLS, over loopback.
#include "tls/stream.h"

#include <gtest/gtest.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/connect.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/write.hpp>
#include <future>

#include "fake/tls_handshake.h"

namespace sternpost::tls {
namespace {

using asio::ip::tcp;
using namespace std::chrono_literals;

class PlainStream : public testing::Test {
  protected:
    PlainStream() {
        tcp::acceptor acceptor(io, tcp::endpoint(asio::ip::address_v4::loopback(), 0));
        tcp::socket ours(io);
        ours.connect(acceptor.local_endpoint());
        peer = acceptor.accept();
        stream = std::make_unique<Stream>(std::move(ours));
    }
    ~PlainStream() override {
        stream.reset();
        io.restart();
        io.run();
    }

    // Runs the loop until `task` is done.
    template <class T>
    T run(asio::awaitable<T> task) {
        std::optional<T> out;
        auto done = [&out](const std::exception_ptr& error, T value) {
            if (!error) out = std::move(value);
        };
        asio::co_spawn(io, std::move(task), done);
        io.restart();
        while (!out && io.run_one() > 0) {
        }
        return std::move(out).value();
    }
    util::Result<std::size_t> read(std::chrono::milliseconds time) {
        return run(stream->read_some(chunk, std::chrono::steady_clock::now() + time));
    }
    util::Result<void> write(std::string_view octets, std::chrono::milliseconds time) {
        return run(stream->write(octets, std::chrono::steady_clock::now() + time));
    }
    void say(std::string_view octets) { asio::write(peer, asio::buffer(octets.data(), octets.size())); }
    void say_later(std::string_view octets, std::chrono::milliseconds time) {
        auto timer = std::make_shared<asio::steady_timer>(io, time);
        timer->async_wait([this, octets, timer](boost::system::error_code) { say(octets); });
    }

    asio::io_context io;
    tcp::socket peer{io};
    std::unique_ptr<Stream> stream;
    std::array<char, 65536> chunk{};
};

TEST_F(PlainStream, GivesASilentPeerItsTimeAndNoMore) {
    const auto got = read(20ms);
    ASSERT_FALSE(got);
    EXPECT_EQ(got.error().code, util::Errc::timed_out);
}

TEST_F(PlainStream, KeepsADeadlineThatIsSoonerThanTheOneBefore) {
    say("hello");
    ASSERT_EQ(read(10min), 5U);
    const auto began = std::chrono::steady_clock::now();
    const auto got = read(20ms);
    ASSERT_FALSE(got);
    EXPECT_EQ(got.error().code, util::Errc::timed_out);
    EXPECT_LT(std::chrono::steady_clock::now() - began, 1min);
}

TEST_F(PlainStream, IsNotCutOffByTheDeadlineBefore) {
    say("hello");
    ASSERT_EQ(read(20ms), 5U);
    say_later("again", 60ms);
    EXPECT_EQ(read(1min), 5U);
}

TEST_F(PlainStream, SaysThatThePeerHasClosed) {
    peer.close();
    const auto got = read(1min);
    ASSERT_FALSE(got);
    EXPECT_EQ(got.error().code, util::Errc::closed);
}

TEST_F(PlainStream, WritesWhatTheKernelDoesNotTakeAtOnce) {
    const std::string large(8U << 20U, 'x');
    auto reading = std::async(std::launch::async, [&] {
        std::string all;
        while (all.size() < large.size()) {
            std::array<char, 65536> some{};
            all.append(some.data(), peer.read_some(asio::buffer(some)));
        }
        return all;
    });
    const auto put = write(large, 1min);
    ASSERT_TRUE(put);
    EXPECT_EQ(reading.get(), large);
}

TEST_F(PlainStream, GivesUpOnAPeerThatDoesNotRead) {
    const std::string large(64U << 20U, 'x');
    const auto put = write(large, 20ms);
    ASSERT_FALSE(put);
    EXPECT_EQ(put.error().code, util::Errc::timed_out);
}

class TlsStream : public PlainStream {
  protected:
    static dns::Domain name(const char* text) { return dns::Domain::parse(text).value(); }
    // With a server that takes any name.
    void shake_hands(std::optional<DaneReference> dane = std::nullopt) {
        bool done = false;
        tls_peer.async_handshake(asio::ssl::stream_base::server,
                                 [&](boost::system::error_code ec) { done = !ec; });
        EXPECT_TRUE(run(stream->handshake(clients.opportunistic, name("mx.d.test"), std::move(dane),
                                          std::nullopt, std::chrono::steady_clock::now() + 1min)));
        io.restart();
        while (!done && io.run_one() > 0) {
        }
        EXPECT_TRUE(done);
    }

    const lab::Authority authority = lab::Authority::make().value();
    const ClientContexts clients = fake::clients_that_trust(authority);
    const std::shared_ptr<asio::ssl::context> server =
        fake::server_with(authority.issue("mx.d.test", {}).value());
    asio::ssl::stream<tcp::socket&> tls_peer{peer, *server};
};

TEST_F(TlsStream, AsksForTheNameOfTheHost) {  // RFC 8461 §7.1
    shake_hands();
    EXPECT_EQ(stream->evidence().sni, "mx.d.test");
}

TEST_F(TlsStream, AsksForTheNameThatTheTlsaRecordsStandAt) {  // RFC 7672 §8.1
    DaneReference dane(name("tlsa.d.test"));
    dane.records = {{3, 1, 1, std::vector<std::uint8_t>(32, 0xAB)}};
    shake_hands(dane);
    EXPECT_EQ(stream->evidence().sni, "tlsa.d.test");
    EXPECT_EQ(stream->evidence().dane, dane);
}

TEST_F(TlsStream, ProvesNothingOnceItIsBroken) {
    shake_hands();
    EXPECT_TRUE(stream->evidence().encrypted);
    EXPECT_TRUE(stream->evidence().chain_ok());
    peer.close();  // without close_notify
    EXPECT_FALSE(read(1min));
    EXPECT_FALSE(stream->evidence().encrypted);
    EXPECT_FALSE(stream->evidence().chain_ok());
}

}  // namespace
}  // namespace sternpost::tls
