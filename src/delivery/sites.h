// What all lanes share about the other side: how many connections one site has, and which addresses did not
// answer lately. Five thousand domains can live on one provider's hosts. Pure.
#pragma once

#include <chrono>
#include <map>
#include <string>
#include <vector>

#include "dns/record.h"
#include "util/clock.h"

namespace sternpost::delivery {

class Sites {
  public:
    /// `dead_for`: how long an address that took no connection is left alone.
    explicit Sites(std::chrono::seconds dead_for) : dead_for_(dead_for) {}

    /// The name of a set of hosts, whatever their order.
    static std::string name_of(std::vector<std::string> hosts);

    /// One connection more; false when the site has `most` already. After true comes leave().
    bool enter(const std::string& site, unsigned most);
    void leave(const std::string& site);

    void took_no_connection(const dns::Address& address, SteadyTime now);
    bool is_dead(const dns::Address& address, SteadyTime now);
    /// A retry by hand passes every backoff.
    void forget_dead() { dead_until_.clear(); }

  private:
    std::chrono::seconds dead_for_;
    std::map<std::string, unsigned> open_;
    std::map<dns::Address, SteadyTime> dead_until_;
};

}  // namespace sternpost::delivery
