#include "store/message.h"

#include <algorithm>

#include "util/crc32c.h"
#include "util/text.h"

namespace sternpost::store {
namespace {

// Digits and consonants in ASCII order: texts of equal length sort as their values do.
constexpr std::string_view alphabet = "0123456789BCDFGHJKLMNPQRSTVWXYZbcdfghjklmnpqrstvwxyz";
constexpr std::size_t id_width = 10;  // enough until the year 2091; then ids grow by a digit
constexpr unsigned slot_bits = 6;

constexpr WallTime epoch = std::chrono::sys_days(std::chrono::year(2020) / 1 / 1);

}  // namespace

std::string_view name_of(MessageClass message_class) {
    switch (message_class) {
        case MessageClass::mail:
            return "mail";
        case MessageClass::notice:
            return "notice";
        case MessageClass::report:
            return "report";
    }
    return "";
}

std::string_view name_of(RecipientState state) {
    switch (state) {
        case RecipientState::queued:
            return "queued";
        case RecipientState::sent:
            return "sent";
        case RecipientState::bounced:
            return "bounced";
        case RecipientState::deleted:
            return "deleted";
    }
    return "?";
}

std::string MessageId::text() const {
    std::string out;
    for (std::uint64_t rest = value; rest != 0 || out.size() < id_width; rest /= alphabet.size())
        out += alphabet[rest % alphabet.size()];
    std::reverse(out.begin(), out.end());
    return out;
}

WallTime MessageId::time() const {
    return epoch + std::chrono::microseconds(value >> slot_bits);
}

MessageId MessageId::last_at(WallTime time) {
    const auto since = std::max(time - epoch, std::chrono::microseconds(0));
    return {(static_cast<std::uint64_t>(since.count() + 1) << slot_bits) - 1};
}

std::optional<MessageId> MessageId::parse(std::string_view text) {
    if (text.size() < id_width || (text.size() > id_width && text.front() == '0')) return std::nullopt;
    std::uint64_t value = 0;
    for (const char c : text) {
        const auto digit = alphabet.find(c);
        if (digit == std::string_view::npos) return std::nullopt;
        if (__builtin_mul_overflow(value, std::uint64_t{alphabet.size()}, &value)) return std::nullopt;
        if (__builtin_add_overflow(value, std::uint64_t{digit}, &value)) return std::nullopt;
    }
    return MessageId{value};
}

MessageId IdSource::next() {
    const auto since = (clock_.wall() - epoch).count();
    const auto now = since > 0 ? static_cast<std::uint64_t>(since) : 0U;
    last_ =
        std::max(now, last_ + 1);  // a clock that steps back makes ids run ahead of it, never twice the same
    return MessageId{(last_ << slot_bits) | slot_};
}

SubmissionId SubmissionId::make(Random& random) {
    SubmissionId id;
    random.fill(std::as_writable_bytes(std::span(id.octets)));
    return id;
}

std::optional<SubmissionId> SubmissionId::parse(std::string_view hex32) {
    const auto octets = unhex(hex32);
    SubmissionId id;
    if (!octets || octets->size() != id.octets.size()) return std::nullopt;
    std::copy(octets->begin(), octets->end(), id.octets.begin());
    return id;
}

std::string SubmissionId::text() const {
    return hex(octets);
}

Body Body::of(std::string octets) {
    Body body;
    body.size = octets.size();
    body.crc = crc32c(octets);
    body.eight_bit = !is_ascii(octets);
    body.octets = std::make_shared<const std::string>(std::move(octets));
    return body;
}

void RecipientProgress::move_on(WallTime at) {
    if (tries > 0 || !status.empty()) next_at = at;
    tries = 0;
    status.clear();
    text.clear();
}

StoredMessage StoredMessage::of(const NewMessage& message) {
    StoredMessage out;
    out.id = message.id;
    out.arrived = message.arrived;
    out.message_class = message.message_class;
    out.envelope = message.envelope;
    out.origin = message.origin;
    out.body = message.body;
    out.recipients.reserve(message.recipients.size());
    for (const auto& recipient : message.recipients) {
        out.recipients.emplace_back(recipient);
        out.recipients.back().next_at = message.arrived;
    }
    return out;
}

}  // namespace sternpost::store
