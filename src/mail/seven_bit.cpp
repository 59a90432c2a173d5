#include "mail/seven_bit.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <vector>

#include "mail/header.h"
#include "mail/repair.h"
#include "util/text.h"

namespace sternpost::mail {
namespace {

constexpr int max_depth = 30;
constexpr int max_parts = 10'000;

template <class T>
using Converted = Expected<T, SevenBitErrc>;

// What a Content-Type field says (RFC 2045 §5.1), as far as conversion goes by it.
struct ContentType {
    std::string type = "text";
    std::string subtype = "plain";
    std::string boundary;
};

// The value of the parameter `wanted` in `; name=value; …`, quotes and quoted-pairs undone.
std::string parameter(std::string_view text, std::string_view wanted) {
    while (!text.empty()) {
        const auto start = text.find_first_not_of("; \t");
        if (start == std::string_view::npos) break;
        text.remove_prefix(start);
        const auto equals = text.find_first_of("=;");
        if (equals == std::string_view::npos) break;
        const std::string_view name = trimmed(text.substr(0, equals));
        const bool has_value = text[equals] == '=';
        text.remove_prefix(equals + 1);
        if (!has_value) continue;
        text = text.substr(std::min(text.find_first_not_of(" \t"), text.size()));
        std::string value;
        if (text.starts_with('"')) {
            std::size_t i = 1;
            for (; i < text.size() && text[i] != '"'; ++i) {
                if (text[i] == '\\' && i + 1 < text.size()) ++i;
                value += text[i];
            }
            text.remove_prefix(std::min(i + 1, text.size()));
        } else {
            const auto end = std::min(text.find_first_of("; \t"), text.size());
            value = text.substr(0, end);
            text.remove_prefix(end);
        }
        if (iequals(name, wanted)) return value;
    }
    return {};
}

// Absent or not to be understood: text/plain (RFC 2045 §5.2); in a digest a message (RFC 2046 §5.1.5).
ContentType content_type(const Header& header, bool in_digest) {
    ContentType out;
    if (in_digest) out = {"message", "rfc822", {}};
    const Field* field = header.find("Content-Type");
    if (field == nullptr) return out;
    const std::string value = without_comments(field->value);
    const auto end = std::min(value.find(';'), value.size());
    const std::string name = lowered(value.substr(0, end));
    const auto slash = name.find('/');
    if (slash == std::string::npos) return {};
    out.type = trimmed(std::string_view(name).substr(0, slash));
    out.subtype = trimmed(std::string_view(name).substr(slash + 1));
    out.boundary = parameter(std::string_view(value).substr(end), "boundary");
    return out;
}

// A multipart body, cut at its delimiters (RFC 2046 §5.1.1). The pieces and the delimiter lines in between
// are the body, octet for octet.
struct Multipart {
    std::string_view preamble;
    std::vector<std::string_view> parts;
    std::vector<std::string_view> delimiters;  // before each part, and after the last: with their line ends
    std::string_view epilogue;
};

std::optional<Multipart> cut(std::string_view body, std::string_view boundary) {
    Multipart out;
    std::size_t piece = 0;  // where the piece before the next delimiter begins
    std::size_t line = 0;
    bool closed = false;
    const auto end_piece = [&](std::string_view text) {
        if (out.delimiters.empty())
            out.preamble = text;
        else
            out.parts.push_back(text);
    };
    while (line < body.size() && !closed) {
        const auto eol = body.find("\r\n", line);
        const std::size_t next = eol == std::string_view::npos ? body.size() : eol + 2;
        std::string_view text = body.substr(line, std::min(eol, body.size()) - line);
        if (text.starts_with("--") && text.substr(2).starts_with(boundary)) {
            const std::string_view rest = trimmed(text.substr(2 + boundary.size()));
            if (rest.empty() || rest == "--") {
                // the line end before a delimiter is part of it
                const std::size_t from = line > piece ? line - 2 : line;
                end_piece(body.substr(piece, from - piece));
                out.delimiters.push_back(body.substr(from, next - from));
                piece = next;
                closed = rest == "--";
            }
        }
        line = next;
    }
    if (out.delimiters.empty()) return std::nullopt;
    if (closed)
        out.epilogue = body.substr(piece);
    else
        out.parts.push_back(body.substr(piece));  // cut off: what is there is the last part
    return out;
}

// What no reader shows (preamble, epilogue), in ASCII.
std::string ascii_of(std::string_view text) {
    std::string out(text);
    std::replace_if(
        out.begin(), out.end(), [](char c) { return static_cast<unsigned char>(c) >= 0x80; }, '?');
    return out;
}

// What no reader shows, with a line end where a line is too long.
std::string cut_lines(std::string_view text) {
    std::string out;
    while (!text.empty()) {
        const std::size_t eol = std::min(text.find("\r\n"), text.size());
        if (eol <= max_line) {
            const std::size_t n = std::min(eol + 2, text.size());
            out += text.substr(0, n);
            text.remove_prefix(n);
        } else {
            out += text.substr(0, max_line);
            out += "\r\n";
            text.remove_prefix(max_line);
        }
    }
    return out;
}

// Base64 in lines of 76, as it was otherwise (RFC 2045 §6.8: line ends in it mean nothing).
std::string wrapped_base64(std::string_view text) {
    std::string out;
    std::size_t column = 0;
    for (const char c : text) {
        if (c == '\r' || c == '\n' || c == ' ' || c == '\t') continue;
        if (column == 76) {
            out += "\r\n";
            column = 0;
        }
        out += c;
        ++column;
    }
    return out + (text.ends_with("\r\n") ? "\r\n" : "");
}

// Quoted-printable with soft line breaks where a line is too long (RFC 2045 §6.7).
std::string wrapped_quoted_printable(std::string_view text) {
    std::string out;
    std::size_t column = 0;
    for (std::size_t i = 0; i < text.size();) {
        if (text.substr(i, 2) == "\r\n") {
            out += "\r\n";
            column = 0;
            i += 2;
            continue;
        }
        const bool soft = text.substr(i, 3) == "=\r\n";
        const std::size_t n = !soft && text[i] == '=' ? std::min<std::size_t>(3, text.size() - i) : 1;
        if (!soft && column + n > 75) {
            out += "=\r\n";
            column = 0;
        }
        out += text.substr(i, n);
        column += n;
        i += n;
    }
    return out;
}

// Where an entity stands: that decides what it is when it does not say (RFC 2046 §5.1.5), and whether
// MIME-Version is its own to have (RFC 2045 §4).
enum class Place { message, part, digest_part };

class Converter {
  public:
    Converted<std::string> convert(std::string_view entity, Place place, int depth) {
        if (depth > max_depth || ++parts_ > max_parts)
            return fail(SevenBitErrc::too_complex,
                        "its MIME structure is nested too deeply or has too many parts");
        const Header header = read_header(entity);
        const std::string_view body = entity.substr(header.end);
        if (!is_ascii(entity.substr(0, header.end)))
            return fail(SevenBitErrc::header_not_ascii, "there are octets above 127 in a header");
        std::string encoding = "7bit";
        if (const Field* field = header.find("Content-Transfer-Encoding"))
            encoding = lowered(without_comments(field->value));
        const bool identity = encoding == "7bit" || encoding == "8bit" || encoding == "binary";
        if (is_ascii(body) && (encoding == "7bit" || !identity)) return std::string(entity);
        if (!identity)
            return fail(SevenBitErrc::malformed, "what is encoded as " + printable(encoding, 40) +
                                                     " has octets above 127 all the same");

        const ContentType type = content_type(header, place == Place::digest_part);
        if (type.type == "multipart") {
            auto parts = multipart(body, type, depth);
            if (!parts) return parts;
            return header_of(header, place, type, "7bit") + *parts;
        }
        const bool global = type.subtype.starts_with("global");  // may be encoded (RFC 6532 §3.7, RFC 6533)
        if (type.type == "message" && !global) {
            if (type.subtype != "rfc822") {  // 7-bit by definition (RFC 2046 §5.2)
                if (is_ascii(body)) return header_of(header, place, type, "7bit") + std::string(body);
                return fail(SevenBitErrc::malformed,
                            "a message/" + printable(type.subtype, 40) + " has octets above 127");
            }
            auto inner = convert(body, Place::message, depth + 1);
            if (!inner) return inner;
            return header_of(header, place, type, "7bit") + *inner;
        }
        if (is_ascii(body) && !has_long_line(body))
            return header_of(header, place, type, "7bit") + std::string(body);
        if (type.type != "text" && type.type != "message")
            return header_of(header, place, type, "base64") + base64_lines(body);
        std::string charset;
        if (header.find("Content-Type") == nullptr) charset = valid_utf8(body) ? "utf-8" : "unknown-8bit";
        return header_of(header, place, type, "quoted-printable", charset) + quoted_printable(body);
    }

