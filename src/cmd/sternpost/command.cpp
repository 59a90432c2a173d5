#include "cmd/sternpost/command.h"

#include <csignal>

#include "cmd/sternpost/show.h"
#include "util/text.h"

namespace sternpost::cmd {
namespace {

constexpr const char* default_config = "/etc/sternpost/sternpost.toml";

std::vector<CLI::App*> verbs_of(CLI::App& app) {
    return app.get_subcommands([](const CLI::App*) { return true; });
}

CLI::App* find_verb(CLI::App& app, const std::string& word) {
    for (CLI::App* verb : verbs_of(app))
        if (verb->get_name() == word) return verb;
    return nullptr;
}

// `path`: what comes before the word, "sternpost queue".
void tell_unknown(CLI::App& app, const std::string& path, const std::string& word) {
    std::vector<std::string> names;
    for (const CLI::App* verb : verbs_of(app)) names.push_back(verb->get_name());
    const std::vector<std::string_view> known(names.begin(), names.end());
    const auto near = nearest(word, known);
    std::cerr << "sternpost: \"" << path << "\" has no verb \"" << printable(word) << '"';
    if (near.empty())
        std::cerr << "; \"" << path << " --help\" lists what there is\n";
    else
        std::cerr << "; did you mean \"" << path << ' ' << near << "\"?\n";
}

void add_help(Command& command) {
    auto* help = command.app().add_subcommand("help", "Shows how to use a verb");
    auto words = std::make_shared<std::vector<std::string>>();
    help->add_option("VERB", *words, "the verb as on the command line, such as queue list");
    help->callback([&command, words] {
        command.choose([&command, words] {
            CLI::App* at = &command.app();
            std::string path = "sternpost";
            for (const std::string& word : *words) {
                CLI::App* verb = find_verb(*at, word);
                if (verb == nullptr) {
                    tell_unknown(*at, path, word);
                    return static_cast<int>(ExitCode::usage);
                }
                at = verb;
                path += ' ' + word;
            }
            std::cout << at->get_formatter()->make_help(at, path, CLI::AppFormatMode::Normal);
            return static_cast<int>(ExitCode::done);
        });
    });
}

}  // namespace

// ---- how a verb is asked

control::Answer daemon_is_down(const config::Settings& settings) {
    return {ExitCode::unavailable,
            "the daemon does not answer at " + settings.control_socket + ": is it running?",
            {}};
}

admin::AtRest::Settings at_rest_of(const config::Settings& settings) {
    admin::AtRest::Settings out;
    out.now = SystemClock().wall();
    const auto seconds = [](config::Duration time) {
        return std::chrono::duration_cast<std::chrono::seconds>(time);
    };
    out.schedule.lifetime = seconds(settings.lifetime);
    out.schedule.notice_lifetime = seconds(settings.notice_lifetime);
    out.schedule.report_lifetime = seconds(settings.tlsrpt_retry_for);
    out.reporter.organization = settings.tlsrpt_organization;
    out.reporter.contact = settings.tlsrpt_contact;
    const auto at = out.reporter.contact.find('@');
    if (at != std::string::npos) out.reporter.submitter = lowered(out.reporter.contact.substr(at + 1));
    out.reporter.node = config::effective_hostname(settings);
    out.overrides = settings.overrides;
    return out;
}

admin::Refusal trouble_on_disk(const Error<store::Errc>& error) {
    return {error.code == store::Errc::not_found ? ExitCode::no
            : error.code == store::Errc::io      ? ExitCode::not_permitted
                                                 : ExitCode::internal,
            "the daemon does not answer, and on disk: " + error.text};
}

admin::Caller whoever_runs_this() {
    return {::getuid(), true};
}

WallTime ago(const std::string& option, const std::string& text) {
    const auto span = parse_duration(text);
    if (!span || span->count() <= 0)
        throw CLI::ValidationError(option, printable(text) + ": wanted is a span such as 90m, 24h or 7d");
    return SystemClock().wall() - *span;
}

void print_progress(const control::json::object& so_far) {
    const auto reports = control::from_json<admin::SendingRow>(so_far);
    std::cerr << "\r\033[K";
    if (reports.all > 0)
        std::cerr << reports.reports << " of " << reports.all << " reports" << std::flush;
    else
        std::cerr << control::from_json<admin::ActionRow>(so_far).messages << " messages so far"
                  << std::flush;
}

void end_progress() {
    std::cerr << "\r\033[K" << std::flush;
}

// ---- the command

Command::Command() {
    app_.add_option("--config", config_path_, std::string("configuration file; default ") + default_config)
        ->envname("STERNPOST_CONFIG");  // reaches us through mailq too
    app_.set_version_flag("--version", "sternpost " STERNPOST_VERSION);
    app_.require_subcommand(1);
    add_setup(*this);
    add_status(*this);
    add_alarms(*this);
    add_stats(*this);
    add_log(*this);
    add_queue(*this);
    add_doctor(*this);
    add_sts(*this);
    add_policy(*this);
    add_tlsrpt(*this);
    dkim_.add(*this);
    add_config(*this);
    add_check(*this);
    add_completion(*this);
    add_help(*this);
}

std::string Command::config_file() const {
    return config_path_.empty() ? default_config : config_path_;
}

config::Loaded Command::load() const {
    const bool there = ::access(default_config, F_OK) == 0;
    return config::read_file(config_path_.empty() && there ? default_config : config_path_);
}

int Command::with_settings(const std::function<int(const config::Settings&)>& then) const {
    const auto loaded = load();
    if (loaded.errors.empty()) return then(loaded.settings);
    for (const auto& error : loaded.errors) std::cerr << error << '\n';
    return static_cast<int>(ExitCode::no);
}

int Command::finish(const control::Answer& answer, const std::function<void()>& print) const {
    if (json_ && !answer.data.is_null())
        show_json(answer.data);
    else if (print && (answer.code == ExitCode::done || (answer.text.empty() && !answer.data.is_null())))
        print();
    if (answer.code != ExitCode::done && !answer.text.empty())
        std::cerr << "sternpost: " << printable_lines(answer.text) << '\n';
    return static_cast<int>(answer.code);
}

// The words of the command line that should be verbs are; else it is said which is not.
bool Command::knows_verbs(int argc, char** argv) {
    CLI::App* at = &app_;
    std::string path = "sternpost";
    for (int n = 1; n < argc && !verbs_of(*at).empty(); ++n) {
        const std::string word = argv[n];
        if (word == "--config") {
            ++n;
            continue;
        }
        if (word.starts_with('-')) continue;
        CLI::App* verb = find_verb(*at, word);
        if (verb == nullptr) {
            tell_unknown(*at, path, word);
            return false;
        }
        at = verb;
        path += ' ' + word;
    }
    return true;
}

int Command::run(int argc, char** argv) {
    if (!knows_verbs(argc, argv)) return static_cast<int>(ExitCode::usage);
    try {
        app_.parse(argc, argv);
    } catch (const CLI::ParseError& e) {
        return app_.exit(e) == 0 ? 0 : static_cast<int>(ExitCode::usage);
    }
    return chosen_();
}

}  // namespace sternpost::cmd

int main(int argc, char** argv) {
    std::signal(SIGPIPE, SIG_IGN);
    try {
        return sternpost::cmd::Command().run(argc, argv);
    } catch (const std::exception& e) {
        std::cerr << "sternpost: " << e.what() << '\n';
        return static_cast<int>(sternpost::admin::ExitCode::internal);
    }
}
