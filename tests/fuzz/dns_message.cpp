// DNS responses (RFC 1035 §4). Input: an octet that chooses the type, then the message without its id.
#include <array>
#include <cstdlib>

#include "dns/message.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace sternpost::dns;
    if (size < 1) return 0;
    constexpr std::array types{type_a, type_aaaa, type_mx, type_txt, type_tlsa, type_cname};
    const int type = types[*data % types.size()];
    const auto name = Domain::parse("x.test").value();
    const auto query = make_query(name, type, 7, true).value();
    Octets wire{query[0], query[1]};
    wire.insert(wire.end(), data + 1, data + size);
    const auto header = read_header(wire, query);
    if (header && header->rcode.empty()) std::abort();
    const auto check = [](const auto& reading) {
        if (!reading) return;
        if (reading->records.size() > 65535) std::abort();
        if (!reading->records.empty() && reading->ttl > INT32_MAX) std::abort();
        if (reading->negative_ttl > INT32_MAX) std::abort();
    };
    check(read_response<Address>(wire, name.text(), type));
    check(read_response<Mx>(wire, name.text(), type));
    check(read_response<std::string>(wire, name.text(), type));
    check(read_response<Tlsa>(wire, name.text(), type));
    check(read_response<Cname>(wire, name.text(), type));
    return 0;
}
