// Which files this program syncs, in which order.
#pragma once

#include <string>
#include <vector>

namespace sternpost::fake {

/// Hears of each fsync() while it lives, from whichever thread. One at a time.
class SyncTrace {
  public:
    SyncTrace();
    SyncTrace(const SyncTrace&) = delete;
    SyncTrace& operator=(const SyncTrace&) = delete;
    ~SyncTrace();

    /// The paths of the files so far, each as it was called when it was synced.
    std::vector<std::string> paths() const;
};

}  // namespace sternpost::fake
