// What alarms are about: the closed set of kinds, and what each of them means. They are stored, logged and
// shown by name.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace sternpost::store {

enum class AlarmKind : std::uint8_t {
    // A domain's policy
    policy_vanished,
    policy_refresh_failing,
    policy_changed_without_id,
    policy_weakened,
    mx_set_shrunk,
    max_age_cut,
    // A host's TLS
    tls_gone,
    dane_gone,
    // How others take our mail
    refused_by_list,
    // This relay
    resolver_does_not_validate,
    dkim_key,
    listener_certificate,
    source_address,
    sender_limit,
    disk_short,
    memory_short,
    clock,
    store_trouble,
    log_lost,
    queue_grows,
    old_mail,
    tls_report_undelivered,
};
constexpr AlarmKind last_of(AlarmKind) {
    return AlarmKind::tls_report_undelivered;
}

/// One that is to be raised.
struct NewAlarm {
    AlarmKind kind;
    std::string subject;  // the domain or host
    std::string text;     // the sentence
};

/// `policy-vanished`
std::string_view name_of(AlarmKind kind);
/// nullopt: a later release may have stored it.
std::optional<AlarmKind> alarm_kind_of(std::string_view name);
/// What it says, a sentence.
std::string_view meaning_of(AlarmKind kind);
/// What an administrator does then, a sentence or two.
std::string_view advice_for(AlarmKind kind);

}  // namespace sternpost::store
