#include "cmd/lab_check.h"

#include <fmt/format.h>
#include <glob.h>
#include <unistd.h>

#include <algorithm>
#include <boost/json/serialize.hpp>
#include <csignal>
#include <filesystem>
#include <iostream>
#include <regex>
#include <thread>

#include "control/protocol.h"
#include "lab/check_runner.h"
#include "util/file.h"
#include "util/text.h"

namespace sternpost::cmd {
namespace {

namespace fs = std::filesystem;
using control::ExitCode;
using std::chrono::steady_clock;

struct CheckOptions {
    std::string daemon;
    std::string suite;
    std::string report;
    std::string only;
    std::string keep;
    std::string ports = "auto";
    std::vector<std::string> extra;
    unsigned jobs = 0;
    bool json = false;
};

volatile std::sig_atomic_t interrupted = 0;

int exit_code(ExitCode code) {
    return static_cast<int>(code);
}

int complain(ExitCode code, const std::string& text) {
    std::cerr << "sternpost-lab: " << text << '\n';
    return exit_code(code);
}

fs::path own_folder() {
    std::error_code ec;
    return fs::read_symlink("/proc/self/exe", ec).parent_path();
}

std::string on_path(const std::string& name) {
    const char* path = std::getenv("PATH");
    for (const auto folder : split(path != nullptr ? path : "", ':')) {
        const std::string candidate = std::string(folder) + "/" + name;
        if (!folder.empty() && ::access(candidate.c_str(), X_OK) == 0) return candidate;
    }
    return "";
}

// The first of the places where it may be run; empty: none.
std::string program(const std::string& name, const std::vector<fs::path>& folders) {
    for (const auto& folder : folders)
        if (const fs::path path = folder / name; ::access(path.c_str(), X_OK) == 0)
            return fs::absolute(path).lexically_normal().string();
    return on_path(name);
}

std::string libfaketime() {
    glob_t found{};
    std::string out;
    if (::glob("/usr/lib/*/faketime/libfaketimeMT.so.1", 0, nullptr, &found) == 0 && found.gl_pathc > 0)
        out = found.gl_pathv[0];
    ::globfree(&found);
    return out;
}

// Beside the program (a build folder in a source tree), or under the prefix.
std::string suite_folder(const CheckOptions& options) {
    if (!options.suite.empty()) return options.suite;
    const fs::path own = own_folder();
    for (const fs::path& folder :
         {own / ".." / "share" / "sternpost" / "checks", own / ".." / "etc" / "lab" / "checks",
          own / ".." / ".." / "etc" / "lab" / "checks"})
        if (fs::is_directory(folder)) return folder.lexically_normal().string();
    return "";
}

lab::Programs find_programs(const CheckOptions& options) {
    const fs::path own = own_folder();
    std::vector<fs::path> folders{own, own / ".." / "sbin", own / ".." / "bin"};
    lab::Programs programs;
    if (!options.daemon.empty()) {
        programs.daemon = fs::absolute(options.daemon).string();
        const fs::path beside = fs::path(programs.daemon).parent_path();
        folders.insert(folders.begin(), {beside, beside / ".." / "bin"});
    } else {
        programs.daemon = program("sternpostd", folders);
    }
    programs.command = program("sternpost", folders);
    programs.sendmail = program("sendmail", folders);
    programs.faketime = libfaketime();
    return programs;
}

// Overwrites itself on a terminal.
void show_progress(std::size_t done, std::size_t of, const lab::Check& check, const lab::Verdict& verdict) {
    if (::isatty(STDERR_FILENO) == 0) return;
    std::cerr << fmt::format("\r\033[K{}/{}  {}{}", done, of,
                             verdict.trouble.empty() ? "" : "FAILED: ", printable(check.name, 70));
    if (!verdict.trouble.empty()) std::cerr << '\n';
    if (done == of) std::cerr << "\r\033[K";
    std::cerr << std::flush;
}

/// The folder of all checks: temporary, or one that was named and stays.
class Workplace {
  public:
    explicit Workplace(const std::string& named) : keep_(!named.empty()) {
        std::error_code ec;
        std::string name = named;
        if (keep_)
            fs::create_directories(named, ec);
        else if (name = (fs::temp_directory_path(ec) / "sternpost-check.XXXXXX").string();
                 ::mkdtemp(name.data()) == nullptr)
            return;
        path_ = fs::canonical(name, ec);
    }
    Workplace(const Workplace&) = delete;
    Workplace& operator=(const Workplace&) = delete;
    ~Workplace() {
        std::error_code ignored;
        if (!keep_ && !path_.empty()) fs::remove_all(path_, ignored);
    }
    const fs::path& path() const { return path_; }

