// The words of a header as ASCII (RFC 2047), and the marks around them: what the repair of every kind of
// field needs. Pure.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace sternpost::mail {

inline bool blank(char c) {
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/// The length of the well-formed UTF-8 character at the front of `text`, which is not empty (RFC 3629 §4); 0:
/// there is none.
std::size_t utf8_character(std::string_view text);
/// Octets that are no UTF-8 become the characters that they are in ISO 8859-1; `changed`: there were some.
std::string utf8_or_latin1(std::string_view text, bool& changed);

bool is_encoded_word(std::string_view word);
/// `text`, which is UTF-8, as encoded-words of at most 75 octets with a blank between (RFC 2047 §2). No
/// character is cut in two (§5). `first`: the most octets that the first word may have.
std::string encoded_words(std::string_view text, std::size_t first = 75);
/// Words with blanks between, as encoded-words where they need it. Blanks between two encoded-words are not
/// shown (§6.2), so those that must be are encoded too.
std::string encoded_text(std::string_view text, bool long_words_too, std::size_t first = 75);
/// A comment whose words are ASCII (§5 (2)): its parentheses stay, quoted-pairs stay where nothing is
/// encoded.
std::string encoded_comment(std::string_view comment);

/// What a comment or a quoted-string says, without its marks and quoted-pairs.
std::string unquoted(std::string_view text);
/// The length of the comment, quoted-string, angle-addr or domain-literal at the front of `text`; of one that
/// does not end, all of it.
std::size_t enclosed(std::string_view text);

}  // namespace sternpost::mail
