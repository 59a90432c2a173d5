// How much mail there was: hour by hour, and day by day after a week, in all and by what mail is counted by.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

#include "util/clock.h"

namespace sternpost::store {

/// How counts of mail are grouped. The index stores these numbers.
enum class CountedBy : std::uint8_t {
    all = 0,
    destination = 1,  // next hop
    sender = 2,       // who handed it in: fair_order.h, sender_of()
    from_domain = 3,  // domain of the reverse-path; `<>` for none
    error = 4,        // why it did not go: a reason code, else the status
};
std::string_view name_of(CountedBy by);
constexpr CountedBy last_of(CountedBy) {
    return CountedBy::error;
}

/// accepted, octets: messages. sent, bounced, expired: recipients. deferred: attempts that ended
/// with `later`, of one recipient or of a next hop with all that waits for it. With CountedBy::destination
/// and error, nothing is accepted.
struct MailNumbers {
    std::uint64_t accepted = 0;
    std::uint64_t octets = 0;
    std::uint64_t sent = 0;
    std::uint64_t deferred = 0;
    std::uint64_t bounced = 0;  // refused for good
    std::uint64_t expired = 0;  // returned since its time was over
    bool operator==(const MailNumbers&) const = default;
    MailNumbers& operator+=(const MailNumbers& more);
};

struct MailCount {
    std::string key;  // empty: with all, everything; else what had no place of its own
    MailNumbers numbers;
    bool operator==(const MailCount&) const = default;
};

/// Which counts a question is about. Times are cut to hours; before a week ago, to UTC days.
struct MailCountFilter {
    CountedBy by = CountedBy::all;
    WallTime from{};
    WallTime to = WallTime::max();
    bool by_hour = false;      // the keys are the hours, as RFC 3339 has them; only with CountedBy::all
    std::size_t limit = 1000;  // those with the most mail first, the others summed; by hour, the latest
};

}  // namespace sternpost::store
