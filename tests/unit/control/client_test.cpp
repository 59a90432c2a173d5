// What the command makes of what comes from the socket.
#include "control/client.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>
#include <thread>

#include "fake/temporary_folder.h"

namespace sternpost::control {
namespace {

// Takes one call, reads a line and says `answer`.
class OneAnswer {
  public:
    OneAnswer(const std::string& path, std::string answer)
        : listening_(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        std::memcpy(address.sun_path, path.data(), path.size());
        const bool ready =
            ::bind(listening_, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0 &&
            ::listen(listening_, 1) == 0;
        EXPECT_TRUE(ready);
        thread_ = std::thread([fd = listening_, octets = std::move(answer)] {
            const int call = ::accept(fd, nullptr, nullptr);
            for (char c = 0; c != '\n' && ::read(call, &c, 1) == 1;) {
            }
            (void)!::send(call, octets.data(), octets.size(), MSG_NOSIGNAL);
            ::close(call);
        });
    }
    ~OneAnswer() {
        thread_.join();
        ::close(listening_);
    }

  private:
    int listening_;
    std::thread thread_;
};

TEST(ControlClient, KeepsNoMoreOfAnAnswerThanItTakes) {
    const fake::TemporaryFolder folder;
    const std::string path = folder / "socket";
    json::object piece;
    piece["items"] = json::array{std::string(600, 'x')};
    Answer end;
    end.data = json::array();
    const std::string octets = part_line(piece) + part_line(piece) + to_line(end);
    for (const std::size_t most : {10'000UL, 1'000UL}) {
        ::unlink(path.c_str());
        const OneAnswer daemon(path, octets);
        const auto answer = ask(path, json::object(), std::chrono::seconds(10), {}, {}, most);
        ASSERT_TRUE(answer);
        if (most > octets.size()) {
            EXPECT_EQ(answer->code, ExitCode::done);
            EXPECT_EQ(answer->data.as_array().size(), 2U);
        } else {
            EXPECT_EQ(answer->code, ExitCode::unavailable);
            EXPECT_EQ(answer->text,
                      "the daemon's answer is longer than the 1000 octets that this command takes");
        }
    }
}

TEST(ControlClient, TakesPartsOfAnyLengthWhereTheyAreNotKept) {
    const fake::TemporaryFolder folder;
    const std::string path = folder / "socket";
    json::object piece;
    piece["items"] = json::array{std::string(600, 'x')};
    const OneAnswer daemon(path, part_line(piece) + part_line(piece) + to_line(Answer()));
    std::size_t parts = 0;
    const auto answer = ask(
        path, json::object(), std::chrono::seconds(10), {}, [&](const json::object&) { ++parts; }, 1'000);
    ASSERT_TRUE(answer);
    EXPECT_EQ(answer->code, ExitCode::done);
    EXPECT_EQ(parts, 2U);
}

}  // namespace
}  // namespace sternpost::control
