#include "store/alarm_kind.h"

namespace sternpost::store {
namespace {

struct Row {
    std::string_view name;
    std::string_view meaning;
    std::string_view advice;
};

constexpr Row policy_vanished{"policy-vanished",
                              "A domain no longer publishes the MTA-STS policy that it had.",
                              "Ask the domain's postmaster whether that was meant. The policy that is cached "
                              "stays in force until it expires: \"sternpost sts show DOMAIN\" says when."};
constexpr Row policy_refresh_failing{
    "policy-refresh-failing", "A domain's policy could not be fetched for days, and will expire.",
    "\"sternpost sts check DOMAIN\" says what fails. The domain's administrator must mend the policy host."};
constexpr Row policy_changed_without_id{"policy-changed-without-id",
                                        "A policy's text has changed, though the id in DNS has not.",
                                        "\"sternpost sts history DOMAIN\" shows both texts. If the new one "
                                        "names hosts that are not the domain's, "
                                        "ask its postmaster."};
constexpr Row policy_weakened{
    "policy-weakened", "A domain that enforced its policy no longer does.",
    "\"sternpost sts history DOMAIN\" shows both texts. If it was not announced, ask "
    "the domain's postmaster; \"sternpost policy override set\" keeps it enforced."};
constexpr Row mx_set_shrunk{"mx-set-shrunk", "A policy allows fewer MX hosts than before.",
                            "As a rule nothing: hosts are taken out of service. If mail to the domain waits "
                            "since then, its policy and its MX records disagree."};
constexpr Row max_age_cut{"max-age-cut", "A policy may be cached for a much shorter time than before.",
                          "As a rule nothing: it comes before a change. If the domain is important to you, "
                          "ask its postmaster."};
constexpr Row tls_gone{"tls-gone", "A host that always offered TLS offers none.",
                       "Ask the host's administrator. If nothing has changed there, an attacker on the path "
                       "removes STARTTLS: \"sternpost policy override set\" demands TLS for the domain."};
constexpr Row dane_gone{"dane-gone", "A host that was authenticated by TLSA records has none any more.",
                        "Check \"sternpost doctor\" for the resolver first. If it validates, the zone of the "
                        "host has changed: ask its administrator."};
constexpr Row refused_by_list{
    "refused-by-list", "A host refuses our mail because of a block list, or because of our reputation.",
    "Read the reply: it mostly has a page to visit. Find what was sent (\"sternpost stats --by sender\"), "
    "stop "
    "it, and then ask for removal. doc/block-list.md has the steps."};
constexpr Row resolver_does_not_validate{
    "resolver-does-not-validate", "The resolver does not check DNSSEC: there is no DANE.",
    "Run a validating resolver on this machine, such as unbound, and name it in dns.servers."};
constexpr Row dkim_key{"dkim-key", "A DKIM key cannot be used, or its record in DNS is missing or another.",
                       "\"sternpost dkim check\" says which, and what to publish."};
constexpr Row listener_certificate{
    "listener-certificate", "The listener's certificate expires soon, has expired, or names another host.",
    "Renew it, then \"systemctl reload sternpost\". If it is renewed by a program, the reload belongs into "
    "its deploy hook."};
constexpr Row source_address{"source-address",
                             "An address that mail is to be sent from is not on this machine.",
                             "Add the address to an interface, or correct source_ipv4 and source_ipv6."};
constexpr Row sender_limit{
    "sender-limit", "A sender has reached its limit, and is refused for now.",
    "\"sternpost stats --by sender\" shows what it sends. If that is legitimate, raise "
    "its limit; if not, stop the program or the account that sends."};
constexpr Row disk_short{
    "disk-short", "The disk of state_dir is almost full: mail is refused.",
    "Free space, or give it more. \"sternpost queue summary\" says what the queue holds."};
constexpr Row memory_short{
    "memory-short", "The daemon has more memory than max_memory: mail is refused.",
    "If it lasts, raise max_memory, or report what you see with \"sternpost status\"."};
constexpr Row clock{"clock", "The clock is not trusted: nothing expires.",
                    "Set the clock, and let NTP keep it. If it is correct now, restart the daemon."};
constexpr Row store_trouble{"store-trouble", "The store cannot keep results: nothing is delivered.",
                            "The log says why (results-wait, store). Mostly the disk is full or failing."};
constexpr Row log_lost{"log-lost", "Log lines were lost: whoever reads the log is too slow.",
                       "Look at journald's load and its rate limits."};
constexpr Row queue_grows{"queue-grows", "Many more messages wait than an hour ago.",
                          "\"sternpost queue summary\" says where they go to and what is in their way."};
constexpr Row old_mail{"old-mail", "A message has waited for long.",
                       "\"sternpost queue list --older 24h\" lists such mail, and \"sternpost why ID\" says "
                       "what is in its way."};
constexpr Row tls_report_undelivered{
    "tls-report-undelivered", "A domain's TLS report was taken by none of the places that it names.",
    "As a rule nothing: \"sternpost sts check DOMAIN\" says what its owner should mend."};

const Row& row_of(AlarmKind kind) {
    switch (kind) {
        case AlarmKind::policy_vanished:
            return policy_vanished;
        case AlarmKind::policy_refresh_failing:
            return policy_refresh_failing;
        case AlarmKind::policy_changed_without_id:
            return policy_changed_without_id;
        case AlarmKind::policy_weakened:
            return policy_weakened;
        case AlarmKind::mx_set_shrunk:
            return mx_set_shrunk;
        case AlarmKind::max_age_cut:
            return max_age_cut;
        case AlarmKind::tls_gone:
            return tls_gone;
        case AlarmKind::dane_gone:
            return dane_gone;
        case AlarmKind::refused_by_list:
            return refused_by_list;
        case AlarmKind::resolver_does_not_validate:
            return resolver_does_not_validate;
        case AlarmKind::dkim_key:
            return dkim_key;
        case AlarmKind::listener_certificate:
            return listener_certificate;
        case AlarmKind::source_address:
            return source_address;
        case AlarmKind::sender_limit:
            return sender_limit;
        case AlarmKind::disk_short:
            return disk_short;
        case AlarmKind::memory_short:
            return memory_short;
        case AlarmKind::clock:
            return clock;
        case AlarmKind::store_trouble:
            return store_trouble;
        case AlarmKind::log_lost:
            return log_lost;
        case AlarmKind::queue_grows:
            return queue_grows;
        case AlarmKind::old_mail:
            return old_mail;
        case AlarmKind::tls_report_undelivered:
            return tls_report_undelivered;
    }
    return tls_report_undelivered;
}

}  // namespace

std::string_view name_of(AlarmKind kind) {
    return row_of(kind).name;
}

std::optional<AlarmKind> alarm_kind_of(std::string_view name) {
    for (unsigned n = 0; n <= static_cast<unsigned>(last_of(AlarmKind{})); ++n)
        if (name_of(static_cast<AlarmKind>(n)) == name) return static_cast<AlarmKind>(n);
    return std::nullopt;
}

std::string_view meaning_of(AlarmKind kind) {
    return row_of(kind).meaning;
}

std::string_view advice_for(AlarmKind kind) {
    return row_of(kind).advice;
}

}  // namespace sternpost::store
