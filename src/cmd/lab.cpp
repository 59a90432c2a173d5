// sternpost-lab(1): runs a small internet from a scenario, changes it while it runs, shows what it saw.
#include "lab/lab.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <array>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/steady_timer.hpp>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <iostream>

#include "cmd/lab_check.h"
#include "control/client.h"
#include "lab/network.h"
#include "util/file.h"
#include "util/text.h"

namespace {

using namespace sternpost;
using control::Answer;
using control::ExitCode;
namespace json = boost::json;
namespace fs = std::filesystem;

constexpr const char* folder_variable = "STERNPOST_LAB_DIR";
constexpr auto patience = std::chrono::seconds(10);
constexpr auto time_to_end = std::chrono::seconds(10);  // for the command, after SIGTERM

int exit_code(ExitCode code) {
    return static_cast<int>(code);
}

int complain(ExitCode code, const std::string& text) {
    std::cerr << "sternpost-lab: " << text << '\n';
    return exit_code(code);
}

// ---- run

struct RunOptions {
    std::string scenario;
    std::string folder;
    std::string ports = "auto";
    std::string log_level = "warning";
    std::vector<std::string> command;
};

Level level_of(const std::string& name) {
    if (name == "error") return Level::error;
    if (name == "warning") return Level::warning;
    return name == "debug" ? Level::debug : Level::info;
}

/// A folder of our own, removed at the end, unless one was named.
class Folder {
  public:
    static util::Result<Folder> make(const std::string& named) {
        Folder folder;
        std::error_code ec;
        if (!named.empty()) {
            fs::create_directories(named, ec);
            folder.path_ = fs::canonical(named, ec);
            if (ec) return fail(util::Errc::io, "cannot make " + named + ": " + ec.message());
            return folder;
        }
        std::string name = (fs::temp_directory_path(ec) / "sternpost-lab.XXXXXX").string();
        if (ec || ::mkdtemp(name.data()) == nullptr)
            return fail(util::Errc::io, "cannot make a temporary folder: " + util::errno_text(errno));
        folder.path_ = name;
        folder.ours_ = true;
        return folder;
    }
    Folder(Folder&& other) noexcept
        : path_(std::exchange(other.path_, {})), ours_(std::exchange(other.ours_, false)) {}
    Folder& operator=(Folder&&) = delete;
    ~Folder() {
        std::error_code ignored;
        if (ours_) fs::remove_all(path_, ignored);
    }
    const fs::path& path() const { return path_; }

  private:
    Folder() = default;
    fs::path path_;
    bool ours_ = false;
};

/// The command that the lab is there for: started in the lab's network, told to end when the lab ends.
class Command {
  public:
    util::Result<void> start(std::vector<std::string> words, const fs::path& folder) {
        const std::array<std::pair<const char*, fs::path>, 4> environment{
            {{folder_variable, folder},
             {"STERNPOST_CONFIG", folder / "sternpost.toml"},
             {"STERNPOST_SOCKET", folder / "submit.sock"},
             {"STERNPOST_MAILDROP", folder / "maildrop"}}};
        std::vector<char*> arguments;
        for (auto& word : words) arguments.push_back(word.data());
        arguments.push_back(nullptr);
        // Programs that the command leaves behind become our children and end with it.
        ::prctl(PR_SET_CHILD_SUBREAPER, 1);
        pid_ = ::fork();
        if (pid_ < 0) return fail(util::Errc::io, "cannot start a process: " + util::errno_text(errno));
        if (pid_ > 0) return {};
        ::prctl(PR_SET_PDEATHSIG, SIGTERM);
        sigset_t none;
        sigemptyset(&none);
        ::sigprocmask(SIG_SETMASK, &none, nullptr);
        std::signal(SIGPIPE, SIG_DFL);
        // Asio's sockets outlive an exec: a host that is told not to listen would go on doing so here.
        ::close_range(3, ~0U, 0);
        for (const auto& [name, value] : environment) ::setenv(name, value.c_str(), 1);
        ::execvp(arguments.front(), arguments.data());
        std::cerr << "sternpost-lab: cannot run " << words.front() << ": " << util::errno_text(errno) << '\n';
        ::_exit(127);
    }