    // The entity with no line beyond max_line (RFC 5322 §2.1.1): what is affected is encoded, all else stays
    // as it is.
    Converted<std::string> shorten(std::string_view entity, Place place, int depth) {
        if (depth > max_depth || ++parts_ > max_parts)
            return fail(SevenBitErrc::too_complex,
                        "its MIME structure is nested too deeply or has too many parts");
        if (!has_long_line(entity)) return std::string(entity);
        const Header header = read_header(entity);
        const std::string_view body = entity.substr(header.end);
        const std::string fields = short_fields(entity.substr(0, header.end), header);
        if (has_long_line(fields))
            return fail(SevenBitErrc::malformed, "a header field of it cannot be folded");
        if (!has_long_line(body)) return fields + std::string(body);
        std::string encoding = "7bit";
        if (const Field* field = header.find("Content-Transfer-Encoding"))
            encoding = lowered(without_comments(field->value));
        const bool identity =
            encoding == "7bit" || encoding == "8bit" || encoding == "binary" || encoding.empty();
        if (encoding == "base64") return fields + wrapped_base64(body);
        if (encoding == "quoted-printable") return fields + wrapped_quoted_printable(body);
        if (!identity) return fail(SevenBitErrc::malformed, "it is encoded as " + printable(encoding, 40));
        const ContentType type = content_type(header, place == Place::digest_part);
        if (type.type == "multipart") {
            auto parts = short_parts(body, type, depth);
            if (!parts) return parts;
            return fields + *parts;
        }
        const bool global = type.subtype.starts_with("global");
        if (type.type == "message" && !global) {
            if (type.subtype != "rfc822")
                return fail(SevenBitErrc::malformed,
                            "a message/" + printable(type.subtype, 40) + " may not be encoded");
            auto inner = shorten(body, Place::message, depth + 1);
            if (!inner) return inner;
            return fields + *inner;
        }
        const Header kept = read_header(fields);
        if (type.type != "text" && type.type != "message")
            return header_of(kept, place, type, "base64") + base64_lines(body);
        std::string charset;
        if (header.find("Content-Type") == nullptr)
            charset = is_ascii(body) ? "us-ascii" : valid_utf8(body) ? "utf-8" : "unknown-8bit";
        return header_of(kept, place, type, "quoted-printable", charset) + quoted_printable(body);
    }

