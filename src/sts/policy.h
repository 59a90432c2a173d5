// The policy file (RFC 8461 §3.2) and what its mx patterns match (§4.1).
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "dns/name.h"
#include "sts/record.h"

namespace sternpost::sts {

enum class Mode { none, testing, enforce };
std::string_view name_of(Mode mode);

/// One `mx` value: a host name, or `*.` and a domain, which covers exactly one label more (RFC 8461 §4.1).
struct MxPattern {
    bool wildcard = false;
    dns::Domain domain;  // without the `*.`

    bool matches(const dns::MxHost& host) const;
    std::string text() const { return (wildcard ? "*." : "") + domain.text(); }
    bool operator==(const MxPattern&) const = default;
};

constexpr std::uint64_t longest_max_age = 31'557'600;  ///< seconds, a year (RFC 8461 §3.2)
constexpr std::size_t max_mx_patterns = 500;           // of a policy that is fetched; ours: the RFC sets none

struct Policy {
    Mode mode = Mode::none;
    std::vector<MxPattern> mx;        // each once
    std::chrono::seconds max_age{0};  // at most longest_max_age: what is beyond is cut (D-04)

    /// Lenient where a sender's mail would suffer for a formality (LF or CRLF, blank lines, a BOM), strict in
    /// every value. bad_policy says which line and why.
    static Result<Policy> parse(std::string_view text);
    bool allows(const dns::MxHost& host) const;
    /// `mx1.example.net, *.mail.example.com`.
    std::string mx_text() const;
    bool operator==(const Policy&) const = default;
};

}  // namespace sternpost::sts
