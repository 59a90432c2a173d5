#include "lab/check_runner.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <list>

#include "lab/network.h"
#include "util/text.h"

namespace sternpost::lab {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

constexpr auto longest_check = std::chrono::minutes(2);
constexpr std::size_t max_sentence = 4000;

std::string played(const Check& check, const RunChecks& how, const fs::path& folder, Ports ports) {
    Stage stage(check, how.programs, how.extra, folder);
    std::string trouble = stage.start(ports);
    if (!trouble.empty()) return trouble;
    for (const auto& step : check.steps) {
        trouble = stage.play(step);
        if (!trouble.empty()) return fmt::format("{} (step in line {})", trouble, step.line);
    }
    return "";
}

// The child's life: one check; its sentence goes into `out`.
[[noreturn]] void live_as_child(const Check& check, const RunChecks& how, const fs::path& folder,
                                bool own_network, Ports ports, int out) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    std::signal(SIGINT, SIG_IGN);  // the parent ends us
    std::string trouble;
    if (own_network)
        if (const auto entered = enter_own_network(); !entered) trouble = entered.error().text;
    if (trouble.empty()) trouble = played(check, how, folder, ports);
    trouble.resize(std::min(trouble.size(), max_sentence));
    const auto written = ::write(out, trouble.data(), trouble.size());
    ::_exit(written == static_cast<ssize_t>(trouble.size()) ? 0 : 1);
}

struct Child {
    std::size_t index;
    pid_t pid;
    util::Fd out;
    std::string said;
    Clock::time_point began;
    fs::path folder;
};

class Runner {
  public:
    Runner(const Suite& suite, const RunChecks& how)
        : suite_(suite), how_(how), verdicts_(suite.checks.size()) {
        for (std::size_t i = 0; i < suite.checks.size(); ++i)
            if (!how.chosen || how.chosen(suite.checks[i])) waiting_.push_back(i);
        of_ = waiting_.size();
        own_network_ = !how.high_ports && own_network_allowed();
    }

    std::vector<Verdict> run() {
        const std::size_t jobs = own_network_ ? std::max(1U, how_.jobs) : 1;
        while (!waiting_.empty() || !children_.empty()) {
            if (how_.stopped && how_.stopped()) {
                for (const auto& child : children_) ::kill(child.pid, SIGKILL);
                waiting_.clear();
            }
            while (children_.size() < jobs && !waiting_.empty()) start(waiting_.front());
            look();
        }
        return std::move(verdicts_);
    }

  private:
    void start(std::size_t index) {
        waiting_.pop_front();
        Child child{index, -1, {}, {}, Clock::now(), how_.folder / fmt::format("{:03}", index + 1)};
        std::error_code ec;
        fs::create_directories(child.folder, ec);
        std::array<int, 2> ends{};
        if (ec || ::pipe2(ends.data(), O_CLOEXEC) != 0)
            return finish(child, "cannot make a folder and a pipe: " + util::errno_text(errno));
        child.out.reset(ends[0]);
        util::Fd write(ends[1]);
        // high ports: where others may have taken some, each check takes the next ones
        const auto base = static_cast<std::uint16_t>(20000 + index % 100 * 100);
        const Ports ports =
            own_network_ ? Ports{}
                         : Ports{static_cast<std::uint16_t>(base + 53), static_cast<std::uint16_t>(base + 43),
                                 static_cast<std::uint16_t>(base + 25)};
        child.pid = ::fork();
        if (child.pid == 0)
            live_as_child(suite_.checks[index], how_, child.folder, own_network_, ports, write.get());
        if (child.pid < 0) return finish(child, "cannot start a process: " + util::errno_text(errno));
        children_.push_back(std::move(child));
    }

    // Waits a little for what children say, and takes in those that have ended.
    void look() {
        std::vector<pollfd> ends;
        for (const auto& child : children_) ends.push_back({child.out.get(), POLLIN, 0});
        if (::poll(ends.data(), ends.size(), 200) < 0) return;
        std::size_t at = 0;
        for (auto child = children_.begin(); child != children_.end(); ++at) {
            const bool late = Clock::now() - child->began > longest_check;
            if (late) ::kill(child->pid, SIGKILL);
            std::array<char, 4096> chunk{};
            const ssize_t got =
                ends[at].revents != 0 || late ? ::read(child->out.get(), chunk.data(), chunk.size()) : 1;
            if (got > 0 && ends[at].revents != 0)
                child->said.append(chunk.data(), static_cast<std::size_t>(got));
            if (got > 0) {
                ++child;
                continue;
            }
            int status = 0;
            ::waitpid(child->pid, &status, 0);
            if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
                child->said =
                    late ? "the check takes too long" : "the check's process ended before it was done";
            finish(*child, child->said);
            child = children_.erase(child);
        }
    }

    void finish(const Child& child, const std::string& trouble) {
        Verdict& verdict = verdicts_[child.index];
        verdict.ran = true;
        verdict.trouble = trouble;
        verdict.took = std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - child.began);
        std::error_code ignored;
        if (!how_.keep) fs::remove_all(child.folder, ignored);
        ++done_;
        if (how_.done) how_.done(done_, of_, suite_.checks[child.index], verdict);
    }

    const Suite& suite_;
    const RunChecks& how_;
    std::vector<Verdict> verdicts_;
    std::list<std::size_t> waiting_;
    std::list<Child> children_;
    std::size_t of_ = 0;
    std::size_t done_ = 0;
    bool own_network_ = false;
};

}  // namespace

std::vector<Verdict> run_checks(const Suite& suite, const RunChecks& how) {
    return Runner(suite, how).run();
}

}  // namespace sternpost::lab
