#include "smtp/client_limits.h"

#include <algorithm>
#include <cassert>

namespace sternpost::smtp {
namespace {

struct Share {
    dns::Network network;
    std::size_t factor;  // of the limit per client
};

std::vector<Share> shares_of(const dns::Address& address) {
    if (!address.is_v6()) return {{dns::Network::around(address, 32), 1}};
    return {{dns::Network::around(address, 64), 1},
            {dns::Network::around(address, 56), 2},
            {dns::Network::around(address, 48), 4}};
}

}  // namespace

// What the other group has not taken of its reserve is kept free for it.
bool ClientLimits::has_place(Group group) const {
    const bool here = group == Group::this_machine;
    const std::size_t reserve = here ? std::min(limits_.for_others, limits_.connections / 10)
                                     : std::min(limits_.for_this_machine, limits_.connections / 2);
    const std::size_t of_other = here ? permitted_ - this_machine_ : this_machine_;
    const std::size_t kept = of_other < reserve ? reserve - of_other : 0;
    return permitted_ + kept < limits_.connections;
}

ClientLimits::Verdict ClientLimits::connect(const dns::Address& address, Group group) {
    const bool stranger = group == Group::stranger;
    if (stranger && limits_.strangers == 0) return Verdict::no_strangers;
    if (stranger ? strangers_ >= limits_.strangers : !has_place(group)) return Verdict::too_many;
    const auto shares = shares_of(address);
    const std::size_t each = stranger ? limits_.per_stranger : limits_.per_client;
    for (const auto& [network, factor] : shares) {
        const auto at = clients_.find(network);
        if (at != clients_.end() && at->second >= each * factor) return Verdict::too_many_from_client;
    }
    for (const auto& share : shares) ++clients_[share.network];
    ++(stranger ? strangers_ : permitted_);
    if (group == Group::this_machine) ++this_machine_;
    return Verdict::go;
}

void ClientLimits::disconnect(const dns::Address& address, Group group) {
    for (const auto& share : shares_of(address)) {
        const auto at = clients_.find(share.network);
        assert(at != clients_.end() && at->second > 0);
        if (--at->second == 0) clients_.erase(at);
    }
    --(group == Group::stranger ? strangers_ : permitted_);
    if (group == Group::this_machine) --this_machine_;
}

}  // namespace sternpost::smtp
