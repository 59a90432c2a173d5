// When next, and when it is over: pure rules on times.
#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "store/message.h"
#include "store/trusted_clock.h"
#include "util/clock.h"
#include "util/random.h"

namespace sternpost::queue {

using store::Now;

struct Schedule {
    /// Waits after the first, second, … failure; the last repeats (DESIGN: 5, 10, 20, 30, 60 minutes, then
    /// every 2 hours).
    std::vector<std::chrono::seconds> retry{std::chrono::minutes(5),  std::chrono::minutes(10),
                                            std::chrono::minutes(20), std::chrono::minutes(30),
                                            std::chrono::hours(1),    std::chrono::hours(2)};
    double jitter = 0.2;  // ± this share, so that retries do not march in step
    std::chrono::seconds lifetime{std::chrono::hours(120)};         // RFC 5321 §4.5.4.1: 4 to 5 days
    std::chrono::seconds notice_lifetime{std::chrono::hours(120)};  // of bounces
    std::chrono::seconds report_lifetime{std::chrono::hours(24)};   // of TLS reports (RFC 8460 §5.5)

    /// When the sender of people's mail hears that it still waits (RFC 3461 §5.2.5); 0: never.
    std::chrono::seconds delay_warning{std::chrono::hours(4)};

    std::chrono::seconds lifetime_of(store::MessageClass message_class) const;
    std::chrono::seconds shortest_lifetime() const;
    WallTime deadline(const store::StoredMessage& message) const;
    /// Whether an attempt that began at `began` may have been the last one. Age bounces nothing by accident:
    /// it began after the deadline (D-41), and the clock was right then and is now.
    bool is_over(const store::StoredMessage& message, Now began, Now now) const;

    /// The wait after failure number `failures` (1 …).
    std::chrono::microseconds wait(unsigned failures, Random& random) const;
};

/// `; given up after 5 d in the queue`: the end of a reason.
std::string given_up_after(const store::StoredMessage& message, Now now);

/// When, on the steady clock, the wall clock will say `when`, if it goes on as now; a year away at most.
SteadyTime to_steady(WallTime when, Now now);

}  // namespace sternpost::queue
