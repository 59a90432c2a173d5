#include "config/file.h"

#include <fmt/format.h>
#include <toml++/toml.h>
#include <unistd.h>

#include <algorithm>
#include <array>

#include "delivery/override.h"
#include "dns/name.h"
#include "dns/resolv_conf.h"
#include "mail/address.h"
#include "mail/sender_domains.h"
#include "util/file.h"
#include "util/text.h"

namespace sternpost::config {
namespace {

// A value as it would stand in the file, for errors.
std::string shown(const toml::node& node) {
    std::ostringstream out;
    node.visit([&](const auto& n) { out << toml::toml_formatter(n, toml::format_flags::none); });
    return printable(out.str(), 80);
}

class Reader {
  public:
    Reader(Loaded& loaded, std::string_view name) : loaded_(loaded), name_(name) {}

    void table(const toml::table& table, const std::string& prefix) {
        for (const auto& [key, node] : table) {
            const std::string full = prefix + std::string(key.str());
            if (prefix.empty() && key.str() == "client") {
                clients(node);
                continue;
            }
            if (prefix.empty() && key.str() == "destination") {
                destinations(node);
                continue;
            }
            if (prefix.empty() && key.str() == "sender") {
                senders(node);
                continue;
            }
            if (prefix.empty() && key.str() == "route") {
                routes(node);
                continue;
            }
            if (prefix.empty() && key.str() == "override") {
                overrides(node);
                continue;
            }
            if (prefix.empty() && is_section(key.str())) {
                if (const auto* section = node.as_table())
                    this->table(*section, full + ".");
                else
                    error(node, full + " is a section: write [" + full +
                                    "] on a line of its own, and its keys below");
                continue;
            }
            const auto all = options();
            const auto option =
                std::find_if(all.begin(), all.end(), [&](const Option& o) { return o.name == full; });
            if (option == all.end()) {
                unknown(key, full);
                continue;
            }
            if (!std::visit([&](auto member) { return set(node, member, option->check); }, option->member))
                error(node, full + " = " + shown(node) + ": " + allowed_text(*option));
        }
    }

  private:
    void error(const toml::node& node, const std::string& text) {
        loaded_.errors.push_back(fmt::format("{}:{}: {}", name_, node.source().begin.line, text));
    }

    static bool is_section(std::string_view key) {
        const auto all = options();
        return std::any_of(all.begin(), all.end(), [&](const Option& o) {
            return o.name.size() > key.size() && o.name.starts_with(key) && o.name[key.size()] == '.';
        });
    }

    void unknown(const toml::key& key, const std::string& full) {
        std::vector<std::string_view> names;
        for (const Option& o : options()) {
            names.push_back(o.name);
            if (const auto dot = o.name.find('.'); dot != std::string_view::npos)
                names.push_back(o.name.substr(0, dot));
        }
        names.emplace_back("client");
        names.emplace_back("route");
        names.emplace_back("destination");
        names.emplace_back("sender");
        names.emplace_back("override");
        std::string_view near = nearest(full, names);
        for (const auto name : names)  // the right key in the wrong section
            if (near.empty() && name.ends_with("." + std::string(key.str()))) near = name;
        loaded_.errors.push_back(fmt::format("{}:{}: unknown key \"{}\"{}", name_, key.source().begin.line,
                                             printable(full, 80),
                                             near.empty() ? "; man sternpost.toml lists the keys"
                                                          : "; did you mean \"" + std::string(near) + "\"?"));
    }