  private:
    static std::string short_fields(std::string_view text, const Header& header) {
        if (!has_long_line(text)) return std::string(text);
        std::string out;
        Repairs unused;
        for (const Field& field : header.fields) out += shorter_lines(field.whole, unused);
        return header.separated ? out + "\r\n" : out;
    }

    Converted<std::string> short_parts(std::string_view body, const ContentType& type, int depth) {
        if (type.subtype == "signed" || type.subtype == "encrypted")
            return fail(SevenBitErrc::signed_part,
                        "it is in a multipart/" + type.subtype + ", which may not be changed");
        const auto pieces = type.boundary.empty() ? std::nullopt : cut(body, type.boundary);
        if (!pieces) return fail(SevenBitErrc::malformed, "it is in a multipart without its boundaries");
        const Place place = type.subtype == "digest" ? Place::digest_part : Place::part;
        std::string out = cut_lines(pieces->preamble);
        for (std::size_t i = 0; i < pieces->delimiters.size(); ++i) {
            out += pieces->delimiters[i];
            if (i >= pieces->parts.size()) continue;
            auto part = shorten(pieces->parts[i], place, depth + 1);
            if (!part) return part;
            out += *part;
        }
        return out + cut_lines(pieces->epilogue);
    }

    Converted<std::string> multipart(std::string_view body, const ContentType& type, int depth) {
        if (type.subtype == "signed" && !is_ascii(body))
            return fail(SevenBitErrc::signed_part,
                        "a multipart/signed has octets above 127: converted, its signature would not verify");
        const auto pieces = type.boundary.empty() ? std::nullopt : cut(body, type.boundary);
        if (!pieces) return fail(SevenBitErrc::malformed, "a multipart without its boundaries");
        const Place place = type.subtype == "digest" ? Place::digest_part : Place::part;
        std::string out = ascii_of(pieces->preamble);
        for (std::size_t i = 0; i < pieces->delimiters.size(); ++i) {
            out += ascii_of(pieces->delimiters[i]);
            if (i >= pieces->parts.size()) continue;
            auto part = convert(pieces->parts[i], place, depth + 1);
            if (!part) return part;
            out += *part;
        }
        return out + ascii_of(pieces->epilogue);
    }

