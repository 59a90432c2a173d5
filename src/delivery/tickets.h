// TLS sessions that may be taken up again, by the host and the way that they came from. Holds them; whether
// one proves enough is judged by who takes it.
#pragma once

#include <deque>
#include <optional>
#include <string>

#include "tls/resumption.h"

namespace sternpost::delivery {

/// Lives on the control thread. Bounded: the oldest go first.
class Tickets {
  public:
    void put(const std::string& key, tls::Ticket ticket, WallTime now);
    /// The newest of `key`, which is gone from here then.
    std::optional<tls::Ticket> take(const std::string& key, WallTime now);
    void clear() { order_.clear(); }
    std::size_t size() const { return order_.size(); }

  private:
    struct Kept {
        std::string key;
        tls::Ticket ticket;
        WallTime until;
    };
    std::deque<Kept> order_;  // oldest first
};

}  // namespace sternpost::delivery
