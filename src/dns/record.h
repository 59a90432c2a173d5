// What DNS answers hold, as values. The wire is dns/ldns_resolver's business.
#pragma once

#include <array>
#include <chrono>
#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "dns/name.h"

namespace sternpost::dns {

/// An IPv4 or IPv6 address.
class Address {
  public:
    /// Dotted IPv4 or any IPv6 text form; bad_name otherwise.
    static Result<Address> parse(std::string_view text);
    static Address v4(std::array<std::uint8_t, 4> octets);
    static Address v6(std::array<std::uint8_t, 16> octets);

    bool is_v6() const { return v6_; }
    /// 4 or 16 octets in network order.
    std::vector<std::uint8_t> octets() const;
    std::string text() const;     // 192.0.2.1, 2001:db8::1 (RFC 5952)
    std::string literal() const;  // [192.0.2.1], [IPv6:2001:db8::1] (RFC 5321 §4.1.3)

    bool is_loopback() const;
    /// Not a place on the Internet where a stranger's mail host may stand: a row of IANA's special-purpose
    /// address registries, multicast, reserved or unallocated space. An address that carries IPv4 addresses
    /// is judged by these: see embedded_ipv4().
    bool is_special() const;
    /// The IPv4 addresses that packets to this IPv6 address may end at: of an IPv4-mapped, IPv4-compatible,
    /// IPv4-translated, NAT64, 6to4 or ISATAP address the one inside; of a Teredo address server and client.
    std::vector<Address> embedded_ipv4() const;
    /// Whether the first `bits` bits are those of `network`.
    bool in(const Address& network, unsigned bits) const;
    auto operator<=>(const Address&) const = default;

  private:
    bool v6_ = false;
    std::array<std::uint8_t, 16> octets_{};
};

/// A CIDR block: 192.0.2.0/24, 2001:db8::/32, or one address.
struct Network {
    Address address;
    unsigned bits = 0;

    static Result<Network> parse(std::string_view text);
    /// What belongs to whoever connects from there: an IPv4 address, or an IPv6 /64, for whoever has one
    /// address of that has them all.
    static Network of_client(const Address& address);
    /// The block of so many bits that holds `address`; at most 32 or 128.
    static Network around(const Address& address, unsigned bits);
    bool contains(const Address& a) const { return a.in(address, bits); }
    std::string text() const;
    auto operator<=>(const Network&) const = default;
};

struct Mx {
    std::uint16_t preference = 0;
    std::string
        exchange;  // as published, lower case, no trailing dot; empty for the root (null MX, RFC 7505)
    auto operator<=>(const Mx&) const = default;
};

struct Tlsa {  // RFC 6698 §2.1
    std::uint8_t usage = 0;
    std::uint8_t selector = 0;
    std::uint8_t matching_type = 0;
    std::vector<std::uint8_t> data;
    auto operator<=>(const Tlsa&) const = default;
};

struct Cname {
    std::string target;  // lower case, no trailing dot
    auto operator<=>(const Cname&) const = default;
};

enum class Existence { found, no_data, no_name };  // records; NOERROR without records; NXDOMAIN

/// What the DNS says about one name and type. Also "nothing there" is an answer; only errors are not.
template <class Record>
struct Answer {
    Existence existence = Existence::no_data;
    std::vector<Record> records;  // at most max_records (dns/message.h)
    std::size_t left_out = 0;     // beyond those, of records that could be used
    bool authentic = false;       // AD was set by a resolver (whether that one is trusted is the caller's
                                  // question, DESIGN: policy)
    std::chrono::seconds ttl{0};
    std::string canonical;  // the name at the end of the CNAME chain; the name asked for where there is none
};

}  // namespace sternpost::dns