    /// Takes in what has ended; whether the command has.
    bool reap() {
        int status = 0;
        for (pid_t ended = ::waitpid(-1, &status, WNOHANG); ended > 0;
             ended = ::waitpid(-1, &status, WNOHANG)) {
            if (ended != pid_) continue;
            pid_ = -1;
            code_ = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
        }
        return pid_ < 0;
    }
    void signal(int number) const {
        if (pid_ > 0) ::kill(pid_, number);
    }
    int code() const { return code_; }

    /// Ends what the command left running.
    static void end_leftovers() {
        const auto deadline = std::chrono::steady_clock::now() + time_to_end;
        for (bool patient = true; leftovers(patient ? SIGTERM : SIGKILL);) {
            ::usleep(20000);
            while (::waitpid(-1, nullptr, WNOHANG) > 0) {
            }
            patient = std::chrono::steady_clock::now() < deadline;
        }
    }

  private:
    // Signals our children; whether there were any.
    static bool leftovers(int number) {
        const auto list =
            util::read_file("/proc/self/task/" + std::to_string(::getpid()) + "/children", 1UL << 16U);
        bool any = false;
        if (!list) return any;
        for (const auto word : split(*list, ' '))
            if (const auto pid = decimal(word); pid && *pid > 1) {
                any = true;
                ::kill(static_cast<pid_t>(*pid), number);
            }
        return any;
    }

