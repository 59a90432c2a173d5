#include "delivery/hosts.h"

#include <algorithm>

namespace sternpost::delivery {
namespace {

queue::HopFate temporary(std::string status, std::string text) {
    return {false, std::move(status), std::move(text)};
}
queue::HopFate permanent(std::string status, std::string text) {
    return {true, std::move(status), std::move(text)};
}

tl::unexpected<queue::HopFate> give(queue::HopFate fate) {
    return tl::unexpected<queue::HopFate>(std::move(fate));
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

asio::awaitable<tl::expected<std::vector<Candidate>, queue::HopFate>> find_hosts(const HostOptions& options,
                                                                                 dns::Resolver& resolver,
                                                                                 Random& random,
                                                                                 std::string next_hop) {
    if (auto address = literal(next_hop)) {
        Candidate only;
        only.addresses.push_back(*address);
        std::vector<Candidate> out;
        out.push_back(std::move(only));
        co_return out;
    }
    auto domain = dns::Domain::parse(next_hop);
    if (!domain) co_return give(permanent("5.1.2", domain.error().text));
    auto answer = co_await resolver.mx(*domain);
    if (!answer)
        co_return give(temporary(
            "4.4.3", "the MX records of " + next_hop + " cannot be looked up: " + answer.error().text));
    if (answer->existence == dns::Existence::no_name)
        co_return give(permanent("5.1.2", "the domain " + next_hop + " does not exist (NXDOMAIN)"));
    std::vector<Candidate> out;
    if (answer->records.empty()) {  // RFC 5321 §5.1: the domain is its own, implicit MX
        Candidate implicit;
        implicit.host = dns::MxHost(*domain);
        out.push_back(std::move(implicit));
    } else {
        if (answer->records.size() == 1 && answer->records.front().exchange.empty())  // RFC 7505 §3
            co_return give(permanent("5.1.10", "the domain " + next_hop + " does not accept mail (null MX)"));
        std::string unusable;
        for (const dns::Mx& mx : answer->records) {
            auto name = dns::Domain::parse(mx.exchange);
            // An address where a name belongs is not a host (SMTP-38); nor is the root beside other records
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
        if (out.empty())
            co_return give(
                permanent("5.4.4", "no MX record of " + next_hop + " names a host (\"" + unusable + "\")"));
        random.shuffle(out);
        std::stable_sort(out.begin(), out.end(),
                         [](const Candidate& a, const Candidate& b) { return a.preference < b.preference; });
    }
    const auto self = std::find_if(out.begin(), out.end(), [&](const Candidate& c) {
        return options.own_names.contains(c.host->text());
    });
    if (self != out.end()) {  // RFC 5321 §5.1: ourselves and all that is not better
        const std::uint16_t preference = self->preference;
        std::erase_if(out, [&](const Candidate& c) { return c.preference >= preference; });
        if (out.empty())
            co_return give(
                permanent("5.4.6", "the best MX host of " + next_hop +
                                       " is this host itself, which has no mailboxes: mail would loop"));
    }
    co_return out;
}

asio::awaitable<Addresses> find_addresses(const HostOptions& options, dns::Resolver& resolver,
                                          dns::MxHost host) {
    Addresses out;
    std::vector<dns::Address> by_family[2];
    bool special = false;
    bool found = false;
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
        for (const auto& address : answer->records) {
            found = true;
            if (std::find(options.own_addresses.begin(), options.own_addresses.end(), address) !=
                options.own_addresses.end())
                out.ourselves = true;
            else if (address.is_special() && !options.allow_special_addresses)
                special = true;
            else
                by_family[v6 ? 0 : 1].push_back(address);
        }
    }
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

}  // namespace sternpost::delivery
