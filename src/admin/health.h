// What a monitor asks: whether all is well, and if not, what it is. Pure.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "admin/status.h"

namespace sternpost::admin {

/// As monitoring plugins have it: their exit codes.
enum class Level : int { ok = 0, warning = 1, critical = 2, unknown = 3 };
std::string_view name_of(Level level);

/// From which figures on it is a warning, or critical. 0: never.
struct HealthLimits {
    std::uint64_t queue_warning = 1000;  // messages
    std::uint64_t queue_critical = 10'000;
    std::chrono::seconds age_warning = std::chrono::hours(4);  // of the oldest message
    std::chrono::seconds age_critical = std::chrono::hours(24);
    std::chrono::seconds alarms_of = std::chrono::hours(24);  // those since then count
};

struct Health {
    Level level = Level::ok;
    std::vector<std::string> problems;  // the worst first
    std::uint64_t messages = 0;
    std::chrono::seconds oldest{0};  // 0: nothing waits
    std::size_t alarms = 0;
};

Health health_of(const Status& status, const HealthLimits& limits, WallTime now);

/// `STERNPOST WARNING - … | messages=12;1000;10000 oldest=…s alarms=…`: one line, its figures for graphs
/// behind the bar.
std::string plugin_line(const Health& health, const HealthLimits& limits);

}  // namespace sternpost::admin
