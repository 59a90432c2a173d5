// CRC-32C (Castagnoli): the check sum that shows a record is whole. Not a protection against anybody's
// intent.
#pragma once

#include <cstdint>
#include <string_view>

namespace sternpost {

/// The check sum of `octets`; `so_far` is the result for what came before, so that a stream is summed piece
/// by piece.
std::uint32_t crc32c(std::string_view octets, std::uint32_t so_far = 0);

}  // namespace sternpost