    pid_t pid_ = -1;
    int code_ = 0;
};

// The well-known ports in a network of our own, or others where there is none to be had.
util::Result<std::vector<lab::Ports>> choose_ports(const RunOptions& options) {
    std::vector<lab::Ports> high;
    for (unsigned base = 10000; base < 30000; base += 1000)
        high.push_back({static_cast<std::uint16_t>(base + 53), static_cast<std::uint16_t>(base + 443),
                        static_cast<std::uint16_t>(base + 25)});
    if (options.ports == "high") return high;
    if (options.command.empty()) {  // a network where no one else is would be of no use
        if (options.ports == "low") return std::vector<lab::Ports>{lab::Ports{}};
        return high;
    }
    if (options.ports == "auto" && !lab::own_network_allowed()) {
        std::cerr << "sternpost-lab: this machine allows no network of our own: using high ports\n";
        return high;
    }
    if (auto entered = lab::enter_own_network(); !entered) return fail(std::move(entered).error());
    return std::vector<lab::Ports>{lab::Ports{}};
}

/// Starts the lab on the first ports that are free.
util::Result<std::unique_ptr<lab::Lab>> start_lab(asio::io_context& context, const lab::Scenario& scenario,
                                                  const fs::path& folder,
                                                  const std::vector<lab::Ports>& choices, Log& log,
                                                  const std::function<void()>& on_stop) {
    std::string trouble;  // of the last choice
    for (const auto& ports : choices) {
        auto authority = lab::Authority::make();
        if (!authority) return fail(util::Errc::io, authority.error().text);
        auto started =
            std::make_unique<lab::Lab>(context, scenario, std::move(*authority), folder, log, on_stop);
        const auto done = started->start(ports);
        if (done) {
            fmt::print("ready: DNS 127.0.0.53:{}, HTTPS port {}, SMTP port {}; {}\n", ports.dns, ports.https,
                       ports.smtp, (folder / "sternpost.toml").string());
            std::cout << std::flush;
            std::fflush(stdout);
            return started;
        }
        trouble = done.error().text;
        asio::co_spawn(context, started->stop(), [](const std::exception_ptr&) {});
        context.run();
        context.restart();
    }
    return fail(util::Errc::io, trouble);
}

int run(const RunOptions& options) {
    const auto text = util::read_file(options.scenario, 4UL << 20U);
    if (!text) return complain(ExitCode::usage, text.error().text);
    const lab::Scenario scenario = lab::read_scenario(*text, options.scenario);
    for (const auto& error : scenario.errors) std::cerr << error << '\n';
    if (!scenario.errors.empty())
        return complain(ExitCode::no,
                        fmt::format("the scenario has {} error(s): not started", scenario.errors.size()));
    const auto folder = Folder::make(options.folder);
    if (!folder) return complain(ExitCode::internal, folder.error().text);
    const auto lock = util::lock_file(folder->path() / "lab.lock");
    if (!lock)
        return complain(ExitCode::unavailable,
                        folder->path().string() + " is in use by another lab: " + lock.error().text);
    const auto choices = choose_ports(options);
    if (!choices) return complain(ExitCode::internal, choices.error().text + "; --ports high does without");

    const auto log = file_log(STDERR_FILENO, level_of(options.log_level), false);
    asio::io_context context(1);
    asio::signal_set signals(context, SIGINT, SIGTERM, SIGCHLD);
    bool stopping = false;
    Command command;
    std::unique_ptr<lab::Lab> running;
    asio::steady_timer last_word(context);
    const auto end = [&] {
        asio::co_spawn(context, running->stop(), [&](const std::exception_ptr&) { context.stop(); });
    };
    const std::function<void()> stop = [&] {
        if (std::exchange(stopping, true)) return;
        if (options.command.empty()) return end();
        command.signal(SIGTERM);
        last_word.expires_after(time_to_end);
        last_word.async_wait([&](const boost::system::error_code& ec) {
            if (!ec) command.signal(SIGKILL);
        });
    };
    auto started = start_lab(context, scenario, folder->path(), *choices, *log, stop);
    if (!started) return complain(ExitCode::internal, started.error().text);
    running = std::move(*started);
    std::string trouble;

    const std::function<void()> wait_for_signals = [&] {
        signals.async_wait([&](const boost::system::error_code& ec, int number) {
            if (ec) return;
            if (number != SIGCHLD) stop();
            if (number == SIGCHLD && !options.command.empty() && command.reap()) {
                stopping = true;
                last_word.cancel();
                return end();
            }
            wait_for_signals();
        });
    };
    wait_for_signals();
    if (!options.command.empty()) {
        if (const auto begun = command.start(options.command, folder->path()); !begun) {
            trouble = begun.error().text;
            end();
        }
    }
    context.run();
    running.reset();
    if (!trouble.empty()) return complain(ExitCode::internal, trouble);
    if (!options.command.empty()) Command::end_leftovers();
    return command.code();
}

// ---- set, show, stop

std::string field(const json::object& object, std::string_view key) {
    const auto* value = object.if_contains(key);
    if (value == nullptr || value->is_null()) return "";
    return value->is_string() ? std::string(value->as_string()) : json::serialize(*value);
}

std::string or_dash(std::string text) {
    return text.empty() ? "-" : text;
}

void print_mail(const json::array& all, bool whole) {
    for (const auto& item : all) {
        const json::object& mail = item.as_object();
        if (whole) {
            fmt::print("{}", field(mail, "text"));
            continue;
        }
        std::string recipients;
        for (const auto& recipient : mail.at("recipients").as_array())
            recipients += " <" + printable(std::string_view(recipient.as_string())) + ">";
        fmt::print("{}  {}  {}  {}  SNI {}  from <{}>  to{}  {} octets\n", field(mail, "id"),
                   field(mail, "arrived"), field(mail, "mx"),
                   field(mail, "tls").empty() ? "in clear" : field(mail, "tls"), or_dash(field(mail, "sni")),
                   printable(field(mail, "reverse_path")), recipients, field(mail, "size"));
    }
}

void print_sessions(const json::array& all) {
    for (const auto& item : all) {
        const json::object& session = item.as_object();
        fmt::print("{}  {}  from {}\n", field(session, "began"), field(session, "mx"),
                   field(session, "client"));
        for (const auto& line : session.at("lines").as_array())
            fmt::print("    {}\n", std::string(line.as_string()));
    }
}

void print_rows(const json::array& all, std::initializer_list<const char*> keys) {
    for (const auto& item : all) {
        std::string line;
        for (const char* key : keys)
            line += (line.empty() ? "" : "  ") + or_dash(field(item.as_object(), key));
        fmt::print("{}\n", line);
    }
}

class Client {
  public:
    int run(int argc, char** argv);

  private:
    int ask(json::object request, const std::function<void(const json::array&)>& print) const;
    void add_run();
    void add_folder(CLI::App* verb);

