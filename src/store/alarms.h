// What an administrator should look at: kept in the store, logged once a day for a kind and a subject.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "store/alarm_kind.h"
#include "store/store.h"
#include "util/clock.h"
#include "util/log.h"

namespace sternpost::store {

/// Those raised at `since` or later, the latest in front.
Result<std::vector<StoredAlarm>> alarms_since(Questions& questions, WallTime since);

/// Lives on the control thread. What it is given outlives it.
class Alarms {
  public:
    Alarms(Store& store, const Clock& clock, Log& log) : store_(store), clock_(clock), log_(log) {}

    /// Counted always.
    void raise(AlarmKind kind, const std::string& subject, const std::string& text);
    std::uint64_t raised() const { return raised_; }

  private:
    Store& store_;
    const Clock& clock_;
    Log& log_;
    std::map<std::pair<AlarmKind, std::string>, SteadyTime> logged_;
    std::uint64_t raised_ = 0;
};

}  // namespace sternpost::store
