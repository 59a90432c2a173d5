#include "config/edit.h"

#include <fmt/format.h>

#include <optional>
#include <vector>

#include "util/text.h"

namespace sternpost::config {
namespace {

std::string_view without_blanks(std::string_view text) {
    const auto begin = text.find_first_not_of(" \t");
    return begin == std::string_view::npos ? std::string_view() : text.substr(begin);
}

// Whether the line sets the key, or does behind a `#`.
bool sets(std::string_view line, std::string_view key, bool commented) {
    line = without_blanks(line);
    if (commented) {
        if (!line.starts_with('#')) return false;
        line = without_blanks(line.substr(1));
    }
    if (!line.starts_with(key)) return false;
    return without_blanks(line.substr(key.size())).starts_with('=');
}

// `[section]`, with nothing or a comment behind it.
bool begins(std::string_view line, std::string_view section) {
    line = without_blanks(line);
    const std::string header = "[" + std::string(section) + "]";
    if (!line.starts_with(header)) return false;
    const auto rest = without_blanks(line.substr(header.size()));
    return rest.empty() || rest.starts_with('#') || rest.starts_with('\r');
}

}  // namespace

std::string toml_text(std::string_view text) {
    std::string out = "\"";
    for (const char c : text) {
        const auto octet = static_cast<unsigned char>(c);
        if (c == '"' || c == '\\')
            out += std::string("\\") + c;
        else if (octet < 0x20 || octet == 0x7f)
            out += fmt::format("\\u{:04x}", octet);
        else
            out += c;
    }
    return out + '"';
}

std::string with_option(std::string_view text, std::string_view name, std::string_view value) {
    const auto dot = name.find('.');
    const std::string_view section = dot == std::string_view::npos ? "" : name.substr(0, dot);
    const std::string_view key = dot == std::string_view::npos ? name : name.substr(dot + 1);
    std::vector<std::string> lines;
    for (const auto line : split(text, '\n')) lines.emplace_back(line);
    if (!lines.empty() && lines.back().empty()) lines.pop_back();

    // The section's lines: [first, last).
    std::optional<std::size_t> first;
    if (section.empty()) first = 0;
    for (std::size_t n = 0; n < lines.size() && !first; ++n)
        if (begins(lines[n], section)) first = n + 1;
    const std::string wanted = fmt::format("{} = {}", key, value);
    if (!first) {
        if (!lines.empty()) lines.emplace_back();
        lines.push_back(fmt::format("[{}]", section));
        lines.push_back(wanted);
    } else {
        std::size_t last = *first;
        while (last < lines.size() && !without_blanks(lines[last]).starts_with('[')) ++last;
        std::optional<std::size_t> place;
        for (const bool commented : {false, true})
            for (std::size_t n = *first; n < last && !place; ++n)
                if (sets(lines[n], key, commented)) place = n;
        if (place) {
            lines[*place] = wanted;
        } else {
            const bool apart = section.empty() && *first < lines.size();
            lines.insert(lines.begin() + static_cast<std::ptrdiff_t>(*first), wanted);
            if (apart) lines.insert(lines.begin() + static_cast<std::ptrdiff_t>(*first) + 1, "");
        }
    }
    std::string out;
    for (const auto& line : lines) out += line + '\n';
    return out;
}

}  // namespace sternpost::config
