#include "mail/repair.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>
#include <vector>

#include "mail/address.h"
#include "mail/header.h"
#include "util/text.h"

namespace sternpost::mail {
namespace {

constexpr std::size_t wanted_line = 76;  // RFC 2047 §2: of a line with an encoded-word
constexpr std::size_t in_a_word = 45;    // octets; 60 in base64, 72 with the rest of the word
constexpr std::size_t longest_token =
    900;  // ours: what is left whole, so that it fits into a line with its blanks
constexpr std::size_t in_a_section = 50;  // ours: octets of a parameter's section (RFC 2231 §3), encoded

bool blank(char c) {
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

// The length of the well-formed UTF-8 character at the front (RFC 3629 §4); 0: there is none.
std::size_t character(std::string_view text) {
    const auto lead = static_cast<unsigned char>(text[0]);
    const std::size_t n = lead < 0x80   ? 1
                          : lead < 0xC2 ? 0
                          : lead < 0xE0 ? 2
                          : lead < 0xF0 ? 3
                          : lead < 0xF5 ? 4
                                        : 0;
    return n > 0 && text.size() >= n && valid_utf8(text.substr(0, n)) ? n : 0;
}

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

bool is_encoded_word(std::string_view word) {
    return word.size() > 6 && word.starts_with("=?") && word.ends_with("?=");
}

// Words with blanks between, as encoded-words where they need it. Blanks between two encoded-words are not
// shown (RFC 2047 §6.2), so those that must be are encoded too.
std::string encoded_text(std::string_view text, bool long_words_too, std::size_t first = 75) {
    struct Word {
        std::string_view blanks;  // before it
        std::string_view text;
        bool encode;
    };
    std::vector<Word> words;
    for (std::size_t at = 0; at < text.size();) {
        std::size_t word = at;
        while (word < text.size() && blank(text[word])) ++word;
        std::size_t end = word;
        while (end < text.size() && !blank(text[end])) ++end;
        const std::string_view shown = text.substr(word, end - word);
        words.push_back({text.substr(at, word - at), shown,
                         !is_ascii(shown) || (long_words_too && shown.size() > longest_token)});
        at = end;
    }
    std::string out;
    for (std::size_t i = 0; i < words.size(); ++i) {
        out += words[i].blanks;
        if (!words[i].encode) {
            out += words[i].text;
            continue;
        }
        std::string run;
        if (i > 0 && is_encoded_word(words[i - 1].text)) run = " ";
        run += words[i].text;
        while (i + 1 < words.size() && words[i + 1].encode) {
            ++i;
            run += words[i].blanks;
            run += words[i].text;
        }
        if (i + 1 < words.size() && is_encoded_word(words[i + 1].text)) run += ' ';
        out += encoded_words(run, out.find_first_not_of(" \t") == std::string::npos ? first : 75);
    }
    return out;
}

// What a comment or a quoted-string says, without its marks and quoted-pairs.
std::string unquoted(std::string_view text) {
    std::string out;
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (text[i] == '\\' && i + 1 < text.size()) ++i;
        out += text[i];
    }
    return out;
}

// The length of the comment, quoted-string, angle-addr or domain-literal at the front; one that does not end
// goes as far as the text.
std::size_t enclosed(std::string_view text) {
    const char open = text[0];
    const char close = open == '(' ? ')' : open == '<' ? '>' : open == '[' ? ']' : '"';
    int depth = 0;
    bool quoted = false;
    for (std::size_t i = 0; i < text.size(); ++i) {
        const char c = text[i];
        if (c == '\\' && open != '[') {
            ++i;
        } else if (open == '<' && c == '"') {
            quoted = !quoted;
        } else if (open == '(' && c == '(') {
            ++depth;
        } else if (c == close && !quoted && i > 0 && --depth <= 0) {
            return i + 1;
        }
    }
    return text.size();
}

// A comment whose words are ASCII (RFC 2047 §5 (2)): its parentheses stay, quoted-pairs stay where nothing is
// encoded.
std::string encoded_comment(std::string_view comment) {
    std::string out;
    for (std::size_t at = 0; at < comment.size();) {
        std::size_t end = at;
        while (end < comment.size() && comment[end] != '(' && comment[end] != ')')
            end += comment[end] == '\\' ? 2U : 1U;
        end = std::min(end, comment.size());
        const std::string_view text = comment.substr(at, end - at);
        if (is_ascii(text)) {
            out += text;
        } else {
            // an encoded-word is a word of its own: next to a nested comment a blank must stand
            const bool after = at > 0 && comment[at - 1] == ')' && !blank(text.front());
            const bool before = end < comment.size() && comment[end] == '(' && !blank(text.back());
            if (after) out += ' ';
            std::string words;
            for (std::size_t i = 0;
                 i < text.size();) {  // word by word: only what is encoded loses its quoted-pairs
                std::size_t stop = i;
                while (stop < text.size() && blank(text[stop])) ++stop;
                words += text.substr(i, stop - i);
                i = stop;
                while (stop < text.size() && !blank(text[stop])) stop += text[stop] == '\\' ? 2U : 1U;
                stop = std::min(stop, text.size());
                const std::string_view word = text.substr(i, stop - i);
                words += is_ascii(word) ? std::string(word) : unquoted(word);
                i = stop;
            }
            out += encoded_text(words, false);
            if (before) out += ' ';
        }
        if (end < comment.size()) out += comment[end];
        at = end + 1;
    }
    return out;
}

// ---- address lists (RFC 5322 §3.4), read leniently and written back with every token that needs nothing as
// it was

struct Token {
    enum class Type { blanks, comment, quoted, angle, literal, word, separator };
    Type type;
    std::string text;
};

std::vector<Token> tokens_of(std::string_view text) {
    using Type = Token::Type;
    std::vector<Token> out;
    for (std::size_t at = 0; at < text.size();) {
        const char c = text[at];
        Type type = Type::word;
        std::size_t n = 1;
        if (blank(c)) {
            type = Type::blanks;
            while (at + n < text.size() && blank(text[at + n])) ++n;
        } else if (c == '(' || c == '"' || c == '<' || c == '[') {
            type = c == '('   ? Type::comment
                   : c == '"' ? Type::quoted
                   : c == '<' ? Type::angle
                              : Type::literal;
            n = enclosed(text.substr(at));
        } else if (c == ',' || c == ':' || c == ';') {
            type = Type::separator;
        } else {
            while (at + n < text.size() && !blank(text[at + n]) &&
                   std::string_view("(\"<[,:;").find(text[at + n]) == std::string_view::npos)
                ++n;
        }
        out.push_back({type, std::string(text.substr(at, n))});
        at += n;
    }
    return out;
}

class AddressList {
  public:
    AddressList(std::string_view domain, Repairs& repairs) : domain_(domain), repairs_(repairs) {}

