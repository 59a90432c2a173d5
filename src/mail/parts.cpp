#include "mail/parts.h"

#include <map>
#include <optional>

#include "mail/header.h"
#include "util/text.h"

namespace sternpost::mail {
namespace {

constexpr int deepest = 10;
constexpr std::size_t most_parts = 200;

// A structured field: its value, lower case, and its parameters (RFC 2045 §5.1).
struct Structured {
    std::string value;
    std::map<std::string, std::string> parameters;
};

Structured structured(std::string_view raw) {
    const std::string text = unfolded(raw);
    Structured out;
    std::string name;
    std::string value;
    bool in_value = true;
    bool quoted = false;
    bool first = true;
    const auto end = [&] {
        if (std::exchange(first, false))
            out.value = lowered(trimmed(value));
        else
            out.parameters.try_emplace(lowered(trimmed(name)), std::string(trimmed(value)));
        name.clear();
        value.clear();
        in_value = false;
    };
    for (std::size_t i = 0; i < text.size(); ++i) {
        const char c = text[i];
        if (quoted) {
            if (c == '\\' && i + 1 < text.size())
                value += text[++i];
            else if (c == '"')
                quoted = false;
            else
                value += c;
        } else if (c == '"' && in_value) {
            quoted = true;
        } else if (c == ';') {
            end();
        } else if (c == '=' && !in_value) {
            in_value = true;
        } else {
            (in_value ? value : name) += c;
        }
    }
    end();
    return out;
}

std::string from_base64(std::string_view text) {
    std::string clean;
    for (const char c : text) {
        const bool digit = (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
                           c == '+' || c == '/';
        if (digit) clean += c;
    }
    if (clean.size() % 4 == 1) clean.pop_back();
    while (clean.size() % 4 != 0) clean += '=';
    return unbase64(clean).value_or("");
}

std::optional<unsigned> hex_digit(char c) {
    if (c >= '0' && c <= '9') return static_cast<unsigned>(c - '0');
    const char low = lower(c);
    if (low >= 'a' && low <= 'f') return static_cast<unsigned>(low - 'a') + 10;
    return std::nullopt;
}

std::string from_quoted_printable(std::string_view text) {
    std::string out;
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (text[i] != '=') {
            out += text[i];
            continue;
        }
        if (text.substr(i + 1, 2) == "\r\n") {  // a soft line break
            i += 2;
            continue;
        }
        const auto high = i + 2 < text.size() ? hex_digit(text[i + 1]) : std::nullopt;
        const auto low = high ? hex_digit(text[i + 2]) : std::nullopt;
        if (!low) {
            out += '=';
            continue;
        }
        out += static_cast<char>(*high * 16 + *low);
        i += 2;
    }
    return out;
}

// What stands between the lines of the boundary (RFC 2046 §5.1.1).
std::vector<std::string_view> between(std::string_view body, const std::string& boundary) {
    const std::string mark = "--" + boundary;
    std::vector<std::string_view> out;
    std::optional<std::size_t> begin;
    for (std::size_t at = 0; at < body.size();) {
        const std::size_t eol = std::min(body.find("\r\n", at), body.size());
        const std::string_view line = body.substr(at, eol - at);
        if (line.starts_with(mark)) {
            const std::string_view rest = trimmed(line.substr(mark.size()));
            if (rest.empty() || rest == "--") {
                if (begin) out.push_back(body.substr(*begin, at >= *begin + 2 ? at - 2 - *begin : 0));
                begin = std::min(eol + 2, body.size());
                if (rest == "--") return out;
            }
        }
        at = eol + 2;
    }
    if (begin) out.push_back(body.substr(*begin));  // its end was cut off
    return out;
}

void walk(std::string_view entity, int depth, std::vector<Part>& out) {
    if (depth > deepest || out.size() >= most_parts) return;
    const auto header = read_header(entity);
    const std::string_view body = entity.substr(std::min(header.end, entity.size()));
    Structured type;
    if (const auto* field = header.find("Content-Type")) type = structured(field->value);
    if (type.value.empty()) type.value = "text/plain";
    std::string encoding;
    if (const auto* field = header.find("Content-Transfer-Encoding"))
        encoding = lowered(without_comments(field->value));
    const auto boundary = type.parameters.find("boundary");
    if (type.value.starts_with("multipart/") && boundary != type.parameters.end()) {
        for (const auto part : between(body, boundary->second)) walk(part, depth + 1, out);
        return;
    }
    std::string octets = encoding == "base64"             ? from_base64(body)
                         : encoding == "quoted-printable" ? from_quoted_printable(body)
                                                          : std::string(body);
    if (type.value == "message/rfc822" || type.value == "message/global") return walk(octets, depth + 1, out);
    Part part{type.value, "", std::move(octets)};
    if (const auto name = type.parameters.find("name"); name != type.parameters.end())
        part.file_name = name->second;
    if (const auto* field = header.find("Content-Disposition")) {
        const auto disposition = structured(field->value);
        const auto name = disposition.parameters.find("filename");
        if (name != disposition.parameters.end()) part.file_name = name->second;
    }
    out.push_back(std::move(part));
}

}  // namespace

std::vector<Part> leaves(std::string_view message) {
    std::string whole;
    char last = '\0';
    for (const char c : message) {
        if (c == '\n' && last != '\r') whole += '\r';
        whole += c;
        last = c;
    }
    std::vector<Part> out;
    walk(whole, 0, out);
    return out;
}

}  // namespace sternpost::mail
