// Plays a suite's checks, each in a process with a network of its own, several at once.
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "lab/check.h"
#include "lab/report.h"
#include "lab/stage.h"

namespace sternpost::lab {

struct RunChecks {
    Programs programs;
    std::string extra;             // TOML for every daemon's configuration
    std::filesystem::path folder;  // absolute; each check gets a folder in it
    unsigned jobs = 1;             // one where there is no network of our own
    bool high_ports = false;       // as if the machine allowed no network of our own
    bool keep = false;             // the folders stay
    std::function<bool(const Check&)> chosen;
    /// After each check: how many are done, of how many, the check and what became of it.
    std::function<void(std::size_t, std::size_t, const Check&, const Verdict&)> done;
    std::function<bool()> stopped;  // no more checks are begun, those that run are ended
};

/// The verdicts in the order of the suite's checks. From a process with one thread.
std::vector<Verdict> run_checks(const Suite& suite, const RunChecks& how);

}  // namespace sternpost::lab
