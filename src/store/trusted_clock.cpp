#include "store/trusted_clock.h"

#include <algorithm>
#include <chrono>

namespace sternpost::store {

TrustedClock::TrustedClock(const Clock& clock, WallTime newest_stored)
    : clock_(clock), newest_(newest_stored), start_wall_(clock.wall()), start_steady_(clock.steady()) {}

bool TrustedClock::trusts(WallTime wall, SteadyTime steady) const {
    constexpr auto most = std::chrono::minutes(10);
    if (wall + most < newest_) return false;
    const auto gone = wall - start_wall_;
    const auto waited = std::chrono::duration_cast<std::chrono::microseconds>(steady - start_steady_);
    return gone - waited <= most && waited - gone <= most;
}

Now TrustedClock::now() const {
    const WallTime wall = clock_.wall();
    const SteadyTime steady = clock_.steady();
    if (trusts(wall, steady)) return {wall, steady, true};
    const auto waited = std::chrono::duration_cast<std::chrono::microseconds>(steady - start_steady_);
    return {std::max(start_wall_, newest_) + waited, steady, false};
}

WallTime TrustedClock::believed(WallTime read) const {
    return trusts(read, clock_.steady()) ? read : wall();
}

}  // namespace sternpost::store
