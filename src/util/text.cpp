#include "util/text.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>

namespace sternpost {

char lower(char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

std::string lowered(std::string_view text) {
    std::string out(text);
    std::transform(out.begin(), out.end(), out.begin(), lower);
    return out;
}

bool iequals(std::string_view a, std::string_view b) {
    return a.size() == b.size() &&
           std::equal(a.begin(), a.end(), b.begin(), [](char x, char y) { return lower(x) == lower(y); });
}

bool istarts_with(std::string_view text, std::string_view prefix) {
    return text.size() >= prefix.size() && iequals(text.substr(0, prefix.size()), prefix);
}

std::string_view trimmed(std::string_view text) {
    const auto first = text.find_first_not_of(" \t");
    if (first == std::string_view::npos) return {};
    return text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

std::vector<std::string_view> split(std::string_view text, char separator) {
    std::vector<std::string_view> out;
    for (;;) {
        const auto at = text.find(separator);
        out.push_back(text.substr(0, at));
        if (at == std::string_view::npos) return out;
        text.remove_prefix(at + 1);
    }
}

namespace {

// The length of the well-formed UTF-8 sequence at the front of `text`, or 0 (RFC 3629 §4).
std::size_t utf8_length(std::string_view text) {
    const auto octet = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
    const unsigned char a = octet(0);
    if (a < 0x80) return 1;
    const std::size_t n = a >= 0xC2 && a <= 0xDF   ? 2U
                          : a >= 0xE0 && a <= 0xEF ? 3U
                          : a >= 0xF0 && a <= 0xF4 ? 4U
                                                   : 0U;
    if (n == 0 || text.size() < n) return 0;
    for (std::size_t i = 1; i < n; ++i)
        if ((octet(i) & 0xC0U) != 0x80) return 0;
    if ((a == 0xE0 && octet(1) < 0xA0) || (a == 0xED && octet(1) > 0x9F) || (a == 0xF0 && octet(1) < 0x90) ||
        (a == 0xF4 && octet(1) > 0x8F))
        return 0;
    return n;
}

}  // namespace

namespace {

// The code point of the well-formed UTF-8 sequence `text`.
std::uint32_t code_point(std::string_view text) {
    const auto octet = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
    if (text.size() == 1) return octet(0);
    std::uint32_t value = octet(0) & (0xFFU >> (text.size() + 1));
    for (std::size_t i = 1; i < text.size(); ++i) value = value << 6U | (octet(i) & 0x3FU);
    return value;
}

// Whether a code point can change how the text around it looks, or steer a terminal: C0 and C1 controls, line
// and paragraph separators, blanks other than ASCII's, bidirectional controls (Unicode Standard Annex #9),
// characters without width, variation selectors' neighbours in the interlinear block, and tags.
bool steers(std::uint32_t point) {
    struct Range {
        std::uint32_t first, last;
    };
    static constexpr Range ranges[] = {
        {0x00, 0x1F},       {0x7F, 0xA0},       {0xAD, 0xAD},     {0x034F, 0x034F}, {0x061C, 0x061C},
        {0x115F, 0x1160},   {0x1680, 0x1680},   {0x17B4, 0x17B5}, {0x180B, 0x180F}, {0x2000, 0x200F},
        {0x2028, 0x202F},   {0x205F, 0x206F},   {0x2800, 0x2800}, {0x3000, 0x3000}, {0x3164, 0x3164},
        {0xFE00, 0xFE0F},   {0xFEFF, 0xFEFF},   {0xFFA0, 0xFFA0}, {0xFFF0, 0xFFFB}, {0x1BCA0, 0x1BCA3},
        {0x1D173, 0x1D17A}, {0xE0000, 0xE0FFF},
    };
    return std::any_of(std::begin(ranges), std::end(ranges),
                       [point](Range range) { return point >= range.first && point <= range.last; });
}

}  // namespace

std::string printable(std::string_view text, std::size_t most) {
    const auto simple = [](char c) { return c >= 0x20 && c < 0x7f; };
    if (text.size() <= most && std::all_of(text.begin(), text.end(), simple)) return std::string(text);
    std::string out;
    while (!text.empty()) {
        if (out.size() >= most) return out + "…";
        const std::size_t n = utf8_length(text);
        if (n == 0 || steers(code_point(text.substr(0, n)))) {
            for (std::size_t i = 0; i < std::max<std::size_t>(n, 1); ++i)
                out += fmt::format("\\x{:02x}", static_cast<unsigned char>(text[i]));
        } else {
            out += text.substr(0, n);
        }
        text.remove_prefix(std::max<std::size_t>(n, 1));
    }
    return out;
}

std::string printable_lines(std::string_view text) {
    std::string out;
    for (;;) {
        const auto end = text.find('\n');
        out += printable(text.substr(0, end), std::string_view::npos);
        if (end == std::string_view::npos) return out;
        out += '\n';
        text.remove_prefix(end + 1);
    }
}

std::string printable_json(std::string json) {
    if (is_ascii(json) && json.find('\x7f') == std::string::npos) return json;
    std::string out;
    std::string_view text = json;
    while (!text.empty()) {
        const std::size_t n = std::max<std::size_t>(utf8_length(text), 1);
        const std::uint32_t point = code_point(text.substr(0, n));
        if (n == 1 && static_cast<unsigned char>(text[0]) >= 0x80)
            out += "\\ufffd";  // not UTF-8, so not JSON: RFC 8259 §8.1
        else if (point < 0x7f || !steers(point))
            out += text.substr(0, n);
        else if (point < 0x10000)
            out += fmt::format("\\u{:04x}", point);
        else
            out += fmt::format("\\u{:04x}\\u{:04x}", 0xD7C0 + (point >> 10U), 0xDC00 + (point & 0x3FFU));
        text.remove_prefix(n);
    }
    return out;
}

bool valid_utf8(std::string_view text) {
    while (!text.empty()) {
        const std::size_t n = utf8_length(text);
        if (n == 0) return false;
        text.remove_prefix(n);
    }
    return true;
}

bool is_ascii(std::string_view text) {
    std::uint64_t seen = 0;  // word by word: whole messages are asked about
    for (; text.size() >= sizeof seen; text.remove_prefix(sizeof seen)) {
        std::uint64_t word = 0;
        std::memcpy(&word, text.data(), sizeof word);
        seen |= word;
    }
    for (const char c : text) seen |= static_cast<unsigned char>(c);
    return (seen & 0x8080808080808080U) == 0;
}

std::string hex(std::span<const std::uint8_t> octets) {
    std::string out;
    out.reserve(octets.size() * 2);
    for (const auto o : octets) {
        out += "0123456789abcdef"[o >> 4U];
        out += "0123456789abcdef"[o & 15U];
    }
    return out;
}

namespace {

int hex_digit(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

}  // namespace

std::optional<std::vector<std::uint8_t>> unhex(std::string_view text) {
    if (text.size() % 2 != 0) return std::nullopt;
    std::vector<std::uint8_t> out;
    out.reserve(text.size() / 2);
    for (std::size_t i = 0; i < text.size(); i += 2) {
        const int high = hex_digit(text[i]);
        const int low = hex_digit(text[i + 1]);
        if (high < 0 || low < 0) return std::nullopt;
        out.push_back(static_cast<std::uint8_t>(high * 16 + low));
    }
    return out;
}

namespace {
constexpr std::string_view base64_alphabet =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
}

std::string base64(std::string_view octets) {
    std::string out;
    out.reserve((octets.size() + 2) / 3 * 4);
    for (std::size_t i = 0; i < octets.size(); i += 3) {
        std::uint32_t group = 0;
        for (std::size_t k = 0; k < 3; ++k)
            group = group << 8U | (i + k < octets.size() ? static_cast<unsigned char>(octets[i + k]) : 0U);
        for (std::size_t k = 0; k < 4; ++k)
            out += i + k <= octets.size() ? base64_alphabet[group >> (18 - 6 * k) & 63U] : '=';
    }
    return out;
}

std::optional<std::string> unbase64(std::string_view text) {
    if (text.size() % 4 != 0) return std::nullopt;
    std::string out;
    for (std::size_t i = 0; i < text.size(); i += 4) {
        std::uint32_t group = 0;
        std::size_t pads = 0;
        for (std::size_t k = 0; k < 4; ++k) {
            const char c = text[i + k];
            if (c == '=') {
                if (i + 4 != text.size() || k < 2) return std::nullopt;
                ++pads;
                group <<= 6U;
                continue;
            }
            const auto at = base64_alphabet.find(c);
            if (at == std::string_view::npos || pads > 0) return std::nullopt;
            group = group << 6U | static_cast<std::uint32_t>(at);
        }
        for (std::size_t k = 0; k < 3 - pads; ++k) out += static_cast<char>(group >> (16 - 8 * k) & 255U);
    }
    return out;
}

std::string xtext(std::string_view text) {
    std::string out;
    for (const char c : text) {
        const auto o = static_cast<unsigned char>(c);
        if (o < 33 || o > 126 || c == '+' || c == '=')
            out += fmt::format("+{:02X}", o);
        else
            out += c;
    }
    return out;
}

std::optional<std::string> unxtext(std::string_view text) {
    std::string out;
    for (std::size_t i = 0; i < text.size(); ++i) {
        const char c = text[i];
        if (c == '+') {
            if (i + 2 >= text.size()) return std::nullopt;
            const auto is_upper_hex = [](char d) { return (d >= '0' && d <= '9') || (d >= 'A' && d <= 'F'); };
            if (!is_upper_hex(text[i + 1]) || !is_upper_hex(text[i + 2])) return std::nullopt;
            out += static_cast<char>(hex_digit(text[i + 1]) * 16 + hex_digit(text[i + 2]));
            i += 2;
        } else if (c == '=' || c < 33 || c > 126) {
            return std::nullopt;
        } else {
            out += c;
        }
    }
    return out;
}

std::optional<std::uint64_t> decimal(std::string_view text) {
    if (text.empty()) return std::nullopt;
    std::uint64_t value = 0;
    for (const char c : text) {
        if (c < '0' || c > '9') return std::nullopt;
        const auto digit = static_cast<std::uint64_t>(c - '0');
        if (value > (UINT64_MAX - digit) / 10) return std::nullopt;
        value = value * 10 + digit;
    }
    return value;
}

std::optional<std::chrono::milliseconds> parse_duration(std::string_view text) {
    if (const auto seconds = decimal(text); seconds && *seconds < 100000000000)
        return std::chrono::seconds(*seconds);
    std::uint64_t total = 0;
    if (text.empty()) return std::nullopt;
    while (!text.empty()) {
        const auto digits = text.find_first_not_of("0123456789");
        if (digits == 0 || digits == std::string_view::npos) return std::nullopt;
        const auto number = decimal(text.substr(0, digits));
        text.remove_prefix(digits);
        const auto unit_end = std::min(text.find_first_of("0123456789"), text.size());
        const std::string_view unit = text.substr(0, unit_end);
        text.remove_prefix(unit_end);
        const std::uint64_t factor = unit == "ms"  ? 1
                                     : unit == "s" ? 1000
                                     : unit == "m" ? 60000
                                     : unit == "h" ? 3600000
                                     : unit == "d" ? 86400000
                                                   : 0;
        if (factor == 0 || !number || *number > 1000000000000 / factor) return std::nullopt;
        total += *number * factor;
    }
    return std::chrono::milliseconds(static_cast<std::int64_t>(total));
}

std::string_view nearest(std::string_view word, std::span<const std::string_view> known) {
    std::string_view best;
    std::size_t best_distance = word.size() / 3 + 1;
    for (const auto candidate : known) {
        std::vector<std::size_t> row(candidate.size() + 1);
        for (std::size_t j = 0; j < row.size(); ++j) row[j] = j;
        for (std::size_t i = 1; i <= word.size(); ++i) {
            std::size_t diagonal = row[0];
            row[0] = i;
            for (std::size_t j = 1; j <= candidate.size(); ++j) {
                const std::size_t above = row[j];
                row[j] = std::min(
                    {row[j] + 1, row[j - 1] + 1, diagonal + (word[i - 1] == candidate[j - 1] ? 0U : 1U)});
                diagonal = above;
            }
        }
        if (row.back() <= best_distance && (best.empty() || row.back() < best_distance)) {
            best_distance = row.back();
            best = candidate;
        }
    }
    return best;
}

}  // namespace sternpost
