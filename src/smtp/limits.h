// Lengths of the SMTP client side, each with its section; times are options (client.h).
#pragma once

#include <cstddef>

namespace sternpost::smtp {

inline constexpr std::size_t max_reply_octets =
    65536;  // one line that we read; ours: the RFC sets 512 (§4.5.3.1.5), servers do not
inline constexpr std::size_t max_empty_lines =
    5;  // ours: before a reply; giving up there would deliver twice
inline constexpr std::size_t max_reply_lines = 100;  // ours: the RFC sets none
inline constexpr std::size_t max_reply_text = 512;   // what is kept of a line: RFC 5321 §4.5.3.1.5
inline constexpr std::size_t pipeline_window =
    4096;  // ours: octets of commands under way, so that two full TCP windows cannot
           // wait for each other (RFC 2920 §3.1)

}  // namespace sternpost::smtp
