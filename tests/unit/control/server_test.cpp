// The administrator's socket: who has how much of it, and for how long.
#include "control/server.h"

#include <grp.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include <filesystem>
#include <thread>

#include "fake/io_loop.h"
#include "fake/log_lines.h"
#include "fake/temporary_folder.h"
#include "fake/unix_socket.h"
#include "util/file.h"

namespace sternpost::control {
namespace {

using namespace std::chrono_literals;

constexpr std::uint32_t nobody = 65534;

// One call. What does not come within five seconds never comes.
class Call {
  public:
    explicit Call(const std::string& path) : fd_(fake::connected_to(path)) {}
    void say(std::string_view octets) const {
        while (!octets.empty()) {
            const ssize_t put = ::send(fd_.get(), octets.data(), octets.size(), MSG_NOSIGNAL);
            if (put <= 0) return;  // the daemon has hung up
            octets.remove_prefix(static_cast<std::size_t>(put));
        }
    }
    /// Reads to the end and returns the last line, empty if there is none.
    std::string last() {
        std::string line;
        std::array<char, 65536> piece{};
        for (;;) {
            const ssize_t got = ::recv(fd_.get(), piece.data(), piece.size(), 0);
            ended = got == 0 || (got < 0 && errno == ECONNRESET);
            if (got <= 0) return line;
            const std::string_view octets(piece.data(), static_cast<std::size_t>(got));
            const auto eol = octets.substr(0, octets.size() - 1).rfind('\n');
            if (eol != std::string_view::npos || line.ends_with('\n')) line.clear();
            line += octets.substr(eol == std::string_view::npos ? 0 : eol + 1);
        }
    }
    bool ended = false;

  private:
    util::Fd fd_;
};

class ControlServer : public testing::Test {
  protected:
    ControlServer() {
        std::filesystem::permissions(folder_.path(), std::filesystem::perms(0755));  // no one may come in
    }
    ~ControlServer() override {
        if (server_) loop_.run(server_->stop());
    }
    void open(Server::Options options, Server::Handler handler = says_who) {
        server_ = std::make_unique<Server>(loop_.context(), options, std::move(handler), log_);
        loop_.call([this] { ASSERT_TRUE(server_->listen(path_)); });
    }
    static asio::awaitable<Answer> says_who(json::object, Caller caller) {
        Answer out;
        out.text = caller.admin ? "an administrator" : "nobody";
        co_return out;
    }
    /// `{"verb":"x"}` of so many octets with its line end.
    static std::string request(std::size_t octets) {
        const std::string end = "\"verb\":\"x\"}\n";
        return "{" + std::string(octets - end.size() - 1, ' ') + end;
    }
    std::string answer_to(const std::string& line) {
        Call call(path_);
        call.say(line);
        const std::string last = call.last();
        EXPECT_TRUE(call.ended);
        return last.empty() ? "" : answer_of(last).text;
    }
    /// Calls `function` on a thread that is no one's, and in these groups. A socket tells who connects it.
    template <class F>
    static void as_nobody(F function, const std::vector<gid_t>& groups = {}) {
        std::thread thread([&] {
            // the wrappers of the C library would change all threads
            ASSERT_EQ(::syscall(SYS_setgroups, groups.size(), groups.data()), 0);
            ASSERT_EQ(::syscall(SYS_setresgid, nobody, nobody, nobody), 0);
            ASSERT_EQ(::syscall(SYS_setresuid, nobody, nobody, nobody), 0);
            function();
        });
        thread.join();
    }

