#include "dns/record.h"

#include <arpa/inet.h>

#include <algorithm>

#include "util/text.h"

namespace sternpost::dns {

Address Address::v4(std::array<std::uint8_t, 4> octets) {
    Address a;
    std::copy(octets.begin(), octets.end(), a.octets_.begin());
    return a;
}

Address Address::v6(std::array<std::uint8_t, 16> octets) {
    Address a;
    a.v6_ = true;
    a.octets_ = octets;
    return a;
}

Result<Address> Address::parse(std::string_view text) {
    const std::string s(text);
    std::array<std::uint8_t, 4> four{};
    std::array<std::uint8_t, 16> sixteen{};
    if (s.size() == text.size() && inet_pton(AF_INET, s.c_str(), four.data()) == 1) return v4(four);
    if (inet_pton(AF_INET6, s.c_str(), sixteen.data()) == 1) return v6(sixteen);
    return fail(Errc::bad_name, "not an IP address: " + printable(text));
}

std::vector<std::uint8_t> Address::octets() const {
    return {octets_.begin(), octets_.begin() + (v6_ ? 16 : 4)};
}

std::string Address::text() const {
    char out[INET6_ADDRSTRLEN];
    inet_ntop(v6_ ? AF_INET6 : AF_INET, octets_.data(), out, sizeof out);
    return out;
}

std::string Address::literal() const {
    return (v6_ ? "[IPv6:" : "[") + text() + "]";
}

bool Address::in(const Address& network, unsigned bits) const {
    if (v6_ != network.v6_) return false;
    for (unsigned i = 0; i < bits; ++i) {
        const auto mask = static_cast<std::uint8_t>(0x80U >> (i % 8));
        if (((octets_[i / 8] ^ network.octets_[i / 8]) & mask) != 0) return false;
    }
    return true;
}

namespace {

bool in_any(const Address& address, std::initializer_list<const char*> networks) {
    return std::any_of(networks.begin(), networks.end(),
                       [&](const char* text) { return Network::parse(text).value().contains(address); });
}

}  // namespace

bool Address::is_loopback() const {
    return in_any(*this, {"127.0.0.0/8", "::1", "::ffff:127.0.0.0/104"});
}

bool Address::is_special() const {
    if (v6_ && in_any(*this, {"::ffff:0:0/96"})) {
        return v4({octets_[12], octets_[13], octets_[14], octets_[15]}).is_special();
    }
    // IANA's special-purpose address registries (RFC 6890 and its updates)
    return in_any(*this,
                  {"0.0.0.0/8",       "10.0.0.0/8",     "100.64.0.0/10", "127.0.0.0/8",    "169.254.0.0/16",
                   "172.16.0.0/12",   "192.0.0.0/24",   "192.0.2.0/24",  "192.168.0.0/16", "198.18.0.0/15",
                   "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4",   "240.0.0.0/4",    "::/127",
                   "64:ff9b:1::/48",  "100::/64",       "2001:db8::/32", "fc00::/7",       "fe80::/10",
                   "fec0::/10",       "ff00::/8"});
}

Result<Network> Network::parse(std::string_view text) {
    const auto slash = text.find('/');
    auto address = Address::parse(text.substr(0, slash));
    if (!address) return fail(std::move(address).error());
    Network network{*address, address->is_v6() ? 128U : 32U};
    if (slash != std::string_view::npos) {
        const auto bits = decimal(text.substr(slash + 1));
        if (!bits || *bits > network.bits)
            return fail(Errc::bad_name, "not a network prefix length: " + printable(text));
        network.bits = static_cast<unsigned>(*bits);
    }
    return network;
}

Network Network::of_client(const Address& address) {
    return around(address, address.is_v6() ? 64 : 32);
}

Network Network::around(const Address& address, unsigned bits) {
    auto octets = address.octets();
    for (std::size_t i = 0; i < octets.size(); ++i) {
        const std::size_t kept = bits > i * 8 ? std::min<std::size_t>(bits - i * 8, 8) : 0;
        octets[i] = static_cast<std::uint8_t>(octets[i] & (0xFF00U >> kept));
    }
    if (address.is_v6()) {
        std::array<std::uint8_t, 16> v6{};
        std::copy(octets.begin(), octets.end(), v6.begin());
        return {Address::v6(v6), bits};
    }
    std::array<std::uint8_t, 4> v4{};
    std::copy(octets.begin(), octets.end(), v4.begin());
    return {Address::v4(v4), bits};
}

std::string Network::text() const {
    return address.text() + "/" + std::to_string(bits);
}

}  // namespace sternpost::dns