    std::string repair(std::string_view value) {
        auto tokens = tokens_of(value);
        std::string out;
        auto from = tokens.begin();
        for (;;) {
            const auto end = std::find_if(from, tokens.end(),
                                          [](const Token& t) { return t.type == Token::Type::separator; });
            out += one(from, end, end != tokens.end() && end->text == ":");
            if (end == tokens.end()) return out;
            out += end->text;
            from = end + 1;
        }
    }

  private:
    using Type = Token::Type;
    using Place = std::vector<Token>::iterator;

    // One mailbox, or the name of a group.
    std::string one(Place from, Place end, bool group_name) {
        for (auto t = from; t != end; ++t)
            if (t->type == Type::comment && !is_ascii(t->text)) {
                t->text = encoded_comment(t->text);
                repairs_.encoded = true;
            }
        const auto angle = std::find_if(from, end, [](const Token& t) { return t.type == Type::angle; });
        if (angle != end) {
            if (angle->text.ends_with('>') && angle->text.size() > 2)
                angle->text = "<" + address(angle->text.substr(1, angle->text.size() - 2)) + ">";
            std::string out = phrase(from, angle);
            const bool words = !is_ascii(angle->text) && !kept_;  // no address
            if (!out.empty() && !blank(out.back()) && (words || out.ends_with("?="))) out += ' ';
            out += words ? phrase(angle, angle + 1) : angle->text;
            kept_ = false;
            std::string rest = phrase(angle + 1, end);
            if (!rest.empty() && !blank(rest.front()) && (rest.starts_with("=?") || out.ends_with("?=")))
                out += ' ';
            return out + rest;
        }
        if (group_name || !bare_address(from, end)) return phrase(from, end);
        // the address may have blanks and comments inside: `a . b @ c`
        const auto is_part = [](const Token& t) {
            return t.type == Type::word || t.type == Type::quoted || t.type == Type::literal;
        };
        std::string whole;
        Place last = end;
        for (auto t = from; t != end; ++t)
            if (is_part(*t)) {
                whole += t->text;
                last = t;
            }
        // a bare name that is not ASCII is a display name whose address is missing, not a mailbox of this
        // host
        const bool named = whole.find('@') == std::string::npos && !is_ascii(whole);
        if (named) return phrase(from, end);
        const std::string right = address(whole);
        if (right != whole) {  // then it is written in one piece, where it ended
            for (auto t = from; t != end; ++t)
                if (is_part(*t)) t->text.clear();
            last->text = right;
        }
        if (!is_ascii(right) && !std::exchange(kept_, false)) return phrase(from, end);
        kept_ = false;
        std::string out;
        for (auto t = from; t != end; ++t) out += t->text;
        return out;
    }

