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

struct SpecialBlock {
    Network network;
    const char* source;  // where the block is set aside
};

SpecialBlock block(const char* network, const char* source) {
    return {Network::parse(network).value(), source};
}

// IANA's IPv4 and IPv6 special-purpose address registries, and what lies outside of the space for single
// hosts. Rows that the registries call globally reachable are here too where no mail host can be: anycast
// addresses of one service, and identifiers that are no locators.
const std::vector<SpecialBlock>& special_blocks() {
    static const std::vector<SpecialBlock> blocks{
        block("0.0.0.0/8", "RFC 791: this network"),
        block("10.0.0.0/8", "RFC 1918: private use"),
        block("100.64.0.0/10", "RFC 6598: shared address space"),
        block("127.0.0.0/8", "RFC 1122: loopback"),
        block("169.254.0.0/16", "RFC 3927: link-local"),
        block("172.16.0.0/12", "RFC 1918: private use"),
        block("192.0.0.0/24", "RFC 6890: IETF protocol assignments, with all inside"),
        block("192.0.2.0/24", "RFC 5737: documentation"),
        block("192.31.196.0/24", "RFC 7535: AS112"),
        block("192.52.193.0/24", "RFC 7450: AMT"),
        block("192.88.99.0/24", "RFC 7526: 6to4 relay anycast"),
        block("192.168.0.0/16", "RFC 1918: private use"),
        block("192.175.48.0/24", "RFC 7534: AS112"),
        block("198.18.0.0/15", "RFC 2544: benchmarking"),
        block("198.51.100.0/24", "RFC 5737: documentation"),
        block("203.0.113.0/24", "RFC 5737: documentation"),
        block("224.0.0.0/4", "RFC 5771: multicast"),
        block("240.0.0.0/4", "RFC 1112, RFC 8190: reserved, limited broadcast"),
        block("::/3", "RFC 4291: unspecified, loopback, and unallocated but for what follows"),
        block("64:ff9b:1::/48", "RFC 8215: local-use translation"),
        block("100::/64", "RFC 6666: discard-only"),
        block("100:0:0:1::/64", "RFC 9780: dummy prefix"),
        block("2001::/23", "RFC 2928: IETF protocol assignments, with all inside"),
        block("2001:1::/32", "RFC 7723, RFC 8155: anycast of Port Control Protocol and TURN"),
        block("2001:2::/48", "RFC 5180: benchmarking"),
        block("2001:3::/32", "RFC 7450: AMT"),
        block("2001:4:112::/48", "RFC 7535: AS112"),
        block("2001:10::/28", "RFC 4843: ORCHID"),
        block("2001:20::/28", "RFC 7343: ORCHIDv2"),
        block("2001:30::/28", "RFC 9374: drone remote identification"),
        block("2001:db8::/32", "RFC 3849: documentation"),
        block("2620:4f:8000::/48", "RFC 7534: AS112"),
        block("3fff::/20", "RFC 9637: documentation"),
        block("4000::/2", "RFC 4291: unallocated but for what follows"),
        block("5f00::/16", "RFC 9602: segment routing"),
        block("8000::/1", "RFC 4291: unallocated but for what follows"),
        block("fc00::/7", "RFC 4193: unique local"),
        block("fe80::/10", "RFC 4291: link-local"),
        block("fec0::/10", "RFC 3879: site-local"),
        block("ff00::/8", "RFC 4291: multicast"),
    };
    return blocks;
}

// Where the IPv4 address stands in an IPv6 address of a form that carries one.
struct Carrier {
    Network network;
    std::vector<std::size_t> at;  // octets
    bool obfuscated = false;      // the last of them: every bit flipped
    const char* source = nullptr;
};

const std::vector<Carrier>& carriers() {
    const auto net = [](const char* text) { return Network::parse(text).value(); };
    static const std::vector<Carrier> forms{
        {net("::ffff:0:0/96"), {12}, false, "RFC 4291: IPv4-mapped"},
        {net("::/96"), {12}, false, "RFC 4291: IPv4-compatible"},
        {net("::ffff:0:0:0/96"), {12}, false, "RFC 2765: IPv4-translated"},
        {net("64:ff9b::/96"), {12}, false, "RFC 6052: NAT64"},
        {net("2002::/16"), {2}, false, "RFC 3056: 6to4"},
        {net("2001::/32"), {4, 12}, true, "RFC 4380: Teredo"},
    };
    return forms;
}

const Carrier* carrier_of(const Address& address) {
    const auto& forms = carriers();
    const auto at = std::find_if(forms.begin(), forms.end(),
                                 [&](const Carrier& form) { return form.network.contains(address); });
    return at == forms.end() ? nullptr : &*at;
}

}  // namespace

bool Address::is_loopback() const {
    return in_any(*this, {"127.0.0.0/8", "::1", "::ffff:127.0.0.0/104"});
}

std::vector<Address> Address::embedded_ipv4() const {
    std::vector<Address> out;
    if (!v6_) return out;
    const auto take = [&](std::size_t at, std::uint8_t flip) {
        const auto octet = [&](std::size_t i) { return static_cast<std::uint8_t>(octets_[at + i] ^ flip); };
        out.push_back(v4({octet(0), octet(1), octet(2), octet(3)}));
    };
    if (const Carrier* form = carrier_of(*this)) {
        for (const std::size_t at : form->at) take(at, form->obfuscated && at == form->at.back() ? 0xFF : 0);
        return out;
    }
    // ISATAP (RFC 5214): below any prefix, the interface identifier [02]00:5efe:a.b.c.d.
    if ((octets_[8] & 0xFDU) == 0 && octets_[9] == 0 && octets_[10] == 0x5E && octets_[11] == 0xFE)
        take(12, 0);
    return out;
}

bool Address::is_special() const {
    if (v6_ && in_any(*this, {"::/127"})) return true;
    const auto inside = embedded_ipv4();
    if (std::any_of(inside.begin(), inside.end(), [](const Address& a) { return a.is_special(); }))
        return true;
    if (carrier_of(*this) != nullptr) return false;
    const auto& blocks = special_blocks();
    return std::any_of(blocks.begin(), blocks.end(),
                       [this](const SpecialBlock& b) { return b.network.contains(*this); });
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
