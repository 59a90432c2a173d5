#include "util/crc32c.h"

#include <array>
#include <bit>
#include <cstddef>
#include <cstring>

namespace sternpost {
namespace {

constexpr std::uint32_t polynomial = 0x82F63B78;  // bit-reversed 0x1EDC6F41

using Tables = std::array<std::array<std::uint32_t, 256>, 8>;

// tables[k][octet]: what `octet` contributes when k more octets follow it.
constexpr Tables make_tables() {
    Tables tables{};
    for (std::uint32_t octet = 0; octet < 256; ++octet) {
        std::uint32_t crc = octet;
        for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1U) ^ ((crc & 1U) != 0 ? polynomial : 0U);
        tables[0][octet] = crc;
    }
    for (std::size_t k = 1; k < tables.size(); ++k)
        for (std::size_t octet = 0; octet < 256; ++octet)
            tables[k][octet] = (tables[k - 1][octet] >> 8U) ^ tables[0][tables[k - 1][octet] & 0xFFU];
    return tables;
}

constexpr Tables tables = make_tables();

std::uint32_t step(std::uint32_t crc, char octet) {
    return (crc >> 8U) ^ tables[0][(crc ^ static_cast<unsigned char>(octet)) & 0xFFU];
}

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) std::uint32_t by_instruction(std::string_view octets,
                                                               std::uint32_t before) {
    std::uint64_t crc = ~before;
    while (octets.size() >= 8) {
        std::uint64_t word = 0;
        std::memcpy(&word, octets.data(), sizeof word);
        crc = __builtin_ia32_crc32di(crc, word);
        octets.remove_prefix(8);
    }
    auto rest = static_cast<std::uint32_t>(crc);
    for (const char c : octets) rest = __builtin_ia32_crc32qi(rest, static_cast<unsigned char>(c));
    return ~rest;
}
#endif

}  // namespace

std::uint32_t crc32c_by_table(std::string_view octets, std::uint32_t before) {
    std::uint32_t crc = ~before;
    if constexpr (std::endian::native == std::endian::little) {
        while (octets.size() >= 8) {
            std::uint64_t word = 0;
            std::memcpy(&word, octets.data(), sizeof word);
            word ^= crc;
            crc = 0;
            for (std::size_t i = 0; i < 8; ++i) crc ^= tables[7 - i][(word >> (8 * i)) & 0xFFU];
            octets.remove_prefix(8);
        }
    }
    for (const char c : octets) crc = step(crc, c);
    return ~crc;
}

std::uint32_t crc32c(std::string_view octets, std::uint32_t before) {
#if defined(__x86_64__)
    static const bool has_instruction = __builtin_cpu_supports("sse4.2") != 0;
    if (has_instruction) return by_instruction(octets, before);
#endif
    return crc32c_by_table(octets, before);
}

}  // namespace sternpost
