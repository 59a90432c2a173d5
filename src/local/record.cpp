#include "local/record.h"

#include <fmt/format.h>

#include <algorithm>

#include "util/crc32c.h"
#include "util/text.h"

namespace sternpost::local {
namespace {

constexpr std::string_view magic = "sternpost-submission 1";
constexpr std::size_t max_head_line = 1024;  // ours: a path has 512 octets, an ENVID 100, a name fewer
constexpr std::size_t end_size = sizeof("crc32c 00000000\nend\n") - 1;

// `<path>` to path; nullopt when the brackets are missing.
std::optional<std::string> bracketed(std::string_view text) {
    if (text.size() < 2 || text.front() != '<' || text.back() != '>') return std::nullopt;
    return std::string(text.substr(1, text.size() - 2));
}

std::string notify_text(const mail::Notify& notify) {
    if (notify.never) return "never";
    std::string out;
    const auto add = [&out](bool wanted, const char* word) {
        if (wanted) out += (out.empty() ? "" : ",") + std::string(word);
    };
    add(notify.success, "success");
    add(notify.failure, "failure");
    add(notify.delay, "delay");
    return out;
}

}  // namespace

std::optional<mail::Notify> parse_notify(std::string_view text) {
    mail::Notify notify;
    for (const auto word : split(text, ',')) {
        if (iequals(word, "never"))
            notify.never = true;
        else if (iequals(word, "success"))
            notify.success = true;
        else if (iequals(word, "failure"))
            notify.failure = true;
        else if (iequals(word, "delay"))
            notify.delay = true;
        else
            return std::nullopt;
    }
    if (notify.never && (notify.success || notify.failure || notify.delay))
        return std::nullopt;  // NEVER stands alone
    return notify;
}

std::optional<mail::Ret> parse_ret(std::string_view text) {
    if (iequals(text, "full")) return mail::Ret::full;
    if (iequals(text, "hdrs")) return mail::Ret::hdrs;
    return std::nullopt;
}

std::string encode_head(const Submission& submission) {
    std::string out = std::string(magic) + "\nid " + submission.id.text() + "\n";
    if (submission.reverse_path) out += "from <" + *submission.reverse_path + ">\n";
    if (!submission.full_name.empty()) out += "full-name " + submission.full_name + "\n";
    out += submission.body == mail::BodyType::eight_bit_mime ? "body 8bit\n" : "body 7bit\n";
    if (submission.gateway) out += "gateway yes\n";
    if (submission.notify.given()) out += "notify " + notify_text(submission.notify) + "\n";
    if (submission.ret != mail::Ret::unspecified)
        out += submission.ret == mail::Ret::full ? "ret full\n" : "ret hdrs\n";
    if (submission.smtputf8) out += "smtputf8 yes\n";
    if (submission.requiretls) out += "requiretls yes\n";
    if (!submission.envid.empty()) out += "envid " + submission.envid + "\n";
    for (const auto& recipient : submission.recipients) out += "to <" + recipient + ">\n";
    return out + fmt::format("octets {}\n\n", submission.octets);
}

std::string encode_end(std::uint32_t crc) {
    return fmt::format("crc32c {:08x}\nend\n", crc);
}

Result<void> RecordReader::feed(std::string_view octets, std::string& message) {
    while (!octets.empty()) {
        switch (state_) {
            case State::head: {
                const std::size_t before = held_.size();
                held_ += octets;
                const auto end = held_.find("\n\n", searched_);
                if (end == std::string::npos) {
                    const std::size_t most = max_head_line * (max_recipients_ + 16);
                    if (held_.size() > most) return fail(Errc::too_big, "the head of the record is too long");
                    // what is not the beginning of the magic is refused now, not after megabytes
                    const auto start = std::string_view(held_).substr(0, magic.size());
                    if (!magic.starts_with(start)) return fail(Errc::malformed, "not a submission record");
                    searched_ = held_.size() - 1;
                    return {};
                }
                const std::string text = held_.substr(0, end + 2);
                if (auto parsed = parse_head(std::string_view(text).substr(0, end)); !parsed) return parsed;
                crc_ = crc32c(text);
                octets.remove_prefix(text.size() - before);
                held_.clear();
                left_ = head_.octets;
                state_ = left_ > 0 ? State::message : State::end;
                break;
            }
            case State::message: {
                const std::string_view piece =
                    octets.substr(0, std::min<std::uint64_t>(left_, octets.size()));
                message += piece;
                crc_ = crc32c(piece, crc_);
                left_ -= piece.size();
                octets.remove_prefix(piece.size());
                if (left_ == 0) state_ = State::end;
                break;
            }
            case State::end: {
                const std::size_t take = std::min(end_size - held_.size(), octets.size());
                held_ += octets.substr(0, take);
                octets.remove_prefix(take);
                if (held_.size() < end_size) break;
                if (held_ != encode_end(crc_))
                    return fail(Errc::incomplete,
                                "the record's end mark or check sum is wrong: octets are missing or altered");
                state_ = State::done;
                break;
            }
            case State::done:
                return fail(Errc::malformed, "octets after the end of the record");
        }
    }
    return {};
}

Result<void> RecordReader::parse_head(std::string_view text) {
    const auto lines = split(text, '\n');
    if (lines.front() != magic)
        return fail(Errc::malformed, "the record does not begin with \"" + std::string(magic) + "\"");
    for (std::size_t i = 1; i < lines.size(); ++i) {
        if (has_octets_) return fail(Errc::malformed, "the line \"octets\" must be the last of the head");
        if (auto parsed = parse_line(lines[i]); !parsed) return parsed;
    }
    if (!has_octets_) return fail(Errc::malformed, "the record does not say how many octets follow");
    if (head_.id == store::SubmissionId{}) return fail(Errc::malformed, "the record has no id");
    if (head_.recipients.empty()) return fail(Errc::bad_recipient, "the record names no recipient");
    return {};
}

Result<void> RecordReader::parse_line(std::string_view line) {
    const auto malformed = [line](std::string_view why) {
        return fail(Errc::malformed, fmt::format("{}: {}", why, printable(line, 80)));
    };
    if (line.size() > max_head_line) return malformed("a line of the head is too long");
    for (const char c : line)
        if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f)
            return malformed("a control character in the head");
    const auto blank = line.find(' ');
    const std::string_view key = line.substr(0, blank);
    const std::string_view value =
        blank == std::string_view::npos ? std::string_view() : line.substr(blank + 1);
    if (key == "id") {
        const auto id = store::SubmissionId::parse(value);
        if (!id || head_.id != store::SubmissionId{}) return malformed("wanted once: id and 32 hex digits");
        head_.id = *id;
    } else if (key == "from") {
        if (head_.reverse_path || !(head_.reverse_path = bracketed(value)))
            return malformed("wanted once: from <path>");
    } else if (key == "full-name") {
        if (value.empty() || !head_.full_name.empty()) return malformed("wanted once: full-name and a name");
        head_.full_name = value;
    } else if (key == "body") {
        if (value != "8bit" && value != "7bit") return malformed("wanted: body 8bit or body 7bit");
        head_.body = value == "8bit" ? mail::BodyType::eight_bit_mime : mail::BodyType::seven_bit;
    } else if (key == "gateway") {
        if (value != "yes") return malformed("wanted: gateway yes");
        head_.gateway = true;
    } else if (key == "smtputf8") {
        if (value != "yes") return malformed("wanted: smtputf8 yes");
        head_.smtputf8 = true;
    } else if (key == "requiretls") {
        if (value != "yes") return malformed("wanted: requiretls yes");
        head_.requiretls = true;
    } else if (key == "notify") {
        const auto notify = parse_notify(value);
        if (!notify) return malformed("wanted: notify never or success,failure,delay");
        head_.notify = *notify;
    } else if (key == "ret") {
        const auto ret = parse_ret(value);
        if (!ret) return malformed("wanted: ret full or ret hdrs");
        head_.ret = *ret;
    } else if (key == "envid") {
        if (value.size() > 100 || !unxtext(value))
            return malformed("wanted: envid and at most 100 octets of xtext");
        head_.envid = value;
    } else if (key == "to") {
        auto path = bracketed(value);
        if (!path) return malformed("wanted: to <path>");
        if (head_.recipients.size() == max_recipients_)
            return fail(Errc::too_big, fmt::format("more than {} recipients", max_recipients_));
        head_.recipients.push_back(std::move(*path));
    } else if (key == "octets") {
        const auto octets = decimal(value);
        if (!octets) return malformed("wanted: octets and a number");
        if (*octets > max_octets_)
            return fail(Errc::too_big,
                        fmt::format("the message has {} octets, at most {} are taken", *octets, max_octets_));
        head_.octets = *octets;
        has_octets_ = true;
    } else {
        return malformed("unknown line in the head");
    }
    return {};
}

std::string Answer::line() const {
    const char* word = kind == Kind::ok ? "ok " : kind == Kind::temporary ? "temp " : "perm ";
    return word + printable(text, max_answer - 20) + "\n";
}

std::optional<Answer> Answer::parse(std::string_view line) {
    for (const auto& [word, kind] : {std::pair<std::string_view, Kind>{"ok ", Kind::ok},
                                     {"temp ", Kind::temporary},
                                     {"perm ", Kind::permanent}})
        if (line.starts_with(word)) return Answer{kind, std::string(line.substr(word.size()))};
    return std::nullopt;
}

}  // namespace sternpost::local
