// Where a connection may go: the one decision on every address before it is dialled, for mail, policies and
// reports alike. Pure; which addresses are the machine's own comes as a function (dns/local_route).
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "dns/record.h"
#include "dns/resolv_conf.h"

namespace sternpost::dns {

/// Who chose the address.
enum class Chooser {
    stranger,       // DNS, a literal in an envelope, an earlier reply
    administrator,  // the configuration names the address itself
};

enum class Passage {
    open,
    special,    // no place on the Internet (Address::is_special)
    ourselves,  // this machine, or this host as the world sees it: mail would loop
};

/// Immutable, so that threads share copies of it without a lock.
class Gate {
  public:
    struct Options {
        std::vector<Address> own_addresses;  // under which the world sees this host
        std::vector<Server> listening;  // own listening sockets; unspecified: every address of its family
        bool allow_special = false;     // loopback, private and interface addresses too
        /// Whether packets to the address stay on this machine, asked each time. Empty: no address is known.
        std::function<bool(const Address&)> is_local;
    };

    Gate() = default;
    explicit Gate(Options options) : options_(std::move(options)) {}

    /// An own listening socket is never open, whoever chose it and whatever is allowed. Loopback named by a
    /// stranger is `special`: it says nothing of this host.
    Passage judge(const Address& address, std::uint16_t port, Chooser chooser = Chooser::stranger) const;
    /// Whether mail to a literal of this address is mail to this host.
    bool is_ours(const Address& address, std::uint16_t port) const;
    /// The same gate, but for what is allowed of special addresses.
    Gate allowing_special(bool allow) const;

  private:
    bool listens_at(const Address& address, std::uint16_t port) const;
    bool is_own(const Address& address) const;
    bool is_local(const Address& address) const;

    Options options_;
};

/// For the end of a sentence on an address: why it is not dialled.
std::string reason_of(Passage passage);

}  // namespace sternpost::dns
