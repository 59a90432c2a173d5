#include "dns/gate.h"

#include <algorithm>

namespace sternpost::dns {
namespace {

bool is_unspecified(const Address& address) {
    const auto octets = address.octets();
    return std::all_of(octets.begin(), octets.end(), [](std::uint8_t octet) { return octet == 0; });
}

// The address and all that packets to it may end at. Linux takes the unspecified address for loopback.
std::vector<Address> ends_of(const Address& address) {
    std::vector<Address> out{address};
    for (const auto& inside : address.embedded_ipv4()) out.push_back(inside);
    const std::size_t given = out.size();
    for (std::size_t i = 0; i < given; ++i)
        if (is_unspecified(out[i])) {
            const bool v6 = out[i].is_v6();
            out.push_back(Address::parse(v6 ? "::1" : "127.0.0.1").value());
        }
    return out;
}

}  // namespace

bool Gate::is_own(const Address& address) const {
    const auto& own = options_.own_addresses;
    return std::find(own.begin(), own.end(), address) != own.end();
}

bool Gate::is_local(const Address& address) const {
    return address.is_loopback() || (options_.is_local && options_.is_local(address));
}

bool Gate::listens_at(const Address& address, std::uint16_t port) const {
    return std::any_of(options_.listening.begin(), options_.listening.end(), [&](const Server& socket) {
        if (socket.port != port || socket.address.is_v6() != address.is_v6()) return false;
        return socket.address == address || (is_unspecified(socket.address) && is_local(address));
    });
}

Passage Gate::judge(const Address& address, std::uint16_t port, Chooser chooser) const {
    const bool by_name = chooser == Chooser::administrator;
    const bool inside = by_name || options_.allow_special;
    const auto ends = ends_of(address);
    const auto any = [&ends](auto&& test) { return std::any_of(ends.begin(), ends.end(), test); };
    if (!inside && any([](const Address& a) { return a.is_loopback(); })) return Passage::special;
    if (any([&](const Address& a) { return listens_at(a, port); })) return Passage::ourselves;
    if (!by_name && any([&](const Address& a) { return is_own(a); })) return Passage::ourselves;
    if (inside) return Passage::open;
    if (any([&](const Address& a) { return is_local(a); })) return Passage::ourselves;
    return address.is_special() ? Passage::special : Passage::open;
}

bool Gate::is_ours(const Address& address, std::uint16_t port) const {
    const auto ends = ends_of(address);
    return std::any_of(ends.begin(), ends.end(), [&](const Address& a) {
        return is_own(a) || listens_at(a, port) || (!options_.allow_special && is_local(a));
    });
}

Gate Gate::allowing_special(bool allow) const {
    Gate out = *this;
    out.options_.allow_special = allow;
    return out;
}

std::string reason_of(Passage passage) {
    switch (passage) {
        case Passage::open:
            break;
        case Passage::special:
            return "the address is not one on the Internet (private, loopback …)";
        case Passage::ourselves:
            return "the address is this host's own: mail would loop";
    }
    return "";
}

}  // namespace sternpost::dns
