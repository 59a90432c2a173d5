// 8-bit mail for a 7-bit host (RFC 6152 §3, RFC 2045 §6), and what a header says of TLS (RFC 8689 §3). Input:
// a message.
#include "mail/seven_bit.h"

#include <algorithm>
#include <cstdlib>

#include "mail/header_filter.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace sternpost::mail;
    const std::string message(reinterpret_cast<const char*>(data), size);
    std::string kept;
    HeaderFilter filter{HeaderRules()};
    filter.feed(message.substr(0, size / 2), kept);
    filter.feed(message.substr(size / 2), kept);
    filter.finish(kept);
    const auto converted = to_seven_bit(message);
    if (!converted) return 0;
    if (std::any_of(converted->begin(), converted->end(),
                    [](char c) { return static_cast<unsigned char>(c) > 127; }))
        std::abort();
    const auto again = to_seven_bit(*converted);
    if (!again || *again != *converted) std::abort();  // nothing is left to convert
    return 0;
}
