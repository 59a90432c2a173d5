// An SMTP client that says exactly what a check tells it to, for what the daemon's listener must do.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace sternpost::lab {

/// Plays `lines` against 127.0.0.1:`port`:
///   `C: TEXT`             sends TEXT and a line end, in one write (TEXT may hold more lines)
///   `S: 250`              the next reply begins so; `S: 250 has WORD`, `S: 250 lacks WORD`: one of its lines
///                         contains it, or none does
///   `TLS`                 shakes hands, whatever the certificate; `no TLS`: that must fail
///   `closed`              the daemon closes
/// Empty, or a sentence about the first line that did not go so. Takes up to 10 s a line.
std::string play_dialogue(const std::vector<std::string>& lines, std::uint16_t port);

/// Whether that is a line of a dialogue.
bool is_dialogue_line(std::string_view line);

}  // namespace sternpost::lab
