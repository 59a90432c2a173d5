// Programs that a check starts: the daemon, and verbs that it waits for.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <csignal>
#include <filesystem>
#include <string>
#include <vector>

#include "util/file.h"
#include "util/result.h"

namespace sternpost::lab {

/// What became of a program: its exit status (128 and the signal's number where one ended it) and all it
/// said.
struct Ended {
    int code = 0;
    std::string said;
};

/// Runs it with `input`; io: it cannot be started or takes longer than `limit` (and is killed then).
/// `environment` is NAME=VALUE, all of it. From the thread that outlives the program.
util::Result<Ended> run_program(const std::vector<std::string>& words,
                                const std::vector<std::string>& environment, const std::string& input,
                                std::chrono::seconds limit);

/// A program that runs alongside, its output in a file; killed with us.
class Running {
  public:
    Running() = default;
    Running(const Running&) = delete;
    Running& operator=(const Running&) = delete;
    ~Running() { (void)end(SIGKILL, std::chrono::seconds(5)); }

    util::Result<void> start(const std::vector<std::string>& words,
                             const std::vector<std::string>& environment, const std::filesystem::path& log);
    /// Whether it still runs.
    bool alive();
    /// Its exit status after `signal`; io: it does not end in time.
    util::Result<int> end(int signal, std::chrono::seconds limit);

  private:
    pid_t pid_ = -1;
    int code_ = 0;
};

/// This process's environment without what a service manager or a user's own set-up says, with `more`.
std::vector<std::string> clean_environment(const std::vector<std::string>& more);

}  // namespace sternpost::lab