    bool set(const toml::node& node, std::string Settings::*member, Check check) {
        const auto* value = node.as_string();
        if (value == nullptr) return false;
        const std::string& text = value->get();
        const auto fits = [&] {
            if (check == Check::log_level)
                return text == "error" || text == "warning" || text == "info" || text == "debug";
            if (check == Check::path) return text.starts_with('/');
            if (check == Check::readers) return text == "everybody" || text == "admins";
            if (check == Check::trust) return text == "auto" || text == "yes" || text == "no";
            if (check == Check::sign) return text == "auto" || text == "off";
            if (check == Check::convert) return text == "unsigned" || text == "always" || text == "never";
            if (text.empty()) return true;
            if (check == Check::optional_path) return text.starts_with('/');
            if (check == Check::hostname)
                return dns::Domain::parse(text).has_value() && text.find('.') != std::string::npos;
            if (check == Check::name) return dns::Domain::parse(text).has_value();
            if (check == Check::ascii_mailbox) {
                const auto mailbox = mail::Mailbox::parse(text);
                return mailbox.has_value() && !mailbox->is_literal();
            }
            if (check == Check::mailbox) return mail::Mailbox::parse(text, true).has_value();
            const auto address = dns::Address::parse(text);
            if (check == Check::address4) return address && !address->is_v6();
            if (check == Check::address6) return address && address->is_v6();
            return true;
        };
        if (!fits()) return false;
        loaded_.settings.*member = text;
        return true;
    }

    bool set(const toml::node& node, bool Settings::*member, Check) {
        const auto* value = node.as_boolean();
        if (value != nullptr) loaded_.settings.*member = value->get();
        return value != nullptr;
    }

    bool set(const toml::node& node, std::uint64_t Settings::*member, Check check) {
        std::optional<std::uint64_t> number;
        if (const auto* value = node.as_integer(); value != nullptr && value->get() >= 0)
            number = static_cast<std::uint64_t>(value->get());
        if (const auto* text = node.as_string(); text != nullptr && check == Check::size)
            number = parse_size(text->get());
        if (!number) return false;
        if (check == Check::port && (*number < 1 || *number > 65535)) return false;
        if ((check == Check::at_least_one || check == Check::size) && *number < 1) return false;
        if (check == Check::recipients && *number < 100) return false;
        loaded_.settings.*member = *number;
        return true;
    }

    static std::optional<Duration> duration(const toml::node& node) {
        if (const auto* value = node.as_integer();
            value != nullptr && value->get() >= 0 && value->get() < 100000000000)
            return std::chrono::seconds(value->get());
        if (const auto* text = node.as_string()) return parse_duration(text->get());
        return std::nullopt;
    }

    bool set(const toml::node& node, Duration Settings::*member, Check check) {
        const auto value = duration(node);
        if (!value || (check == Check::positive_time && value->count() == 0)) return false;
        loaded_.settings.*member = *value;
        return true;
    }

    bool set(const toml::node& node, std::vector<std::string> Settings::*member, Check check) {
        const auto* list = node.as_array();
        if (list == nullptr) return false;
        std::vector<std::string> out;
        for (const auto& item : *list) {
            const auto* text = item.as_string();
            if (text == nullptr) return false;
            const std::string& value = text->get();
            if (check == Check::families && value != "ipv4" && value != "ipv6") return false;
            if (check == Check::addresses && !dns::Address::parse(value)) return false;
            if ((check == Check::servers || check == Check::listen) && !dns::Server::parse(value))
                return false;
            if (check == Check::listen && dns::Address::parse(value)) return false;  // the port is missing
            out.push_back(value);
        }
        if (check == Check::families && out.empty()) return false;
        loaded_.settings.*member = std::move(out);
        return true;
    }

    bool set(const toml::node& node, std::vector<Duration> Settings::*member, Check) {
        const auto* list = node.as_array();
        if (list == nullptr || list->empty()) return false;
        std::vector<Duration> out;
        for (const auto& item : *list) {
            const auto value = duration(item);
            if (!value || value->count() == 0) return false;
            out.push_back(*value);
        }
        loaded_.settings.*member = std::move(out);
        return true;
    }

