#include "lab/scenario.h"

#include <fmt/format.h>
#include <toml++/toml.h>

#include <algorithm>
#include <array>
#include <optional>
#include <sstream>
#include <variant>

#include "dns/name.h"
#include "dns/record.h"
#include "lab/tlsa.h"
#include "lab/toml_text.h"
#include "util/text.h"

namespace sternpost::lab {
namespace {

constexpr std::size_t max_names = 20000;  // ours: of each kind

// ---- values: read(node, into) is false where the node is not one; allowed() says what would be

bool read(const toml::node& node, bool& into) {
    const auto* value = node.as_boolean();
    if (value != nullptr) into = value->get();
    return value != nullptr;
}
std::string allowed(const bool&) {
    return "true or false";
}

bool read(const toml::node& node, std::string& into) {
    const auto* value = node.as_string();
    if (value != nullptr) into = value->get();
    return value != nullptr;
}
std::string allowed(const std::string&) {
    return "a text in quotes";
}

bool read(const toml::node& node, std::uint32_t& into) {
    const auto* value = node.as_integer();
    if (value == nullptr || value->get() < 0 || value->get() > INT32_MAX) return false;
    into = static_cast<std::uint32_t>(value->get());
    return true;
}
std::string allowed(const std::uint32_t&) {
    return "a whole number, 0 or more";
}

bool read(const toml::node& node, std::vector<std::string>& into) {
    std::vector<std::string> out;
    if (const auto* one = node.as_string()) {
        if (!one->get().empty()) out.push_back(one->get());
    } else if (const auto* list = node.as_array()) {
        for (const auto& item : *list) {
            const auto* text = item.as_string();
            if (text == nullptr) return false;
            out.push_back(text->get());
        }
    } else {
        return false;
    }
    into = std::move(out);
    return true;
}
std::string allowed(const std::vector<std::string>&) {
    return "a text in quotes, or a list of them";
}

bool read(const toml::node& node, Say& into) {
    const auto* value = node.as_string();
    if (value == nullptr || !Say::valid(value->get())) return false;
    into.text = value->get();
    return true;
}
std::string allowed(const Say&) {
    return R"(a reply such as "550 5.1.1 no such user", "hang", "drop", "cut", or "" for the usual)";
}

bool read(const toml::node& node, std::map<std::string, Say>& into) {
    const auto* table = node.as_table();
    if (table == nullptr) return false;
    std::map<std::string, Say> out;
    for (const auto& [key, value] : *table)
        if (!read(value, out[lowered(key.str())])) return false;
    into = std::move(out);
    return true;
}
std::string allowed(const std::map<std::string, Say>&) {
    return "a table of local-parts, each with a reply such as \"550 5.1.1 no such user\", \"hang\", "
           "\"drop\" or \"cut\"";
}

template <class E>
requires std::is_enum_v<E>
bool read(const toml::node& node, E& into) {
    const auto* value = node.as_string();
    if (value == nullptr) return false;
    const auto all = words<E>();
    const auto found = std::find(all.begin(), all.end(), value->get());
    if (found != all.end()) into = static_cast<E>(found - all.begin());
    return found != all.end();
}
template <class E>
requires std::is_enum_v<E> std::string allowed(const E&) {
    return fmt::format("one of \"{}\"", fmt::join(words<E>(), "\", \""));
}

template <class T>
bool read(const toml::node& node, std::optional<T>& into) {
    T value{};
    if (!read(node, value)) return false;
    into = std::move(value);
    return true;
}
template <class T>
std::string allowed(const std::optional<T>&) {
    return allowed(T{});
}

// ---- keys: one table for each section, for the file and for `set`

template <class T>
struct Key {
    using Member =
        std::variant<bool T::*, std::string T::*, std::uint32_t T::*, std::vector<std::string> T::*, Say T::*,
                     std::map<std::string, Say> T::*, CertificateKind T::*, StartTls T::*, HttpsFault T::*,
                     DnsFault T::*, std::optional<bool> T::*, std::optional<std::uint32_t> T::*, Chain T::*,
                     Hello T::*, TlsVersion T::*, Framing T::*, RequireTls T::*,
                     std::optional<std::vector<std::string>> T::*>;
    std::string_view name;
    Member member;
};

constexpr Key<General> general_keys[] = {
    {"ttl", &General::ttl},
    {"ad", &General::ad},
    {"keep_files", &General::keep_files},
};
constexpr Key<MailDomain> domain_keys[] = {
    {"mx", &MailDomain::mx},
    {"sts", &MailDomain::sts},
    {"sts_id", &MailDomain::sts_id},
    {"sts_mx", &MailDomain::sts_mx},
    {"sts_max_age", &MailDomain::sts_max_age},
};
constexpr Key<MxHost> mx_keys[] = {
    {"address", &MxHost::address},
    {"listening", &MxHost::listening},
    {"certificate", &MxHost::certificate},
    {"certificate_names", &MxHost::certificate_names},
    {"intermediate", &MxHost::intermediate},
    {"chain", &MxHost::chain},
    {"tls_min", &MxHost::tls_min},
    {"tls_max", &MxHost::tls_max},
    {"hello", &MxHost::hello},
    {"starttls", &MxHost::starttls},
    {"extensions", &MxHost::extensions},
    {"extensions_in_tls", &MxHost::extensions_in_tls},
    {"requiretls", &MxHost::requiretls},
    {"tlsa", &MxHost::tlsa},
    {"greeting", &MxHost::greeting},
    {"ehlo", &MxHost::ehlo},
    {"starttls_reply", &MxHost::starttls_reply},
    {"mail", &MxHost::mail},
    {"rcpt", &MxHost::rcpt},
    {"rcpt_to", &MxHost::rcpt_to},
    {"data", &MxHost::data},
    {"dot", &MxHost::dot},
};
constexpr Key<PolicyHost> policy_host_keys[] = {
    {"address", &PolicyHost::address},
    {"listening", &PolicyHost::listening},
    {"certificate", &PolicyHost::certificate},
    {"certificate_names", &PolicyHost::certificate_names},
    {"intermediate", &PolicyHost::intermediate},
    {"chain", &PolicyHost::chain},
    {"tls_min", &PolicyHost::tls_min},
    {"tls_max", &PolicyHost::tls_max},
    {"hello", &PolicyHost::hello},
    {"fault", &PolicyHost::fault},
    {"status", &PolicyHost::status},
    {"content_type", &PolicyHost::content_type},
    {"body", &PolicyHost::body},
    {"location", &PolicyHost::location},
    {"fields", &PolicyHost::fields},
    {"pad_to", &PolicyHost::pad_to},
    {"framing", &PolicyHost::framing},
};
constexpr Key<DnsName> dns_keys[] = {
    {"a", &DnsName::a},         {"aaaa", &DnsName::aaaa},
    {"mx", &DnsName::mx},       {"txt", &DnsName::txt},
    {"tlsa", &DnsName::tlsa},   {"cname", &DnsName::cname},
    {"fault", &DnsName::fault}, {"fault_types", &DnsName::fault_types},
    {"ad", &DnsName::ad},       {"ttl", &DnsName::ttl},
};
constexpr std::string_view sections[] = {"lab", "domain", "mx", "policy_host", "dns", "sternpost"};

template <class T, std::size_t N>
std::vector<std::string_view> names_of(const Key<T> (&keys)[N]) {
    std::vector<std::string_view> out;
    for (const auto& key : keys) out.push_back(key.name);
    return out;
}

std::string unknown_text(std::string_view what, std::string_view seen,
                         std::span<const std::string_view> known) {
    const auto near = nearest(seen, known);
    return fmt::format("unknown {} \"{}\"; {}", what, printable(seen, 80),
                       near.empty() ? fmt::format("there are {}", fmt::join(known, ", "))
                                    : fmt::format("did you mean \"{}\"?", near));
}

// What can be wrong with values that are texts, beyond their form.
std::string trouble(const General&) {
    return "";
}
// Texts that begin with three numbers and go on with words have to be ones that can be understood.
std::string trouble_of_tlsa(const std::vector<std::string>& texts, bool needs_host) {
    for (const auto& text : texts) {
        const auto wish = TlsaWish::read(text);
        if (wish && (wish->selector > 1 || wish->matching > 2))
            return "selectors are 0 and 1, matching types 0 to 2; or give rdata";
        if (wish && wish->host.empty() == needs_host)
            return needs_host ? "the MX host whose certificate it is about at the end, as in \"3 1 1 match "
                                "mx.a.example\""
                              : "no host: the record is about this one";
        if (!wish && text.find_first_not_of("0123456789abcdefABCDEF ") != std::string::npos)
            return "a record such as \"3 1 1 match\", \"2 0 1 mismatch root\", or rdata in digits";
    }
    return "";
}
std::string trouble(const DnsName& name) {
    return trouble_of_tlsa(name.tlsa, true);
}
std::string trouble_of_address(const std::string& text) {
    if (text.empty()) return "";
    const auto address = dns::Address::parse(text);
    return address && address->is_loopback() && !address->is_v6() ? "" : "an address of 127.0.0.0/8";
}
std::string trouble(const MxHost& host) {
    if (std::string text = trouble_of_tlsa(host.tlsa, false); !text.empty()) return text;
    return trouble_of_address(host.address);
}
std::string trouble(const PolicyHost& host) {
    if (host.status < 100 || host.status > 599) return "100 to 599";
    if (host.pad_to > (16U << 20U)) return "at most 16777216";
    for (const auto& field : host.fields)
        if (field.find(':') == std::string::npos || field.find_first_of("\r\n") != std::string::npos)
            return "header fields, such as \"ETag: 1\"";
    return trouble_of_address(host.address);
}
std::string trouble(const MailDomain& domain) {
    const std::string& mode = domain.sts;
    return mode.empty() || mode == "none" || mode == "testing" || mode == "enforce"
               ? ""
               : "one of \"none\", \"testing\", \"enforce\", or \"\" for no policy at all";
}

// Sets one key of `object`, or says in a sentence why not; then the object is as it was.
template <class T, std::size_t N>
std::string assign(T& object, const Key<T> (&keys)[N], std::string_view name, const toml::node& node) {
    const auto key =
        std::find_if(std::begin(keys), std::end(keys), [&](const auto& k) { return k.name == name; });
    if (key == std::end(keys)) return unknown_text("key", name, names_of(keys));
    T changed = object;
    const bool good = std::visit([&](auto member) { return read(node, changed.*member); }, key->member);
    if (!good)
        return fmt::format("{} = {}: {}", name, shown(node),
                           std::visit([&](auto member) { return allowed(object.*member); }, key->member));
    if (const std::string text = trouble(changed); !text.empty())
        return fmt::format("{} = {}: {}", name, shown(node), text);
    object = std::move(changed);
    return "";
}

// ---- the file

class Reader {
  public:
    Reader(Scenario& scenario, std::string_view file) : scenario_(scenario), file_(file) {}

