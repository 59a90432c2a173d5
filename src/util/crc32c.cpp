#include "util/crc32c.h"

#include <array>

namespace sternpost {
namespace {

constexpr std::uint32_t polynomial = 0x82F63B78;  // 0x1EDC6F41, bits reversed (RFC 3720 §12.1)

using Table = std::array<std::array<std::uint32_t, 256>, 8>;

// tables[k][o]: what octet o does to the sum when k octets follow it: eight octets are summed in one step.
constexpr Table make_tables() {
    Table tables{};
    for (std::uint32_t octet = 0; octet < 256; ++octet) {
        std::uint32_t sum = octet;
        for (int bit = 0; bit < 8; ++bit) sum = (sum & 1U) != 0 ? sum >> 1U ^ polynomial : sum >> 1U;
        tables[0][octet] = sum;
    }
    for (std::size_t k = 1; k < 8; ++k)
        for (std::size_t octet = 0; octet < 256; ++octet)
            tables[k][octet] = tables[k - 1][octet] >> 8U ^ tables[0][tables[k - 1][octet] & 255U];
    return tables;
}

constexpr Table tables = make_tables();

}  // namespace

std::uint32_t crc32c(std::string_view octets, std::uint32_t so_far) {
    std::uint32_t sum = ~so_far;
    const auto at = [&octets](std::size_t i) { return std::uint32_t{static_cast<unsigned char>(octets[i])}; };
    while (octets.size() >= 8) {
        sum ^= at(0) | at(1) << 8U | at(2) << 16U | at(3) << 24U;
        sum = tables[7][sum & 255U] ^ tables[6][sum >> 8U & 255U] ^ tables[5][sum >> 16U & 255U] ^
              tables[4][sum >> 24U] ^ tables[3][at(4)] ^ tables[2][at(5)] ^ tables[1][at(6)] ^
              tables[0][at(7)];
        octets.remove_prefix(8);
    }
    for (const char c : octets) sum = sum >> 8U ^ tables[0][(sum ^ static_cast<unsigned char>(c)) & 255U];
    return ~sum;
}

}  // namespace sternpost
