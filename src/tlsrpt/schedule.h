// When a day is closed and when its reports are due: pure rules on times (RFC 8460 §4.1, §5.5).
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

#include "util/clock.h"

namespace sternpost::tlsrpt {

struct Schedule {
    /// Reports go out within this time after the end of their day, each domain's at a time of its own, so
    /// that no one is hit by all at midnight.
    std::chrono::seconds window{std::chrono::hours(4)};
    /// From the first attempt on.
    std::chrono::seconds retry_for{std::chrono::hours(24)};

    /// Results of sessions that ended in the day may come until then; later ones count in the next open day.
    WallTime closes(std::chrono::sys_days day) const;
    /// The newest day that is to be closed at `now`.
    std::chrono::sys_days last_ended(WallTime now) const;
    /// When the day's report to `domain` is due; `node` spreads the relays of one organization.
    WallTime due(std::chrono::sys_days day, const std::string& domain, const std::string& node) const;
    /// The next attempt after attempt number `tries` (1 …) at `now`: twice as late each time. nullopt: the
    /// time is over.
    std::optional<WallTime> again(WallTime first, std::uint32_t tries, WallTime now) const;
};

}  // namespace sternpost::tlsrpt
