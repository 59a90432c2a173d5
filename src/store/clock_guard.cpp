#include "store/clock_guard.h"

#include <algorithm>
#include <chrono>

namespace sternpost::store {

bool ClockGuard::trusts(Now now) const {
    constexpr auto most = std::chrono::minutes(10);
    if (now.wall + most < newest_) return false;
    const auto wall = now.wall - start_.wall;
    const auto steady = std::chrono::duration_cast<std::chrono::microseconds>(now.steady - start_.steady);
    return wall - steady <= most && steady - wall <= most;
}

WallTime ClockGuard::trusted_wall(Now now) const {
    if (trusts(now)) return now.wall;
    return std::max(start_.wall, newest_) +
           std::chrono::duration_cast<std::chrono::microseconds>(now.steady - start_.steady);
}

}  // namespace sternpost::store
