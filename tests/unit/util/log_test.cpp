#include "util/log.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <vector>

#include "util/file.h"

namespace sternpost {
namespace {

class HeldMailbox final : public Mailbox {
  public:
    void post(Task task) override { tasks.push_back(std::move(task)); }
    void run() {
        for (auto& task : std::exchange(tasks, {})) task();
    }
    std::vector<Task> tasks;
};

// The log writes into a pipe, from which what has been written so far is read.
class GatheredLog : public testing::Test {
  protected:
    GatheredLog() {
        std::array<int, 2> ends{};
        if (::pipe2(ends.data(), O_NONBLOCK) != 0) throw std::runtime_error("no pipe");
        out_ = util::Fd(ends[0]);
        in_ = util::Fd(ends[1]);
        log = file_log(in_.get(), Level::info, true);
        log->gather(&mailbox);
    }
    ~GatheredLog() override { log.reset(); }

    std::string written() const {
        std::string text(100'000, '\0');
        const ssize_t got = ::read(out_.get(), text.data(), text.size());
        text.resize(got < 0 ? 0 : static_cast<std::size_t>(got));
        return text;
    }

    HeldMailbox mailbox;
    std::unique_ptr<FileLog> log;

  private:
    util::Fd out_;
    util::Fd in_;
};

TEST_F(GatheredLog, WritesWhatATurnOfTheLoopSaidAtItsEnd) {
    log->write(Level::info, "one");
    log->write(Level::info, "two");
    EXPECT_EQ(written(), "");
    EXPECT_EQ(mailbox.tasks.size(), 1U);
    mailbox.run();
    EXPECT_EQ(written(), "<6>one\n<6>two\n");
}

TEST_F(GatheredLog, AsksForTheNextTurnAnew) {
    log->write(Level::info, "one");
    mailbox.run();
    log->write(Level::info, "two");
    EXPECT_EQ(written(), "<6>one\n");
    mailbox.run();
    EXPECT_EQ(written(), "<6>two\n");
}

TEST_F(GatheredLog, WritesErrorsAtOnceAndInOrder) {
    log->write(Level::info, "one");
    log->write(Level::error, "two");
    EXPECT_EQ(written(), "<6>one\n<3>two\n");
    log->write(Level::warning, "three");
    EXPECT_EQ(written(), "<4>three\n");
}

TEST_F(GatheredLog, KeepsNoMoreThanSixteenKiB) {
    const std::string line(1000, 'x');
    for (int i = 0; i < 17; ++i) log->write(Level::info, line);
    EXPECT_GT(written().size(), 16'000U);
}

TEST_F(GatheredLog, LosesNothingAtItsEnd) {
    log->write(Level::info, "one");
    log->gather(nullptr);
    EXPECT_EQ(written(), "<6>one\n");
    log->write(Level::info, "two");
    EXPECT_EQ(written(), "<6>two\n");
    log->gather(&mailbox);
    log->write(Level::info, "three");
    log.reset();
    EXPECT_EQ(written(), "<6>three\n");
    mailbox.tasks.clear();
}

}  // namespace
}  // namespace sternpost
