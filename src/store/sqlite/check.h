// Looks the whole state directory over: whether journal, bodies, index and history still say the same, and
// what would mend it. For `sternpost doctor --spool`; changes nothing unless asked to.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "store/records.h"

namespace sternpost::store::sqlite {

struct SpoolFinding {
    std::string rule;    // which invariant, in a word or two: `index-counts`
    std::string text;    // what is wrong, where
    std::string repair;  // what a repair does; empty: nobody but a person can
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

/// Reads everything. While a daemon runs, what it changes in the meantime is looked at again before it is
/// called wrong, after `between_looks` (which waits for half a second or so), and nothing can be repaired.
/// Errors: not_found (no queue there), busy (a repair was asked for and a daemon runs), newer_schema, io (as:
/// not the owner and not root).
Result<SpoolReport> check_spool(const std::string& state_dir, bool repair,
                                const std::function<void()>& between_looks);

}  // namespace sternpost::store::sqlite
