// When a cached policy is fetched again without mail asking for it (RFC 8461 §3.3, §10.2). Pure.
#pragma once

#include <chrono>
#include <optional>
#include <string_view>

#include "util/clock.h"

namespace sternpost::sts {

struct RefreshOptions {
    std::chrono::seconds interval = std::chrono::hours(24);  // or half of max_age, whichever is sooner …
    std::chrono::seconds least = std::chrono::hours(1);      // … but no more often than this
    std::chrono::seconds retry{300};                         // after a failure, doubling …
    std::chrono::seconds longest_retry = std::chrono::hours(6);
    std::chrono::days mailed_within{60};  // D-39
    std::size_t at_once = 4;              // fetches under way
};

/// What the time depends on.
struct RefreshFacts {
    WallTime fetched;
    WallTime expires;       // fetched + max_age
    WallTime mailed;        // mail for the domain was last looked at
    unsigned failures = 0;  // refreshes in a row
    WallTime failed_at{};
    double spread = 0;  // 0 … 1: by how much of a tenth of the wait it comes sooner
};

/// nullopt: never, as things are: the policy has expired, has less than `least` to live in all, or no one has
/// mailed the domain for long. A time in the past: now.
std::optional<WallTime> next_refresh(const RefreshOptions& options, const RefreshFacts& facts, WallTime now);

/// The same for a domain at every start, even over all domains.
double spread_of(std::string_view domain);

}  // namespace sternpost::sts
