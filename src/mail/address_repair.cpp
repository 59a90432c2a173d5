#include "mail/address_repair.h"

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include "mail/address.h"
#include "mail/encoded_word.h"
#include "util/text.h"

namespace sternpost::mail {
namespace {

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

}  // namespace

std::string repaired_addresses(std::string_view value, std::string_view domain, Repairs& repairs) {
    return AddressList(domain, repairs).repair(value);
}

}  // namespace sternpost::mail
