// What the store alone has of the queue, as far as memory knows: when it is due, and for which next hops
// there is more. Pure.
#pragma once

#include <algorithm>
#include <chrono>
#include <functional>
#include <optional>
#include <set>
#include <string>

#include "store/trusted_clock.h"
#include "util/clock.h"

namespace sternpost::queue {

class StoreBacklog {
  public:
    /// Something in the store is due at `when`: it will be asked for.
    void due(SteadyTime when) {
        if (!due_ || when < *due_) due_ = when;
    }
    std::optional<SteadyTime> next_due() const { return due_; }
    bool is_due(SteadyTime now) const { return due_ && *due_ <= now; }
    /// It is asked for now.
    void clear_due() { due_.reset(); }

    /// There is more that is due, of whatever next hop.
    void more(bool there_is = true) { more_ = there_is; }
    bool has_more() const { return more_; }

    /// There may be more of this next hop that is due.
    void more_of(const std::string& hop) { hops_.insert(hop); }
    void no_more_of(const std::string& hop) { hops_.erase(hop); }
    bool has_more_of(const std::string& hop) const { return hops_.contains(hop); }
    const std::set<std::string>& hops() const { return hops_; }
    void no_more_if(const std::function<bool(const std::string& hop)>& is_so) { std::erase_if(hops_, is_so); }

    /// The oldest message in the store arrived at `when`, or before that.
    void holds_since(WallTime when) { oldest_ = std::min(oldest_, when); }
    /// Nothing in the store is older.
    WallTime oldest() const { return oldest_; }

    /// A next hop that fails may be known to the store alone.
    void forgot_a_hop() { forgot_hops_ = true; }
    bool has_forgotten_hops() const { return forgot_hops_; }

  private:
    std::optional<SteadyTime> due_;
    bool more_ = false;
    std::set<std::string> hops_;
    WallTime oldest_ = WallTime::max() - std::chrono::hours(24 * 365 * 100);
    bool forgot_hops_ = false;
};

}  // namespace sternpost::queue
