// Why a recipient or a next hop waits, or why mail failed: the closed set of codes that programs may rely on.
// They are stored, logged and shown by name. delivery/advice says what each of them means for an
// administrator.
#pragma once

#include <cstdint>
#include <string_view>

namespace sternpost::store {

enum class ReasonCode : std::uint8_t {
    none,  // nothing to tell, or a reply of the host that needs no code
    // What a policy, an override or the message demands is not met.
    sts_mx_not_listed,
    sts_required,
    sts_unknown,
    dns_doubted,
    starttls_not_offered,
    starttls_refused,
    starttls_injection,
    handshake_failed,
    certificate_expired,
    certificate_not_yet_valid,
    certificate_not_trusted,
    certificate_too_weak,
    certificate_host_mismatch,
    dane_no_tlsa_match,
    dane_required,
    tlsa_lookup_failed,
    tlsa_unusable,
    requiretls_mx_not_trusted,
    requiretls_not_offered,
    // A host, the DNS or the network does not let mail through.
    unreachable,
    addresses_unanswered,
    no_address,
    loop,
    network_unreachable,
    source_unusable,
    greeting_refused,
    takes_no_mail,
    host_asks_to_wait,
    greylisted,
    ipv6_without_ptr,
    possibly_delivered,
    dkim_key,
    // This relay, or its administrator, holds the mail back.
    clock,
    suspended,
    limit,
    in_line,
    results_wait,
    daemon_down,
    held,
};

/// `sts-mx-not-listed`; empty for `none`.
std::string_view name_of(ReasonCode code);

/// `none` for a name that is not known: a later release may have stored it.
ReasonCode reason_code_of(std::string_view name);

}  // namespace sternpost::store
