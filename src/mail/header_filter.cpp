#include "mail/header_filter.h"

#include "dns/name.h"
#include "mail/header.h"
#include "util/text.h"

namespace sternpost::mail {
namespace {

using namespace std::string_view_literals;

constexpr std::size_t max_held = 998;         // RFC 5322 §2.1.1: no line is longer, so no field name is
constexpr std::size_t max_value = 250;        // ours: of the values that are looked at
constexpr std::string_view no_address = ":";  // in place of a From field that is too long, whatever follows

}  // namespace

// Asked after each octet, so that the last one decides: a field name of any length costs what it is long.
HeaderFilter::Kind HeaderFilter::classify() const {
    const auto blank = [](char c) { return c == ' ' || c == '\t'; };
    const char c = held_.back();
    if (held_.size() == 1 && blank(c)) return any_field_ ? Kind::folded : Kind::other;
    if (held_.size() == 1 && c == '\r') return Kind::undecided;
    if (held_.front() == '\r') return c == '\n' ? Kind::empty : Kind::other;
    if (held_.size() == max_held) return Kind::other;
    if (c == ':') return held_.size() > 1 ? Kind::field : Kind::other;
    if (blank(c)) return Kind::undecided;  // blanks may stand before the colon: RFC 5322 §4.5
    const bool name_goes_on = c > 32 && c < 127 && (held_.size() == 1 || !blank(held_[held_.size() - 2]));
    return name_goes_on ? Kind::undecided : Kind::other;
}

void HeaderFilter::begin_field(std::string& out) {
    end_field(out);
    any_field_ = true;
    name_ = lowered(trimmed(std::string_view(held_).substr(0, held_.find(':'))));
    if (name_ == "received"sv) ++received_;
    if (name_ == "from"sv) ++from_;
    if (name_ == "date"sv) date_ = true;
    if (name_ == "tls-required"sv) ++tls_required_;
    if (name_ == "dkim-signature"sv) dkim_signed_ = true;
    dropping_ =
        rules_.drop_private && (name_ == "bcc"sv || name_ == "resent-bcc"sv || name_ == "return-path"sv);
}

void HeaderFilter::pass(std::string_view octets, std::string& out) {
    if (!rules_.repair && rules_.read_from && name_ == "from"sv) {
        const bool beyond =
            seen_from_ == no_address || seen_from_.size() + octets.size() > max_repaired_field;
        if (beyond)
            seen_from_ = no_address;
        else
            seen_from_ += octets;
    }
    if (rules_.repair && field_.size() + octets.size() <= max_repaired_field) {
        field_ += octets;
        return;
    }
    if (rules_.repair) repairs_.too_long = printable(name_, 60);
    out += field_;
    out += octets;
    eight_bit_ = eight_bit_ || !is_ascii(field_) || !is_ascii(octets);
    field_.clear();
}

void HeaderFilter::end_field(std::string& out) {
    if (!field_.empty()) {
        if (!is_plainly_sound(field_)) field_ = repaired(field_, rules_.domain, repairs_);
        eight_bit_ = eight_bit_ || !is_ascii(field_);
        if (name_ == "from"sv) note_from(std::string_view(field_).substr(field_.find(':') + 1));
        out += field_;
        field_.clear();
    }
    if (!seen_from_.empty()) {
        note_from(std::string_view(seen_from_).substr(seen_from_.find(':') + 1));
        seen_from_.clear();
    }
    if (name_ == "message-id"sv) {
        has_message_id_ = true;
        message_id_ = unfolded(value_);
    }
    // a value that was cut is none of the few that count
    if (name_ == "tls-required"sv)
        tls_required_no_ = value_.size() < max_value && iequals(without_comments(value_), "no");
    name_.clear();
    value_.clear();
}

void HeaderFilter::note_from(std::string_view value) {
    const auto all = addresses(value);
    if (!all || all->empty()) from_domains_.emplace_back("?");
    if (!all) return;
    for (const auto& one : *all) {
        const auto at = one.rfind('@');
        const auto domain = at == std::string::npos
                                ? dns::Result<dns::Domain>(fail(dns::Errc::bad_name, ""))
                                : dns::Domain::parse(std::string_view(one).substr(at + 1));
        from_domains_.push_back(domain ? domain->text() : "?");
    }
}

void HeaderFilter::end_header(std::string& out, bool empty_line) {
    end_field(out);
    state_ = State::body;
    if (!rules_.from.empty() && from_ == 0) {
        note_from(rules_.from);
        out += field("From", rules_.from);
        repairs_.utf8_address = repairs_.utf8_address || !is_ascii(rules_.from);
        eight_bit_ = eight_bit_ || !is_ascii(rules_.from);
    }
    if (!rules_.date.empty() && !date_) out += field("Date", rules_.date);
    if (!rules_.message_id.empty() && !has_message_id_) {
        message_id_ = "<" + rules_.message_id + ">";
        out += field("Message-ID", message_id_);
    }
    if (!empty_line && rules_.adds()) out += "\r\n";
    out += held_;
    held_.clear();
}

void HeaderFilter::measure(std::string_view written) {
    while (!written.empty()) {
        const auto eol = written.find('\n');
        if (eol == std::string_view::npos) {
            line_ += written.size();
            return;
        }
        longest_line_ = std::max(longest_line_, std::max<std::size_t>(line_ + eol, 1) - 1);  // without the CR
        line_ = 0;
        written.remove_prefix(eol + 1);
    }
}

void HeaderFilter::feed(std::string_view octets, std::string& out) {
    const std::size_t before = out.size();
    consume(octets, out);
    measure(std::string_view(out).substr(before));
}

void HeaderFilter::consume(std::string_view octets, std::string& out) {
    while (!octets.empty()) {
        switch (state_) {
            case State::line_start: {
                held_ += octets.front();
                octets.remove_prefix(1);
                const Kind kind = classify();
                if (kind == Kind::undecided) break;
                const bool mbox = kind == Kind::other && first_line_ && rules_.drop_mbox_line &&
                                  (held_.starts_with("From ") || held_.starts_with(">From "));
                first_line_ = false;
                if (mbox) {
                    state_ = State::dropped;
                    last_was_cr_ = held_.back() == '\r';
                    held_.clear();
                    break;
                }
                if (kind == Kind::empty || kind == Kind::other) {
                    end_header(out, kind == Kind::empty);
                    break;
                }
                if (kind == Kind::field) begin_field(out);
                if (kind == Kind::folded && value_.size() < max_value) value_ += held_;
                state_ = dropping_ ? State::dropped : State::line;
                if (!dropping_) pass(held_, out);
                last_was_cr_ = false;
                held_.clear();
                break;
            }
            case State::line:
            case State::dropped: {
                std::size_t end = last_was_cr_ && octets.front() == '\n' ? 0 : octets.find("\r\n");
                const bool whole = end != std::string_view::npos;
                end = !whole ? octets.size() : last_was_cr_ && octets.front() == '\n' ? 1 : end + 2;
                const std::string_view run = octets.substr(0, end);
                if (state_ == State::line) pass(run, out);
                if ((name_ == "message-id"sv || name_ == "tls-required"sv) && value_.size() < max_value)
                    value_ += run.substr(0, max_value - value_.size());
                last_was_cr_ = run.back() == '\r';
                octets.remove_prefix(end);
                if (whole) state_ = State::line_start;
                break;
            }
            case State::body:
                out += octets;
                return;
        }
    }
}

void HeaderFilter::finish(std::string& out) {
    if (state_ == State::body) return;
    const std::size_t before = out.size();
    if (state_ == State::line) pass("\r\n", out);
    // `held_` is a line that the end cut short, or nothing: a header alone, which then gets its empty line
    end_header(out, false);
    measure(std::string_view(out).substr(before));
}

}  // namespace sternpost::mail
