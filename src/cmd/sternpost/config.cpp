// `sternpost config`: the configuration, checked and shown.
#include <fmt/format.h>

#include "cmd/sternpost/command.h"
#include "cmd/sternpost/config_warnings.h"
#include "cmd/sternpost/show.h"
#include "util/file.h"

namespace sternpost::cmd {
namespace {

namespace json = boost::json;

int check(const Command& command) {
    auto loaded = command.load();
    if (const auto roots = util::read_file(loaded.settings.ca_file, 64UL << 20U);
        loaded.errors.empty() && !roots)
        loaded.errors.push_back("tls.ca_file: " + roots.error().text +
                                "; without it the daemon does not start");
    if (loaded.errors.empty())
        for (auto& warning : config_warnings(loaded.settings)) loaded.warnings.push_back(std::move(warning));
    for (const auto& error : loaded.errors) std::cerr << error << '\n';
    for (const auto& warning : loaded.warnings) std::cerr << "warning: " << warning << '\n';
    if (!loaded.errors.empty()) {
        std::cerr << "sternpost: " << loaded.errors.size() << " error(s)\n";
        return static_cast<int>(ExitCode::no);
    }
    tell("The configuration is in order{}.\n", loaded.warnings.empty() ? "" : ", with the warnings above");
    return static_cast<int>(ExitCode::done);
}

std::string role_of(const config::Client& client) {
    return client.role == config::ClientRole::relay ? "relay" : "originate";
}

json::object to_json(const config::Settings& settings) {
    json::object out;
    for (const auto& option : config::options())
        out[option.name] =
            json::parse(config::value_text(option, settings));  // TOML's values are JSON's here
    json::array clients;
    for (const auto& client : settings.clients)
        clients.push_back(json::object{{"network", client.network.text()}, {"role", role_of(client)}});
    out["client"] = std::move(clients);
    return out;
}

int show_options(const Command& command) {
    const auto loaded = command.load();
    if (!loaded.errors.empty()) return check(command);
    return command.finish({ExitCode::done, "", to_json(loaded.settings)}, [&] {
        std::string section;
        for (const auto& option : config::options()) {
            const auto dot = option.name.find('.');
            const std::string here(dot == std::string_view::npos ? "" : option.name.substr(0, dot));
            if (here != section) tell("\n[{}]\n", here);
            section = here;
            tell("{} = {}\n", option.name.substr(dot == std::string_view::npos ? 0 : dot + 1),
                 config::value_text(option, loaded.settings));
        }
        for (const auto& client : loaded.settings.clients)
            tell("\n[[client]]\nnetwork = \"{}\"\nrole = \"{}\"\n", client.network.text(), role_of(client));
    });
}

}  // namespace

void add_config(Command& command) {
    auto* group =
        command.app().add_subcommand("config", "Checks and shows the configuration")->require_subcommand(1);
    group->add_subcommand("check", "Checks the configuration, and what it names")->callback([&command] {
        command.choose([&command] { return check(command); });
    });
    auto* shown = group->add_subcommand("show", "Shows every option with its value");
    command.add_json(shown);
    shown->callback([&command] { command.choose([&command] { return show_options(command); }); });
}

}  // namespace sternpost::cmd
