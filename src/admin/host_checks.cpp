#include "admin/host_checks.h"

#include <fmt/format.h>

#include <algorithm>

#include "util/text.h"

namespace sternpost::admin {
namespace {

constexpr std::size_t most_greeted = 4;  // ours: addresses of MX hosts that are called

using Findings = std::vector<HostFinding>;

std::string joined(const std::vector<dns::Address>& addresses) {
    std::string out;
    for (const auto& one : addresses) out += (out.empty() ? "" : ", ") + one.text();
    return out;
}

// The addresses of a name. Adds a finding where the DNS does not answer.
asio::awaitable<std::vector<dns::Address>> addresses_of(dns::Domain name, CheckSources& sources,
                                                        const char* check, Findings& out) {
    std::vector<dns::Address> found;
    const auto v4 = co_await sources.resolver.a(name);
    const auto v6 = co_await sources.resolver.aaaa(name);
    if (!v4 || !v6) {
        out.push_back({check, Verdict::error, name.text() + ": " + (v4 ? v6.error().text : v4.error().text),
                       "mend the resolver, and run this again"});
        co_return found;
    }
    found = v4->records;
    found.insert(found.end(), v6->records.begin(), v6->records.end());
    co_return found;
}

// HELO name, address and PTR name each other: many hosts refuse mail of one where they do not.
asio::awaitable<void> check_ptr(const CheckedHost& host, CheckSources& sources, dns::Address address,
                                Findings& out) {
    const std::string set = "ask whoever gave you the address to set its PTR record to " + host.hostname;
    const auto found = co_await sources.ptr(address);
    if (!found) {
        out.push_back({"ptr", Verdict::warning, address.text() + ": " + found.error().text,
                       "mend the resolver, and run this again"});
        co_return;
    }
    if (found->records.empty()) {
        out.push_back(
            {"ptr", Verdict::error, address.text() + " has no PTR record: many hosts refuse its mail", set});
        co_return;
    }
    std::string names;
    for (const auto& one : found->records) {
        names += (names.empty() ? "" : ", ") + one.target;
        if (iequals(one.target, host.hostname)) {
            out.push_back({"ptr", Verdict::ok, address.text() + " is called " + host.hostname, ""});
            co_return;
        }
    }
    out.push_back(
        {"ptr", Verdict::warning,
         address.text() + " is called " + printable(names, 300) + ", and this host " + host.hostname,
         set + ", or set hostname to that name"});
}

asio::awaitable<std::vector<dns::Address>> check_hostname(const CheckedHost& host, CheckSources& sources,
                                                          Findings& out) {
    const auto name = dns::Domain::parse(host.hostname);
    if (!name || host.hostname.find('.') == std::string::npos) {
        out.push_back({"hostname", Verdict::error, "there is no fully qualified hostname",
                       "set hostname in sternpost.toml"});
        co_return host.own;
    }
    const std::size_t before = out.size();
    auto found = co_await addresses_of(*name, sources, "hostname", out);
    if (out.size() > before) co_return host.own;
    if (found.empty()) {
        out.push_back({"hostname", Verdict::error, host.hostname + " has no address in the DNS",
                       "publish an A record, and an AAAA record if mail goes out over IPv6"});
        co_return host.own;
    }
    std::vector<dns::Address> missing;
    for (const auto& one : host.own)
        if (std::find(found.begin(), found.end(), one) == found.end()) missing.push_back(one);
    if (missing.empty())
        out.push_back({"hostname", Verdict::ok, host.hostname + " leads to " + joined(found), ""});
    else
        out.push_back({"hostname", Verdict::warning,
                       host.hostname + " leads to " + joined(found) + ", and mail goes out from " +
                           joined(missing) + " too",
                       "publish address records for all of them"});
    co_return host.own.empty() ? found : host.own;
}

asio::awaitable<void> check_spf(const dns::Domain& domain, CheckSources& sources,
                                std::vector<dns::Address> own, Findings& out) {
    std::string terms;
    for (const auto& one : own) terms += (one.is_v6() ? " ip6:" : " ip4:") + one.text();
    for (const auto& address : own) {
        Spf spf(sources.resolver, address);
        const auto found = co_await spf.check(domain);
        const std::string who = "mail of " + domain.text() + " from " + address.text();
        switch (found.result) {
            case SpfResult::pass:
                out.push_back({"spf", Verdict::ok, who + " passes, by " + printable(found.text, 200), ""});
                break;
            case SpfResult::none:
                out.push_back(
                    {"spf", Verdict::warning, found.text,
                     "publish a TXT record at " + domain.text() + ": \"v=spf1" + terms + " -all\""});
                co_return;
            case SpfResult::temperror:
                out.push_back({"spf", Verdict::warning, who + ": " + printable(found.text, 300),
                               "mend the resolver, and run this again"});
                break;
            case SpfResult::permerror:
            case SpfResult::not_judged:
                out.push_back(
                    {"spf", found.result == SpfResult::permerror ? Verdict::error : Verdict::warning,
                     who + ": " + printable(found.text, 300), "check the record of " + domain.text()});
                break;
            case SpfResult::fail:
            case SpfResult::softfail:
            case SpfResult::neutral:
                out.push_back({"spf", found.result == SpfResult::fail ? Verdict::error : Verdict::warning,
                               who + " gets \"" + std::string(name_of(found.result)) + "\", by " +
                                   printable(found.text, 200),
                               std::string("add") + (address.is_v6() ? " ip6:" : " ip4:") + address.text() +
                                   " to the SPF record of " + domain.text()});
                break;
        }
    }
}

asio::awaitable<void> check_dmarc(const dns::Domain& domain, CheckSources& sources, Findings& out) {
    const auto at = domain.under("_dmarc");
    if (!at) co_return;
    const auto found = co_await sources.resolver.txt(*at);
    if (!found) co_return;  // the resolver's own check says it
    for (const auto& text : found->records)
        if (lowered(text).starts_with("v=dmarc1")) {
            out.push_back({"dmarc", Verdict::ok, domain.text() + " has a DMARC record", ""});
            co_return;
        }
    out.push_back({"dmarc", Verdict::warning, domain.text() + " has no DMARC record",
                   "publish a TXT record at " + at->text() + ": \"v=DMARC1; p=none\""});
}

asio::awaitable<void> check_way_out(const dns::Domain& domain, CheckSources& sources, Findings& out) {
    const auto mx = co_await sources.resolver.mx(domain);
    if (!mx) {
        out.push_back({"port-25", Verdict::warning,
                       "the MX hosts of " + domain.text() + ": " + mx.error().text,
                       "mend the resolver, and run this again"});
        co_return;
    }
    std::vector<std::string> hosts;
    for (const auto& one : mx->records) hosts.push_back(one.exchange);
    if (mx->records.empty() && mx->existence != dns::Existence::no_name) hosts.push_back(domain.text());
    std::string last = domain.text() + " has no mail host";
    std::size_t called = 0;
    for (const auto& text : hosts) {
        const auto name = dns::Domain::parse(text);
        if (!name) continue;
        const auto addresses = co_await addresses_of(*name, sources, "port-25", out);
        for (const auto& address : addresses) {
            if (++called > most_greeted) break;
            const auto greeted = co_await sources.greet(address);
            const std::string where = name->text() + "[" + address.text() + "]";
            if (greeted.is) {
                out.push_back({"port-25", Verdict::ok, where + " answers on port 25", ""});
                co_return;
            }
            last = where + ": " + printable(greeted.text, 300);
        }
    }
    out.push_back({"port-25", Verdict::error, last,
                   "many hosting providers block outgoing port 25: ask yours to open it"});
}

}  // namespace

std::string_view name_of(Verdict verdict) {
    switch (verdict) {
        case Verdict::ok:
            return "ok";
        case Verdict::warning:
            return "warning";
        case Verdict::error:
            return "error";
    }
    return "";
}

HostFinding finding_of(const dns::ProbeResult& probe) {
    using dns::Validation;
    switch (probe.validation) {
        case Validation::validates:
            return {"resolver", Verdict::ok, probe.text, ""};
        case Validation::not_probed:
            return {"resolver", Verdict::ok, "the resolver is not probed: both names are empty", ""};
        case Validation::untrusted:
            return {"resolver", Verdict::warning, probe.text,
                    "run a validating resolver on this machine, such as unbound: else there is no DANE"};
        case Validation::does_not:
            return {"resolver", Verdict::error, probe.text,
                    "let the resolver validate DNSSEC, or name one that does in resolvers"};
        case Validation::unanswered:
            break;
    }
    return {"resolver", Verdict::error, probe.text, "check resolvers, /etc/resolv.conf and the network"};
}

asio::awaitable<std::vector<HostFinding>> check_names(CheckedHost host, CheckSources sources) {
    Findings out;
    const auto own = co_await check_hostname(host, sources, out);
    for (const auto& address : own) co_await check_ptr(host, sources, address, out);
    if (!host.admin_domain) {
        out.push_back({"admin", Verdict::warning, "admin_address is not set: no one hears of alarms",
                       "set admin_address to a mailbox at another host"});
        co_return out;
    }
    co_await check_spf(*host.admin_domain, sources, own, out);
    co_await check_dmarc(*host.admin_domain, sources, out);
    co_await check_way_out(*host.admin_domain, sources, out);
    co_return out;
}

}  // namespace sternpost::admin