    void read_all(const toml::table& root) {
        for (const auto& [key, node] : root) {
            const std::string_view section = key.str();
            if (std::find(std::begin(sections), std::end(sections), section) == std::end(sections)) {
                error(key.source(), unknown_text("section", section, sections));
                continue;
            }
            const auto* table = node.as_table();
            if (table == nullptr) {
                error(key.source(),
                      fmt::format("{} is a section: write [{}] on a line of its own", section, section));
                continue;
            }
            World& world = scenario_.world;
            if (section == "lab") one(world.general, general_keys, *table, "lab");
            if (section == "domain") each(world.domains, domain_keys, *table, "domain");
            if (section == "mx") each(world.mx, mx_keys, *table, "mx");
            if (section == "policy_host") each(world.policy_hosts, policy_host_keys, *table, "policy_host");
            if (section == "dns") each(world.dns, dns_keys, *table, "dns");
            if (section == "sternpost") {
                std::ostringstream out;
                out << *table;
                scenario_.sternpost = out.str();
            }
        }
    }

  private:
    template <class T, std::size_t N>
    void one(T& object, const Key<T> (&keys)[N], const toml::table& table, const std::string& where) {
        for (const auto& [key, node] : table)
            if (const std::string text = assign(object, keys, key.str(), node); !text.empty())
                error(key.source(), where + ": " + text);
    }

