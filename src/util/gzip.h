// One gzip member (RFC 1952). Sole zlib.h user for writing.
#pragma once

#include <string>
#include <string_view>

namespace sternpost::util {

/// The same octets make the same member: no time, no name in it. Costly work for large ones.
std::string gzip(std::string_view octets);

}  // namespace sternpost::util
