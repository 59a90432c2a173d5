#include "util/log.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <thread>
#include <vector>

#include "util/file.h"

namespace sternpost {
namespace {

class HeldTaskQueue final : public TaskQueue {
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
        log->gather(&task_queue);
    }
    ~GatheredLog() override { log.reset(); }

    std::string written() const {
        std::string text(100'000, '\0');
        const ssize_t got = ::read(out_.get(), text.data(), text.size());
        text.resize(got < 0 ? 0 : static_cast<std::size_t>(got));
        return text;
    }

    HeldTaskQueue task_queue;
    std::unique_ptr<FileLog> log;

  private:
    util::Fd out_;
    util::Fd in_;
};

TEST_F(GatheredLog, WritesWhatATurnOfTheLoopSaidAtItsEnd) {
    log->write(Level::info, "one");
    log->write(Level::info, "two");
    EXPECT_EQ(written(), "");
    EXPECT_EQ(task_queue.tasks.size(), 1U);
    task_queue.run();
    EXPECT_EQ(written(), "<6>one\n<6>two\n");
}

TEST_F(GatheredLog, AsksForTheNextTurnAnew) {
    log->write(Level::info, "one");
    task_queue.run();
    log->write(Level::info, "two");
    EXPECT_EQ(written(), "<6>one\n");
    task_queue.run();
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
    log->gather(&task_queue);
    log->write(Level::info, "three");
    log.reset();
    EXPECT_EQ(written(), "<6>three\n");
    task_queue.tasks.clear();
}

TEST_F(GatheredLog, HoldsBackWhatOthersRepeat) {
    for (int i = 1; i <= 5; ++i) Event(*log, Level::warning, "reject").kv("n", i).limited("strangers");
    Event(*log, Level::warning, "reject").kv("n", 6).limited("others");
    EXPECT_EQ(written(), "<4>reject n=1\n<4>reject n=6\n");
    log.reset();  // the minute has not ended: what is held back comes at the end
    EXPECT_EQ(written(), "<4>reject n=5 count=4\n");
}

TEST_F(GatheredLog, LetsAClientHaveSeveralLinesAMinute) {
    for (int i = 1; i <= 5; ++i) Event(*log, Level::warning, "reject").kv("n", i).limited("192.0.2.1", 3);
    EXPECT_EQ(written(), "<4>reject n=1\n<4>reject n=2\n<4>reject n=3\n");
}

TEST_F(GatheredLog, KnowsABoundedNumberOfKeys) {
    for (int i = 0; i < 3000; ++i) Event(*log, Level::warning, "reject").limited(std::to_string(i));
    const std::string lines = written();
    EXPECT_EQ(std::count(lines.begin(), lines.end(), '\n'), 1001);
}

// No line follows the loss: the end of the log says it.
TEST(Log, SaysAtItsEndWhatIsLost) {
    std::array<int, 2> ends{};
    ASSERT_EQ(::pipe(ends.data()), 0);
    util::Fd out(ends[0]);
    util::Fd in(ends[1]);
    auto log = file_log(in.get(), Level::info, true);
    for (int i = 0; i < 1000; ++i) log->write(Level::error, std::string(900, 'x'));
    std::string all;
    std::thread reader([&] {
        std::array<char, 65536> piece{};
        for (ssize_t got = 1; got > 0;) {
            got = ::read(out.get(), piece.data(), piece.size());
            if (got > 0) all.append(piece.data(), static_cast<std::size_t>(got));
        }
    });
    log.reset();
    in = util::Fd();
    reader.join();
    const auto lost = all.find("log-lost lines=");
    ASSERT_NE(lost, std::string::npos);
    const auto whole = static_cast<std::size_t>(std::count(all.begin(), all.end(), '\n'));
    EXPECT_EQ(whole + std::stoul(all.substr(lost + 15)), 1000U + 1U);
}

// A pipe that holds 4 KiB, and whose reader does not read.
TEST(Log, NeverWaitsForItsReaderAndSaysWhatIsLost) {
    std::array<int, 2> ends{};
    ASSERT_EQ(::pipe(ends.data()), 0);  // blocking, as a service manager's
    util::Fd out(ends[0]);
    const util::Fd in(ends[1]);
    ASSERT_GE(::fcntl(in.get(), F_SETPIPE_SZ, 4096), 0);
    const auto log = file_log(in.get(), Level::info, true);
    const std::string filler(900, 'x');
    for (int i = 0; i < 1000; ++i) log->write(Level::error, filler);
    ASSERT_EQ(::fcntl(out.get(), F_SETFL, O_NONBLOCK), 0);
    std::string all;
    std::array<char, 65536> piece{};
    for (int i = 0; i < 1000; ++i) {
        const ssize_t got = ::read(out.get(), piece.data(), piece.size());
        if (got <= 0 && i > 500) break;
        if (got > 0) all.append(piece.data(), static_cast<std::size_t>(got));
        log->flush();
    }
    log->write(Level::error, "after");
    for (ssize_t got = 1; got > 0;) {
        got = ::read(out.get(), piece.data(), piece.size());
        if (got > 0) all.append(piece.data(), static_cast<std::size_t>(got));
    }
    const auto whole = static_cast<std::size_t>(std::count(all.begin(), all.end(), '\n'));
    const auto lost = all.find("log-lost lines=");
    ASSERT_NE(lost, std::string::npos);
    const std::size_t number = std::stoul(all.substr(lost + 15));
    EXPECT_EQ(whole + number, 1000U + 2U)
        << "each line is there or counted; two more: what is lost, and the last one";
    EXPECT_TRUE(all.ends_with("<3>after\n"));
    EXPECT_EQ(::fcntl(in.get(), F_GETFL) & O_NONBLOCK, 0) << "others may have this end of the pipe";
}

TEST(Log, SurvivesAReaderThatIsGone) {
    std::array<int, 2> ends{};
    ASSERT_EQ(::pipe(ends.data()), 0);
    const util::Fd in(ends[1]);
    const auto log = file_log(in.get(), Level::info, true);
    ::close(ends[0]);
    ::signal(SIGPIPE, SIG_IGN);
    log->write(Level::error, "one");
    log->write(Level::error, "two");
}

struct LinesOf : Log {
    void write(Level, std::string_view line) override { text = line; }
    bool wants(Level) const override { return true; }
    std::string text;
};

TEST(Event, CutsWhatIsTooLong) {
    LinesOf lines;
    // How many octets of so many are shown.
    const auto shown = [&](void (*say)(Event&, const std::string&), std::size_t octets) {
        {
            Event event(lines, Level::info, "x");
            say(event, std::string(octets, 'y'));
        }
        return std::count(lines.text.begin(), lines.text.end(), 'y');
    };
    const auto value = [](Event& event, const std::string& text) { event.kv("k", text); };
    const auto quoted = [](Event& event, const std::string& text) { event.kv("k", text + " "); };
    const auto address = [](Event& event, const std::string& text) { event.address("to", text); };
    const auto reason = [](Event& event, const std::string& text) { event.reason(text); };
    EXPECT_EQ(shown(value, 256), 256);
    EXPECT_EQ(shown(value, 10'000), 256);
    EXPECT_EQ(shown(quoted, 255), 255);
    EXPECT_EQ(shown(quoted, 10'000), 256);
    EXPECT_EQ(shown(address, 520), 520);
    EXPECT_EQ(shown(address, 10'000), 520);
    EXPECT_EQ(shown(reason, 1000), 1000);
    EXPECT_EQ(shown(reason, 10'000), 1000);
}

TEST(Event, LetsNoForeignTextForgeAKey) {
    const std::pair<std::string_view, std::string_view> rows[] = {
        {"bob@dest.example", "to=<bob@dest.example>"},
        {"SRS0=x=y=a.example=b@dest.example", "to=<SRS0=x=y=a.example=b@dest.example>"},
        {R"("z status=sent mx=a[192.0.2.1]:25"@dest.example)",
         R"(to="<\"z status=sent mx=a[192.0.2.1]:25\"@dest.example>")"},
        {R"("a\" b"@dest.example)", R"(to="<\"a\\\" b\"@dest.example>")"},
        {"a\u202egnp@dest.example", R"(to=<a\xe2\x80\xaegnp@dest.example>)"},
        {"", "to=<>"},
    };
    LinesOf lines;
    for (const auto& [path, shown] : rows) {
        Event(lines, Level::info, "x").address("to", path);
        EXPECT_EQ(lines.text, "x " + std::string(shown));
    }
    Event(lines, Level::info, "x").reason(R"(he said \" status=sent)");
    EXPECT_EQ(lines.text, R"(x reason="he said \\\" status=sent")");
    Event(lines, Level::info, "x").kv("helo", R"(a\b)");
    EXPECT_EQ(lines.text, R"(x helo="a\\b")");
}

}  // namespace
}  // namespace sternpost
