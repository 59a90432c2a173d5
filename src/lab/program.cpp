#include "lab/program.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <filesystem>

#include "util/file.h"

namespace sternpost::lab {
namespace {

using Clock = std::chrono::steady_clock;

// argv or envp: pointers into texts that outlive them.
std::vector<char*> pointers(std::vector<std::string>& texts) {
    std::vector<char*> out;
    for (auto& text : texts) out.push_back(text.data());
    out.push_back(nullptr);
    return out;
}

// Only what is safe after fork in a process with threads.
pid_t start_process(std::vector<std::string> words, std::vector<std::string> environment, int in, int out) {
    const auto argv = pointers(words);
    const auto envp = pointers(environment);
    const pid_t pid = ::fork();
    if (pid != 0) return pid;
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    sigset_t none;
    sigemptyset(&none);
    ::sigprocmask(SIG_SETMASK, &none, nullptr);
    std::signal(SIGPIPE, SIG_DFL);
    ::dup2(in, 0);
    ::dup2(out, 1);
    ::dup2(out, 2);
    ::close_range(3, ~0U, 0);
    ::execvpe(argv.front(), argv.data(), envp.data());
    ::_exit(127);
}

int code_of(int status) {
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

// What each thread waits for in the kernel, for whoever must find out why a program hangs.
std::string threads_of(pid_t pid) {
    namespace fs = std::filesystem;
    std::string out;
    std::error_code ec;
    for (const auto& task : fs::directory_iterator("/proc/" + std::to_string(pid) + "/task", ec)) {
        const auto one = [&](const char* name) {
            const auto text = util::read_file(task.path() / name, 4096);
            std::string word = text ? *text : "?";
            std::erase(word, '\n');
            return word;
        };
        out += (out.empty() ? "" : ", ") + one("comm") + " in " + one("wchan") + " (" + one("syscall") + ")";
    }
    return out.empty() ? "its threads cannot be seen" : out;
}

struct Pipe {
    util::Fd read, write;

    bool open() {
        std::array<int, 2> ends{};
        if (::pipe2(ends.data(), O_CLOEXEC) != 0) return false;
        read.reset(ends[0]);
        write.reset(ends[1]);
        return true;
    }
};

// Feeds and reads until both are through; whether that was in time.
bool converse(Pipe& in, Pipe& out, std::string_view input, std::string& said, Clock::time_point deadline) {
    ::fcntl(in.write.get(), F_SETFL, O_NONBLOCK);
    std::array<char, 65536> chunk{};
    while (true) {
        if (input.empty()) in.write.reset();
        std::array<pollfd, 2> ends{{{out.read.get(), POLLIN, 0}, {in.write.get(), POLLOUT, 0}}};
        const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now());
        if (left.count() <= 0) return false;
        const int ready = ::poll(ends.data(), input.empty() ? 1 : 2, static_cast<int>(left.count()));
        if (ready < 0 && errno != EINTR) return false;
        if (!input.empty() && ends[1].revents != 0) {
            const ssize_t sent = ::write(in.write.get(), input.data(), input.size());
            if (sent > 0) input.remove_prefix(static_cast<std::size_t>(sent));
            if (sent < 0 && errno != EAGAIN) input = {};  // it reads no more
        }
        if (ends[0].revents == 0) continue;
        const ssize_t got = ::read(out.read.get(), chunk.data(), chunk.size());
        if (got <= 0) return true;
        said.append(chunk.data(), static_cast<std::size_t>(got));
    }
}

}  // namespace

util::Result<Ended> run_program(const std::vector<std::string>& words,
                                const std::vector<std::string>& environment, const std::string& input,
                                std::chrono::seconds limit) {
    Pipe in;
    Pipe out;
    if (!in.open() || !out.open()) return fail(util::Errc::io, "no pipe: " + util::errno_text(errno));
    const pid_t pid = start_process(words, environment, in.read.get(), out.write.get());
    if (pid < 0) return fail(util::Errc::io, "cannot start a process: " + util::errno_text(errno));
    in.read.reset();
    out.write.reset();
    Ended ended;
    const bool in_time = converse(in, out, input, ended.said, Clock::now() + limit);
    if (!in_time) ::kill(pid, SIGKILL);
    int status = 0;
    while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    ended.code = code_of(status);
    if (!in_time) return fail(util::Errc::io, words.front() + " takes too long");
    return ended;
}

util::Result<void> Running::start(const std::vector<std::string>& words,
                                  const std::vector<std::string>& environment,
                                  const std::filesystem::path& log) {
    const util::Fd in(::open("/dev/null", O_RDONLY | O_CLOEXEC));
    const util::Fd out(::open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
    if (!in || !out)
        return fail(util::Errc::io, "cannot write " + log.string() + ": " + util::errno_text(errno));
    pid_ = start_process(words, environment, in.get(), out.get());
    if (pid_ < 0) return fail(util::Errc::io, "cannot start a process: " + util::errno_text(errno));
    return {};
}

bool Running::alive() {
    int status = 0;
    if (pid_ > 0 && ::waitpid(pid_, &status, WNOHANG) == pid_) {
        code_ = code_of(status);
        pid_ = -1;
    }
    return pid_ > 0;
}

util::Result<int> Running::end(int signal, std::chrono::seconds limit) {
    if (alive()) ::kill(pid_, signal);
    const auto deadline = Clock::now() + limit;
    while (alive()) {
        if (Clock::now() > deadline) return fail(util::Errc::io, "it does not end: " + threads_of(pid_));
        ::usleep(5000);
    }
    return code_;
}

std::vector<std::string> clean_environment(const std::vector<std::string>& more) {
    std::vector<std::string> out = more;
    for (char** one = environ; *one != nullptr; ++one) {
        const std::string_view text(*one);
        if (!text.starts_with("STERNPOST_") && !text.starts_with("JOURNAL_STREAM=") &&
            !text.starts_with("NOTIFY_SOCKET=") && !text.starts_with("LC_ALL="))
            out.emplace_back(text);
    }
    out.emplace_back("LC_ALL=C.UTF-8");
    return out;
}

}  // namespace sternpost::lab
