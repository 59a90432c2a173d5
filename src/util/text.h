// Small text tools: ASCII case, hex, base64, xtext, what may be shown.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace sternpost {

char lower(char c);  // ASCII only; locales have no say in protocols
std::string lowered(std::string_view text);
bool iequals(std::string_view a, std::string_view b);
bool istarts_with(std::string_view text, std::string_view prefix);
std::string_view trimmed(std::string_view text);  // without leading and trailing SP and HTAB
std::vector<std::string_view> split(std::string_view text, char separator);

/// Foreign text for logs and terminals. Octets that are not UTF-8, and characters that steer a terminal or
/// change how the text around them looks (controls, bidirectional controls, characters without width), become
/// `\xNN`; cut at `most` octets with `…`.
std::string printable(std::string_view text, std::size_t most = 256);
/// The same for a text of many lines, uncut: line feeds stay.
std::string printable_lines(std::string_view text);
/// JSON text that a terminal can show: the characters that printable() escapes become `\uNNNN`, which is the
/// same value to whoever parses it.
std::string printable_json(std::string json);
bool valid_utf8(std::string_view text);
bool is_ascii(std::string_view text);

std::string hex(std::span<const std::uint8_t> octets);
std::optional<std::vector<std::uint8_t>> unhex(std::string_view text);
std::string base64(std::string_view octets);  // one line, padded (RFC 4648 §4)
std::optional<std::string> unbase64(std::string_view text);

std::string xtext(std::string_view text);                   // RFC 3461 §4
std::optional<std::string> unxtext(std::string_view text);  // nullopt: not xtext

/// A whole decimal number without sign, or nullopt when anything else is there or it does not fit.
std::optional<std::uint64_t> decimal(std::string_view text);
/// `90s`, `5m`, `1h30m`, `5d`, `250ms`, or seconds without a unit; nullopt for anything else.
std::optional<std::chrono::milliseconds> parse_duration(std::string_view text);

/// The entry of `known` that `word` was most likely meant to be (edit distance at most a third of its
/// length), or empty.
std::string_view nearest(std::string_view word, std::span<const std::string_view> known);

}  // namespace sternpost
