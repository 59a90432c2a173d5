// The time that queue and store go by: the wall clock's as long as it can be believed, and what it should be
// by the steady one where it cannot.
#pragma once

#include "util/clock.h"

namespace sternpost::store {

/// Wall and steady time of one moment.
struct Now {
    WallTime wall;
    SteadyTime steady;
    bool trusted = true;  // else `wall` is what the clock should say, and nothing expires (DESIGN §4)
};

/// The clock is believed while it has not leapt by more than ten minutes against the steady one since the
/// start, and is not before the newest time in the store. While it is not, time goes on from the start or, if
/// that was before the newest time in the store, from that. For any thread.
class TrustedClock final : public Clock {
  public:
    /// `clock` outlives this. `newest_stored`: the time of the newest mail.
    TrustedClock(const Clock& clock, WallTime newest_stored);
    Now now() const;
    /// Of a time that was read from the clock, perhaps before it was set: the same, or what it is now.
    WallTime believed(WallTime read) const;
    WallTime wall() const override { return now().wall; }
    SteadyTime steady() const override { return clock_.steady(); }
    WallTime newest_stored() const { return newest_; }

  private:
    bool trusts(WallTime wall, SteadyTime steady) const;

    const Clock& clock_;
    WallTime newest_;
    WallTime start_wall_;
    SteadyTime start_steady_;
};

}  // namespace sternpost::store
