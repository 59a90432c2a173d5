#include "mail/repair.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <vector>

#include "mail/address_repair.h"
#include "mail/encoded_word.h"
#include "util/text.h"

namespace sternpost::mail {
namespace {

constexpr std::size_t wanted_line = 76;   // RFC 2047 §2: of a line with an encoded-word
constexpr std::size_t in_a_section = 50;  // ours: octets of a parameter's section (RFC 2231 §3), encoded

enum class Kind { unstructured, address, addresses_to_qualify, parameters, structured };

constexpr std::array<std::string_view, 12> qualified = {
    "from",        "sender",        "reply-to",        "to",        "cc",        "bcc",
    "resent-from", "resent-sender", "resent-reply-to", "resent-to", "resent-cc", "resent-bcc"};

Kind kind_of(std::string_view name) {
    static constexpr std::array<std::string_view, 6> address = {"disposition-notification-to",
                                                                "errors-to",
                                                                "mail-followup-to",
                                                                "mail-reply-to",
                                                                "return-path",
                                                                "return-receipt-to"};
    static constexpr std::array<std::string_view, 2> parameters = {"content-type", "content-disposition"};
    static constexpr std::array<std::string_view, 18> structured = {
        "date",         "resent-date",
        "message-id",   "resent-message-id",
        "in-reply-to",  "references",
        "received",     "mime-version",
        "content-id",   "list-id",
        "list-post",    "list-unsubscribe",
        "list-help",    "dkim-signature",
        "tls-required", "content-transfer-encoding",
        "arc-seal",     "authentication-results"};
    const std::string low = lowered(trimmed(name));
    const auto among = [&low](const auto& names) {
        return std::find(names.begin(), names.end(), low) != names.end();
    };
    if (among(qualified)) return Kind::addresses_to_qualify;
    if (among(address)) return Kind::address;
    if (among(parameters)) return Kind::parameters;
    return among(structured) ? Kind::structured : Kind::unstructured;
}

// ---- other structured fields

// Comments become encoded-words; what else is not ASCII stands for itself only, so `=XX` keeps two of them
// apart.
std::string ascii_structured(std::string_view value) {
    std::string out;
    for (std::size_t at = 0; at < value.size();) {
        const char c = value[at];
        if (c == '(') {
            const std::size_t n = enclosed(value.substr(at));
            out += encoded_comment(value.substr(at, n));
            at += n;
        } else if (c == '"') {
            const std::size_t n = enclosed(value.substr(at));
            for (const char inside : value.substr(at, n))
                if (static_cast<unsigned char>(inside) < 0x80)
                    out += inside;
                else
                    out += fmt::format("={:02X}", static_cast<unsigned char>(inside));
            at += n;
        } else {
            if (static_cast<unsigned char>(c) < 0x80)
                out += c;
            else
                out += fmt::format("={:02X}", static_cast<unsigned char>(c));
            ++at;
        }
    }
    return out;
}

// A parameter's value as RFC 2231 §4 has it, in sections where it is long (§3).
std::string extended_parameter(const std::string& name, std::string_view value) {
    std::vector<std::string> sections(1);
    for (std::size_t i = 0; i < value.size();) {
        const std::size_t n = std::max<std::size_t>(utf8_character(value.substr(i)), 1);
        std::string coded;
        for (const char c : value.substr(i, n)) {
            const bool plain = (lower(c) >= 'a' && lower(c) <= 'z') || (c >= '0' && c <= '9') || c == '.' ||
                               c == '-' || c == '_';
            coded += plain ? std::string(1, c) : fmt::format("%{:02X}", static_cast<unsigned char>(c));
        }
        if (sections.back().size() + coded.size() > in_a_section) sections.emplace_back();
        sections.back() += coded;
        i += n;
    }
    if (sections.size() == 1) return name + "*=utf-8''" + sections[0];
    std::string out;
    for (std::size_t i = 0; i < sections.size(); ++i)
        out += fmt::format("{}{}*{}*={}{}", i > 0 ? "; " : "", name, i, i == 0 ? "utf-8''" : "", sections[i]);
    return out;
}

// Content-Type and Content-Disposition.
std::string ascii_parameters(std::string_view value) {
    std::string out;
    for (std::size_t at = 0; at < value.size();) {
        std::size_t end = at;  // of what stands between two semicolons
        while (end < value.size() && value[end] != ';')
            end += value[end] == '"' || value[end] == '(' ? enclosed(value.substr(end)) : 1;
        end = std::min(end, value.size());
        const std::string_view piece = value.substr(at, end - at);
        const auto equals = piece.find('=');
        if (is_ascii(piece)) {
            out += piece;
        } else if (at == 0 || equals == std::string_view::npos || !is_ascii(piece.substr(0, equals)) ||
                   piece.substr(0, equals).find_first_of("*(\"") != std::string_view::npos) {
            out += ascii_structured(piece);
        } else {
            std::string_view said = piece.substr(equals + 1);
            while (!said.empty() && blank(said.front())) said.remove_prefix(1);
            while (!said.empty() && blank(said.back())) said.remove_suffix(1);
            std::string text(said);
            if (said.size() > 1 && said.starts_with('"') && enclosed(said) == said.size() &&
                said.ends_with('"'))
                text = unquoted(said.substr(1, said.size() - 2));
            text.erase(
                std::remove_if(text.begin(), text.end(), [](char c) { return c == '\r' || c == '\n'; }),
                text.end());
            std::string_view name = piece.substr(0, equals);
            while (!name.empty() && blank(name.front())) name.remove_prefix(1);
            while (!name.empty() && blank(name.back())) name.remove_suffix(1);
            out += ' ';
            out += extended_parameter(std::string(name), text);
        }
        if (end < value.size()) out += ';';
        at = end + 1;
    }
    return out;
}

// ---- lines

std::string without_folds(std::string_view value) {
    std::string out;
    for (const char c : value)
        if (c != '\r' && c != '\n') out += c;
    return out;
}

// Blanks where a structured field without any may have them: after a comma or semicolon, between two msg-ids.
std::string loosened(std::string_view value) {
    std::string out;
    for (std::size_t at = 0; at < value.size();) {
        const char c = value[at];
        const bool whole = c == '"' || c == '(' || c == '<' || c == '[';
        const std::size_t n = whole ? enclosed(value.substr(at)) : 1;
        if (c == '<' && out.ends_with('>')) out += ' ';
        out += value.substr(at, n);
        at += n;
        if ((c == ',' || c == ';') && at < value.size() && !blank(value[at])) out += ' ';
    }
    return out;
}

// `value` has no folds: lines break before blanks, where a word follows them, near `wanted_line`.
std::string folded(std::string_view name, std::string_view value) {
    while (!value.empty() && blank(value.back())) value.remove_suffix(1);
    std::string out = std::string(name) + ":";
    std::size_t line = out.size();
    for (std::size_t at = 0; at < value.size();) {
        std::size_t word = at;
        while (word < value.size() && blank(value[word])) ++word;
        std::size_t end = word;
        while (end < value.size() && !blank(value[end])) ++end;
        std::string_view blanks = value.substr(at, word - at);
        if (blanks.size() > wanted_line) blanks = " ";
        const std::string_view text = value.substr(word, end - word);
        const bool too_long = out.size() + blanks.size() + text.size() > max_line;
        if (at == 0 && too_long && blanks.empty()) blanks = " ";
        if (at > 0 || too_long)
            if (line + blanks.size() + text.size() > wanted_line && !blanks.empty()) {
                out += "\r\n";
                line = 0;
            }
        out += blanks;
        out += text;
        line += blanks.size() + text.size();
        at = end;
    }
    return out + "\r\n";
}

struct NameAndValue {
    std::string_view name;
    std::string_view value;
};

NameAndValue parts_of(std::string_view whole) {
    const auto colon = whole.find(':');
    std::string_view value = colon == std::string_view::npos ? std::string_view() : whole.substr(colon + 1);
    if (value.ends_with("\r\n")) value.remove_suffix(2);
    return {whole.substr(0, colon), value};
}

// `a@b`, or `Name <a@b>` with blanks around the brackets: nothing that needs a closer look.
bool is_one_plain_address(std::string_view value) {
    const auto at = value.find('@');
    if (at == std::string_view::npos || value.find('@', at + 1) != std::string_view::npos) return false;
    if (value.find_first_of("(),:;\"[]\\") != std::string_view::npos) return false;
    const auto open = value.find('<'), close = value.find('>');
    if (open == std::string_view::npos) return close == std::string_view::npos;
    const auto rest = close == std::string_view::npos ? value : value.substr(close + 1);
    return (open == 0 || blank(value[open - 1])) && open < at && at < close &&
           std::ranges::all_of(rest, blank);
}

}  // namespace

bool is_plainly_sound(std::string_view whole) {
    if (whole.size() > max_line || !is_ascii(whole)) return false;
    const auto [name, value] = parts_of(whole);
    const auto is_name = [field = trimmed(name)](std::string_view one) { return iequals(field, one); };
    return std::ranges::none_of(qualified, is_name) || is_one_plain_address(value);
}

std::string Repairs::text() const {
    std::string out;
    const auto add = [&out](bool applies, std::string_view word) {
        if (!applies) return;
        if (!out.empty()) out += ',';
        out += word;
    };
    add(encoded, "encoded");
    add(latin1, "latin1");
    add(qualified, "qualified");
    add(refolded, "refolded");
    add(lines, "lines");
    return out.empty() ? "none" : out;
}

bool has_long_line(std::string_view text) {
    while (!text.empty()) {
        const auto eol = text.find("\r\n");
        if (std::min(eol, text.size()) > max_line) return true;
        text.remove_prefix(eol == std::string_view::npos ? text.size() : eol + 2);
    }
    return false;
}

std::string shorter_lines(std::string_view whole, Repairs& repairs) {
    if (!has_long_line(whole)) return std::string(whole);
    const auto [name, value] = parts_of(whole);
    std::string text = without_folds(value);
    if (kind_of(name) == Kind::unstructured)
        text = encoded_text(text, true);
    else
        text = loosened(text);
    std::string out = folded(name, text);
    repairs.refolded = true;
    if (has_long_line(out)) repairs.too_long = printable(trimmed(name), 60);
    return out;
}

std::string repaired(std::string_view whole, std::string_view domain, Repairs& repairs) {
    const auto [name, value] = parts_of(whole);
    const Kind kind = kind_of(name);
    const bool ascii = is_ascii(value);
    if (ascii && kind != Kind::addresses_to_qualify) return shorter_lines(whole, repairs);
    const std::string flat = without_folds(value);
    const std::string text = ascii ? flat : utf8_or_latin1(flat, repairs.latin1);
    std::string right;
    switch (kind) {
        case Kind::addresses_to_qualify:
            right = repaired_addresses(text, domain, repairs);
            break;
        case Kind::address:
            right = repaired_addresses(text, {}, repairs);
            break;
        case Kind::parameters:
            right = ascii_parameters(text);
            break;
        case Kind::structured:
            right = ascii_structured(text);
            break;
        case Kind::unstructured:
            right = encoded_text(text, true, name.size() < 40 ? wanted_line - 2 - name.size() : 75);
            break;
    }
    if (right == flat) return shorter_lines(whole, repairs);
    if (!ascii && is_ascii(right)) repairs.encoded = true;
    return shorter_lines(folded(name, right), repairs);
}

}  // namespace sternpost::mail
