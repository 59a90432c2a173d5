// Which time ages count from: the wall clock's, as long as it can be believed. A pure rule on times.
#pragma once

#include "util/clock.h"

namespace sternpost::store {

/// Wall and steady time of one moment.
struct Now {
    WallTime wall;
    SteadyTime steady;
};

/// Whether the wall clock may be believed about ages: it has not leapt by more than ten minutes against the
/// steady one since the start, and is not before the newest time in the store. While it may not, nothing
/// expires (DESIGN §4).
class ClockGuard {
  public:
    ClockGuard(Now start, WallTime newest_stored) : start_(start), newest_(newest_stored) {}
    bool trusts(Now now) const;
    /// What ages count from: the wall time where it is trusted, else what it should be by the steady clock,
    /// counted from the start or, if that was before the newest time in the store, from that.
    WallTime trusted_wall(Now now) const;

  private:
    Now start_;
    WallTime newest_;
};

}  // namespace sternpost::store
