// How much one client may ask for: connections in all and per client, messages a minute. Pure; listener's
// first thread owns it.
#pragma once

#include <cstddef>
#include <map>

#include "dns/record.h"
#include "util/clock.h"

namespace sternpost::smtp {

/// A client is an IPv4 address or an IPv6 /64: whoever has one address of that has them all.
class ClientLimits {
  public:
    /// `messages_per_minute` 0: no limit.
    ClientLimits(std::size_t connections, std::size_t connections_per_client, unsigned messages_per_minute)
        : connections_(connections), per_client_(connections_per_client), rate_(messages_per_minute) {}

    enum class Verdict { go, too_many, too_many_from_client };
    /// A connection begins; after `go` it must be ended by disconnect().
    Verdict connect(const dns::Address& address, SteadyTime now);
    void disconnect(const dns::Address& address);
    /// One more message from this client: whether it is within the rate. A minute's worth may come at once.
    bool message(const dns::Address& address, SteadyTime now);

    std::size_t connections() const { return total_; }
    std::size_t known_clients() const { return clients_.size(); }

  private:
    struct ClientState {
        std::size_t connections = 0;
        double messages_left = 0;
        SteadyTime counted;
    };
    ClientState& client(const dns::Address& address, SteadyTime now);
    void forget_idle(SteadyTime now);

    std::size_t connections_;
    std::size_t per_client_;
    double rate_;
    std::size_t total_ = 0;
    std::map<dns::Address, ClientState> clients_;
};

}  // namespace sternpost::smtp
