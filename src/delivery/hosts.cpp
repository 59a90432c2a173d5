#include "delivery/hosts.h"

#include <algorithm>

#include "delivery/outcome_hop.h"

namespace sternpost::delivery {
namespace {

constexpr std::size_t max_tlsa_records = 64;  // ours: the RFC sets none

tl::unexpected<NoHosts> give(NoHostsCause cause, const std::string& next_hop, const std::string& detail,
                             bool secure) {
    NoHosts out;
    out.hop_failure = failure_of(cause, next_hop, detail);
    out.secure = secure;
    return tl::unexpected<NoHosts>(std::move(out));
}

std::optional<dns::Address> literal(std::string_view next_hop) {
    if (!next_hop.starts_with('[') || !next_hop.ends_with(']')) return std::nullopt;
    std::string_view inside = next_hop.substr(1, next_hop.size() - 2);
    if (inside.starts_with("IPv6:")) inside.remove_prefix(5);
    auto address = dns::Address::parse(inside);
    return address ? std::optional(*address) : std::nullopt;
}

}  // namespace

std::string Candidate::text() const {
    if (host) return host->text();
    return addresses.empty() ? "?" : addresses.front().literal();
}

asio::awaitable<tl::expected<Hosts, NoHosts>> find_hosts(const HostOptions& options, dns::Resolver& resolver,
                                                         Random& random, std::string next_hop) {
    Hosts hosts;
    std::vector<Candidate>& out = hosts.candidates;
    if (auto address = literal(next_hop)) {
        Candidate only;
        only.addresses.push_back(*address);
        out.push_back(std::move(only));
        co_return hosts;
    }
    auto domain = dns::Domain::parse(next_hop);
    if (!domain) co_return give(NoHostsCause::bad_name, next_hop, domain.error().text, true);
    auto answer = co_await resolver.mx(*domain);
    if (!answer) co_return give(NoHostsCause::unanswered, next_hop, answer.error().text, true);
    if (answer->existence == dns::Existence::no_name)
        co_return give(NoHostsCause::no_domain, next_hop, "", answer->authentic);
    hosts.secure = answer->authentic;
    hosts.canonical = answer->canonical;
    hosts.implicit = answer->records.empty();
    if (answer->records.empty()) {  // RFC 5321 §5.1: the domain is its own, implicit MX
        Candidate implicit;
        implicit.host = dns::MxHost(*domain);
        out.push_back(std::move(implicit));
    } else {
        if (answer->records.size() == 1 && answer->records.front().exchange.empty())  // RFC 7505 §3
            co_return give(NoHostsCause::null_mx, next_hop, "", answer->authentic);
        std::string unusable;
        for (const dns::Mx& mx : answer->records) {
            auto name = dns::Domain::parse(mx.exchange);
            // An address where a name belongs is not a host (SMTP-38); nor is the root next to other records
            // (SMTP-33).
            if (!name || dns::Address::parse(mx.exchange)) {
                unusable = mx.exchange.empty() ? "." : mx.exchange;
                continue;
            }
            Candidate candidate;
            candidate.host = dns::MxHost(std::move(*name));
            candidate.preference = mx.preference;
            out.push_back(std::move(candidate));
        }
        if (out.empty()) co_return give(NoHostsCause::no_host_name, next_hop, unusable, answer->authentic);
        random.shuffle(out);
        std::stable_sort(out.begin(), out.end(),
                         [](const Candidate& a, const Candidate& b) { return a.preference < b.preference; });
    }
    const auto self = std::find_if(out.begin(), out.end(), [&](const Candidate& c) {
        return options.own_names.contains(c.host->text());
    });
    const bool ourselves = self != out.end();
    if (ourselves) {  // RFC 5321 §5.1: ourselves and all that is not better
        const std::uint16_t preference = self->preference;
        std::erase_if(out, [&](const Candidate& c) { return c.preference >= preference; });
        if (out.empty()) co_return give(NoHostsCause::ourselves, next_hop, "", answer->authentic);
    }
    if (out.size() > options.max_hosts) {
        hosts.left_out = out.size() - options.max_hosts;
        out.erase(out.begin() + static_cast<std::ptrdiff_t>(options.max_hosts), out.end());
    }
    // The resolver keeps the best. Where we are one of them, what it left out is no better than we are.
    if (!ourselves) hosts.left_out += answer->left_out;
    co_return hosts;
}

Addresses known_addresses(const HostOptions& options, const std::vector<dns::Address>& addresses,
                          std::uint16_t port, dns::Chooser chooser) {
    Addresses out;
    for (const auto& address : addresses) {
        const bool literal = chooser == dns::Chooser::stranger;
        const dns::Passage passage = literal && options.gate.is_ours(address, port)
                                         ? dns::Passage::ourselves
                                         : options.gate.judge(address, port, chooser);
        if (passage == dns::Passage::open)
            out.usable.push_back(address);
        else
            out.trouble = dns::reason_of(passage);
        out.ourselves = out.ourselves || passage == dns::Passage::ourselves;
    }
    return out;
}

asio::awaitable<Addresses> find_addresses(const HostOptions& options, dns::Resolver& resolver,
                                          dns::MxHost host, std::uint16_t port) {
    Addresses out;
    std::vector<dns::Address> by_family[2];
    bool special = false;
    bool found = false;
    bool secure = true;
    out.canonical = host.text();
    for (const bool v6 : {true, false}) {
        if (v6 ? !options.ipv6 : !options.ipv4) continue;
        dns::Result<dns::Answer<dns::Address>> answer = dns::Answer<dns::Address>();
        if (v6)
            answer = co_await resolver.aaaa(host.name());
        else
            answer = co_await resolver.a(host.name());
        if (!answer) {
            out.temporary = true;
            out.trouble = "its addresses cannot be looked up: " + answer.error().text;
            continue;
        }
        // An unsigned family next to a signed one would let an attacker choose which one counts.
        if (!answer->records.empty() || answer->canonical != host.text()) {
            secure = secure && answer->authentic;
            out.canonical = answer->canonical;
        }
        for (const auto& address : answer->records) {
            found = true;
            auto& family = by_family[v6 ? 0 : 1];
            if (family.size() >= options.max_addresses) break;
            const dns::Passage passage = options.gate.judge(address, port);
            if (passage == dns::Passage::open) family.push_back(address);
            out.ourselves = out.ourselves || passage == dns::Passage::ourselves;
            special = special || passage == dns::Passage::special;
        }
    }
    out.secure = found && secure;
    for (std::size_t i = 0; i < std::max(by_family[0].size(), by_family[1].size()); ++i)
        for (const auto& family : by_family)
            if (i < family.size()) out.usable.push_back(family[i]);
    if (out.usable.empty() && out.trouble.empty())
        out.trouble = out.ourselves ? "its address is our own"
                      : special     ? "its addresses are none on the Internet (private, loopback …)"
                      : found       ? "it has no address that can be used"
                                    : "it has no address";
    co_return out;
}

asio::awaitable<DaneDemand> find_tlsa(dns::Resolver& resolver, dns::MxHost host, Addresses addresses,
                                      std::uint16_t port) {
    DaneDemand out;
    const auto failed = [&out](std::string trouble) {
        out.state = DaneState::failed;
        out.trouble = std::move(trouble);
    };
    std::vector<dns::Domain> bases;  // in the order to ask at
    const bool alias = addresses.canonical != host.text();
    if (addresses.secure) {
        if (auto canonical = dns::Domain::parse(addresses.canonical); canonical && alias)
            bases.push_back(std::move(*canonical));
        bases.push_back(host.name());
    } else if (alias) {
        // The chain is not secure as a whole; its first link may be (RFC 7672 §2.1.3, §2.2.2).
        const auto link = co_await resolver.cname(host.name());
        if (!link) {
            failed("the CNAME record of " + host.text() + " cannot be looked up: " + link.error().text);
            co_return out;
        }
        if (link->authentic && link->existence == dns::Existence::found) bases.push_back(host.name());
    }
    for (dns::Domain& base : bases) {
        const auto name = base.under("_" + std::to_string(port) + "._tcp");
        if (!name) continue;
        const auto answer = co_await resolver.tlsa(*name);
        if (!answer) {
            failed(name->text() + ": " + answer.error().text);
            out.policy_domain = base.text();
            co_return out;
        }
        if (!answer->authentic || answer->records.empty()) continue;
        out.policy_domain = base.text();
        const std::size_t published = answer->records.size() + answer->left_out;
        if (published > max_tlsa_records) {
            // A part of the set could leave out the record that matches.
            failed(name->text() + " has " + std::to_string(published) + " TLSA records, more than the " +
                   std::to_string(max_tlsa_records) + " that are read; the administrator of " + base.text() +
                   " must remove some");
            co_return out;
        }
        out.records = answer->records;
        tls::DaneReference reference(std::move(base));
        reference.records = tls::usable_of(out.records);
        out.state = reference.records.empty() ? DaneState::unusable : DaneState::usable;
        if (out.state == DaneState::usable) out.reference = std::move(reference);
        co_return out;
    }
    co_return out;
}

}  // namespace sternpost::delivery
