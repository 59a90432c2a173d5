// What a look-up of an MTA-STS policy that went wrong is called in a TLS report (RFC 8460 §4.3.2.2).
#pragma once

#include <optional>

#include "sts/record.h"
#include "tlsrpt/result_type.h"

namespace sternpost::delivery {

/// nullopt: nothing that a report would say of the domain.
constexpr std::optional<tlsrpt::ResultType> result_type_of(sts::Errc code) {
    switch (code) {
        case sts::Errc::fetch:
        case sts::Errc::gone:
        case sts::Errc::refused_address:
        case sts::Errc::waiting:
            return tlsrpt::ResultType::sts_policy_fetch_error;
        case sts::Errc::bad_record:
        case sts::Errc::bad_policy:
            return tlsrpt::ResultType::sts_policy_invalid;
        case sts::Errc::certificate:
            return tlsrpt::ResultType::sts_webpki_invalid;
        case sts::Errc::stopped:
            return std::nullopt;
    }
    return std::nullopt;
}

}  // namespace sternpost::delivery
