// The ways into a store: for the daemon, for a command while no daemon runs, and for the doctor. Which engine
// is behind them is decided here.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "store/store.h"
#include "store/trusted_clock.h"
#include "util/log.h"
#include "util/random.h"

namespace sternpost::store {

struct OpenOptions {
    std::string state_dir;
    std::chrono::days history{14};  // that the history of messages is kept; 0: none
};

/// Makes the store if there is none, and recovers it. Log, clock and random outlive it and are used on its
/// threads. Errors: busy (another daemon has it), newer_schema, damaged, full, io.
Result<std::unique_ptr<Store>> open(const OpenOptions& options, Events events, Log& log, TrustedClock& clock,
                                    Random& random);

/// The store while no daemon runs. It answers as a daemon would that started now, and changes nothing.
class StoreAtRest : public Questions {
  public:
    /// What is wrong with what it answers from.
    virtual const std::vector<std::string>& warnings() const = 0;
};
/// Errors: not_found (no queue there), newer_schema, damaged, io (as: not the owner and not root).
Result<std::unique_ptr<StoreAtRest>> open_at_rest(const std::string& state_dir);

struct SpoolFinding {
    std::string rule;    // which invariant, in a word or two: `index-counts`
    std::string text;    // what is wrong, where
    std::string repair;  // what a repair does; empty: no one but a person can
    bool repaired = false;
};

struct SpoolReport {
    bool daemon_runs = false;
    std::uint64_t segments = 0;  // looked at
    std::uint64_t records = 0;
    std::uint64_t messages = 0;
    std::uint64_t bodies = 0;
    std::vector<SpoolFinding> findings;
};

/// Whether everything in the state directory says the same, and what would mend it. While a daemon runs, what
/// it changes in the meantime is looked at again before it is called wrong, after `between_looks` (which
/// waits for half a second or so), and nothing can be repaired. Errors: not_found (no queue there), busy (a
/// repair was asked for and a daemon runs), newer_schema, io (as: not the owner and not root).
Result<SpoolReport> check_spool(const std::string& state_dir, bool repair,
                                const std::function<void()>& between_looks);

}  // namespace sternpost::store
