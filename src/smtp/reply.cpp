#include "smtp/reply.h"

#include "smtp/limits.h"
#include "util/text.h"

namespace sternpost::smtp {
namespace {

// Reply-code of RFC 5321 §4.2 at the front of a line, or 0. What follows it is a blank, a hyphen or nothing.
int reply_code(std::string_view line) {
    if (line.size() < 3) return 0;
    int code = 0;
    for (const char c : line.substr(0, 3)) {
        if (c < '0' || c > '9') return 0;
        code = code * 10 + (c - '0');
    }
    if (line.size() > 3 && line[3] != ' ' && line[3] != '-') return 0;
    return code >= 200 ? code : 0;
}

bool digits(std::string_view text) {
    return !text.empty() && text.size() <= 3 &&
           text.find_first_not_of("0123456789") == std::string_view::npos &&
           (text.size() == 1 || text[0] != '0');
}

}  // namespace

std::string Reply::enhanced() const {
    if (lines.empty()) return {};
    const std::string_view first = std::string_view(lines.front()).substr(0, lines.front().find(' '));
    const auto parts = split(first, '.');
    if (parts.size() != 3 || !digits(parts[0]) || !digits(parts[1]) || !digits(parts[2])) return {};
    if (parts[0].size() != 1 || parts[0][0] - '0' != severity()) return {};
    return std::string(first);
}

std::string Reply::text() const {
    std::string out = std::to_string(code);
    for (const auto& line : lines)
        if (!line.empty()) out += ' ' + line;
    return out;
}

Result<std::optional<Reply>> ReplyParser::next() {
    for (;;) {
        const auto eol = pending_.find('\n');  // ours: a bare LF ends a line that we only read
        if (eol == std::string::npos) {
            if (pending_.size() > max_reply_octets)
                return fail(Errc::reply_too_long, "a reply line is longer than 64 KiB");
            return std::nullopt;
        }
        std::string line = pending_.substr(0, eol);
        pending_.erase(0, eol + 1);
        if (line.ends_with('\r')) line.pop_back();
        if (line.empty() && partial_.lines.empty() && ++empty_lines_ <= max_empty_lines) continue;  // D-50
        const int code = reply_code(line);
        if (code == 0) return fail(Errc::reply_malformed, "not an SMTP reply: " + printable(line));
        if (!partial_.lines.empty() && code != partial_.code)  // RFC 5321 §4.2.1
            return fail(Errc::reply_malformed, "the reply code changes within a reply: " + printable(line));
        if (partial_.lines.size() == max_reply_lines)
            return fail(Errc::reply_too_long, "a reply has more than 100 lines");
        partial_.code = code;
        partial_.lines.push_back(line.size() > 4 ? line.substr(4, max_reply_text) : std::string());
        if (line.size() <= 3 || line[3] != '-') {
            empty_lines_ = 0;
            return std::exchange(partial_, {});
        }
    }
}

std::string_view name_of(Stage stage) {
    switch (stage) {
        case Stage::connect:
            return "connecting";
        case Stage::greeting:
            return "the greeting";
        case Stage::helo:
            return "EHLO";
        case Stage::starttls:
            return "STARTTLS";
        case Stage::handshake:
            return "the TLS handshake";
        case Stage::mail:
            return "MAIL FROM";
        case Stage::rcpt:
            return "RCPT TO";
        case Stage::data:
            return "DATA";
        case Stage::body:
            return "sending the message";
        case Stage::dot:
            return "the reply to the final dot";
        case Stage::quit:
            return "QUIT";
    }
    return "?";
}

}  // namespace sternpost::smtp
