#include "smtp/client_limits.h"

#include <algorithm>
#include <array>
#include <cassert>

namespace sternpost::smtp {
namespace {

dns::Address key(const dns::Address& address) {
    if (!address.is_v6()) return address;
    const auto octets = address.octets();
    std::array<std::uint8_t, 16> prefix{};
    std::copy_n(octets.begin(), 8, prefix.begin());
    return dns::Address::v6(prefix);
}

}  // namespace

ClientLimits::Verdict ClientLimits::connect(const dns::Address& address) {
    if (total_ >= connections_) return Verdict::too_many;
    std::size_t& open = clients_[key(address)];
    if (open >= per_client_) return Verdict::too_many_from_client;
    ++open;
    ++total_;
    return Verdict::go;
}

void ClientLimits::disconnect(const dns::Address& address) {
    const auto at = clients_.find(key(address));
    assert(at != clients_.end() && at->second > 0);
    if (--at->second == 0) clients_.erase(at);
    --total_;
}

}  // namespace sternpost::smtp
