// Deadlines and whole writes of a stream in clear, over loopback. Under TLS the smtp tests and the peers show
// it.
#include "tls/stream.h"

#include <gtest/gtest.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/connect.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/write.hpp>
#include <future>

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

}  // namespace
}  // namespace sternpost::tls