    template <class T, std::size_t N>
    void each(std::map<std::string, T, std::less<>>& objects, const Key<T> (&keys)[N],
              const toml::table& table, const std::string& section) {
        for (const auto& [key, node] : table) {
            const auto name = dns::Domain::parse(key.str());
            const auto* entries = node.as_table();
            if (!name || entries == nullptr) {
                error(key.source(),
                      fmt::format(
                          "[{}.\"{}\"]: the section needs a domain name in quotes, as in [{}.\"a.example\"]",
                          section, printable(key.str(), 80), section));
                continue;
            }
            if (objects.size() >= max_names) {
                error(key.source(), fmt::format("more than {} sections [{}.…]", max_names, section));
                return;
            }
            one(objects[name->text()], keys, *entries, fmt::format("{}.\"{}\"", section, name->text()));
        }
    }

    void error(const toml::source_region& where, const std::string& text) {
        scenario_.errors.push_back(fmt::format("{}:{}: {}", file_, where.begin.line, text));
    }

    Scenario& scenario_;
    std::string file_;
};

// ---- set

struct Target {
    std::string name;
    std::string key;
};

// Names have dots, and so may the key (`rcpt_to.bob`): the longest name that exists decides, else all up to
// the last dot is the name.
template <class T>
Target split_path(const std::map<std::string, T, std::less<>>& objects, std::string_view rest) {
    for (auto dot = rest.rfind('.'); dot != std::string_view::npos && dot > 0; dot = rest.rfind('.', dot - 1))
        if (const std::string name = lowered(rest.substr(0, dot)); objects.contains(name))
            return {name, std::string(rest.substr(dot + 1))};
    const auto dot = rest.rfind('.');
    if (dot == std::string_view::npos) return {"", std::string(rest)};
    return {lowered(rest.substr(0, dot)), std::string(rest.substr(dot + 1))};
}

template <class T, std::size_t N>
std::string set_in(std::map<std::string, T, std::less<>>& objects, const Key<T> (&keys)[N],
                   std::string_view rest, const toml::node& node, bool may_add) {
    const Target target = split_path(objects, rest);
    const auto name = dns::Domain::parse(target.name);
    if (!name)
        return fmt::format("\"{}\" is not a name and a key, such as a.example.{}", printable(rest, 80),
                           keys[0].name);
    const auto found = objects.find(name->text());
    if (found == objects.end() && (!may_add || objects.size() >= max_names))
        return fmt::format("there is no \"{}\" in this lab", name->text());
    T changed = found != objects.end() ? found->second : T{};
    std::string text;
    if constexpr (std::is_same_v<T, MxHost>) {
        if (target.key == "address")
            return "an address is for the scenario file: the host listens there already";
        if (target.key.starts_with("rcpt_to.")) {
            if (!read(node, changed.rcpt_to[lowered(target.key.substr(8))]))
                text = shown(node) + ": " + allowed(Say{});
        } else {
            text = assign(changed, keys, target.key, node);
        }
    } else if constexpr (std::is_same_v<T, PolicyHost>) {
        if (target.key == "address")
            return "an address is for the scenario file: the host listens there already";
        text = assign(changed, keys, target.key, node);
    } else {
        text = assign(changed, keys, target.key, node);
    }
    if (text.empty()) objects[name->text()] = std::move(changed);
    return text;
}

// ---- the daemon's configuration

void merge(toml::table& into, const toml::table& from) {
    for (const auto& [key, node] : from) {
        auto* ours = into.get_as<toml::table>(key.str());
        if (const auto* theirs = node.as_table(); ours != nullptr && theirs != nullptr)
            merge(*ours, *theirs);
        else
            into.insert_or_assign(key, node);
    }
}

}  // namespace

std::string shown(const toml::node& node) {
    std::ostringstream out;
    node.visit([&](const auto& n) { out << toml::toml_formatter(n, toml::format_flags::none); });
    return printable(out.str(), 80);
}

Scenario read_scenario(std::string_view text, std::string_view name) {
    Scenario scenario;
    try {
        const toml::table parsed = toml::parse(text);
        Reader(scenario, name).read_all(parsed);
    } catch (const toml::parse_error& e) {
        scenario.errors.push_back(
            fmt::format("{}:{}: not TOML: {}", name, e.source().begin.line, e.description()));
    }
    scenario.world.complete();
    return scenario;
}

util::Result<void> set(World& world, std::string_view path, std::string_view value) {
    toml::table holder;
    try {
        holder = toml::parse("value = " + std::string(value));
    } catch (const toml::parse_error&) {
        holder.clear();
    }
    if (holder.size() != 1) {
        holder.clear();
        holder.insert("value", std::string(value));
    }
    const toml::node& node = *holder.get("value");
    const auto dot = path.find('.');
    const std::string_view section = path.substr(0, dot);
    const std::string_view rest = dot == std::string_view::npos ? "" : path.substr(dot + 1);
    std::string text;
    if (section == "lab")
        text = assign(world.general, general_keys, rest, node);
    else if (section == "domain")
        text = set_in(world.domains, domain_keys, rest, node, false);
    else if (section == "mx")
        text = set_in(world.mx, mx_keys, rest, node, false);
    else if (section == "policy_host")
        text = set_in(world.policy_hosts, policy_host_keys, rest, node, false);
    else if (section == "dns")
        text = set_in(world.dns, dns_keys, rest, node, true);
    else
        text = unknown_text("section", section, std::span(sections).first(5));
    if (!text.empty()) return fail(util::Errc::malformed, text);
    world.complete();
    return {};
}

util::Result<std::string> merged_config(const std::vector<std::string_view>& texts) {
    toml::table all;
    try {
        for (const auto text : texts) merge(all, toml::parse(text));
    } catch (const toml::parse_error& e) {
        return fail(util::Errc::malformed,
                    fmt::format("line {}: {}", e.source().begin.line, e.description()));
    }
    std::ostringstream out;
    out << all;
    return out.str();
}

std::string daemon_config(const Places& places, std::string_view sternpost_table) {
    const auto at = [&](const char* name) { return (places.folder / name).string(); };
    toml::table config{
        {"hostname", "relay.example"},
        {"user", ""},
        {"state_dir", at("state")},
        {"control_socket", at("control.sock")},
        {"submit_socket", at("submit.sock")},
        {"maildrop_dir", at("maildrop")},
        {"resolvers", toml::array{places.resolver}},
        {"listener",
         toml::table{{"listen", toml::array{"127.0.0.1:2525"}}, {"messages_per_minute_per_client", 0}}},
        {"delivery", toml::table{{"smtp_port", places.smtp_port}, {"allow_special_addresses", true}}},
        {"queue", toml::table{{"retry", toml::array{"1m", "5m", "1h"}}}},
        {"dns", toml::table{{"timeout", "2s"}}},
        {"tls", toml::table{{"ca_file", at("ca.pem")}}},
        {"sts", toml::table{{"policy_port", places.https_port},
                            {"allow_special_addresses", true},
                            {"fetch_timeout", "10s"},
                            {"failed_fetch_wait", "1s"}}},
    };
    if (!sternpost_table.empty()) merge(config, toml::parse(sternpost_table));
    std::ostringstream out;
    out << "# Written by sternpost-lab at its start, for: sternpostd --config " << at("sternpost.toml")
        << "\n"
        << config << "\n";
    return out.str();
}

}  // namespace sternpost::lab
