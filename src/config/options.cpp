#include "config/options.h"

#include <array>

namespace sternpost::config {
namespace {

using S = Settings;

const std::array table{
    Option{"hostname", &S::hostname, Check::hostname,
           "this host's name, for EHLO, trace fields and notices; empty: the machine's own"},
    Option{"admin_address", &S::admin_address, Check::mailbox,
           "gets mail for root, for bare and own-host names, and notices that cannot be returned"},
    Option{"state_dir", &S::state_dir, Check::path, "the queue and the policies; on a local disk"},
    Option{"user", &S::user, Check::any,
           "the account that the daemon runs as after binding; empty: stay who we are"},
    Option{"log_level", &S::log_level, Check::log_level, "the least important events that are logged"},
    Option{"control_socket", &S::control_socket, Check::path,
           "where the sternpost command reaches the daemon"},
    Option{"admin_group", &S::admin_group, Check::any,
           "the group whose members may do with the sternpost command what root may"},
    Option{"control_readers", &S::control_readers, Check::readers,
           "who may use the verbs that only show what the daemon knows"},
    Option{"submit_socket", &S::submit_socket, Check::path, "where the sendmail command hands in mail"},
    Option{"maildrop_dir", &S::maildrop_dir, Check::path,
           "where the sendmail command leaves mail while the daemon is down"},
    Option{"resolvers", &S::resolvers, Check::servers,
           "DNS resolvers to ask; empty: those of /etc/resolv.conf, read again when it changes"},
    Option{"source_ipv4", &S::source_ipv4, Check::address4,
           "the local address of IPv4 connections; empty: the system's choice"},
    Option{"source_ipv6", &S::source_ipv6, Check::address6,
           "the local address of IPv6 connections; empty: the system's choice"},
    Option{"families", &S::families, Check::families, "the IP versions that mail is delivered over"},
    Option{"own_addresses", &S::own_addresses, Check::addresses,
           "addresses under which the world sees this host, as behind NAT: MX hosts there are ourselves"},
    Option{"io_threads", &S::io_threads, Check::any,
           "threads that run SMTP sessions; 1: the thread that runs everything else; 0: by the processors"},
    Option{"max_memory", &S::max_memory, Check::size,
           "memory of the daemon's own, from which on no mail is accepted until there is less"},

    Option{"listener.listen", &S::listen, Check::listen, "addresses and ports that accept mail by SMTP"},
    Option{"listener.max_message_size", &S::max_message_size, Check::size,
           "the largest message that is accepted"},
    Option{"listener.max_recipients", &S::max_recipients, Check::recipients, "recipients of one message"},
    Option{"listener.max_connections", &S::max_connections, Check::at_least_one,
           "connections at a time of clients that may send"},
    Option{"listener.max_connections_per_client", &S::max_connections_per_client, Check::at_least_one,
           "connections at a time from one address, or IPv6 /64"},
    Option{"listener.max_stranger_connections", &S::max_stranger_connections, Check::any,
           "connections at a time of hosts that may not send; 0: they are refused at once"},
    Option{"listener.stranger_time", &S::stranger_time, Check::positive_time,
           "how long a session of a host that may not send lasts at most"},
    Option{"listener.messages_per_minute_per_client", &S::messages_per_minute_per_client, Check::any,
           "messages a minute from one address, or IPv6 /64; 0: no limit"},
    Option{"listener.recipients_per_hour_per_client", &S::recipients_per_hour_per_client, Check::any,
           "recipients that one client may send to in an hour; 0: no limit"},
    Option{"listener.command_timeout", &S::command_timeout, Check::positive_time,
           "how long a client may be silent"},
    Option{"listener.starttls", &S::starttls, Check::any, "whether STARTTLS is offered to clients"},
    Option{"listener.tls_certificate", &S::tls_certificate, Check::optional_path,
           "the certificate for STARTTLS, with its chain (PEM); empty: one that signs itself, made at the "
           "start"},
    Option{"listener.tls_key", &S::tls_key, Check::optional_path,
           "its private key (PEM); empty: in the certificate's file"},

    Option{"delivery.smtp_port", &S::smtp_port, Check::port,
           "the port of MX hosts; another one only in a lab"},
    Option{"delivery.connect_timeout", &S::connect_timeout, Check::positive_time, "for a TCP connection"},
    Option{"delivery.greeting_timeout", &S::greeting_timeout, Check::positive_time, "for the greeting"},
    Option{"delivery.helo_timeout", &S::helo_timeout, Check::positive_time, "for the reply to EHLO or HELO"},
    Option{"delivery.starttls_timeout", &S::starttls_timeout, Check::positive_time,
           "for the reply to STARTTLS, and for the handshake"},
    Option{"delivery.mail_timeout", &S::mail_timeout, Check::positive_time, "for the reply to MAIL"},
    Option{"delivery.rcpt_timeout", &S::rcpt_timeout, Check::positive_time, "for the reply to RCPT"},
    Option{"delivery.data_timeout", &S::data_timeout, Check::positive_time, "for the reply to DATA"},
    Option{"delivery.data_block_timeout", &S::data_block_timeout, Check::positive_time,
           "for the host to take each 64 KiB of a message"},
    Option{"delivery.dot_timeout", &S::dot_timeout, Check::positive_time, "for the reply to the final dot"},
    Option{"delivery.transaction_timeout", &S::transaction_timeout, Check::positive_time,
           "for all steps of the opening of a session together, and for all of a transaction before the "
           "final dot; "
           "for each 32 MiB of a message, as much time again"},
    Option{"delivery.quit_timeout", &S::quit_timeout, Check::positive_time, "for the reply to QUIT"},
    Option{"delivery.idle_time", &S::idle_time, Check::any,
           "how long an open connection waits for more mail; 0: never"},
    Option{"delivery.connections_per_hop", &S::connections_per_hop, Check::at_least_one,
           "connections at a time to one next hop"},
    Option{"delivery.window_start", &S::window_start, Check::at_least_one,
           "connections to a next hop of which nothing is known, or after a failure"},
    Option{"delivery.window_growth", &S::window_growth, Check::any,
           "more connections for each that could be opened"},
    Option{"delivery.window_shrink", &S::window_shrink, Check::any,
           "fewer connections than are open, when a further one could not be opened"},
    Option{"delivery.connections_per_site", &S::connections_per_site, Check::at_least_one,
           "connections at a time to one set of MX hosts, however many domains live there"},
    Option{"delivery.connections_per_address", &S::connections_per_address, Check::at_least_one,
           "connections at a time to one address, or IPv6 /64, whatever names lead there"},
    Option{"delivery.recipients_per_transaction", &S::recipients_per_transaction, Check::at_least_one,
           "recipients given to a host at once"},
    Option{"delivery.messages_per_connection", &S::messages_per_connection, Check::at_least_one,
           "messages sent over one connection"},
    Option{"delivery.addresses_per_attempt", &S::addresses_per_attempt, Check::at_least_one,
           "addresses tried in one attempt"},
    Option{"delivery.attempt_budget", &S::attempt_budget, Check::positive_time,
           "time that one attempt may spend up to DATA"},
    Option{"delivery.max_deliveries", &S::max_deliveries, Check::at_least_one,
           "connections at a time in all; a fifth more where some make no progress"},
    Option{"delivery.allow_special_addresses", &S::delivery_special_addresses, Check::any,
           "deliver to MX hosts on loopback and private addresses; only in a lab or a closed network"},
    Option{"delivery.convert_8bit", &S::convert_8bit, Check::convert,
           "which messages become 7-bit for a host without 8BITMIME; the others are returned"},

    Option{"local.messages_per_minute_per_user", &S::messages_per_minute_per_user, Check::any,
           "messages that one user of this machine may hand over by sendmail in a minute; 0: no limit"},
    Option{"local.recipients_per_hour_per_user", &S::recipients_per_hour_per_user, Check::any,
           "recipients that one user may send to in an hour; 0: no limit"},

    Option{"queue.lifetime", &S::lifetime, Check::positive_time,
           "how long a message is tried before it is returned"},
    Option{"queue.notice_lifetime", &S::notice_lifetime, Check::positive_time,
           "the same for notices (bounces)"},
    Option{"queue.notices_per_day", &S::notices_per_day, Check::any,
           "notices that one mailbox gets in a day, and a tenth of what its domain gets; 0: no limit"},
    Option{"queue.delay_warning", &S::delay_warning, Check::any,
           "when the sender of a message hears that it still waits; 0: never"},
    Option{"queue.retry", &S::retry, Check::positive_time,
           "waits after the first, second … failure, 20 % more or less; the last repeats"},
    Option{"queue.in_memory", &S::in_memory, Check::at_least_one,
           "messages in memory, and ten times as many recipients; the rest sleeps on the disk"},
    Option{"queue.in_memory_per_hop", &S::in_memory_per_hop, Check::at_least_one,
           "messages of one next hop in memory"},
    Option{"queue.history", &S::history, Check::any,
           "how long what became of messages is remembered, in whole days (UTC); 0: not at all"},

    Option{"dns.timeout", &S::dns_timeout, Check::positive_time, "for one resolver's answer"},
    Option{"dns.attempts", &S::dns_attempts, Check::at_least_one, "rounds over all resolvers"},
    Option{"dns.max_ttl", &S::dns_max_ttl, Check::any, "the longest that an answer is believed"},
    Option{"dns.trust_ad", &S::dns_trust_ad, Check::trust,
           "whether the resolvers' word on DNSSEC is taken; auto: if all are on loopback and validate there"},
    Option{"dns.probe_secure", &S::dns_probe_secure, Check::name,
           "a signed name, looked up now and then to see whether the resolver validates; empty: no probe"},
    Option{"dns.probe_bogus", &S::dns_probe_bogus, Check::name,
           "a name with wrong signatures, which must not resolve; empty: no probe"},

    Option{"tls.ca_file", &S::ca_file, Check::path,
           "the certification authorities that MX and policy hosts are verified against (PEM)"},
    Option{"tls.opportunistic", &S::opportunistic_tls, Check::any,
           "encrypt where a host offers it though nothing demands it"},
    Option{"tls.fall_back_to_clear", &S::tls_fall_back_to_clear, Check::any,
           "after TLS that failed, try again in clear text where no policy demands TLS"},
    Option{"tls.honour_tls_required_no", &S::tls_honour_tls_required_no, Check::any,
           "let senders waive DANE and MTA-STS for a message by \"TLS-Required: No\" (RFC 8689)"},
    Option{"tls.resume", &S::tls_resume, Check::any,
           "take TLS sessions with MX hosts up again, where their chain still proves what is demanded"},

    Option{"dane.enabled", &S::dane_enabled, Check::any, "look up TLSA records and hold hosts to them"},
    Option{"dane.require_both", &S::dane_require_both, Check::any,
           "where a host has TLSA records and its domain an MTA-STS policy, demand both"},

    Option{"sts.enabled", &S::sts_enabled, Check::any, "look up and enforce MTA-STS policies"},
    Option{"sts.fetch_timeout", &S::sts_fetch_timeout, Check::positive_time, "for fetching a policy"},
    Option{"sts.max_policy_size", &S::sts_max_policy_size, Check::size, "the largest policy that is read"},
    Option{"sts.policy_port", &S::sts_policy_port, Check::port,
           "the port of policy hosts; another one only in a lab"},
    Option{"sts.failed_fetch_wait", &S::sts_failed_fetch_wait, Check::any,
           "after a failed fetch, how long the same policy id is not tried again"},
    Option{"sts.allow_special_addresses", &S::sts_special_addresses, Check::any,
           "fetch policies from loopback and private addresses; only in a lab or a closed network"},

    Option{"alarms.mail", &S::alarms_mail, Check::any,
           "whether alarms are mailed to admin_address: the first at once, what follows once an hour"},
    Option{"alarms.old_mail", &S::alarms_old_mail, Check::any,
           "how long a message may wait before that is an alarm; 0: no alarm"},
    Option{"alarms.queue_growth", &S::alarms_queue_growth, Check::any,
           "how many messages more than an hour ago are an alarm, if they are twice as many; 0: no alarm"},

    Option{"dkim.sign", &S::dkim_sign, Check::sign,
           "sign what originates here by DKIM, where there is an active key for its From domain"},
    Option{"dkim.keys", &S::dkim_keys, Check::optional_path,
           "the folder of keys; empty: dkim under state_dir"},
    Option{"dkim.patience", &S::dkim_patience, Check::any,
           "how long mail waits for a key that cannot be used, before it goes unsigned"},

    Option{"tlsrpt.organization", &S::tlsrpt_organization, Check::any,
           "who sends TLS reports, for people: the provider's name; empty: none are sent"},
    Option{"tlsrpt.contact", &S::tlsrpt_contact, Check::ascii_mailbox,
           "a mailbox for questions about TLS reports; they come from it; empty: none are sent"},
    Option{"tlsrpt.send", &S::tlsrpt_send, Check::any, "send TLS reports; they are counted always"},
    Option{"tlsrpt.window", &S::tlsrpt_window, Check::any,
           "after the end of the UTC day, within which time all reports of it go out"},
    Option{"tlsrpt.retry_for", &S::tlsrpt_retry_for, Check::positive_time,
           "how long it is tried to bring a domain its report"},
    Option{"tlsrpt.max_places", &S::tlsrpt_places, Check::at_least_one,
           "places of one domain that get its report"},
    Option{"tlsrpt.max_reports_per_place", &S::tlsrpt_reports_per_place, Check::at_least_one,
           "reports a day to one mail domain or HTTPS host, of all domains"},
    Option{"tlsrpt.post_timeout", &S::tlsrpt_post_timeout, Check::positive_time, "for one report by HTTPS"},
    Option{"tlsrpt.allow_other_ports", &S::tlsrpt_other_ports, Check::any,
           "post reports to https: places at another port than 443"},
    Option{"tlsrpt.allow_special_addresses", &S::tlsrpt_special_addresses, Check::any,
           "post reports to loopback and private addresses; only in a lab or a closed network"},
};

std::string in_quotes(std::string_view text) {
    std::string out = "\"";
    for (const char c : text) {
        if (c == '"' || c == '\\') out += '\\';
        out += c;
    }
    return out + '"';
}

std::string size_text(std::uint64_t octets) {
    constexpr std::pair<std::uint64_t, const char*> units[] = {
        {1UL << 30U, "GiB"}, {1UL << 20U, "MiB"}, {1UL << 10U, "KiB"}};
    for (const auto& [unit, name] : units)
        if (octets >= unit && octets % unit == 0) return in_quotes(std::to_string(octets / unit) + name);
    return std::to_string(octets);
}

}  // namespace

std::span<const Option> options() {
    return table;
}

std::string duration_text(Duration duration) {
    constexpr std::pair<std::int64_t, const char*> units[] = {
        {86400000, "d"}, {3600000, "h"}, {60000, "m"}, {1000, "s"}, {1, "ms"}};
    const std::int64_t count = duration.count();
    if (count == 0) return "\"0s\"";
    for (const auto& [unit, name] : units)
        if (count % unit == 0) return in_quotes(std::to_string(count / unit) + name);
    return in_quotes(std::to_string(count) + "ms");
}

std::string value_text(const Option& option, const Settings& settings) {
    struct Print {
        const Settings& settings;
        Check check;
        std::string operator()(std::string S::*m) const { return in_quotes(settings.*m); }
        std::string operator()(bool S::*m) const { return settings.*m ? "true" : "false"; }
        std::string operator()(std::uint64_t S::*m) const {
            return check == Check::size ? size_text(settings.*m) : std::to_string(settings.*m);
        }
        std::string operator()(Duration S::*m) const { return duration_text(settings.*m); }
        std::string operator()(std::vector<std::string> S::*m) const {
            std::string out;
            for (const auto& text : settings.*m) out += (out.empty() ? "" : ", ") + in_quotes(text);
            return "[" + out + "]";
        }
        std::string operator()(std::vector<Duration> S::*m) const {
            std::string out;
            for (const auto& duration : settings.*m)
                out += (out.empty() ? "" : ", ") + duration_text(duration);
            return "[" + out + "]";
        }
    };
    return std::visit(Print{settings, option.check}, option.member);
}

std::string allowed_text(const Option& option) {
    switch (option.check) {
        case Check::hostname:
            return "a fully qualified domain name such as \"relay.example.net\"";
        case Check::ascii_mailbox:
            return "a mailbox in ASCII such as \"tlsrpt@example.net\", or \"\"";
        case Check::mailbox:
            return "a mail address such as \"postmaster@example.net\"";
        case Check::log_level:
            return "one of \"error\", \"warning\", \"info\", \"debug\"";
        case Check::address4:
            return "an IPv4 address such as \"192.0.2.1\"";
        case Check::address6:
            return "an IPv6 address such as \"2001:db8::1\"";
        case Check::addresses:
            return "a list of IP addresses such as [\"192.0.2.1\"]";
        case Check::servers:
            return "a list of addresses, with a port or without, such as [\"127.0.0.1\", \"[::1]:5353\"]";
        case Check::listen:
            return "a list of addresses and ports such as [\"0.0.0.0:25\", \"[::]:25\"]";
        case Check::families:
            return "[\"ipv4\"], [\"ipv6\"] or both";
        case Check::readers:
            return "one of \"everybody\", \"admins\"";
        case Check::trust:
            return "one of \"auto\", \"yes\", \"no\"";
        case Check::name:
            return "a domain name such as \"example.net\", or \"\"";
        case Check::port:
            return "a port, 1 to 65535";
        case Check::recipients:
            return "a whole number, 100 or more (RFC 5321 §4.5.3.1.8)";
        case Check::size:
            return "a size such as 65536, \"64KiB\", \"50MiB\"";
        case Check::path:
            return "an absolute path";
        case Check::optional_path:
            return "an absolute path, or \"\"";
        case Check::convert:
            return "one of \"unsigned\", \"always\", \"never\"";
        case Check::sign:
            return "one of \"auto\", \"off\"";
        case Check::at_least_one:
            return "a whole number, 1 or more";
        case Check::positive_time:
        case Check::any:
            break;
    }
    struct Say {
        std::string operator()(std::string S::*) const { return "a text in quotes"; }
        std::string operator()(bool S::*) const { return "true or false"; }
        std::string operator()(std::uint64_t S::*) const { return "a whole number, 0 or more"; }
        std::string operator()(Duration S::*) const { return "a duration such as \"90s\", \"5m\", \"5d\""; }
        std::string operator()(std::vector<std::string> S::*) const { return "a list of texts"; }
        std::string operator()(std::vector<Duration> S::*) const {
            return "a list of durations such as [\"5m\", \"1h\"]";
        }
    };
    return std::visit(Say{}, option.member);
}

}  // namespace sternpost::config
