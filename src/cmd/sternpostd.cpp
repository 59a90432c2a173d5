// sternpostd(8): reads the configuration and runs the daemon in the foreground.
#include <malloc.h>
#include <sysexits.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <csignal>
#include <cstdlib>
#include <iostream>

#include "cmd/daemon.h"

namespace {

constexpr const char* default_config = "/etc/sternpost/sternpost.toml";

sternpost::Level level_of(const std::string& name) {
    if (name == "error") return sternpost::Level::error;
    if (name == "warning") return sternpost::Level::warning;
    return name == "debug" ? sternpost::Level::debug : sternpost::Level::info;
}

// One heap for all threads: mail is made on one and freed on another, so that a heap of each thread's own
// would keep what the others have given up. What is free at its end goes back to the system
// (doc/performance.md).
void one_heap() {
    ::mallopt(M_ARENA_MAX, 1);
    ::mallopt(M_TRIM_THRESHOLD, 2 * 1024 * 1024);
    ::mallopt(M_MMAP_THRESHOLD, 256 * 1024);
}

}  // namespace

int main(int argc, char** argv) {
    one_heap();
    CLI::App app{
        "Sternpost, a sending mail transfer agent: the daemon. Runs in the foreground and logs to standard "
        "error."};
    std::string config_path;
    app.add_option(
        "--config", config_path,
        std::string("the configuration; default ") + default_config + " if it is there, else safe defaults");
    app.set_version_flag("--version", "sternpostd " STERNPOST_VERSION);
    try {
        app.parse(argc, argv);
    } catch (const CLI::ParseError& e) {
        return app.exit(e) == 0 ? EX_OK : EX_USAGE;
    }
    if (config_path.empty() && ::access(default_config, F_OK) == 0) config_path = default_config;
    auto loaded = sternpost::config::read_file(config_path);
    for (const auto& error : loaded.errors) std::cerr << error << '\n';
    if (!loaded.errors.empty()) {
        std::cerr << "sternpostd: the configuration has " << loaded.errors.size()
                  << " error(s): not started\n";
        return EX_CONFIG;
    }
    std::signal(SIGPIPE, SIG_IGN);
    ::umask(0077);
    const auto log = sternpost::file_log(STDERR_FILENO, level_of(loaded.settings.log_level),
                                         std::getenv("JOURNAL_STREAM") != nullptr);
    sternpost::cmd::Daemon daemon(config_path, std::move(loaded), *log);
    return daemon.run();
}
