#include "cmd/sternpost/config_warnings.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <utility>

#include "cmd/reach.h"
#include "config/file.h"
#include "dkim/keys.h"
#include "dns/local_route.h"
#include "dns/organizational.h"
#include "tls/certificate_file.h"
#include "util/clock.h"
#include "util/file.h"
#include "util/text.h"

namespace sternpost::cmd {

namespace {

using Warnings = std::vector<std::string>;

constexpr unsigned widest_v4 = 8;   // ours: a wider network belongs to no one provider
constexpr unsigned widest_v6 = 16;  // ours: likewise

void warn_of_keys(const config::Settings& settings, Warnings& out) {
    std::vector<std::string> organizations;
    for (const auto& key : dkim::KeyFolder(config::dkim_folder(settings)).read().keys) {
        if (key.state != dkim::State::active || key.reports_only) continue;
        const std::string one = dns::organizational_domain(key.signer.domain);
        if (std::find(organizations.begin(), organizations.end(), one) == organizations.end())
            organizations.push_back(one);
    }
    if (organizations.size() <= 1 || settings.dkim_sign == "off") return;
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
}

void warn_of_certificate(const config::Settings& settings, Warnings& out) {
    if (!settings.starttls || settings.tls_certificate.empty()) return;
    const std::string hostname = config::effective_hostname(settings);
    const auto verdict = tls::judge_certificate(settings.tls_certificate,
                                                tls::read_certificate(settings.tls_certificate, hostname),
                                                hostname, SystemClock().wall());
    if (verdict.state == tls::CertificateState::unreadable)
        out.push_back("listener.tls_certificate: " + verdict.text + ": the daemon does not start with it");
    else if (verdict.state != tls::CertificateState::good)
        out.push_back("listener.tls_certificate: " + verdict.text);
    const std::string& key = settings.tls_key.empty() ? settings.tls_certificate : settings.tls_key;
    if (const auto octets = util::read_file(key, 1U << 20U); !octets)
        out.push_back("listener.tls_key: " + octets.error().text);
}

void warn_of_addresses(const config::Settings& settings, Warnings& out) {
    for (const auto& [name, text] :
         {std::pair("source_ipv4", settings.source_ipv4), std::pair("source_ipv6", settings.source_ipv6)})
        if (const auto address = dns::Address::parse(text); address && !dns::is_local_route(*address))
            out.push_back(std::string(name) + ": no interface of this machine has " + text +
                          ": no mail goes out over that IP version");
    const auto admin = admin_of(settings);
    if (admin && iequals(admin->domain().text(), config::effective_hostname(settings)))
        out.push_back("admin_address: " + settings.admin_address +
                      " is at this host, which has no mailboxes: name one at another host");
}

// fc00::/7, whose addresses go no further (RFC 4193).
bool within_one_site(const dns::Network& network) {
    static const dns::Network local = dns::Network::parse("fc00::/7").value();
    return network.bits >= local.bits && local.contains(network.address);
}

void warn_of_clients(const config::Settings& settings, Warnings& out) {
    std::set<dns::Network> seen;
    for (const auto& client : settings.clients) {
        const unsigned widest = client.network.address.is_v6() ? widest_v6 : widest_v4;
        if (client.network.bits < widest && !within_one_site(client.network))
            out.push_back("[[client]] " + client.network.text() +
                          ": so many strangers may send through this host: it is an open relay");
        if (!seen.insert(client.network).second)
            out.push_back("[[client]] " + client.network.text() + " is there twice: the first one counts");
    }
}

void warn_of_overrides(const config::Settings& settings, Warnings& out) {
    const WallTime now = SystemClock().wall();
    for (const auto& one : settings.overrides)
        if (one.expires != WallTime() && one.expires <= now)
            out.push_back("[[override]] " + one.scope + " expired on " + rfc3339(one.expires) +
                          ": it does nothing any more");
}

void warn_of_reports(const config::Settings& settings, Warnings& out) {
    const auto contact = mail::Mailbox::parse(settings.tlsrpt_contact, false);
    if (!contact || !settings.tlsrpt_send || settings.tlsrpt_organization.empty()) return;
    for (const auto& key : dkim::KeyFolder(config::dkim_folder(settings)).read().keys)
        if (key.state == dkim::State::active && key.signer.domain == contact->domain()) return;
    out.push_back("tlsrpt.contact: there is no active DKIM key of " + contact->domain().text() +
                  ": no TLS report is sent until \"sternpost dkim generate\" makes one");
}

}  // namespace

std::vector<std::string> config_warnings(const config::Settings& settings) {
    Warnings out;
    warn_of_certificate(settings, out);
    warn_of_addresses(settings, out);
    warn_of_clients(settings, out);
    warn_of_overrides(settings, out);
    warn_of_reports(settings, out);
    warn_of_keys(settings, out);
    return out;
}

}  // namespace sternpost::cmd