    fake::TemporaryFolder folder_;
    const std::string path_ = folder_ / "control.sock";
    fake::LogLines log_;
    fake::IoLoop loop_;
    std::unique_ptr<Server> server_;
};

TEST_F(ControlServer, ReadsOneMiBOfAnAdministrator) {
    open({});
    EXPECT_EQ(answer_to(request(1'048'576)), "an administrator");
    EXPECT_EQ(answer_to(request(1'048'577)), "");
}

// To the kernel the caller is someone else, which root alone can be.
class ControlServerOfOthers : public ControlServer {
  protected:
    void SetUp() override {
        if (::geteuid() != 0) GTEST_SKIP() << "only root can be somebody else";
    }
};

TEST_F(ControlServerOfOthers, Reads64KiBOfARequest) {
    open({});
    as_nobody([this] {
        EXPECT_EQ(answer_to(request(65'536)), "nobody");
        EXPECT_EQ(answer_to(request(65'537)), "");
    });
}

TEST_F(ControlServerOfOthers, LooksAt256Groups) {
    Server::Options options;
    options.admin_group = 4242;
    open(options);
    std::vector<gid_t> groups(256, 4242);
    for (gid_t n = 0; n < 255; ++n) groups[n] = 1000 + n;
    as_nobody([this] { EXPECT_EQ(answer_to(request(100)), "an administrator"); }, groups);
    groups.push_back(5000);
    as_nobody([this] { EXPECT_EQ(answer_to(request(100)), "nobody"); }, groups);
}

TEST_F(ControlServer, HasRoomForAsManyCallsAtATime) {
    Server::Options options;
    options.calls_of_root = options.calls_of_admins = options.calls_per_admin = 2;
    open(options);
    for (int n = 0; n < 5; ++n) EXPECT_EQ(answer_to(request(100)), "an administrator") << n;
    {
        const Call first(path_);
        const Call second(path_);
        EXPECT_EQ(answer_to(request(100)).substr(0, 44), "the daemon answers too many requests at the ");
    }
}

TEST_F(ControlServerOfOthers, HasRoomForAFewCallsOfAllWhoAreNoAdministrators) {
    Server::Options options;
    EXPECT_EQ(options.calls_of_others, 24U);
    options.calls_of_others = 2;
    open(options);
    as_nobody([this] {
        const Call first(path_);
        const Call second(path_);
        EXPECT_NE(answer_to(request(100)), "nobody");
    });
    EXPECT_EQ(answer_to(request(100)), "an administrator") << "they do not keep an administrator out";
}

TEST_F(ControlServer, WaitsTenSecondsForARequest) {
    EXPECT_EQ(Server::Options().request_patience, 10s);
    Server::Options options;
    options.request_patience = 50ms;
    open(options);
    Call call(path_);
    call.say("{\"verb\":");
    EXPECT_EQ(call.last(), "");
    EXPECT_TRUE(call.ended);
}

// Sends pieces of an answer until the caller is gone, and at most for five seconds.
struct LongAnswer {
    std::promise<bool> gone;

    asio::awaitable<Answer> operator()(json::object, Caller caller) {
        json::object piece;
        piece["text"] = std::string(100'000, 'x');
        const auto end = std::chrono::steady_clock::now() + 5s;
        bool taken = true;
        while (taken && std::chrono::steady_clock::now() < end) {
            json::object one = piece;
            taken = co_await caller.part(std::move(one));
        }
        gone.set_value(!taken);
        Answer out;
        out.text = "all of it";
        co_return out;
    }
};

const std::string in_parts = "{\"verb\":\"x\",\"parts\":true}\n";

TEST_F(ControlServer, WaitsTwentySecondsForACallerToTakeAPiece) {
    EXPECT_EQ(Server::Options().write_patience, 20s);
    Server::Options options;
    options.write_patience = 50ms;
    LongAnswer answer;
    open(options, std::ref(answer));
    const Call call(path_);
    call.say(in_parts);
    EXPECT_TRUE(answer.gone.get_future().get());
}

TEST_F(ControlServerOfOthers, EndsACallAfterAMinuteHoweverQuicklyItIsTaken) {
    EXPECT_EQ(Server::Options().call_patience, 60s);
    Server::Options options;
    options.call_patience = 50ms;
    LongAnswer answer;
    open(options, std::ref(answer));
    as_nobody([this] {
        Call call(path_);
        call.say(in_parts);
        call.last();
        EXPECT_TRUE(call.ended);
    });
    EXPECT_TRUE(answer.gone.get_future().get());
}

}  // namespace
}  // namespace sternpost::control
