#include "intake/message_text.h"

#include <fmt/format.h>

#include "mail/seven_bit.h"
#include "util/free_memory.h"
#include "util/text.h"

namespace sternpost::intake {
namespace {

constexpr std::size_t max_kept_buffer = 16384;  // ours: octets, between messages

mail::HeaderRules header_rules(const TextRules& rules, store::MessageId id, WallTime arrived) {
    mail::HeaderRules out;
    out.read_from = rules.domains != nullptr;
    if (!rules.originated) return out;
    out.drop_private = out.drop_mbox_line = out.repair = true;  // RFC 6409 §8.2, §8.3
    out.domain = rules.hostname;
    out.from = rules.from;
    out.date = rfc5322_date(arrived);
    out.message_id = id.text() + "@" + rules.hostname;
    return out;
}

}  // namespace

MessageText::MessageText(TextRules rules, store::MessageId id, WallTime arrived, mail::Received trace,
                         const std::vector<store::QueuedRecipient>& recipients)
    : touches_(true), rules_(std::move(rules)), filter_(header_rules(rules_, id, arrived)) {
    trace.by = rules_.hostname;
    trace.id = id.text();
    trace.at = arrived;
    // UTF-8 in the trace would keep the message from hosts that could have it otherwise
    if (recipients.size() == 1 && is_ascii(recipients[0].recipient.path.text()))
        trace.for_path = recipients[0].recipient.path.text();
    piece_ = trace.field();
}

Result<void> MessageText::feed(std::string_view octets) {
    nul_ = nul_ || octets.find('\0') != std::string_view::npos;
    filter_.feed(octets, piece_);
    return check();
}

Result<void> MessageText::finish() {
    filter_.finish(piece_);
    return check();
}

// What no more octets can mend.
Result<void> MessageText::check() const {
    if (nul_) return fail(Errc::bad_message, "an octet of value zero is in the message");
    if (filter_.received() > rules_.max_received)
        return fail(Errc::loop,
                    fmt::format("more than {} Received fields: a mail loop", rules_.max_received));
    return {};
}

Result<void> MessageText::judge(std::uint64_t size) const {
    if (!touches_) return {};
    if (rules_.originated && filter_.ambiguous_from())  // RFC 5322 §3.6
        return fail(Errc::bad_message, "more than one From field is in the header");
    if (auto allowed = judge_domains(); !allowed) return allowed;
    return judge_lines(size);
}

// D-47: whom this sender may write as, where a rule says so.
Result<void> MessageText::judge_domains() const {
    if (rules_.domains == nullptr) return {};
    for (const auto& domain : filter_.from_domains())
        if (!rules_.domains->allows(domain)) {
            Refusal refusal =
                not_allowed(*rules_.domains, domain == "?" ? "what is no address" : domain, rules_.sender);
            refusal.text.insert(0, "From: ");
            return fail(std::move(refusal));
        }
    return {};
}

// No host has to take a longer line than 998 octets: what is originated here is encoded so that it has none,
// what is relayed is passed on as it is.
Result<void> MessageText::judge_lines(std::uint64_t size) const {
    const std::size_t longest = filter_.longest_line();
    if (!rules_.originated) {
        if (longest <= mail::max_relayed_line) return {};
        return fail(Errc::bad_message, fmt::format("a line has {} octets, at most {} are passed on", longest,
                                                   mail::max_relayed_line));
    }
    if (!filter_.too_long_field().empty())
        return fail(Errc::bad_message, fmt::format("the header field {} has a line of more than {} octets",
                                                   filter_.too_long_field(), mail::max_line));
    if (longest > mail::max_line && size > mail::max_rewritten)
        return fail(Errc::bad_message,
                    fmt::format("a line has {} octets, at most {} are allowed in so large a message", longest,
                                mail::max_line));
    return {};
}

bool MessageText::has_long_lines() const {
    return rules_.originated && filter_.longest_line() > mail::max_line;
}

void MessageText::describe(mail::Envelope& envelope) const {
    envelope.originated = rules_.originated;
    // REQUIRETLS outranks the header field that asks for the opposite (RFC 8689 §4.1)
    envelope.tls_required_no = filter_.tls_required_no() && !envelope.requiretls;
    envelope.eight_bit_header = filter_.eight_bit();
    envelope.dkim_signed = filter_.dkim_signed();
    envelope.message_id = filter_.message_id();
    envelope.smtputf8 = envelope.smtputf8 || filter_.repairs().utf8_address;
}

mail::Repairs MessageText::repairs() const {
    mail::Repairs out = filter_.repairs();
    out.lines = lines_encoded_;
    return out;
}

void MessageText::clear() {
    piece_.clear();
    if (piece_.capacity() > max_kept_buffer) free_memory(piece_);
}

Refusal not_allowed(const mail::SenderDomains::Rule& rule, const std::string& domain,
                    const std::string& sender) {
    return {Errc::not_allowed, fmt::format("{} is not among the domains that the rule {} lets {} write as",
                                           domain, rule.name, sender)};
}

}  // namespace sternpost::intake
