// RFC 8460 §4.3: what can be wrong with a TLS session or a policy, and the names to report.
#pragma once

#include <cstdint>
#include <string_view>

namespace sternpost::tlsrpt {

constexpr std::uint64_t most_integer = (1ULL << 53U) - 1;  ///< in a report, which is I-JSON (RFC 7493 §2.2)

enum class ResultType {
    starttls_not_supported,
    certificate_host_mismatch,
    certificate_expired,
    certificate_not_trusted,
    validation_failure,
    tlsa_invalid,
    dnssec_invalid,
    dane_required,
    sts_policy_fetch_error,
    sts_policy_invalid,
    sts_webpki_invalid,
};

constexpr std::string_view name_of(ResultType type) {
    switch (type) {
        case ResultType::starttls_not_supported:
            return "starttls-not-supported";
        case ResultType::certificate_host_mismatch:
            return "certificate-host-mismatch";
        case ResultType::certificate_expired:
            return "certificate-expired";
        case ResultType::certificate_not_trusted:
            return "certificate-not-trusted";
        case ResultType::validation_failure:
            return "validation-failure";
        case ResultType::tlsa_invalid:
            return "tlsa-invalid";
        case ResultType::dnssec_invalid:
            return "dnssec-invalid";
        case ResultType::dane_required:
            return "dane-required";
        case ResultType::sts_policy_fetch_error:
            return "sts-policy-fetch-error";
        case ResultType::sts_policy_invalid:
            return "sts-policy-invalid";
        case ResultType::sts_webpki_invalid:
            return "sts-webpki-invalid";
    }
    return "";
}

}  // namespace sternpost::tlsrpt
