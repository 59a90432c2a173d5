// Every option once: name, type, default, text. The reader, `config show`, the man page's check and
// etc/sternpost.toml go by it.
#pragma once

#include <chrono>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "delivery/limits.h"
#include "delivery/route.h"
#include "dns/record.h"
#include "intake/sender_limits.h"
#include "store/admin.h"

namespace sternpost::config {

using Duration = std::chrono::milliseconds;

/// What a client network's mail is (D-36).
enum class ClientRole {
    originate,  // submitted: missing Date and Message-ID are added, bare line ends made whole
    relay,      // another server's mail: a trace field, nothing else
};

struct Client {
    dns::Network network;
    ClientRole role = ClientRole::originate;
    std::vector<std::string> domains;  // that it may write as (mail/sender_domains); empty: no one has said
};

/// A [[sender]] section that lists domains.
struct SenderDomainList {
    std::string match;
    std::optional<dns::Network> network;
    std::string user;
    std::vector<std::string> domains;
};

/// All settings, with their defaults. Durations in milliseconds, sizes in octets.
struct Settings {
    std::string hostname;  // empty: the machine's
    std::string admin_address;
    std::string state_dir = "/var/lib/sternpost";
    std::string user = "sternpost";
    std::string log_level = "info";
    std::string control_socket = "/run/sternpost/control.sock";
    std::string admin_group = "sternpost-admin";
    std::string control_readers = "everybody";
    std::string submit_socket = "/run/sternpost/submit.sock";
    std::string maildrop_dir = "/var/spool/sternpost/maildrop";
    std::vector<std::string> resolvers;
    std::string source_ipv4;
    std::string source_ipv6;
    std::vector<std::string> families{"ipv4", "ipv6"};
    std::vector<std::string> own_addresses;
    std::uint64_t io_threads = 0;
    std::uint64_t max_memory = 512UL << 20U;

    std::vector<std::string> listen{"127.0.0.1:25", "[::1]:25"};
    std::uint64_t max_message_size = 50UL << 20U;
    std::uint64_t max_recipients = 1000;
    std::uint64_t max_connections = 500;
    std::uint64_t max_connections_per_client = 50;
    std::uint64_t max_stranger_connections = 50;
    Duration stranger_time{std::chrono::seconds(60)};
    std::uint64_t messages_per_minute_per_client = 6000;
    std::uint64_t recipients_per_hour_per_client = 0;
    Duration command_timeout{std::chrono::minutes(5)};
    bool starttls = true;
    std::string tls_certificate;
    std::string tls_key;
    std::vector<Client> clients;
    std::vector<delivery::Route> routes;                   // [[route]]
    std::vector<store::StoredOverride> overrides;          // [[override]]
    std::vector<delivery::DestinationLimit> destinations;  // [[destination]]
    std::vector<intake::SenderRule> senders;               // [[sender]]
    std::vector<SenderDomainList> sender_domains;          // of those that list domains
    std::uint64_t messages_per_minute_per_user = 6000;
    std::uint64_t recipients_per_hour_per_user = 0;

    std::uint64_t smtp_port = 25;
    Duration connect_timeout{std::chrono::seconds(30)};
    Duration greeting_timeout{std::chrono::minutes(5)};
    Duration helo_timeout{std::chrono::minutes(5)};
    Duration starttls_timeout{std::chrono::minutes(2)};
    Duration mail_timeout{std::chrono::minutes(5)};
    Duration rcpt_timeout{std::chrono::minutes(5)};
    Duration data_timeout{std::chrono::minutes(2)};
    Duration data_block_timeout{std::chrono::minutes(3)};
    Duration dot_timeout{std::chrono::minutes(10)};
    Duration transaction_timeout{std::chrono::minutes(30)};
    Duration quit_timeout{std::chrono::seconds(5)};
    Duration idle_time{std::chrono::seconds(5)};
    std::uint64_t connections_per_hop = 20;
    std::uint64_t window_start = 2;
    std::uint64_t window_growth = 1;
    std::uint64_t window_shrink = 0;
    std::uint64_t connections_per_site = 20;
    std::uint64_t connections_per_address = 20;
    std::uint64_t recipients_per_transaction = 100;
    std::uint64_t messages_per_connection = 100;
    std::uint64_t addresses_per_attempt = 5;
    Duration attempt_budget{std::chrono::minutes(30)};
    std::uint64_t max_deliveries = 500;
    bool delivery_special_addresses = false;
    std::string convert_8bit = "unsigned";