    void clients(const toml::node& node) {
        const auto* list = node.as_array();
        if (list == nullptr || !list->is_array_of_tables()) {
            error(node, "client is a list of sections: write [[client]], and network and role below");
            return;
        }
        for (const auto& item : *list) {
            const auto& entry = *item.as_table();
            std::optional<Client> client;
            for (const auto& [key, value] : entry) {
                if (key.str() != "network" && key.str() != "role" && key.str() != "domains")
                    loaded_.errors.push_back(fmt::format(
                        "{}:{}: unknown key \"client.{}\"; a client has network, role and domains", name_,
                        key.source().begin.line, printable(key.str(), 80)));
            }
            const auto* network = entry.get("network");
            const auto parsed = network != nullptr && network->is_string()
                                    ? dns::Network::parse(network->as_string()->get())
                                    : dns::Result<dns::Network>(fail(dns::Errc::bad_name, ""));
            if (network == nullptr) {
                error(item, "a client needs a network such as network = \"192.0.2.0/24\"");
            } else if (!parsed) {
                error(*network, "client.network = " + shown(*network) +
                                    ": a network such as \"192.0.2.0/24\" or \"2001:db8::/32\"");
            } else {
                client = Client{*parsed, ClientRole::originate, domains_of(entry, "client")};
            }
            if (const auto* role = entry.get("role")) {
                const auto* text = role->as_string();
                if (text != nullptr && text->get() == "relay") {
                    if (client) client->role = ClientRole::relay;
                } else if (text == nullptr || text->get() != "originate") {
                    error(*role, "client.role = " + shown(*role) + ": one of \"originate\", \"relay\"");
                }
            }
            if (client && client->role == ClientRole::relay && !client->domains.empty())
                error(*entry.get("domains"),
                      "client.domains is for the role \"originate\": what a relay passes on is others' mail");
            if (client) loaded_.settings.clients.push_back(*client);
        }
    }

    // The list of domains that a section's client or user may write as.
    std::vector<std::string> domains_of(const toml::table& entry, std::string_view list) {
        constexpr const char* allowed = "a list such as [\"example.com\", \".example.com\"]";
        std::vector<std::string> out;
        const auto* node = entry.get("domains");
        if (node == nullptr) return out;
        const auto* all = node->as_array();
        if (all == nullptr || all->empty()) {
            error(*node, fmt::format("{}.domains = {}: {}", list, shown(*node), allowed));
            return out;
        }
        for (const auto& item : *all) {
            const auto* text = item.as_string();
            auto domain = text == nullptr ? std::nullopt : mail::parse_sender_domain(text->get());
            if (domain)
                out.push_back(std::move(*domain));
            else
                error(item, fmt::format("{}.domains: {}: {}", list, shown(item), allowed));
        }
        return out;
    }

    // The sections of a list such as [[route]], each looked over for keys that it does not have.
    std::vector<const toml::table*> sections(const toml::node& node, std::string_view list,
                                             std::initializer_list<std::string_view> keys) {
        std::vector<const toml::table*> out;
        const auto* all = node.as_array();
        if (all == nullptr || !all->is_array_of_tables()) {
            error(node, fmt::format("{0} is a list of sections: write [[{0}]], and {1} below", list,
                                    fmt::join(keys, ", ")));
            return out;
        }
        for (const auto& item : *all) {
            const auto& entry = *item.as_table();
            for (const auto& [key, value] : entry)
                if (std::find(keys.begin(), keys.end(), key.str()) == keys.end())
                    loaded_.errors.push_back(fmt::format("{}:{}: unknown key \"{}.{}\"; allowed are {}",
                                                         name_, key.source().begin.line, list,
                                                         printable(key.str(), 80), fmt::join(keys, ", ")));
            out.push_back(&entry);
        }
        return out;
    }

    // A text of such a section; nothing, with an error, where it is missing or no text.
    std::optional<std::string> text_of(const toml::table& entry, std::string_view list, std::string_view key,
                                       bool needed, std::string_view allowed) {
        const auto* node = entry.get(key);
        if (node == nullptr) {
            if (needed) error(entry, fmt::format("a section [[{}]] needs {}: {}", list, key, allowed));
            return std::nullopt;
        }
        if (const auto* text = node->as_string()) return text->get();
        error(*node, fmt::format("{}.{} = {}: {}", list, key, shown(*node), allowed));
        return std::nullopt;
    }

