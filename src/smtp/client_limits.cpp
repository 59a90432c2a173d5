#include "smtp/client_limits.h"

#include <cassert>

namespace sternpost::smtp {
ClientLimits::Verdict ClientLimits::connect(const dns::Address& address) {
    if (total_ >= connections_) return Verdict::too_many;
    std::size_t& open = clients_[dns::Network::of_client(address)];
    if (open >= per_client_) return Verdict::too_many_from_client;
    ++open;
    ++total_;
    return Verdict::go;
}

void ClientLimits::disconnect(const dns::Address& address) {
    const auto at = clients_.find(dns::Network::of_client(address));
    assert(at != clients_.end() && at->second > 0);
    if (--at->second == 0) clients_.erase(at);
    --total_;
}

}  // namespace sternpost::smtp