    // Whether words form one addr-spec or bare local-part: blanks stand only around '@' and '.', and an
    // encoded-word is none of them (RFC 2047 §5).
    static bool bare_address(Place from, Place end) {
        std::optional<char> last;
        bool gap = false;
        for (auto t = from; t != end; ++t) {
            if (t->type == Type::blanks || t->type == Type::comment) {
                gap = true;
                continue;
            }
            const char first = t->text.front();
            const bool joins = first == '@' || first == '.' || last == '@' || last == '.';
            if ((last && gap && !joins) || is_encoded_word(t->text)) return false;
            gap = false;
            last = t->text.back();
        }
        return last.has_value();
    }

    // addr-spec or local-part, maybe behind a source route (RFC 5322 §4.4).
    std::string address(const std::string& text) {
        bool quoted = false;
        std::size_t at = std::string::npos;
        std::size_t comment = 0;
        bool any = false;
        for (std::size_t i = 0; i < text.size(); ++i) {
            if (text[i] == '\\') {
                ++i;
            } else if (comment > 0 || (!quoted && text[i] == '(')) {
                comment += text[i] == '(' ? 1U : 0U;
                comment -= text[i] == ')' ? 1U : 0U;
                continue;
            } else if (text[i] == '"') {
                quoted = !quoted;
            } else if (text[i] == '@' && !quoted) {
                at = i;
            }
            any = any || !blank(text[std::min(i, text.size() - 1)]);
        }
        if (!any || quoted || comment > 0) return text;
        if (at == std::string::npos) {
            if (!is_ascii(text)) {
                if (!Mailbox::parse(text + "@host.invalid", true)) return text;
                repairs_.utf8_address = kept_ = true;
                if (domain_.empty()) return text;
                repairs_.qualified = true;
                return text + "@" + std::string(domain_);
            }
            if (domain_.empty()) return text;
            const std::string out = end_with_domain(text);
            if (out != text) repairs_.qualified = true;
            return out;
        }
        if (is_ascii(text)) return text;
        const auto path = ForwardPath::parse(text, true);  // which drops a source route
        if (!path) return text;                            // no address: its octets become words
        if (!path->ascii()) repairs_.utf8_address = kept_ = true;
        repairs_.encoded = repairs_.encoded || !is_ascii(std::string_view(text).substr(at));
        return path->a_label_text();
    }

