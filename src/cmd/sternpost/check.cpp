// `sternpost check`: a plugin for Nagios, Icinga and their like.
#include "admin/health.h"
#include "cmd/sternpost/command.h"
#include "cmd/tell.h"
#include "util/text.h"

namespace sternpost::cmd {
namespace {

struct Limits {
    std::string age_warning = "4h";
    std::string age_critical = "24h";
    std::string alarms = "24h";
    admin::HealthLimits parsed;
};

std::chrono::seconds span_of(const std::string& option, const std::string& text) {
    if (const auto span = parse_duration(text))
        return std::chrono::duration_cast<std::chrono::seconds>(*span);
    throw CLI::ValidationError(option, printable(text) + ": wanted is a span such as 4h");
}

int unknown(const std::string& why) {
    tell("STERNPOST UNKNOWN - {}\n", printable(why, 500));
    return static_cast<int>(admin::Level::unknown);
}

int run_check(const Command& command, const admin::HealthLimits& limits) {
    const auto loaded = command.load();
    if (!loaded.errors.empty()) return unknown(loaded.errors.front());
    auto answer = ask_daemon(loaded.settings, "status", admin::NoRequest{}, true);
    admin::Status status;  // of a daemon that is down
    if (answer && answer->code != ExitCode::done) return unknown(answer->text);
    if (answer) {
        status = control::from_json<admin::Status>(answer->data);
    } else {
        auto on_disk = answer_at_rest(loaded.settings, admin::StatusAtRest());
        if (on_disk.value) status = std::move(*on_disk.value);
    }
    const auto health = admin::health_of(status, limits, SystemClock().wall());
    tell("{}\n", admin::plugin_line(health, limits));
    return static_cast<int>(health.level);
}

}  // namespace

void add_check(Command& command) {
    auto* verb = command.app().add_subcommand("check", "Plugin for Nagios and Icinga");
    auto limits = std::make_shared<Limits>();
    verb->add_option("--queue-warning", limits->parsed.queue_warning, "queued messages; 0: never")
        ->capture_default_str();
    verb->add_option("--queue-critical", limits->parsed.queue_critical)->capture_default_str();
    verb->add_option("--age-warning", limits->age_warning, "age of the oldest message")
        ->capture_default_str();
    verb->add_option("--age-critical", limits->age_critical)->capture_default_str();
    verb->add_option("--alarms", limits->alarms, "warn of alarms this recent")->capture_default_str();
    verb->parse_complete_callback([limits] {
        limits->parsed.age_warning = span_of("--age-warning", limits->age_warning);
        limits->parsed.age_critical = span_of("--age-critical", limits->age_critical);
        limits->parsed.alarms_of = span_of("--alarms", limits->alarms);
    });
    verb->callback([&command, limits] {
        command.choose([&command, limits] { return run_check(command, limits->parsed); });
    });
}

}  // namespace sternpost::cmd