    void routes(const toml::node& node) {
        for (const auto* entry : sections(node, "route", {"domain", "to", "level"})) {
            const auto domain = text_of(*entry, "route", "domain", true,
                                        "a domain, \".\" and a domain for those under it, or \"*\"");
            const auto to = text_of(*entry, "route", "to", true,
                                    "\"mx:example.net\", \"relay.example.net:25\" or \"[192.0.2.1]:25\"");
            const auto level = text_of(*entry, "route", "level", false, levels);
            if (!domain || !to) continue;
            auto route = delivery::Route::parse(*domain, *to);
            if (!route) {
                error(*entry, "route: " + route.error().text);
                continue;
            }
            if (level) route->level = delivery::level_of(*level);
            if (level && !route->level)
                error(*entry->get("level"),
                      fmt::format("route.level = \"{}\": {}", printable(*level, 80), levels));
            else if (route->level == delivery::TlsLevel::sts && !route->mx_of)
                error(*entry->get("level"),
                      "route.level = \"sts\": only for a route to the MX hosts of a domain "
                      "(\"mx:example.net\"), "
                      "whose policy it is");
            else
                loaded_.settings.routes.push_back(std::move(*route));
        }
    }

    // A number of such a section; nothing where it is missing, an error where it is none or too small.
    std::optional<unsigned> number_of(const toml::table& entry, std::string_view list, std::string_view key,
                                      std::int64_t least) {
        constexpr std::int64_t most = 1'000'000;  // ours: more would be no limit
        const auto* node = entry.get(key);
        if (node == nullptr) return std::nullopt;
        const auto* number = node->as_integer();
        if (number != nullptr && number->get() >= least && number->get() <= most)
            return static_cast<unsigned>(number->get());
        error(*node, fmt::format("{}.{} = {}: a number from {} to {}", list, key, shown(*node), least, most));
        return std::nullopt;
    }

    void destinations(const toml::node& node) {
        for (const auto* entry :
             sections(node, "destination",
                      {"match", "connections", "messages_per_connection", "messages_per_minute"})) {
            const auto match =
                text_of(*entry, "destination", "match", true,
                        "\"example.com\", \".example.com\", \"mx:mx1.example.net\", \"mx:.example.net\"");
            delivery::DestinationLimit limit;
            limit.connections = number_of(*entry, "destination", "connections", 1);
            limit.messages_per_connection = number_of(*entry, "destination", "messages_per_connection", 1);
            limit.messages_per_minute = number_of(*entry, "destination", "messages_per_minute", 0);
            if (!match) continue;
            auto parsed = delivery::DestinationLimit::parse_match(*match);
            if (!parsed) {
                error(*entry->get("match"), "destination.match: " + parsed.error().text);
                continue;
            }
            limit.match = std::move(*parsed);
            loaded_.settings.destinations.push_back(std::move(limit));
        }
    }

    void senders(const toml::node& node) {
        constexpr const char* allowed = "\"192.0.2.0/24\", \"2001:db8::1\", \"user:www-data\"";
        for (const auto* entry :
             sections(node, "sender", {"match", "messages_per_minute", "recipients_per_hour", "domains"})) {
            const auto match = text_of(*entry, "sender", "match", true, allowed);
            const auto messages = number_of(*entry, "sender", "messages_per_minute", 0);
            const auto recipients = number_of(*entry, "sender", "recipients_per_hour", 0);
            if (!match) continue;
            auto rule = intake::SenderRule::parse_match(*match);
            if (!rule) {
                error(*entry->get("match"),
                      fmt::format("sender.match = \"{}\": {}", printable(*match, 80), allowed));
                continue;
            }
            if (auto domains = domains_of(*entry, "sender"); !domains.empty())
                loaded_.settings.sender_domains.push_back(
                    {*match, rule->network, rule->user, std::move(domains)});
            rule->messages_per_minute = messages;
            rule->recipients_per_hour = recipients;
            loaded_.settings.senders.push_back(std::move(*rule));
        }
    }

