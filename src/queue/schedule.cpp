#include "queue/schedule.h"

#include <algorithm>

namespace sternpost::queue {

std::chrono::microseconds Schedule::wait(unsigned failures, Random& random) const {
    if (retry.empty()) return std::chrono::hours(2);
    const auto step = retry[std::min<std::size_t>(failures > 0 ? failures - 1 : 0, retry.size() - 1)];
    const double factor = 1.0 + jitter * (2.0 * random.unit() - 1.0);
    return std::chrono::duration_cast<std::chrono::microseconds>(step * factor);
}

bool ClockGuard::trusts(Now now) const {
    constexpr auto most = std::chrono::minutes(10);
    if (now.wall + most < newest_) return false;
    const auto wall = now.wall - start_.wall;
    const auto steady = std::chrono::duration_cast<std::chrono::microseconds>(now.steady - start_.steady);
    return wall - steady <= most && steady - wall <= most;
}

}  // namespace sternpost::queue