    Duration lifetime{std::chrono::hours(120)};
    Duration notice_lifetime{std::chrono::hours(120)};
    std::uint64_t notices_per_day = 1000;
    Duration delay_warning{std::chrono::hours(4)};
    std::vector<Duration> retry{std::chrono::minutes(5),  std::chrono::minutes(10), std::chrono::minutes(20),
                                std::chrono::minutes(30), std::chrono::hours(1),    std::chrono::hours(2)};
    std::uint64_t in_memory = 5000;
    std::uint64_t in_memory_per_hop = 1000;
    Duration history{std::chrono::hours(336)};

    Duration dns_timeout{std::chrono::seconds(5)};
    std::uint64_t dns_attempts = 2;
    Duration dns_max_ttl{std::chrono::hours(24)};
    std::string dns_trust_ad = "auto";
    std::string dns_probe_secure = "iana.org";
    std::string dns_probe_bogus = "dnssec-failed.org";

    std::string ca_file = "/etc/ssl/certs/ca-certificates.crt";
    bool opportunistic_tls = true;
    bool tls_fall_back_to_clear = true;
    bool tls_honour_tls_required_no = true;
    bool tls_resume = true;

    bool dane_enabled = true;
    bool dane_require_both = false;

    bool sts_enabled = true;
    Duration sts_fetch_timeout{std::chrono::seconds(60)};
    std::uint64_t sts_max_policy_size = 65536;
    std::uint64_t sts_policy_port = 443;
    Duration sts_failed_fetch_wait{std::chrono::minutes(5)};
    bool sts_special_addresses = false;

    bool alarms_mail = true;
    Duration alarms_old_mail{std::chrono::hours(24)};
    std::uint64_t alarms_queue_growth = 1000;

    std::string dkim_sign = "auto";
    std::string dkim_keys;  // empty: under state_dir
    Duration dkim_patience{std::chrono::hours(4)};

    std::string tlsrpt_organization;
    std::string tlsrpt_contact;
    bool tlsrpt_send = true;
    Duration tlsrpt_window{std::chrono::hours(4)};
    Duration tlsrpt_retry_for{std::chrono::hours(24)};
    std::uint64_t tlsrpt_places = 10;
    std::uint64_t tlsrpt_reports_per_place = 10'000;
    Duration tlsrpt_post_timeout{std::chrono::seconds(60)};
    bool tlsrpt_other_ports = false;
    bool tlsrpt_special_addresses = false;
};

using Member =
    std::variant<std::string Settings::*, bool Settings::*, std::uint64_t Settings::*, Duration Settings::*,
                 std::vector<std::string> Settings::*, std::vector<Duration> Settings::*>;

/// What a value must be; says in `allowed_text` what is allowed.
enum class Check {
    any,
    hostname,       // a fully qualified domain name, or empty
    mailbox,        // local-part@domain, or empty
    ascii_mailbox,  // the same in ASCII, and no address literal
    log_level,      // error, warning, info, debug
    address4,       // an IPv4 address, or empty
    address6,       // an IPv6 address, or empty
    addresses,      // IP addresses
    servers,        // address, or address and port
    listen,         // address and port
    families,       // ipv4, ipv6: at least one
    trust,          // auto, yes, no
    readers,        // everybody, admins
    name,           // a domain name, or empty
    port,           // 1 … 65535
    at_least_one,   // 1 or more
    recipients,     // at least 100 (RFC 5321 §4.5.3.1.8)
    size,           // octets, or KiB, MiB, GiB
    positive_time,  // longer than nothing
    path,           // absolute
    optional_path,  // absolute, or empty
    convert,        // unsigned, always, never
    sign,           // auto, off
};

struct Option {
    std::string_view name;  // as in the file: `queue.lifetime`
    Member member;
    Check check;
    std::string_view text;  // one line for people
};

std::span<const Option> options();

/// What is allowed, for an error: `a duration such as "90s", "5m", "5d"`.
std::string allowed_text(const Option& option);
/// The value as it would stand in the file.
std::string value_text(const Option& option, const Settings& settings);
/// `"90s"`, `"5m"`, `"5d"`: the largest unit that is exact.
std::string duration_text(Duration duration);

}  // namespace sternpost::config
