#include "queue/schedule.h"

#include <algorithm>

namespace sternpost::queue {

std::chrono::microseconds Schedule::wait(unsigned failures, Random& random) const {
    if (retry.empty()) return std::chrono::hours(2);
    const auto step = retry[std::min<std::size_t>(failures > 0 ? failures - 1 : 0, retry.size() - 1)];
    const double factor = 1.0 + jitter * (2.0 * random.unit() - 1.0);
    return std::chrono::duration_cast<std::chrono::microseconds>(step * factor);
}

}  // namespace sternpost::queue
