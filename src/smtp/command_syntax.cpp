#include "smtp/command_syntax.h"

#include <algorithm>
#include <utility>

#include "util/text.h"

namespace sternpost::smtp {
namespace {

constexpr std::size_t max_command_line = 512;  // RFC 5321 §4.5.3.1.4, with CRLF
constexpr std::size_t longer_path = 256;       // ours: paths have up to 512 octets here, not 256
constexpr std::size_t max_orcpt = 500;         // RFC 3461 §4.2

}  // namespace

std::size_t line_limit(std::string_view line) {
    if (istarts_with(line, "RCPT")) return 1036 + longer_path;
    return max_command_line +
           (istarts_with(line, "MAIL") ? longer_path + 26 + 17 + 10 + 11 + 9 + 7 + max_envid : 0);
}

std::optional<mail::Notify> parse_notify(std::string_view value) {
    mail::Notify out;
    for (const auto word : split(value, ',')) {
        bool& said = iequals(word, "NEVER")     ? out.never
                     : iequals(word, "SUCCESS") ? out.success
                     : iequals(word, "FAILURE") ? out.failure
                                                : out.delay;
        if ((&said == &out.delay && !iequals(word, "DELAY")) || std::exchange(said, true))
            return std::nullopt;
    }
    if (!out.given() || (out.never && (out.success || out.failure || out.delay))) return std::nullopt;
    return out;
}

bool orcpt_ok(std::string_view value, bool utf8) {
    const auto semicolon = value.find(';');
    if (semicolon == std::string_view::npos || value.size() > max_orcpt) return false;
    const std::string_view type = value.substr(0, semicolon);
    const std::string_view address = value.substr(semicolon + 1);
    const bool atom = !type.empty() && std::all_of(type.begin(), type.end(), [](char ch) {
        return (lower(ch) >= 'a' && lower(ch) <= 'z') || (ch >= '0' && ch <= '9') || ch == '-';
    });
    if (!atom || address.empty()) return false;
    if (!iequals(type, "utf-8")) return unxtext(address).has_value();
    return (utf8 ? valid_utf8(address) : is_ascii(address)) &&
           std::none_of(address.begin(), address.end(),
                        [](char ch) { return static_cast<unsigned char>(ch) <= ' ' || ch == 127; });
}

bool asks_for_utf8(std::string_view parameters) {
    const auto words = split(parameters, ' ');
    return std::any_of(words.begin(), words.end(), [](auto word) { return iequals(word, "SMTPUTF8"); });
}

std::optional<PathArgument> path_argument(std::string_view rest, std::string_view keyword) {
    if (!istarts_with(rest, keyword)) return std::nullopt;
    rest = trimmed(rest.substr(keyword.size()));
    if (!rest.starts_with('<')) return std::nullopt;
    bool in_quotes = false;
    std::size_t close = 1;
    for (; close < rest.size() && (in_quotes || rest[close] != '>'); ++close) {
        if (rest[close] == '"') in_quotes = !in_quotes;
        if (rest[close] == '\\' && in_quotes) ++close;
    }
    if (close >= rest.size()) return std::nullopt;
    const std::string_view after = rest.substr(close + 1);
    if (!after.empty() && after[0] != ' ') return std::nullopt;
    return PathArgument{rest.substr(1, close - 1), trimmed(after)};
}

bool helo_name_ok(std::string_view name) {
    return !name.empty() && name.size() <= 255 && std::all_of(name.begin(), name.end(), [](char c) {
        return (c >= '0' && c <= '9') || (lower(c) >= 'a' && lower(c) <= 'z') ||
               std::string_view(".-_:[]").find(c) != std::string_view::npos;
    });
}

bool is_http(std::string_view line) {
    static constexpr std::string_view methods[] = {"GET ", "POST ", "PUT ", "HEAD ", "OPTIONS ", "CONNECT "};
    return line.find(" HTTP/") != std::string_view::npos &&
           std::any_of(std::begin(methods), std::end(methods), [&](auto m) { return line.starts_with(m); });
}

}  // namespace sternpost::smtp
