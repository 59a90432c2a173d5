// The time that the daemon goes by: the wall clock's as long as it can be believed, and what it should be by
// the time that has passed where it cannot.
#pragma once

#include <atomic>

#include "util/clock.h"

namespace sternpost::store {

/// Wall and steady time of one moment.
struct Now {
    WallTime wall;
    SteadyTime steady;
    bool trusted = true;  // else `wall` is what the clock should say, and nothing expires (DESIGN §4)
};

/// The clock is believed while it has not leapt by more than ten minutes against the time that has passed
/// since the start, and is not before the newest time in the store. While it is not, time goes on from the
/// start or, if that was before the newest time in the store, from that. A machine that was suspended has not
/// leapt: the time that has passed is that since boot. One for the whole daemon; for any thread.
class TrustedClock final : public Clock {
  public:
    /// `clock` outlives this.
    explicit TrustedClock(const Clock& clock);
    /// The newest mail in the store is of this time: it is no earlier now.
    void learn(WallTime newest_stored) { newest_ = newest_stored; }
    Now now() const;
    /// Of a time that was read from the clock, perhaps before it was set: the same, or what it is now.
    WallTime believed(WallTime read) const;
    WallTime wall() const override { return now().wall; }
    SteadyTime steady() const override { return clock_.steady(); }
    SteadyTime since_boot() const override { return clock_.since_boot(); }
    WallTime newest_stored() const { return newest_; }

  private:
    bool trusts(WallTime wall, std::chrono::microseconds passed) const;
    std::chrono::microseconds passed() const;

    const Clock& clock_;
    std::atomic<WallTime> newest_{WallTime{}};  // of the mail in the store; 1970: none is known
    WallTime start_wall_;
    SteadyTime start_since_boot_;
};

}  // namespace sternpost::store
