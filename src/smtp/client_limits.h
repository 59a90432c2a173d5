// How many connections there may be, in all and per client. Pure; listener's first thread owns it.
#pragma once

#include <cstddef>
#include <map>

#include "dns/record.h"

namespace sternpost::smtp {

/// A client is what dns::Network::of_client says.
class ClientLimits {
  public:
    ClientLimits(std::size_t connections, std::size_t connections_per_client)
        : connections_(connections), per_client_(connections_per_client) {}

    enum class Verdict { go, too_many, too_many_from_client };
    /// A connection begins; after `go` it must be ended by disconnect().
    Verdict connect(const dns::Address& address);
    void disconnect(const dns::Address& address);
    std::size_t connections() const { return total_; }

  private:
    std::size_t connections_;
    std::size_t per_client_;
    std::size_t total_ = 0;
    std::map<dns::Network, std::size_t> clients_;  // connections of each
};

}  // namespace sternpost::smtp