  private:
    bool keep_;
    fs::path path_;
};

std::optional<std::regex> pattern_of(const std::string& text) {
    try {
        return std::regex(text, std::regex::icase);
    } catch (const std::regex_error&) {
        return std::nullopt;
    }
}

bool matches(const lab::Check& check, const std::regex& only) {
    return std::regex_search(check.name, only) ||
           std::any_of(check.ids.begin(), check.ids.end(),
                       [&](const auto& id) { return std::regex_search(id, only); });
}

int write_report(const std::string& path, const std::string& markdown, const std::string& json) {
    const auto written = util::write_file(path, path.ends_with(".json") ? json + "\n" : markdown);
    return written ? 0 : complain(ExitCode::internal, written.error().text);
}

int check(const CheckOptions& options) {
    const auto only = pattern_of(options.only);
    if (!only) return complain(ExitCode::usage, "--only " + options.only + " is no regular expression");
    const std::string folder = suite_folder(options);
    if (folder.empty()) return complain(ExitCode::usage, "where are the checks? say --suite DIR");
    const lab::Suite suite = lab::read_suite(folder);
    for (const auto& error : suite.errors) std::cerr << error << '\n';
    if (!suite.errors.empty())
        return complain(ExitCode::usage,
                        fmt::format("the suite has {} error(s): not run", suite.errors.size()));
    lab::RunChecks how;
    how.programs = find_programs(options);
    for (const auto& [name, path] :
         {std::pair("sternpostd", how.programs.daemon), std::pair("sternpost", how.programs.command),
          std::pair("sendmail", how.programs.sendmail)})
        if (::access(path.c_str(), X_OK) != 0)
            return complain(ExitCode::usage, std::string("where is ") + name + "? say --daemon PATH");
    for (const auto& line : options.extra) how.extra += line + "\n";
    std::error_code ignored;
    if (!options.keep.empty() && fs::exists(options.keep, ignored) && !fs::is_empty(options.keep, ignored))
        return complain(ExitCode::usage, "--keep " + options.keep + ": it is not empty");
    const Workplace workplace(options.keep);
    if (workplace.path().empty()) return complain(ExitCode::internal, "cannot make a temporary folder");
    how.folder = workplace.path();
    how.high_ports = options.ports == "high";
    how.keep = !options.keep.empty();
    how.jobs = options.jobs != 0 ? options.jobs : 2 * std::max(1U, std::thread::hardware_concurrency());
    how.chosen = [&](const lab::Check& one) { return matches(one, *only); };
    how.done = show_progress;
    how.stopped = [] { return interrupted != 0; };
    std::signal(SIGINT, [](int) { interrupted = 1; });
    std::signal(SIGTERM, [](int) { interrupted = 1; });

    const auto began = steady_clock::now();
    const auto verdicts = lab::run_checks(suite, how);
    const auto took = std::chrono::duration_cast<std::chrono::milliseconds>(steady_clock::now() - began);
    if (interrupted != 0) return complain(ExitCode::internal, "interrupted");
    const auto rows = lab::rows_of(suite, verdicts);
    const auto totals = lab::totals_of(rows, verdicts);
    if (totals.checks == 0) return complain(ExitCode::usage, "no check has that name or id: " + options.only);
    const std::string json = boost::json::serialize(lab::as_json(suite, rows, verdicts, took));
    std::cout << (options.json ? json + "\n" : lab::as_text(rows, totals, took)) << std::flush;
    if (!options.report.empty())
        if (const int code = write_report(options.report, lab::as_markdown(rows, totals, took), json);
            code != 0)
            return code;
    return totals.checks_failed == 0 ? 0 : exit_code(ExitCode::no);
}

}  // namespace

void add_check_verb(CLI::App& app, const std::function<void(std::function<int()>)>& choose) {
    const auto options = std::make_shared<CheckOptions>();
    auto* verb = app.add_subcommand(
        "check",
        "play every attack and fault of transport security against a sternpostd; a table by obligation");
    verb->add_option("--daemon", options->daemon,
                     "the sternpostd to check; default: the one installed with this program");
    verb->add_option("--suite", options->suite, "the folder of the checks; default: the installed ones");
    verb->add_option("--report", options->report,
                     "write the table there: Markdown, or JSON where it ends in .json");
    verb->add_option("--only", options->only,
                     "only the checks whose name or id contains this regular expression");
    verb->add_option("--jobs", options->jobs, "checks at once; default: two a processor")
        ->check(CLI::Range(1, 64));
    verb->add_option(
        "--config-extra", options->extra,
        "a line of TOML for every daemon's configuration, as in sts.enabled=false; may come again");
    verb->add_option(
            "--ports", options->ports,
            "auto: the well-known ones, each check in a network of its own, where the machine allows it; "
            "high: ports above 20000, one check after the other")
        ->check(CLI::IsMember({"auto", "high"}))
        ->capture_default_str();
    verb->add_option("--keep", options->keep, "a folder where what each check leaves is kept");
    verb->add_flag("--json", options->json, "the table as JSON");
    verb->callback([options, choose] { choose([options] { return check(*options); }); });
}

}  // namespace sternpost::cmd
