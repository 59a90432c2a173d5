#include "dkim/sign.h"

#include <fmt/format.h>

#include <array>
#include <map>

#include "util/text.h"

namespace sternpost::dkim {
namespace {

constexpr std::size_t line_length = 76;  // RFC 5322 §2.1.1: below 78

// Oversigned: one that is added on the way would change what people read (RFC 6376 §8.15).
constexpr std::array<std::string_view, 12> always{
    "From",         "Subject",      "Date",       "To",          "Cc",         "Reply-To",
    "Content-Type", "MIME-Version", "Message-ID", "In-Reply-To", "References", "Content-Transfer-Encoding"};
// Oversigned where they stand (RFC 8460 §5.3).
constexpr std::array<std::string_view, 2> if_there{"TLS-Report-Domain", "TLS-Report-Submitter"};
// Signed as often as they stand: mailing lists and forwarders may add theirs (RFC 6376 §5.4.1).
constexpr std::array<std::string_view, 22> as_they_are{
    "Sender",           "Content-Disposition", "Content-ID",  "Content-Description", "TLS-Required",
    "Auto-Submitted",   "Resent-Date",         "Resent-From", "Resent-Sender",       "Resent-To",
    "Resent-Cc",        "Resent-Message-ID",   "List-Id",     "List-Help",           "List-Unsubscribe",
    "List-Subscribe",   "List-Post",           "List-Owner",  "List-Archive",        "List-Unsubscribe-Post",
    "Content-Language", "Original-Message-ID"};

// Puts the parts behind each other, a line break with a tab before each that would not fit.
class Folded {
  public:
    explicit Folded(std::string start) : out_(std::move(start)), used_(out_.size()) {}
    /// `text` stays whole; `gap` stands before it where it is not on a new line.
    void part(std::string_view text, std::string_view gap = "") {
        if (used_ + gap.size() + text.size() > line_length) {
            out_ += "\r\n\t";
            used_ = 8;
        } else {
            out_ += gap;
            used_ += gap.size();
        }
        out_ += text;
        used_ += text.size();
    }
    /// `text` may be cut anywhere.
    void octets(std::string_view text) {
        while (!text.empty()) {
            if (used_ >= line_length) {
                out_ += "\r\n\t";
                used_ = 8;
            }
            const auto run = text.substr(0, line_length - used_);
            out_ += run;
            used_ += run.size();
            text.remove_prefix(run.size());
        }
    }
    const std::string& text() const { return out_; }

  private:
    std::string out_;
    std::size_t used_;
};

}  // namespace

void MessageHash::feed(std::string_view octets) {
    if (in_body_) return body_.feed(octets);
    if (too_long_) return;
    const std::size_t from = text_.size() < 3 ? 0 : text_.size() - 3;
    text_ += octets;
    const auto empty_line = text_.starts_with("\r\n") ? 0 : text_.find("\r\n\r\n", from);
    if (empty_line == std::string::npos) {
        too_long_ = text_.size() > max_header;
        return;
    }
    in_body_ = true;
    const std::size_t end = empty_line == 0 ? 2 : empty_line + 4;
    too_long_ = end > max_header;
    body_.feed(std::string_view(text_).substr(end));
    text_.resize(end);
}

Result<void> MessageHash::finish() {
    if (too_long_) return fail(Errc::malformed, "the header has more than a mebibyte");
    header_ = mail::read_header(text_);
    if (!in_body_ || header_.fields.empty() || header_.end != text_.size())
        return fail(Errc::malformed, "what stands before the message's first empty line is no header");
    const Digest digest = body_.finish();
    body_hash_ = base64({reinterpret_cast<const char*>(digest.data()), digest.size()});
    return {};
}

std::vector<std::string> fields_to_sign(const mail::Header& header) {
    std::vector<std::string> out;
    for (const auto name : always) out.insert(out.end(), header.count(name) + 1, std::string(name));
    for (const auto name : if_there)
        if (const auto n = header.count(name); n > 0) out.insert(out.end(), n + 1, std::string(name));
    for (const auto name : as_they_are) out.insert(out.end(), header.count(name), std::string(name));
    return out;
}

std::string canonical_fields(const mail::Header& header, const std::vector<std::string>& names) {
    std::map<std::string, std::vector<const mail::Field*>, std::less<>> left;  // of each name, top down
    for (const auto& field : header.fields) left[lowered(field.name)].push_back(&field);
    std::string out;
    for (const auto& name : names) {
        const auto found = left.find(lowered(name));
        if (found == left.end() || found->second.empty()) continue;
        out += canonical(*found->second.back(), Form::relaxed);
        found->second.pop_back();
    }
    return out;
}

Result<std::string> signature_field(const MessageHash& message, const Signer& signer, WallTime now) {
    const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(now.time_since_epoch()).count();
    const auto names = fields_to_sign(message.header());
    Folded field("DKIM-Signature:");
    field.part("v=1;", " ");
    field.part(fmt::format("a={};", signature_name_of(signer.key.algorithm())), " ");
    field.part("c=relaxed/relaxed;", " ");
    field.part("d=" + signer.domain.text() + ";", " ");
    field.part("s=" + signer.selector + ";", " ");
    field.part(fmt::format("t={};", seconds), " ");
    std::string start = "h=";
    for (std::size_t i = 0; i < names.size(); ++i) {
        field.part(start + names[i] + (i + 1 < names.size() ? ":" : ";"), i == 0 ? " " : "");
        start.clear();
    }
    field.part("bh=" + message.body_hash() + ";", " ");
    field.part("b=", " ");
    // RFC 6376 §3.7: the field itself comes last, b= empty, without the CRLF at its end.
    const std::string value = field.text().substr(field.text().find(':') + 1);
    std::string itself = canonical({"DKIM-Signature", value, field.text()}, Form::relaxed);
    itself.resize(itself.size() - 2);
    Sha256 hash;
    hash.feed(canonical_fields(message.header(), names));
    hash.feed(itself);
    auto signature = signer.key.sign(hash.finish());
    if (!signature) return signature;
    field.octets(base64(*signature));
    return field.text() + "\r\n";
}

Result<dns::Domain> author_domain(const mail::Header& header) {
    if (header.count("From") != 1)
        return fail(Errc::not_found, fmt::format("the header has {} From fields", header.count("From")));
    const auto addresses = mail::addresses(header.find("From")->value);
    if (!addresses || addresses->empty()) return fail(Errc::not_found, "no address is in the From field");
    const auto at = addresses->front().rfind('@');
    if (at == std::string::npos) return fail(Errc::not_found, "the address in the From field has no domain");
    auto domain = dns::Domain::parse(addresses->front().substr(at + 1));
    if (!domain) return fail(Errc::not_found, std::move(domain.error().text));
    return std::move(*domain);
}

}  // namespace sternpost::dkim
