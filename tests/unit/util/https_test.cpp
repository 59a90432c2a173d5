// How many HTTPS transfers run at a time, and that each connection is asked for. The server takes connections
// and says nothing.
#include "util/https.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <condition_variable>
#include <mutex>

#include "util/file.h"

namespace sternpost::util {
namespace {

using namespace std::chrono_literals;
using Outcome = Expected<HttpsAnswer, HttpsErrc>;

constexpr auto patience = 300ms;  // of each request

class HttpsTransfers : public ::testing::Test {
  protected:
    HttpsTransfers() : listener_(::socket(AF_INET, SOCK_STREAM, 0)) {
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        socklen_t size = sizeof address;
        auto* const generic = reinterpret_cast<sockaddr*>(&address);
        EXPECT_EQ(::bind(listener_.get(), generic, size), 0);
        EXPECT_EQ(::listen(listener_.get(), 50), 0);
        EXPECT_EQ(::getsockname(listener_.get(), generic, &size), 0);
        port_ = ntohs(address.sin_port);
    }

    void begin(HttpsLimits limits, bool open = true) {
        auto may_connect = [this, open](const std::string& address, std::uint16_t port, bool allow_special) {
            const std::lock_guard lock(lock_);
            asked_.push_back(address + ":" + std::to_string(port) + (allow_special ? " special" : ""));
            return open;
        };
        https_ = curl_https("/etc/ssl/certs/ca-certificates.crt", "test", std::move(may_connect), limits);
    }
    /// Sends so many requests, and waits for all answers.
    void ask(std::size_t requests) {
        for (std::size_t i = 0; i < requests; ++i) {
            HttpsRequest request;
            request.host = "policy.test";
            request.port = port_;
            request.path = "/";
            request.addresses = {"127.0.0.1"};
            request.timeout = patience;
            request.verify = false;
            https_->run(std::move(request), [this](Outcome outcome) {
                const std::lock_guard lock(lock_);
                outcomes_.push_back(std::move(outcome));
                changed_.notify_all();
            });
        }
        std::unique_lock lock(lock_);
        EXPECT_TRUE(changed_.wait_for(lock, 20s, [&] { return outcomes_.size() == requests; }));
    }
    std::size_t count(HttpsErrc code) {
        const std::lock_guard lock(lock_);
        std::size_t out = 0;
        for (const auto& outcome : outcomes_) out += !outcome && outcome.error().code == code ? 1U : 0U;
        return out;
    }

    Fd listener_;
    std::uint16_t port_ = 0;
    std::mutex lock_;
    std::condition_variable changed_;
    std::vector<Outcome> outcomes_;
    std::vector<std::string> asked_;
    std::unique_ptr<Https> https_;
};

TEST_F(HttpsTransfers, WaitWhereThereAreTooMany) {  // D-46
    HttpsLimits limits;
    limits.transfers = 2;
    begin(limits);
    const auto began = std::chrono::steady_clock::now();
    ask(5);
    EXPECT_GE(std::chrono::steady_clock::now() - began, 3 * patience) << "two at a time";
    EXPECT_EQ(count(HttpsErrc::timed_out), 5U) << "the wait is no part of a request's time";
}

TEST_F(HttpsTransfers, RunOneByOneWhereTheirMemoryIsShort) {
    HttpsLimits limits;
    limits.memory = 1;
    begin(limits);
    const auto began = std::chrono::steady_clock::now();
    ask(3);
    EXPECT_GE(std::chrono::steady_clock::now() - began, 3 * patience);
    EXPECT_EQ(count(HttpsErrc::timed_out), 3U);
}

TEST_F(HttpsTransfers, AreRefusedWhereTooManyWait) {
    HttpsLimits limits;
    limits.transfers = 1;
    limits.waiting = 2;
    begin(limits);
    ask(6);
    EXPECT_EQ(count(HttpsErrc::timed_out), 3U);
    EXPECT_EQ(count(HttpsErrc::unusable), 3U);
}

TEST_F(HttpsTransfers, AskTheGateForEachConnection) {  // D-45
    begin({}, false);
    ask(1);
    EXPECT_EQ(count(HttpsErrc::connect), 1U);
    EXPECT_EQ(asked_, std::vector<std::string>{"127.0.0.1:" + std::to_string(port_)});
}

TEST_F(HttpsTransfers, EndWhenTheyAreGivenUp) {
    HttpsLimits limits;
    limits.transfers = 1;
    begin(limits);
    https_->stop();
    ask(3);
    EXPECT_EQ(count(HttpsErrc::stopped), 3U);
}

}  // namespace
}  // namespace sternpost::util
