// gzip (RFC 1952), both ways. Sole zlib.h user.
#pragma once

#include <string>
#include <string_view>

#include "util/result.h"

namespace sternpost::util {

enum class GzipErrc {
    not_gzip,  // another format, or damaged
    too_big,   // it unpacks to more than it may
    cut_off,   // the end is missing
};

/// One member. The same octets make the same member: no time, no name in it. Costly work for large ones.
std::string gzip(std::string_view octets);

/// All members, one after the other; octets that are no member behind them are passed over. At most `most`
/// octets come out.
Expected<std::string, GzipErrc> gunzip(std::string_view octets, std::size_t most);
bool is_gzip(std::string_view octets);

}  // namespace sternpost::util
