// sternpost(1), the administrator's command: how a verb is asked of the daemon, answered from the disk while
// no daemon runs, and shown. The groups of verbs are in the files next to this one.
#pragma once

#include <unistd.h>

#include <CLI/CLI.hpp>
#include <functional>
#include <iostream>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "admin/at_rest.h"
#include "cmd/sternpost/dkim_verbs.h"
#include "config/file.h"
#include "control/client.h"
#include "control/json.h"
#include "store/open.h"

namespace sternpost::cmd {

using admin::ExitCode;

/// A verb of the command line, and the request that its options fill.
template <class Request>
struct Verb {
    CLI::App* app;
    std::shared_ptr<Request> request;
};

/// What is done with a verb's value.
template <class Request, class Value>
struct Asking {
    std::string name;  // as the daemon knows it
    std::function<void(const Value&)> print;
    /// Answers while no daemon runs; null, or nullopt: only the daemon can.
    std::function<std::optional<admin::Answer<Value>>(const config::Settings&, const Request&)> at_rest{};
    std::string_view list{};  // with --json, this member alone is shown
    /// Called before the daemon is asked; an exit code: it is not.
    std::function<std::optional<ExitCode>(const config::Settings&, const Request&)> before{};
};

/// What all groups use. Lives as long as the command runs.
class Command {
  public:
    Command();
    int run(int argc, char** argv);

    CLI::App& app() { return app_; }
    config::Loaded load() const;
    /// The file that is meant, whether it is there or not.
    std::string config_file() const;
    bool json() const { return json_; }
    void add_json(CLI::App* verb) { verb->add_flag("--json", json_, "the answer as JSON"); }
    /// What the command line means.
    void choose(std::function<int()> run) { chosen_ = std::move(run); }
    /// Runs `then` with the settings, or says what is wrong with them.
    int with_settings(const std::function<int(const config::Settings&)>& then) const;
    /// Shows why an answer is no good news, and its value as JSON; `print`: for people, where there is a
    /// value to show.
    int finish(const control::Answer& answer, const std::function<void()>& print) const;

    template <class Request, class Value>
    Verb<Request> add(CLI::App* parent, const std::string& name, const std::string& help,
                      Asking<Request, Value> asking);
    /// A verb that reads, and that the disk can answer.
    template <class Reading>
    Verb<typename Reading::Request> add_reading(CLI::App* parent, const std::string& name,
                                                const std::string& help,
                                                std::function<void(const typename Reading::Value&)> print);

  private:
    bool knows_verbs(int argc, char** argv);

    CLI::App app_{"Sternpost, a sending mail transfer agent: the administrator's command."};
    std::string config_path_;
    bool json_ = false;
    std::function<int()> chosen_;
    DkimVerbs dkim_;
};

// ---- the groups
void add_stats(Command& command);
void add_log(Command& command);
void add_setup(Command& command);
void add_status(Command& command);
void add_alarms(Command& command);
void add_queue(Command& command);
void add_doctor(Command& command);
void add_sts(Command& command);
void add_policy(Command& command);
void add_tlsrpt(Command& command);
void add_config(Command& command);
void add_check(Command& command);
void add_completion(Command& command);

// ---- how a verb is asked

/// How long the daemon may take for each sign of life: a policy fetch may take a minute.
inline constexpr auto patience = std::chrono::seconds(90);

control::Answer daemon_is_down(const config::Settings& settings);
/// What is known apart from the store while no daemon runs.
admin::AtRest::Settings at_rest_of(const config::Settings& settings);
admin::Refusal trouble_on_disk(const Error<store::Errc>& error);
admin::Caller whoever_runs_this();
/// The time so long before now; throws CLI::ValidationError, which names the option, if the text is no span.
WallTime ago(const std::string& option, const std::string& span);
void print_progress(const control::json::object& so_far);
void end_progress();

template <class Reading>
admin::Answer<typename Reading::Value> answer_at_rest(const config::Settings& settings, Reading verb) {
    const auto opened = store::open_at_rest(settings.state_dir);
    if (!opened) return trouble_on_disk(opened.error());
    for (const auto& warning : (*opened)->warnings()) std::cerr << "sternpost: " << warning << '\n';
    const auto live = admin::AtRest::read(**opened, at_rest_of(settings));
    if (!live) return trouble_on_disk(live.error());
    return admin::read_now(std::move(verb), **opened, *live);
}

/// Asks the daemon; nullopt: it does not answer. `part`: takes pieces of a long answer as they come.
template <class Request>
std::optional<control::Answer> ask_daemon(const config::Settings& settings, std::string_view verb,
                                          const Request& request, bool reads,
                                          const std::function<void(control::json::object)>& part = {}) {
    control::json::value text = control::to_json(request);
    auto& object = text.as_object();
    object["verb"] = verb;
    const bool shown = !reads && ::isatty(STDERR_FILENO) != 0;
    if (shown) object["progress"] = true;
    if (reads) object["parts"] = true;
    auto answer = control::ask(settings.control_socket, object, patience, print_progress, part);
    if (shown) end_progress();
    return answer;
}

template <class Request, class Value>
Verb<Request> Command::add(CLI::App* parent, const std::string& name, const std::string& help,
                           Asking<Request, Value> asking) {
    CLI::App* sub = parent->add_subcommand(name, help);
    add_json(sub);
    auto request = std::make_shared<Request>();
    sub->callback([this, request, asking = std::move(asking)] {
        choose([this, request, asking] {
            return with_settings([&](const config::Settings& settings) {
                if (asking.before)
                    if (const auto code = asking.before(settings, *request)) return static_cast<int>(*code);
                const bool reads = asking.at_rest != nullptr;
                auto answer = ask_daemon(settings, asking.name, *request, reads);
                if (!answer && reads)
                    if (const auto found = asking.at_rest(settings, *request))
                        answer = control::to_answer(*found);
                if (!answer) answer = daemon_is_down(settings);
                const auto value = json_ ? Value() : control::from_json<Value>(answer->data);
                if (auto* object = answer->data.if_object(); !asking.list.empty() && object != nullptr) {
                    control::json::value list = std::move((*object)[asking.list]);
                    answer->data = std::move(list);
                }
                bool quiet = false;
                if constexpr (requires { request->quiet; }) quiet = request->quiet;
                return finish(*answer, [&] {
                    if (!quiet) asking.print(value);
                });
            });
        });
    });
    return {sub, std::move(request)};
}

template <class Reading>
Verb<typename Reading::Request> Command::add_reading(
    CLI::App* parent, const std::string& name, const std::string& help,
    std::function<void(const typename Reading::Value&)> print) {
    using Request = typename Reading::Request;
    Asking<Request, typename Reading::Value> asking{std::string(Reading::name), std::move(print)};
    asking.at_rest = [](const config::Settings& settings, const Request& request) {
        return answer_at_rest(settings, Reading(request, whoever_runs_this(), admin::Paging::whole));
    };
    return add(parent, name, help, std::move(asking));
}

}  // namespace sternpost::cmd