    // The header with its encoding said again, and the empty line. What was said stands where it stood; 7bit
    // need not be said where nothing was. `charset`: of a body whose type is not given.
    static std::string header_of(const Header& header, Place place, const ContentType& type,
                                 std::string_view encoding, std::string_view charset = {}) {
        std::string out;
        bool said = encoding == "7bit" && header.find("Content-Transfer-Encoding") == nullptr;
        const std::string line = "Content-Transfer-Encoding: " + std::string(encoding) + "\r\n";
        for (const Field& field : header.fields) {
            if (!iequals(field.name, "Content-Transfer-Encoding")) {
                out += field.whole;
                if (!field.whole.ends_with("\r\n")) out += "\r\n";
            } else if (!std::exchange(said, true)) {
                out += line;
            }
        }
        // without it, some readers would take the encoded text for plain text
        const bool has_mime = encoding != "7bit" || type.type != "text";
        if (place == Place::message && has_mime && header.find("MIME-Version") == nullptr)
            out += "MIME-Version: 1.0\r\n";
        if (!charset.empty()) out += "Content-Type: text/plain; charset=" + std::string(charset) + "\r\n";
        if (!said) out += line;
        return out + "\r\n";
    }

    int parts_ = 0;
};

}  // namespace

std::string quoted_printable(std::string_view text) {
    constexpr std::size_t most = 76;
    std::string out;
    out.reserve(text.size() + text.size() / 4);
    std::size_t column = 0;
    for (std::size_t i = 0; i < text.size(); ++i) {
        const char c = text[i];
        if (c == '\r' && i + 1 < text.size() && text[i + 1] == '\n') {
            out += "\r\n";
            ++i;
            column = 0;
            continue;
        }
        const bool last = i + 1 == text.size() || text.substr(i + 1).starts_with("\r\n");
        const auto o = static_cast<unsigned char>(c);
        const bool plain = (o > 32 && o < 127 && c != '=') || ((c == ' ' || c == '\t') && !last);
        const std::size_t width = plain ? 1 : 3;
        if (column + width > most - (last ? 0 : 1)) {  // the `=` of a soft line break needs room too
            out += "=\r\n";
            column = 0;
        }
        if (plain)
            out += c;
        else
            fmt::format_to(std::back_inserter(out), "={:02X}", o);
        column += width;
    }
    return out;
}

std::string base64_lines(std::string_view octets) {
    constexpr std::size_t in_a_line = 57;  // 76 octets encoded
    std::string out;
    out.reserve(octets.size() * 7 / 5 + 4);
    while (!octets.empty()) {
        if (!out.empty()) out += "\r\n";
        out += base64(octets.substr(0, in_a_line));
        octets.remove_prefix(std::min(in_a_line, octets.size()));
    }
    return out;
}

Expected<std::string, SevenBitErrc> to_seven_bit(std::string_view message) {
    auto out = Converter().convert(message, Place::message, 0);
    if (out && !out->ends_with("\r\n")) *out += "\r\n";
    return out;
}

Expected<std::string, SevenBitErrc> to_short_lines(std::string_view message) {
    auto out = Converter().shorten(message, Place::message, 0);
    if (!out) return out;
    // a boundary line that is itself too long, or what else is left, has no other form
    if (has_long_line(*out))
        return fail(SevenBitErrc::malformed, "its MIME structure does not allow shorter ones");
    if (!out->ends_with("\r\n")) *out += "\r\n";
    return out;
}

}  // namespace sternpost::mail