    void overrides(const toml::node& node) {
        for (const auto* entry :
             sections(node, "override", {"scope", "level", "reason", "author", "expires"})) {
            store::StoredOverride out;
            const auto scope = text_of(*entry, "override", "scope", true,
                                       "\"example.com\", \".example.com\", \"mx:mx1.example.net\"");
            const auto level = text_of(*entry, "override", "level", true, levels);
            const auto reason =
                text_of(*entry, "override", "reason", true, "why, for those who come after you");
            out.author = text_of(*entry, "override", "author", false, "a name").value_or("configuration");
            const auto expires = text_of(*entry, "override", "expires", false, times);
            if (!scope || !level || !reason) continue;
            const auto parsed = delivery::Scope::parse(*scope);
            if (!parsed) {
                error(*entry->get("scope"), "override.scope: " + parsed.error().text);
                continue;
            }
            if (!delivery::level_of(*level)) {
                error(*entry->get("level"),
                      fmt::format("override.level = \"{}\": {}", printable(*level, 80), levels));
                continue;
            }
            if (expires) {
                const auto when = parse_rfc3339(*expires);
                if (!when) {
                    error(*entry->get("expires"),
                          fmt::format("override.expires = \"{}\": {}", printable(*expires, 80), times));
                    continue;
                }
                out.expires = *when;
            }
            out.scope = parsed->text();
            out.level = *level;
            out.reason = *reason;
            loaded_.settings.overrides.push_back(std::move(out));
        }
    }

    static constexpr std::string_view levels =
        "one of \"none\", \"may\", \"encrypt\", \"verify\", \"dane\", \"sts\"";
    static constexpr std::string_view times = "a time such as \"2027-01-31T00:00:00Z\"";

    Loaded& loaded_;
    std::string name_;
};

}  // namespace

std::optional<std::uint64_t> parse_size(std::string_view text) {
    const auto end = std::min(text.find_first_not_of("0123456789"), text.size());
    const auto number = decimal(text.substr(0, end));
    const std::string_view unit = text.substr(end);
    const unsigned shift = unit == "KiB" ? 10U : unit == "MiB" ? 20U : unit == "GiB" ? 30U : 0U;
    if (!number || (shift == 0 && !unit.empty()) || *number > (UINT64_MAX >> 1U >> shift))
        return std::nullopt;
    return *number << shift;
}

Loaded read_text(std::string_view text, std::string_view name) {
    Loaded loaded;
    try {
        const toml::table parsed = toml::parse(text);
        Reader(loaded, name).table(parsed, "");
    } catch (const toml::parse_error& e) {
        loaded.errors.push_back(
            fmt::format("{}:{}: not TOML: {}", name, e.source().begin.line, e.description()));
    }
    if (!loaded.settings.tls_key.empty() && loaded.settings.tls_certificate.empty())
        loaded.errors.push_back(fmt::format(
            "{}: listener.tls_key is set, but listener.tls_certificate, which it belongs to, is not", name));
    return loaded;
}

Loaded read_file(const std::filesystem::path& path) {
    Loaded loaded;
    if (!path.empty()) {
        const auto text = util::read_file(path, 1UL << 20U);
        if (!text) {
            loaded.errors.push_back(text.error().text);
            return loaded;
        }
        loaded = read_text(*text, path.string());
    }
    if (loaded.errors.empty() && loaded.settings.admin_address.empty())
        loaded.warnings.emplace_back(
            "admin_address is not set: mail for postmaster (RFC 5321 §4.5.1), root and other bare names is "
            "refused, and bounces that no one can get are dropped with a line in the log");
    if (loaded.errors.empty() && effective_hostname(loaded.settings).empty())
        loaded.warnings.emplace_back(
            "hostname is not set and the machine's own is not fully qualified: only clients on loopback are "
            "served until "
            "hostname is a name such as \"relay.example.net\"");
    return loaded;
}

std::string dkim_folder(const Settings& settings) {
    return settings.dkim_keys.empty() ? settings.state_dir + "/dkim" : settings.dkim_keys;
}

// On a small machine a message that goes from thread to thread costs more than the work it makes there.
unsigned effective_io_threads(const Settings& settings, unsigned processors) {
    constexpr unsigned most = 1000;  // ours: beyond any machine
    if (settings.io_threads > 0)
        return static_cast<unsigned>(std::min<std::uint64_t>(settings.io_threads, most));
    return processors <= 3 ? 1 : std::min(processors / 2, 8U);
}

std::string effective_hostname(const Settings& settings) {
    std::string name = settings.hostname;
    if (name.empty()) {
        std::array<char, 256> buffer{};
        if (gethostname(buffer.data(), buffer.size() - 1) == 0) name = buffer.data();
    }
    auto domain = dns::Domain::parse(name);
    return domain && name.find('.') != std::string::npos ? domain->text() : std::string();
}

}  // namespace sternpost::config
