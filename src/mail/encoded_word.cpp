#include "mail/encoded_word.h"

#include <algorithm>
#include <vector>

#include "util/text.h"

namespace sternpost::mail {
namespace {

constexpr std::size_t in_a_word = 45;  // octets; 60 in base64, 72 with the rest of the word
constexpr std::size_t longest_token =
    900;  // ours: what is left whole, so that it fits into a line with its blanks

}  // namespace

std::size_t utf8_character(std::string_view text) {
    const auto lead = static_cast<unsigned char>(text[0]);
    const std::size_t n = lead < 0x80   ? 1
                          : lead < 0xC2 ? 0
                          : lead < 0xE0 ? 2
                          : lead < 0xF0 ? 3
                          : lead < 0xF5 ? 4
                                        : 0;
    return n > 0 && text.size() >= n && valid_utf8(text.substr(0, n)) ? n : 0;
}

std::string utf8_or_latin1(std::string_view text, bool& changed) {
    std::string out;
    out.reserve(text.size());
    while (!text.empty()) {
        const std::size_t n = utf8_character(text);
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

bool is_encoded_word(std::string_view word) {
    return word.size() > 6 && word.starts_with("=?") && word.ends_with("?=");
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

std::string encoded_text(std::string_view text, bool long_words_too, std::size_t first) {
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

std::string unquoted(std::string_view text) {
    std::string out;
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (text[i] == '\\' && i + 1 < text.size()) ++i;
        out += text[i];
    }
    return out;
}

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

}  // namespace sternpost::mail
