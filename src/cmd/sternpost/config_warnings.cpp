#include "cmd/sternpost/config_warnings.h"

#include <fmt/format.h>

#include <algorithm>

#include "config/file.h"
#include "dkim/keys.h"
#include "dns/organizational.h"

namespace sternpost::cmd {

std::vector<std::string> config_warnings(const config::Settings& settings) {
    std::vector<std::string> out;
    std::vector<std::string> organizations;
    for (const auto& key : dkim::KeyFolder(config::dkim_folder(settings)).read().keys) {
        if (key.state != dkim::State::active || key.reports_only) continue;
        const std::string one = dns::organizational_domain(key.signer.domain);
        if (std::find(organizations.begin(), organizations.end(), one) == organizations.end())
            organizations.push_back(one);
    }
    if (organizations.size() <= 1 || settings.dkim_sign == "off") return out;
    const std::string whose =
        fmt::format("there are DKIM keys of several organizations ({})", fmt::join(organizations, ", "));
    for (const auto& client : settings.clients)
        if (client.role == config::ClientRole::originate && client.domains.empty())
            out.push_back(whose + ": mail of the client " + client.network.text() +
                          " is not signed until its section says domains = [\"…\"]");
    if (std::none_of(settings.sender_domains.begin(), settings.sender_domains.end(),
                     [](const auto& one) { return !one.user.empty(); }))
        out.push_back(
            whose +
            ": mail of users of this machine is not signed until a [[sender]] section lists their domains");
    return out;
}

}  // namespace sternpost::cmd
