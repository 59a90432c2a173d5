// CRC-32C (Castagnoli, RFC 3720 Appendix B.4): the checksum of what is kept and handed over.
#pragma once

#include <cstdint>
#include <string_view>

namespace sternpost {

/// The CRC of `octets` appended to what `before` is the CRC of: crc32c(b, crc32c(a)) == crc32c(a + b).
std::uint32_t crc32c(std::string_view octets, std::uint32_t before = 0);

/// The same by tables alone, as on machines without an instruction for it.
std::uint32_t crc32c_by_table(std::string_view octets, std::uint32_t before = 0);

}  // namespace sternpost
