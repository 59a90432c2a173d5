#include "mail/header.h"

#include <fmt/format.h>

#include <algorithm>

#include "util/text.h"

namespace sternpost::mail {
namespace {

// The length of a field name at the front of a line that has a colon after it (RFC 5322 §2.2); 0 when the
// line is no field.
std::size_t name_length(std::string_view line) {
    std::size_t n = 0;
    while (n < line.size() && line[n] > 32 && line[n] < 127 && line[n] != ':') ++n;
    std::size_t colon = n;
    while (colon < line.size() && (line[colon] == ' ' || line[colon] == '\t'))
        ++colon;  // obs-optional, RFC 5322 §4.5
    return n > 0 && colon < line.size() && line[colon] == ':' ? n : 0;
}

}  // namespace

const Field* Header::find(std::string_view name) const {
    const auto it =
        std::find_if(fields.begin(), fields.end(), [&](const Field& f) { return iequals(f.name, name); });
    return it == fields.end() ? nullptr : &*it;
}

std::size_t Header::count(std::string_view name) const {
    return static_cast<std::size_t>(
        std::count_if(fields.begin(), fields.end(), [&](const Field& f) { return iequals(f.name, name); }));
}

Header read_header(std::string_view message) {
    Header header;
    std::size_t at = 0;
    while (at < message.size()) {
        std::size_t eol = message.find("\r\n", at);
        const std::string_view line = message.substr(at, eol == std::string_view::npos ? eol : eol - at);
        if (line.empty()) {
            header.separated = true;
            at = eol + 2;
            break;
        }
        const std::size_t n = name_length(line);
        if (n == 0) break;
        std::size_t end = eol == std::string_view::npos ? message.size() : eol + 2;
        while (end < message.size() &&
               (message[end] == ' ' || message[end] == '\t')) {  // a folded line goes on
            eol = message.find("\r\n", end);
            end = eol == std::string_view::npos ? message.size() : eol + 2;
        }
        const std::string_view whole = message.substr(at, end - at);
        std::string_view value = whole.substr(whole.find(':') + 1);
        if (value.ends_with("\r\n")) value.remove_suffix(2);
        header.fields.push_back({whole.substr(0, n), value, whole});
        at = end;
    }
    header.end = at;
    return header;
}

std::string unfolded(std::string_view value) {
    std::string out;
    for (const char c : value)
        if (c != '\r' && c != '\n') out += c;
    return std::string(trimmed(out));
}

std::string without_comments(std::string_view value) {
    std::string out;
    int depth = 0;
    bool in_quotes = false;
    for (std::size_t i = 0; i < value.size(); ++i) {
        const char c = value[i];
        if (c == '\\' && (depth > 0 || in_quotes) && i + 1 < value.size()) {  // quoted-pair
            if (depth == 0) out += value.substr(i, 2);
            ++i;
        } else if (c == '"' && depth == 0) {
            in_quotes = !in_quotes;
            out += c;
        } else if (c == '(' && !in_quotes) {
            ++depth;
        } else if (c == ')' && depth > 0) {
            --depth;
        } else if (depth == 0) {
            out += c;
        }
    }
    return unfolded(out);
}

namespace {

// Reads an address list of RFC 5322 §3.4 leniently: comments and display names dropped, groups opened.
class AddressListReader {
  public:
    explicit AddressListReader(std::string_view text) : text_(text) {}

    std::optional<std::vector<std::string>> read() {
        while (at_ < text_.size()) {
            const char c = text_[at_];
            if (c == '(') {
                if (!comment()) return std::nullopt;
            } else if (c == '"') {
                if (!quoted()) return std::nullopt;
            } else if (c == '<') {
                if (!angle()) return std::nullopt;
            } else if (c == '[') {
                const auto close = text_.find(']', at_);
                if (close == std::string_view::npos) return std::nullopt;
                word_ += text_.substr(at_, close + 1 - at_);
                at_ = close + 1;
            } else if (c == ',' || c == ';') {
                end_of_address();
                ++at_;
            } else if (c == ':') {  // a group's display name ends; its members follow
                word_.clear();
                ++at_;
            } else if (c == ' ' || c == '\t' || c == '\r' || c == '\n') {
                gap_ = true;
                ++at_;
            } else {
                // `John Doe <j@d>`: words with gaps between are a phrase; only around '@' and '.' may blanks
                // stand
                if (gap_ && !word_.empty() && c != '@' && c != '.' && word_.back() != '@' &&
                    word_.back() != '.')
                    phrase_ = true;
                gap_ = false;
                word_ += c;
                ++at_;
            }
        }
        end_of_address();
        if (bad_) return std::nullopt;
        return std::move(out_);
    }

  private:
    bool comment() {
        int depth = 0;
        for (; at_ < text_.size(); ++at_) {
            if (text_[at_] == '\\') {
                ++at_;
            } else if (text_[at_] == '(') {
                ++depth;
            } else if (text_[at_] == ')' && --depth == 0) {
                ++at_;
                return true;
            }
        }
        return false;
    }
    bool quoted() {
        const std::size_t from = at_++;
        for (; at_ < text_.size(); ++at_) {
            if (text_[at_] == '\\') {
                ++at_;
            } else if (text_[at_] == '"') {
                ++at_;
                word_ += text_.substr(from, at_ - from);
                return true;
            }
        }
        return false;
    }
    bool angle() {
        bool in_quotes = false;
        std::size_t close = at_ + 1;
        for (; close < text_.size() && (in_quotes || text_[close] != '>'); ++close) {
            if (text_[close] == '"') in_quotes = !in_quotes;
            if (text_[close] == '\\' && in_quotes) ++close;
        }
        if (close >= text_.size()) return false;
        out_.emplace_back(trimmed(text_.substr(at_ + 1, close - at_ - 1)));
        if (out_.back().empty()) out_.pop_back();
        at_ = close + 1;
        word_.clear();
        phrase_ = gap_ = false;
        return true;
    }
    void end_of_address() {
        if (!word_.empty()) {
            if (phrase_) bad_ = true;  // words, but no address
            out_.push_back(std::move(word_));
        }
        word_.clear();
        phrase_ = gap_ = false;
    }

    std::string_view text_;
    std::size_t at_ = 0;
    std::string word_;
    bool gap_ = false;
    bool phrase_ = false;
    bool bad_ = false;
    std::vector<std::string> out_;
};

}  // namespace

std::optional<std::vector<std::string>> addresses(std::string_view value) {
    return AddressListReader(value).read();
}

std::string make_message_id(WallTime now, Random& random, std::string_view host) {
    return fmt::format("{:x}.{:016x}@{}", now.time_since_epoch().count(), random.bits(), host);
}

std::string field(std::string_view name, std::string_view value) {
    std::string out = std::string(name) + ":";
    std::size_t line = out.size();
    while (!value.empty()) {
        const auto blank = value.find(' ');
        const std::string_view word = value.substr(0, blank);
        if (line + 1 + word.size() > 78 && line > 1) {  // RFC 5322 §2.1.1
            out += "\r\n";
            line = 0;
        }
        out += ' ';
        out += word;
        line += 1 + word.size();
        value = blank == std::string_view::npos ? std::string_view() : value.substr(blank + 1);
    }
    return out + "\r\n";
}

}  // namespace sternpost::mail