    CLI::App app_{
        "A small internet on loopback (DNS, HTTPS policy hosts, MX hosts, a certification authority), to try "
        "mail and its faults on."};
    RunOptions run_;
    std::string path_;
    std::string value_;
    std::string what_ = "mail";
    std::string id_;
    bool json_ = false;
    std::function<int()> chosen_;
};

int Client::ask(json::object request, const std::function<void(const json::array&)>& print) const {
    if (run_.folder.empty())
        return complain(ExitCode::usage, std::string("which lab? say --dir DIR, or set ") + folder_variable);
    const std::string path = (fs::path(run_.folder) / lab::socket_name).string();
    const auto answer = control::ask(path, request, patience);
    if (!answer) return complain(ExitCode::unavailable, "no lab answers at " + path + ": is it running?");
    if (answer->code != ExitCode::done) return complain(answer->code, answer->text);
    if (json_)
        std::cout << json::serialize(answer->data) << '\n';
    else if (print && answer->data.is_array())
        print(answer->data.as_array());
    return 0;
}

void Client::add_folder(CLI::App* verb) {
    verb->add_option("--dir", run_.folder, "the lab's folder")->envname(folder_variable);
}

void Client::add_run() {
    auto* verb = app_.add_subcommand(
        "run", "start a lab from a scenario; with a COMMAND, until that ends, and with its exit code");
    verb->add_option("SCENARIO", run_.scenario, "the scenario file")->required();
    verb->add_option("--dir", run_.folder,
                     "where ca.pem, sternpost.toml and all sockets go; default: a temporary folder");
    verb->add_option("--ports", run_.ports,
                     "low: 53, 443 and 25; high: ports above 10000; auto: low in a network of its own where "
                     "there is a COMMAND and the "
                     "machine allows it, else high")
        ->check(CLI::IsMember({"low", "high", "auto"}))
        ->capture_default_str();
    verb->add_option("--log", run_.log_level, "the least important events on standard error")
        ->check(CLI::IsMember({"error", "warning", "info", "debug"}))
        ->capture_default_str();
    verb->add_option("COMMAND", run_.command, "after --: a program with its arguments");
    verb->callback([this] { chosen_ = [this] { return ::run(run_); }; });
}

int Client::run(int argc, char** argv) {
    app_.set_version_flag("--version", "sternpost-lab " STERNPOST_VERSION);
    app_.require_subcommand(1);
    add_run();
    auto* set = app_.add_subcommand("set", "change a running lab, as in: set mx.mx1.b.example.starttls none");
    set->add_option("PATH", path_, "section, name and key, as in a scenario")->required();
    set->add_option("VALUE", value_, "the value, as in a scenario; texts need no quotes")->required();
    add_folder(set);
    set->callback([this] {
        chosen_ = [this] { return ask({{"verb", "set"}, {"path", path_}, {"value", value_}}, nullptr); };
    });
    auto* show = app_.add_subcommand("show", "what a running lab has seen");
    show->add_option("WHAT", what_, "what to show")
        ->check(CLI::IsMember({"mail", "sessions", "dns", "https"}))
        ->capture_default_str();
    show->add_option("ID", id_, "with mail: the whole message of that number");
    show->add_flag("--json", json_, "the answer as JSON");
    add_folder(show);
    show->callback([this] {
        chosen_ = [this] {
            return ask({{"verb", "show"}, {"what", what_}, {"id", id_}}, [this](const json::array& all) {
                if (what_ == "mail") print_mail(all, !id_.empty());
                if (what_ == "sessions") print_sessions(all);
                if (what_ == "dns") print_rows(all, {"asked", "name", "type", "answer"});
                if (what_ == "https") print_rows(all, {"asked", "host", "sni", "request", "answer"});
            });
        };
    });
    cmd::add_check_verb(app_, [this](std::function<int()> run) { chosen_ = std::move(run); });
    auto* stop = app_.add_subcommand("stop", "end a running lab");
    add_folder(stop);
    stop->callback([this] { chosen_ = [this] { return ask({{"verb", "stop"}}, nullptr); }; });
    try {
        app_.parse(argc, argv);
    } catch (const CLI::ParseError& e) {
        return app_.exit(e) == 0 ? 0 : exit_code(ExitCode::usage);
    }
    return chosen_();
}

}  // namespace

int main(int argc, char** argv) {
    std::signal(SIGPIPE, SIG_IGN);
    try {
        return Client().run(argc, argv);
    } catch (const std::exception& e) {
        return complain(ExitCode::internal, e.what());
    }
}
