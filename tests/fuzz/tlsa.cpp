// TLSA records (RFC 6698 §2.1, RFC 7671). Input: records, each an octet of length and so many octets of
// rdata.
#include <algorithm>
#include <cstdlib>

#include "tls/dane.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace sternpost;
    std::vector<dns::Tlsa> records;
    while (size > 0 && records.size() < 40) {
        std::size_t length = *data == 255 ? size - 1 : *data;
        ++data;
        --size;
        length = std::min(length, size);
        if (length >= 3) records.push_back({data[0], data[1], data[2], {data + 3, data + length}});
        data += length;
        size -= length;
    }
    const auto chosen = tls::usable_of(records);
    for (const auto& record : chosen) {
        if (!tls::usable(record) || record.usage < 2 || record.usage > 3) std::abort();
        for (const auto& other : chosen)  // one digest at most for each usage and selector
            if (other.usage == record.usage && other.selector == record.selector &&
                other.matching_type != 0 && record.matching_type != 0 &&
                other.matching_type != record.matching_type)
                std::abort();
    }
    const bool any =
        std::any_of(records.begin(), records.end(), [](const auto& r) { return tls::usable(r); });
    if (any == chosen.empty()) std::abort();
    (void)tls::text_of(records);
    return 0;
}
