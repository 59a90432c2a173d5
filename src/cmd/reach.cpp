#include "cmd/reach.h"

#include "dns/local_route.h"

namespace sternpost::cmd {

dns::ResolverOptions resolver_of(const config::Settings& settings) {
    dns::ResolverOptions out;
    for (const auto& text : settings.resolvers)
        if (auto server = dns::Server::parse(text)) out.servers.push_back(*server);
    out.timeout = settings.dns_timeout;
    out.attempts = static_cast<unsigned>(settings.dns_attempts);
    out.max_ttl = std::chrono::ceil<std::chrono::seconds>(settings.dns_max_ttl);
    if (settings.dns_trust_ad != "auto") out.trusted = settings.dns_trust_ad == "yes";
    return out;
}

dns::Gate gate_of(const config::Settings& settings) {
    dns::Gate::Options out;
    for (const auto& text : settings.own_addresses)
        if (auto parsed = dns::Address::parse(text)) out.own_addresses.push_back(*parsed);
    for (const auto& text : settings.listen)
        if (auto socket = dns::Server::parse(text)) out.listening.push_back(*socket);
    out.allow_special = settings.delivery_special_addresses;
    out.is_local = dns::is_local_route;
    return dns::Gate(std::move(out));
}

std::optional<mail::Mailbox> admin_of(const config::Settings& settings) {
    if (settings.admin_address.empty()) return std::nullopt;
    auto mailbox = mail::Mailbox::parse(settings.admin_address, true);
    return mailbox ? std::optional(std::move(*mailbox)) : std::nullopt;
}

}  // namespace sternpost::cmd
