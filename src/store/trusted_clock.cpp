#include "store/trusted_clock.h"

#include <algorithm>
#include <chrono>

namespace sternpost::store {

TrustedClock::TrustedClock(const Clock& clock)
    : clock_(clock), start_wall_(clock.wall()), start_since_boot_(clock.since_boot()) {}

std::chrono::microseconds TrustedClock::passed() const {
    return std::chrono::duration_cast<std::chrono::microseconds>(clock_.since_boot() - start_since_boot_);
}

bool TrustedClock::trusts(WallTime wall, std::chrono::microseconds passed) const {
    constexpr auto most = std::chrono::minutes(10);
    if (wall < newest_.load() - most) return false;
    const auto gone = wall - start_wall_;
    return gone - passed <= most && passed - gone <= most;
}

Now TrustedClock::now() const {
    const WallTime wall = clock_.wall();
    const SteadyTime steady = clock_.steady();
    const auto since_start = passed();
    if (trusts(wall, since_start)) return {wall, steady, true};
    return {std::max(start_wall_, newest_.load()) + since_start, steady, false};
}

WallTime TrustedClock::believed(WallTime read) const {
    return trusts(read, passed()) ? read : wall();
}

}  // namespace sternpost::store
