#include "local/sendmail_message.h"

#include <algorithm>
#include <array>

#include "mail/header.h"
#include "util/text.h"

namespace sternpost::local {
namespace {

constexpr std::size_t max_header = 1'048'576;  // ours
constexpr std::size_t enough_of_a_line =
    sizeof(">From ") - 1 + 2;  // to tell an mbox line or a lone dot from others

mail::HeaderRules rules_for(const Arguments& arguments, std::string date) {
    mail::HeaderRules rules;
    if (arguments.gateway) return rules;
    rules.drop_private = true;
    rules.date = std::move(date);  // From and Message-ID are the daemon's to add: it knows the host's name
    return rules;
}

}  // namespace

SendmailMessage::SendmailMessage(const Arguments& arguments, std::string date)
    : dot_ends_(arguments.dot_ends),
      gateway_(arguments.gateway),
      filter_(rules_for(arguments, std::move(date))) {}

void SendmailMessage::feed(std::string_view octets, std::string& out) {
    if (ended_) return;
    const std::size_t before = pending_.size();
    line_ends_.feed(octets, pending_);
    // No mail may hold NUL (RFC 5321 §4.5.2 and its relatives stumble over it): a mark stands where one was.
    std::replace(pending_.begin() + static_cast<std::ptrdiff_t>(before), pending_.end(), '\0', '?');
    take_lines(out, false);
}

void SendmailMessage::finish(std::string& out) {
    if (!ended_) {
        line_ends_.finish(pending_);
        take_lines(out, true);
    }
    filter_.finish(out);
}

void SendmailMessage::take_lines(std::string& out, bool last) {
    std::string_view rest = pending_;
    while (!rest.empty() && !ended_) {
        const auto eol = rest.find("\r\n");
        if (line_start_) {
            if (eol == std::string_view::npos && rest.size() < enough_of_a_line && !last) break;
            const std::string_view line = rest.substr(0, eol);
            ended_ = dot_ends_ && line == ".";
            if (ended_) break;
            dropping_ =
                first_line_ && (line.starts_with("From ") || line.starts_with(">From "));  // mbox (CLI-13)
            first_line_ = line_start_ = false;
        }
        const std::string_view run = rest.substr(0, eol == std::string_view::npos ? eol : eol + 2);
        if (!dropping_) pass(run, out);
        rest.remove_prefix(run.size());
        if (eol != std::string_view::npos) {
            line_start_ = true;
            dropping_ = false;
        }
    }
    pending_ = ended_ ? std::string() : std::string(rest);
}

void SendmailMessage::pass(std::string_view octets, std::string& out) {
    if (!filter_.ended() && header_.size() <= max_header) header_ += octets;
    filter_.feed(octets, out);
}

bool SendmailMessage::utf8_address() const {
    if (gateway_ || !filter_.eight_bit()) return false;
    mail::Repairs repairs;
    const mail::Header header = mail::read_header(header_);
    for (const auto& field : header.fields)
        if (!istarts_with(field.name, "bcc") && !istarts_with(field.name, "resent-bcc"))
            mail::repaired(field.whole, {}, repairs);
    return repairs.utf8_address;
}

Expected<std::vector<std::string>, Exit> SendmailMessage::recipients() const {
    if (header_.size() > max_header) return fail(Exit::data_error, "the header is longer than 1 MiB");
    const mail::Header header = mail::read_header(header_);
    static constexpr std::array<std::string_view, 3> resent = {"resent-to", "resent-cc", "resent-bcc"};
    static constexpr std::array<std::string_view, 3> plain = {"to", "cc", "bcc"};
    const bool is_resent = std::any_of(resent.begin(), resent.end(),
                                       [&header](auto name) { return header.find(name) != nullptr; });
    std::vector<std::string> out;
    for (const auto& field : header.fields) {
        const auto& names = is_resent ? resent : plain;
        if (std::find(names.begin(), names.end(), lowered(field.name)) == names.end()) continue;
        auto found = parse_recipients(field.value);
        if (!found)
            return fail(Exit::data_error,
                        "in the field " + printable(field.name) + ": " + std::move(found.error().text));
        out.insert(out.end(), found->begin(), found->end());
    }
    return out;
}

}  // namespace sternpost::local
