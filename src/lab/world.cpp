#include "lab/world.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "lab/tlsa.h"
#include "util/text.h"

namespace sternpost::lab {
namespace {

constexpr std::string_view policy_label = "mta-sts.";   // RFC 8461 §3.3
constexpr std::string_view smtp_label = "_25._tcp.";    // RFC 7672 §2.2.3
constexpr std::string_view record_label = "_mta-sts.";  // RFC 8461 §3.1

// `10 mx.a.example` or a name alone; those without a preference get 10, 20, … in their order.
struct MxEntry {
    std::uint64_t preference;
    std::string name;
};

MxEntry mx_entry(std::string_view text, std::size_t position) {
    const auto blank = text.find(' ');
    if (blank != std::string_view::npos)
        if (const auto preference = decimal(text.substr(0, blank)))
            return {*preference, lowered(trimmed(text.substr(blank)))};
    return {10 * (position + 1), lowered(text)};
}

// A TXT record's character-strings: quoted, 255 octets each.
std::string in_quotes(std::string_view text) {
    std::string out;
    do {
        out += out.empty() ? "\"" : " \"";
        for (const char c : text.substr(0, 255)) {
            if (c == '"' || c == '\\') out += '\\';
            out += c;
        }
        out += '"';
        text.remove_prefix(std::min<std::size_t>(255, text.size()));
    } while (!text.empty());
    return out;
}

bool under(std::string_view name, std::string_view parent) {
    return name == parent || (name.size() > parent.size() && name.ends_with(parent) &&
                              name[name.size() - parent.size() - 1] == '.');
}

std::string absolute(std::string_view name) {
    return name.ends_with('.') ? std::string(name) : std::string(name) + ".";
}

}  // namespace

template <>
std::vector<std::string_view> words<CertificateKind>() {
    return {"valid",    "expired",   "notyet",  "selfsigned", "unknownca", "wrongname", "cnonly",
            "wildcard", "wildcard2", "partial", "weakkey",    "sha1",      "notca",     "outside"};
}
template <>
std::vector<std::string_view> words<DnsFault>() {
    return {"none", "servfail", "nxdomain", "refused", "timeout", "truncate"};
}
template <>
std::vector<std::string_view> words<HttpsFault>() {
    return {"none", "hang", "drip", "oversize", "redirect", "drop", "empty", "gzip", "cut"};
}
template <>
std::vector<std::string_view> words<StartTls>() {
    return {"offered", "none", "refused", "injected", "garbage", "drop"};
}
template <>
std::vector<std::string_view> words<Chain>() {
    return {"usual", "leaf", "root"};
}
template <>
std::vector<std::string_view> words<Hello>() {
    return {"usual", "close", "reset", "alert", "silence", "garbage"};
}
template <>
std::vector<std::string_view> words<TlsVersion>() {
    return {"", "1.0", "1.1", "1.2", "1.3"};
}
template <>
std::vector<std::string_view> words<Framing>() {
    return {"length", "chunked", "close"};
}
template <>
std::vector<std::string_view> words<RequireTls>() {
    return {"no", "always", "before", "after"};
}

bool Say::valid(std::string_view text) {
    if (text.empty() || text == "hang" || text == "drop" || text == "cut") return true;
    const auto digit = [&](std::size_t at) { return text[at] >= '0' && text[at] <= '9'; };
    return text.size() >= 3 && text.size() <= 500 && text.front() >= '2' && text.front() <= '5' && digit(1) &&
           digit(2) && (text.size() == 3 || text[3] == ' ') && is_ascii(text) &&
           text.find_first_of("\r\n") == std::string_view::npos;
}

void World::complete() {
    const auto is_alias = [&](const std::string& name) {
        const auto own = dns.find(name);
        return own != dns.end() && !own->second.cname.empty();
    };
    for (const auto& [name, domain] : domains) {
        for (std::size_t i = 0; i < domain.mx.size(); ++i)
            if (const auto entry = mx_entry(domain.mx[i], i); entry.name != "." && !is_alias(entry.name))
                mx.try_emplace(entry.name);
        if (!domain.sts.empty()) policy_hosts.try_emplace(std::string(policy_label) + name);
    }
    std::set<std::string> taken;
    for (const auto& [name, host] : mx) taken.insert(host.address);
    for (const auto& [name, host] : policy_hosts) taken.insert(host.address);
    unsigned next = 0;
    const auto give = [&](std::string& address) {
        while (address.empty()) {
            ++next;
            const std::string free = fmt::format("127.1.{}.{}", next / 250, 1 + next % 250);
            if (taken.insert(free).second) address = free;
        }
    };
    for (auto& [name, host] : mx) give(host.address);
    for (auto& [name, host] : policy_hosts) give(host.address);
}

void World::add_records(DnsView& view, std::string_view name, std::string_view type) const {
    auto& records = view.records;
    const auto own = dns.find(name);
    const bool alias = own != dns.end() && !own->second.cname.empty();  // it has nothing else
    if (type == "A" && !alias) {
        const auto host = mx.find(name);
        if (host != mx.end()) records.push_back(host->second.address);
        const auto policy_host = policy_hosts.find(name);
        if (policy_host != policy_hosts.end() && host == mx.end())
            records.push_back(policy_host->second.address);
    }
    if (type == "MX" && !alias)
        if (const auto domain = domains.find(name); domain != domains.end())
            for (std::size_t i = 0; i < domain->second.mx.size(); ++i) {
                const MxEntry entry = mx_entry(domain->second.mx[i], i);
                records.push_back(fmt::format("{} {}", entry.preference, absolute(entry.name)));
            }
    if (type == "TXT" && !alias && name.starts_with(record_label))
        if (const auto domain = domains.find(name.substr(record_label.size()));
            domain != domains.end() && !domain->second.sts.empty())
            records.push_back(in_quotes("v=STSv1; id=" + domain->second.sts_id + ";"));

    if (type == "TLSA" && !alias)
        if (const auto host = host_of_tlsa(name); host != mx.end())
            for (const auto& text : host->second.tlsa) records.push_back(made_tlsa(host->first, text));
    if (own == dns.end()) return;
    const auto plain = [](const std::string& text) { return text; };
    const auto take = [&](std::string_view of_type, const std::vector<std::string>& texts,
                          const auto& as_rdata) {
        if (type != of_type || texts.empty()) return;
        records.clear();  // what the scenario says of a name stands instead of what follows from its hosts
                          // and domains
        for (const auto& text : texts) records.push_back(as_rdata(text));
    };
    take("A", own->second.a, plain);
    take("AAAA", own->second.aaaa, plain);
    take("MX", own->second.mx, [](const std::string& text) {
        const MxEntry entry = mx_entry(text, 0);
        return fmt::format("{} {}", entry.preference, absolute(entry.name));
    });
    take("TXT", own->second.txt,
         [](const std::string& text) { return text.starts_with('"') ? text : in_quotes(text); });
    take("TLSA", own->second.tlsa, [&](const std::string& text) {
        const auto wish = TlsaWish::read(text);
        return wish ? made_tlsa(wish->host, text) : text;
    });
}

World::MxHosts::const_iterator World::host_of_tlsa(std::string_view name) const {
    return name.starts_with(smtp_label) ? mx.find(name.substr(smtp_label.size())) : mx.end();
}

std::string World::made_tlsa(const std::string& host, const std::string& text) const {
    const auto made = tlsa_rdata.find({host, text});
    return made != tlsa_rdata.end() ? made->second : text;
}

std::vector<std::pair<std::string, std::string>> World::tlsa_wishes() const {
    std::vector<std::pair<std::string, std::string>> out;
    for (const auto& [name, host] : mx)
        for (const auto& text : host.tlsa)
            if (TlsaWish::read(text)) out.emplace_back(name, text);
    for (const auto& [name, own] : dns)
        for (const auto& text : own.tlsa)
            if (const auto wish = TlsaWish::read(text)) out.emplace_back(wish->host, text);
    return out;
}

// A scenario speaks of port 25, wherever the lab's MX hosts listen; nothing is at 25 when that is elsewhere.
std::string World::scripted_name(std::string_view asked) const {
    if (smtp_port == 25) return std::string(asked);
    const std::string prefix = fmt::format("_{}._tcp.", smtp_port);
    if (asked.starts_with(prefix)) return std::string(smtp_label) + std::string(asked.substr(prefix.size()));
    return asked.starts_with(smtp_label) ? "_elsewhere." + std::string(asked) : std::string(asked);
}

DnsView World::look_up(std::string_view name, std::string_view type) const {
    return look_up_scripted(scripted_name(name), type);
}

DnsView World::look_up_scripted(std::string_view name, std::string_view type) const {
    DnsView view;
    view.ad = general.ad;
    view.ttl = general.ttl;
    const auto own = dns.find(name);
    if (own != dns.end()) {
        const DnsName& told = own->second;
        if (told.fault_types.empty() || std::any_of(told.fault_types.begin(), told.fault_types.end(),
                                                    [&](const auto& t) { return iequals(t, type); }))
            view.fault = told.fault;
        view.ad = told.ad.value_or(general.ad);
        view.ttl = told.ttl.value_or(general.ttl);
        if (!told.cname.empty()) view.cname = lowered(told.cname);
    }
    view.exists = anything_at_or_under(name);
    add_records(view, name, type);
    if (type == "CNAME" && !view.cname.empty()) view.records.push_back(absolute(view.cname));
    return view;
}

bool World::anything_at_or_under(std::string_view name) const {
    const auto any = [&](const auto& map) {
        return std::any_of(map.begin(), map.end(),
                           [&](const auto& entry) { return under(entry.first, name); });
    };
    if (any(mx) || any(policy_hosts) || any(domains)) return true;
    if (const auto host = host_of_tlsa(name); host != mx.end() && !host->second.tlsa.empty()) return true;
    // a name that only fails is not there
    const auto has_records = [](const DnsName& own) {
        return !(own.a.empty() && own.aaaa.empty() && own.mx.empty() && own.txt.empty() && own.tlsa.empty() &&
                 own.cname.empty());
    };
    if (std::any_of(dns.begin(), dns.end(),
                    [&](const auto& entry) { return under(entry.first, name) && has_records(entry.second); }))
        return true;
    return std::any_of(domains.begin(), domains.end(), [&](const auto& entry) {
        return !entry.second.sts.empty() && name == std::string(record_label) + entry.first;
    });
}

std::string World::policy_text(std::string_view host) const {
    const auto told = policy_hosts.find(host);
    if (told != policy_hosts.end() && !told->second.body.empty()) return told->second.body;
    if (!host.starts_with(policy_label)) return "";
    const auto found = domains.find(host.substr(policy_label.size()));
    if (found == domains.end() || found->second.sts.empty()) return "";
    const MailDomain& domain = found->second;
    std::string out = "version: STSv1\r\nmode: " + domain.sts + "\r\n";  // RFC 8461 §3.2
    for (const auto& pattern : domain.sts_mx) out += "mx: " + pattern + "\r\n";
    if (domain.sts_mx.empty())
        for (std::size_t i = 0; i < domain.mx.size(); ++i)
            out += "mx: " + mx_entry(domain.mx[i], i).name + "\r\n";
    return out + fmt::format("max_age: {}\r\n", domain.sts_max_age);
}

}  // namespace sternpost::lab
