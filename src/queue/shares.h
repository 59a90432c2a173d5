// How the connections that there may be at once are shared between senders. Pure.
#pragma once

#include <algorithm>
#include <map>
#include <string>

namespace sternpost::queue {

/// While others wait, one sender has at most half of all connections. Nobody has the last tenth unless it is
/// needed: mail of another sender that comes while slow hosts keep one sender's connections finds a place at
/// once.
class Shares {
  public:
    explicit Shares(unsigned all)
        : all_(all), half_(std::max(1U, all / 2)), reserve_(all > 1 ? std::max(1U, all / 10) : 0) {}

    unsigned in_use() const { return in_use_; }
    bool full() const { return in_use_ >= all_; }
    bool may_begin(const std::string& sender, bool others_wait) const {
        if (full()) return false;
        const auto own = of_.find(sender);
        if (own == of_.end() || own->second < half_) return true;
        return !others_wait && in_use_ + reserve_ < all_;
    }
    void begin(const std::string& sender) {
        ++of_[sender];
        ++in_use_;
    }
    void end(const std::string& sender) {
        const auto own = of_.find(sender);
        if (--own->second == 0) of_.erase(own);
        --in_use_;
    }

  private:
    unsigned all_;
    unsigned half_;
    unsigned reserve_;
    unsigned in_use_ = 0;
    std::map<std::string, unsigned> of_;
};

}  // namespace sternpost::queue