    // `root` and `root (comment)`: the domain goes behind the name.
    std::string end_with_domain(const std::string& text) const {
        std::size_t end = text.size();
        if (const auto comment = text.find('('); comment != std::string::npos && text[0] != '"')
            end = comment;
        while (end > 0 && blank(text[end - 1])) --end;
        const bool sound =
            end > 0 &&
            (text[0] == '"' ||
             std::none_of(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(end), [](char c) {
                 return c <= ' ' || c == '\x7f' ||
                        std::string_view("<>()[]\\\",:;").find(c) != std::string_view::npos;
             }));
        if (!sound || is_encoded_word(std::string_view(text).substr(0, end))) return text;  // RFC 2047 §5
        return text.substr(0, end) + "@" + std::string(domain_) + text.substr(end);
    }

    // A display name; a quoted-string with other than ASCII loses its quotes (RFC 2047 §5 (3)).
    std::string phrase(Place from, Place end) {
        std::string out;
        for (auto t = from; t != end;) {
            if (is_ascii(t->text) || t->type == Type::comment) {
                const bool apart = out.ends_with("?=") && t->type != Type::blanks;
                if (apart) out += ' ';
                out += t->text;
                ++t;
                continue;
            }
            std::string
                run;  // all words up to the last that is not ASCII and has only such and blanks before it
            auto stop = t;
            std::string gap;
            for (auto u = t; u != end; ++u) {
                if (u->type == Type::blanks) {
                    gap = " ";
                    continue;
                }
                if (is_ascii(u->text) || u->type == Type::comment) break;
                std::string_view text = u->text;
                const bool in_quotes = u->type == Type::quoted && text.size() > 1 && text.ends_with('"');
                if (in_quotes) text = text.substr(1, text.size() - 2);
                run += gap;
                run += in_quotes ? unquoted(text) : std::string(text);
                gap.clear();
                stop = u + 1;
            }
            std::replace_if(
                run.begin(), run.end(), [](char c) { return c == '\t' || c == '\r' || c == '\n'; }, ' ');
            const auto last = out.find_last_not_of(" \t\r\n");
            if (last != std::string::npos && last + 1 < out.size() && out.substr(0, last + 1).ends_with("?="))
                run.insert(0, " ");
            if (!out.empty() && !blank(out.back())) out += ' ';
            out += encoded_words(run);
            repairs_.encoded = true;
            t = stop;
        }
        return out;
    }

    std::string_view domain_;
    Repairs& repairs_;
    bool kept_ = false;  // the address at hand keeps its octets above 127
};

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
        const std::size_t n = std::max<std::size_t>(character(value.substr(i)), 1);
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

std::string encoded_words(std::string_view text, std::size_t first) {
    constexpr std::size_t around = 12;  // octets of `=?UTF-8?B?` and `?=`
    std::string out;
    while (!text.empty()) {
        const std::size_t room = out.empty() && first > around + 16 ? (first - around) / 4 * 3 : in_a_word;
        std::size_t n = std::min({text.size(), in_a_word, room});
        while (n < text.size() && n > 1 && (static_cast<unsigned char>(text[n]) & 0xC0U) == 0x80) --n;
        if (!out.empty()) out += ' ';
        out += "=?UTF-8?B?" + base64(text.substr(0, n)) + "?=";
        text.remove_prefix(n);
    }
    return out;
}

std::string utf8_or_latin1(std::string_view text, bool& changed) {
    std::string out;
    out.reserve(text.size());
    while (!text.empty()) {
        const std::size_t n = character(text);
        if (n == 0) {
            const auto octet = static_cast<unsigned char>(text[0]);
            out += static_cast<char>(0xC0U | (octet >> 6U));
            out += static_cast<char>(0x80U | (octet & 0x3FU));
            changed = true;
        } else {
            out += text.substr(0, n);
        }
        text.remove_prefix(std::max<std::size_t>(n, 1));
    }
    return out;
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
            right = AddressList(domain, repairs).repair(text);
            break;
        case Kind::address:
            right = AddressList({}, repairs).repair(text);
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
