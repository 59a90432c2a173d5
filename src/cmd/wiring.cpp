#include "cmd/wiring.h"

#include "local/socket.h"
#include "tls/self_signed.h"
#include "util/file.h"

namespace sternpost::cmd {
namespace {

std::chrono::seconds seconds(config::Duration duration) {
    return std::chrono::ceil<std::chrono::seconds>(duration);
}

std::optional<dns::Address> address(const std::string& text) {
    auto parsed = dns::Address::parse(text);
    return parsed ? std::optional(*parsed) : std::nullopt;
}

delivery::ConvertEightBit convert_of(const config::Settings& settings) {
    if (settings.convert_8bit == "always") return delivery::ConvertEightBit::always;
    if (settings.convert_8bit == "never") return delivery::ConvertEightBit::never;
    return delivery::ConvertEightBit::unsigned_only;
}

bool has_family(const config::Settings& settings, std::string_view family) {
    return std::find(settings.families.begin(), settings.families.end(), family) != settings.families.end();
}

}  // namespace

std::string name_or_literal(const std::string& hostname) {
    return hostname.empty() ? "localhost.invalid" : hostname;
}

admin::WatchLimits watch_of(const config::Settings& settings) {
    admin::WatchLimits out;
    out.old_mail = seconds(settings.alarms_old_mail);
    out.queue_growth = settings.alarms_queue_growth;
    return out;
}

mail::SenderDomains sender_domains_of(const config::Settings& settings) {
    std::vector<mail::SenderDomains::Rule> rules;
    for (const auto& one : settings.sender_domains)
        rules.push_back({"[[sender]] " + one.match, one.network, one.user, one.domains});
    for (const auto& client : settings.clients)
        if (!client.domains.empty())
            rules.push_back({"[[client]] " + client.network.text(), client.network, "", client.domains});
    return mail::SenderDomains(std::move(rules));
}

mail::LocalNames local_names_of(const config::Settings& settings, const std::string& hostname) {
    std::vector<dns::Domain> own;
    if (auto domain = dns::Domain::parse(hostname)) own.push_back(std::move(*domain));
    std::optional<mail::ForwardPath> admin;
    if (auto mailbox = admin_of(settings)) admin = mail::ForwardPath(std::move(*mailbox));
    auto is_ours = [gate = gate_of(settings), port = static_cast<std::uint16_t>(settings.smtp_port)](
                       const dns::Address& address) { return gate.is_ours(address, port); };
    return {std::move(own), std::move(admin), std::move(is_ours)};
}

store::OpenOptions store_of(const config::Settings& settings) {
    return {settings.state_dir, std::chrono::ceil<std::chrono::days>(settings.history)};
}

sts::LookupOptions lookups_of(const config::Settings& settings) {
    sts::LookupOptions out;
    out.enabled = settings.sts_enabled;
    out.fetch.timeout = settings.sts_fetch_timeout;
    out.fetch.max_size = settings.sts_max_policy_size;
    out.fetch.port = static_cast<std::uint16_t>(settings.sts_policy_port);
    out.fetch.gate = gate_of(settings);
    out.fetch.allow_special_addresses = settings.sts_special_addresses;
    out.fetch.ipv4 = has_family(settings, "ipv4");
    out.fetch.ipv6 = has_family(settings, "ipv6");
    out.failed_fetch_wait = seconds(settings.sts_failed_fetch_wait);
    return out;
}

delivery::Options delivery_of(const config::Settings& settings, const std::string& hostname) {
    delivery::Options out;
    out.policy.hosts.ipv4 = has_family(settings, "ipv4");
    out.policy.hosts.ipv6 = has_family(settings, "ipv6");
    if (!hostname.empty()) out.policy.hosts.own_names.insert(hostname);
    out.policy.hosts.gate = gate_of(settings);
    out.policy.smtp_port = static_cast<std::uint16_t>(settings.smtp_port);
    out.source_ipv4 = address(settings.source_ipv4);
    out.source_ipv6 = address(settings.source_ipv6);
    out.policy.opportunistic_tls = settings.opportunistic_tls;
    out.policy.fall_back_to_clear = settings.tls_fall_back_to_clear;
    out.policy.honour_tls_required_no = settings.tls_honour_tls_required_no;
    out.policy.dane = settings.dane_enabled;
    out.policy.require_both = settings.dane_require_both;
    out.policy.routes = settings.routes;
    out.addresses_per_attempt = settings.addresses_per_attempt;
    out.attempt_budget = seconds(settings.attempt_budget);
    out.idle_time = settings.idle_time;
    out.messages_per_connection = static_cast<unsigned>(settings.messages_per_connection);
    out.destinations = settings.destinations;
    out.connections_per_site = static_cast<unsigned>(settings.connections_per_site);
    out.connections_per_address = static_cast<unsigned>(settings.connections_per_address);
    out.convert_8bit = convert_of(settings);
    return out;
}

delivery::BounceOptions bounces_of(const config::Settings& settings, const std::string& hostname) {
    delivery::BounceOptions out;
    out.hostname = name_or_literal(hostname);
    out.admin = admin_of(settings);
    out.most_per_day = settings.notices_per_day;
    return out;
}

delivery::SigningOptions signing_of(const config::Settings& settings) {
    delivery::SigningOptions out;
    out.sign = settings.dkim_sign == "auto";
    out.patience = seconds(settings.dkim_patience);
    out.domains = sender_domains_of(settings);
    out.login_of = local::user_name;
    return out;
}

delivery::AsioDialer::Options dialer_of(const config::Settings& settings, const std::string& hostname) {
    delivery::AsioDialer::Options out;
    out.helo_name = hostname;
    out.gate = gate_of(settings);
    out.convert_8bit = convert_of(settings);
    out.resume = settings.tls_resume;
    out.timeouts.connect = settings.connect_timeout;
    out.timeouts.greeting = settings.greeting_timeout;
    out.timeouts.helo = settings.helo_timeout;
    out.timeouts.starttls = settings.starttls_timeout;
    out.timeouts.mail = settings.mail_timeout;
    out.timeouts.rcpt = settings.rcpt_timeout;
    out.timeouts.data = settings.data_timeout;
    out.timeouts.data_block = settings.data_block_timeout;
    out.timeouts.dot = settings.dot_timeout;
    out.timeouts.whole = settings.transaction_timeout;
    out.timeouts.quit = settings.quit_timeout;
    return out;
}

queue::Options queue_of(const config::Settings& settings) {
    queue::Options out;
    out.statuses = delivery::queue_statuses();
    out.schedule.retry.clear();
    for (const auto wait : settings.retry) out.schedule.retry.push_back(seconds(wait));
    out.schedule.lifetime = seconds(settings.lifetime);
    out.schedule.notice_lifetime = seconds(settings.notice_lifetime);
    out.schedule.report_lifetime = seconds(settings.tlsrpt_retry_for);
    out.schedule.delay_warning = seconds(settings.delay_warning);
    out.connections_per_hop = static_cast<unsigned>(settings.connections_per_hop);
    out.window_start = static_cast<unsigned>(settings.window_start);
    out.window_growth = static_cast<unsigned>(settings.window_growth);
    out.window_shrink = static_cast<unsigned>(settings.window_shrink);
    out.window.messages = settings.in_memory;
    out.window.recipients = 10 * out.window.messages;
    out.window.per_hop = settings.in_memory_per_hop;
    out.max_deliveries = static_cast<unsigned>(settings.max_deliveries);
    out.recipients_per_transaction = settings.recipients_per_transaction;
    return out;
}

tlsrpt::Options reports_of(const config::Settings& settings, const std::string& hostname) {
    tlsrpt::Options out;
    out.organization = settings.tlsrpt_organization;
    if (auto mailbox = mail::Mailbox::parse(settings.tlsrpt_contact)) out.contact = std::move(*mailbox);
    out.node = hostname;
    out.send = settings.tlsrpt_send;
    out.schedule.window = seconds(settings.tlsrpt_window);
    out.schedule.retry_for = seconds(settings.tlsrpt_retry_for);
    out.most_places = settings.tlsrpt_places;
    out.most_to_one_place = settings.tlsrpt_reports_per_place;
    out.post_timeout = settings.tlsrpt_post_timeout;
    out.ipv4 = has_family(settings, "ipv4");
    out.ipv6 = has_family(settings, "ipv6");
    out.gate = gate_of(settings);
    out.allow_other_ports = settings.tlsrpt_other_ports;
    out.allow_special_addresses = settings.tlsrpt_special_addresses;
    return out;
}

smtp::ServerOptions server_of(const config::Settings& settings, const std::string& hostname) {
    smtp::ServerOptions out;
    out.hostname = name_or_literal(hostname);
    out.max_message_size = settings.max_message_size;
    out.max_recipients = settings.max_recipients;
    out.command_timeout = seconds(settings.command_timeout);
    out.connections.connections = settings.max_connections;
    out.connections.for_this_machine = std::min<std::uint64_t>(50, settings.max_connections / 10);
    out.connections.per_client = settings.max_connections_per_client;
    out.connections.strangers = settings.max_stranger_connections;
    out.connections.per_stranger = std::min<std::uint64_t>(5, settings.max_connections_per_client);
    out.stranger_time = seconds(settings.stranger_time);
    out.sender_limit = {static_cast<unsigned>(settings.messages_per_minute_per_client),
                        static_cast<unsigned>(settings.recipients_per_hour_per_client)};
    out.sender_rules = settings.senders;
    out.sender_domains = sender_domains_of(settings);
    for (const auto& client : settings.clients) {
        if (hostname.empty() && !client.network.address.is_loopback()) continue;
        out.networks.push_back({client.network, client.role == config::ClientRole::relay
                                                    ? smtp::ClientRole::relay
                                                    : smtp::ClientRole::originate});
    }
    // The machine's own programs may always send; what the configuration says of loopback comes first.
    for (const char* loopback : {"127.0.0.0/8", "::1"}) {
        const auto network = dns::Network::parse(loopback).value();
        const bool listed = std::any_of(out.networks.begin(), out.networks.end(),
                                        [&](const smtp::ClientNetwork& n) { return n.network == network; });
        if (!listed) out.networks.push_back({network, smtp::ClientRole::originate});
    }
    const auto names = std::make_shared<const mail::LocalNames>(local_names_of(settings, hostname));
    out.resolve_recipient = [names](std::string_view path, bool utf8) { return names->resolve(path, utf8); };
    return out;
}

tls::Result<tls::Identity> identity_of(const config::Settings& settings, const std::string& hostname,
                                       WallTime now) {
    tls::Identity out;
    out.certificate_file = settings.tls_certificate;
    out.key_file = settings.tls_key;
    if (!out.certificate_file.empty()) return out;
    out.certificate_file = settings.state_dir + "/listener-certificate.pem";
    out.key_file = settings.state_dir + "/listener-key.pem";
    const std::string name = name_or_literal(hostname);
    if (const auto kept = util::read_file(out.certificate_file, 65536);
        kept && tls::names_host(*kept, name, now) && tls::server_context(out))
        return out;
    auto made = tls::make_self_signed(name, now);
    if (!made) return fail(std::move(made).error());
    for (const auto& [file, text] :
         {std::pair<const std::string&, const std::string&>{out.key_file, made->key},
          {out.certificate_file, made->certificate}})
        if (auto written = util::write_file(file, text, 0600); !written)
            return fail(tls::Errc::bad_certificate, std::move(written.error().text));
    return out;
}

intake::SenderLimits local_limits_of(const config::Settings& settings) {
    return {{static_cast<unsigned>(settings.messages_per_minute_per_user),
             static_cast<unsigned>(settings.recipients_per_hour_per_user)},
            settings.senders};
}

local::Options local_of(const config::Settings& settings, const std::string& hostname) {
    local::Options out;
    out.hostname = name_or_literal(hostname);
    out.max_message_size = settings.max_message_size;
    const auto names = std::make_shared<const mail::LocalNames>(local_names_of(settings, hostname));
    out.resolve_recipient = [names](std::string_view path, bool utf8) { return names->resolve(path, utf8); };
    out.user_name = local::user_name;
    out.sender_domains = sender_domains_of(settings);
    out.socket_path = settings.submit_socket;
    out.maildrop_path = settings.maildrop_dir;
    return out;
}

}  // namespace sternpost::cmd
