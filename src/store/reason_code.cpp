#include "store/reason_code.h"

#include <algorithm>
#include <array>

namespace sternpost::store {
namespace {

// In the order of ReasonCode.
constexpr auto names = std::to_array<std::string_view>({
    "",
    "sts-mx-not-listed",
    "sts-required",
    "sts-unknown",
    "dns-doubted",
    "starttls-not-offered",
    "starttls-refused",
    "starttls-injection",
    "handshake-failed",
    "certificate-expired",
    "certificate-not-yet-valid",
    "certificate-not-trusted",
    "certificate-too-weak",
    "certificate-host-mismatch",
    "dane-no-tlsa-match",
    "dane-required",
    "tlsa-lookup-failed",
    "tlsa-unusable",
    "requiretls-mx-not-trusted",
    "requiretls-not-offered",
    "unreachable",
    "addresses-unanswered",
    "no-address",
    "loop",
    "network-unreachable",
    "source-unusable",
    "greeting-refused",
    "takes-no-mail",
    "host-asks-to-wait",
    "greylisted",
    "ipv6-without-ptr",
    "possibly-delivered",
    "dkim-key",
    "clock",
    "suspended",
    "limit",
    "in-line",
    "results-wait",
    "daemon-down",
    "held",
});
static_assert(names.size() == static_cast<std::size_t>(ReasonCode::held) + 1);

}  // namespace

std::string_view name_of(ReasonCode code) {
    return names.at(static_cast<std::size_t>(code));
}

ReasonCode reason_code_of(std::string_view name) {
    const auto found = std::find(names.begin(), names.end(), name);
    return found == names.end() ? ReasonCode::none : static_cast<ReasonCode>(found - names.begin());
}

}  // namespace sternpost::store
