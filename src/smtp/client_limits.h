// How many connections there may be, in all and per client. Pure; listener's first thread owns it.
#pragma once

#include <cstddef>
#include <map>
#include <vector>

#include "dns/record.h"

namespace sternpost::smtp {

/// Strangers have a small pool of their own, so that they take nothing from those who may send. Of the large
/// one, programs of this machine and other permitted clients each have places that the other cannot take. A
/// client is an IPv4 address or an IPv6 /64; the /56 and the /48 around that may hold twice and four times as
/// many, since whoever has one of those has all the /64 in it.
class ClientLimits {
  public:
    struct Limits {
        std::size_t connections = 500;      // of clients that may send
        std::size_t for_this_machine = 50;  // of those: kept free for loopback
        std::size_t for_others = 50;        // of those: kept free for all but loopback
        std::size_t per_client = 50;        // of those that may send
        std::size_t strangers = 50;         // of all strangers together; 0: refused at once
        std::size_t per_stranger = 5;
    };
    explicit ClientLimits(Limits limits) : limits_(limits) {}

    enum class Group { this_machine, permitted, stranger };
    enum class Verdict { go, too_many, too_many_from_client, no_strangers };
    /// A connection begins; after `go` it must be ended by disconnect() with the same arguments.
    Verdict connect(const dns::Address& address, Group group);
    void disconnect(const dns::Address& address, Group group);
    std::size_t connections() const { return permitted_ + strangers_; }

  private:
    bool has_place(Group group) const;

    Limits limits_;
    std::size_t permitted_ = 0;  // those of this machine included
    std::size_t this_machine_ = 0;
    std::size_t strangers_ = 0;
    std::map<dns::Network, std::size_t> clients_;  // connections of each network that counts
};

}  // namespace sternpost::smtp
