#include "store/journal/codec.h"

#include <algorithm>
#include <limits>
#include <utility>

namespace sternpost::store {
namespace {

// Tags. Numbers are for ever; a new field takes the next free one of its list.
enum MessageTag : std::uint64_t {
    message_id = 1,
    message_submission = 2,
    message_arrived = 3,
    message_class_tag = 4,
    message_reverse_path = 5,  // absent: the null reverse-path
    message_body_type = 6,
    message_ret = 7,
    message_envid = 8,
    message_flags = 9,
    message_origin_address = 10,
    message_origin_helo = 11,
    message_origin_with = 12,
    message_origin_uid = 13,
    message_body_file = 14,
    message_body_size = 15,
    message_body_crc = 16,
    message_body_eight_bit = 17,
    message_recipient = 18,  // repeated
    message_copied = 20,     // flags: a copy made by thinning
    message_message_id = 21,
};
enum MessageFlag : std::uint64_t {
    flag_smtputf8 = 1,
    flag_requiretls = 2,
    flag_tls_required_no = 4,
    flag_eight_bit_header = 8,
    flag_dkim_signed = 16,
    flag_originated = 32,
};
enum CopiedFlag : std::uint64_t { copied = 1, copied_held = 2, copied_warned = 4 };
enum RecipientTag : std::uint64_t {
    recipient_path = 1,
    recipient_notify = 2,
    recipient_orcpt = 3,
    recipient_hop = 4,
    // of a copy
    recipient_state = 5,
    recipient_next_at = 6,
    recipient_tries = 7,
    recipient_status = 8,
    recipient_text = 9,
    recipient_lost_replies = 10,
};

// Calls `take(tag, into)` for every field. False: the octets are not fields, or one does not fit its place.
template <class Take>
bool read_fields(std::string_view fields, Take take) {
    FieldReader reader(fields);
    while (const auto field = reader.next()) {
        Into into(*field);
        take(*field, into);
        if (!into.ok()) return false;
    }
    return !reader.damaged();
}

std::string encode_recipient(const QueuedRecipient& recipient, const RecipientProgress* copied) {
    FieldWriter out;
    out.octets(recipient_path, recipient.recipient.path.text());
    out.some_number(recipient_notify, notify_bits(recipient.recipient.notify));
    out.some_octets(recipient_orcpt, recipient.recipient.orcpt);
    out.octets(recipient_hop, recipient.next_hop);
    if (copied == nullptr) return out.take();
    out.some_number(recipient_state, static_cast<std::uint64_t>(copied->state));
    out.time(recipient_next_at, copied->next_at);
    out.some_number(recipient_tries, copied->tries);
    out.some_octets(recipient_status, copied->status);
    out.some_octets(recipient_text, copied->text);
    out.some_number(recipient_lost_replies, copied->lost_replies);
    return out.take();
}

void put_recipients(FieldWriter& out, const NewMessage& message, const CopiedState* copied = nullptr) {
    for (std::size_t n = 0; n < message.recipients.size(); ++n)
        out.octets(message_recipient,
                   encode_recipient(message.recipients[n], copied != nullptr && n < copied->recipients.size()
                                                               ? &copied->recipients[n]
                                                               : nullptr));
}

std::optional<QueuedRecipient> decode_recipient(std::string_view fields, RecipientProgress& copied) {
    std::optional<mail::ForwardPath> path;
    std::uint64_t notify = 0;
    std::string orcpt;
    std::string hop;
    const bool ok = read_fields(fields, [&](const Field& field, Into& into) {
        switch (field.tag) {
            case recipient_path:
                if (auto parsed = mail::ForwardPath::parse(field.octets, true)) path = std::move(*parsed);
                break;
            case recipient_notify:
                into.number(notify);
                break;
            case recipient_orcpt:
                into.text(orcpt);
                break;
            case recipient_hop:
                into.text(hop);
                break;
            case recipient_state:
                into.choice(copied.state, RecipientState::deleted);
                break;
            case recipient_next_at:
                into.time(copied.next_at);
                break;
            case recipient_tries:
                into.number(copied.tries);
                break;
            case recipient_status:
                into.text(copied.status);
                break;
            case recipient_text:
                into.text(copied.text);
                break;
            case recipient_lost_replies:
                into.number(copied.lost_replies);
                break;
            default:
                break;
        }
    });
    if (!ok || !path) return std::nullopt;
    mail::Recipient recipient(std::move(*path));
    recipient.notify = notify_of(notify);
    recipient.orcpt = std::move(orcpt);
    return QueuedRecipient(std::move(recipient), std::move(hop));
}

enum class Keep { all, for_history };

void put_head(FieldWriter& out, const NewMessage& message, Keep keep) {
    out.number(message_id, message.id.value);
    if (message.submission && keep == Keep::all) {
        const auto& octets = message.submission->octets;
        out.octets(message_submission, std::string(octets.begin(), octets.end()));
    }
    out.time(message_arrived, message.arrived);
    out.some_number(message_class_tag, static_cast<std::uint64_t>(message.message_class));
    const auto& envelope = message.envelope;
    if (!envelope.reverse_path.is_null()) out.octets(message_reverse_path, envelope.reverse_path.text());
    out.some_number(message_body_type, static_cast<std::uint64_t>(envelope.body));
    out.some_number(message_ret, static_cast<std::uint64_t>(envelope.ret));
    out.some_octets(message_envid, envelope.envid);
    out.some_octets(message_message_id, envelope.message_id);
    std::uint64_t flags = 0;
    if (envelope.smtputf8) flags |= flag_smtputf8;
    if (envelope.requiretls) flags |= flag_requiretls;
    if (envelope.tls_required_no) flags |= flag_tls_required_no;
    if (envelope.eight_bit_header) flags |= flag_eight_bit_header;
    if (envelope.dkim_signed) flags |= flag_dkim_signed;
    if (envelope.originated) flags |= flag_originated;
    out.some_number(message_flags, flags);
    out.some_octets(message_origin_address, message.origin.address);
    out.some_octets(message_origin_helo, message.origin.helo);
    out.some_octets(message_origin_with, message.origin.with);
    if (message.origin.uid) out.number(message_origin_uid, *message.origin.uid);
    out.number(message_body_size, message.body.size);
    if (keep == Keep::for_history) return;
    out.some_octets(message_body_file, file_of(message.body.ref));
    out.number(message_body_crc, message.body.crc);
    out.some_number(message_body_eight_bit, message.body.eight_bit ? 1 : 0);
}

}  // namespace

std::uint64_t notify_bits(const mail::Notify& notify) {
    return (notify.never ? 1U : 0U) | (notify.success ? 2U : 0U) | (notify.failure ? 4U : 0U) |
           (notify.delay ? 8U : 0U);
}

mail::Notify notify_of(std::uint64_t bits) {
    mail::Notify notify;
    notify.never = (bits & 1U) != 0;
    notify.success = (bits & 2U) != 0;
    notify.failure = (bits & 4U) != 0;
    notify.delay = (bits & 8U) != 0;
    return notify;
}

std::string encode(const Accepted& accepted) {
    FieldWriter out;
    put_head(out, accepted.message, Keep::all);
    const CopiedState* state = accepted.copied ? &*accepted.copied : nullptr;
    if (state != nullptr) {
        std::uint64_t flags = copied;
        if (state->held) flags |= copied_held;
        if (state->warned) flags |= copied_warned;
        out.number(message_copied, flags);
    }
    put_recipients(out, accepted.message, state);
    return out.take();
}

std::string encode(const NewMessage& message) {
    FieldWriter out;
    put_head(out, message, Keep::all);
    put_recipients(out, message);
    return out.take();
}

std::string encode_head(const NewMessage& message) {
    FieldWriter out;
    put_head(out, message, Keep::all);
    return out.take();
}

std::string encode_for_history(const NewMessage& message) {
    FieldWriter out;
    put_head(out, message, Keep::for_history);
    for (const auto& recipient : message.recipients)
        out.octets(message_recipient, encode_recipient(recipient, nullptr));
    return out.take();
}

namespace {

void take_envelope(const Field& field, Into& into, mail::Envelope& envelope) {
    switch (field.tag) {
        case message_reverse_path:
            if (auto path = mail::ReversePath::parse(field.octets, true))
                envelope.reverse_path = std::move(*path);
            else
                into.refuse();
            break;
        case message_body_type:
            into.choice(envelope.body, mail::BodyType::eight_bit_mime);
            break;
        case message_ret:
            into.choice(envelope.ret, mail::Ret::hdrs);
            break;
        case message_envid:
            into.text(envelope.envid);
            break;
        case message_message_id:
            into.text(envelope.message_id);
            break;
        case message_flags: {
            std::uint64_t flags = 0;
            into.number(flags);
            envelope.smtputf8 = (flags & flag_smtputf8) != 0;
            envelope.requiretls = (flags & flag_requiretls) != 0;
            envelope.tls_required_no = (flags & flag_tls_required_no) != 0;
            envelope.eight_bit_header = (flags & flag_eight_bit_header) != 0;
            envelope.dkim_signed = (flags & flag_dkim_signed) != 0;
            envelope.originated = (flags & flag_originated) != 0;
            break;
        }
        default:
            break;
    }
}

// The name becomes part of a path: only what we make ourselves may stand there.
void take_file(const Field& field, Into& into, Body& body) {
    const auto ref = ref_to_file(field.octets);
    if (!ref) return into.refuse();
    body.ref = *ref;
}

void take_origin_and_body(const Field& field, Into& into, NewMessage& message) {
    switch (field.tag) {
        case message_origin_address:
            into.text(message.origin.address);
            break;
        case message_origin_helo:
            into.text(message.origin.helo);
            break;
        case message_origin_with:
            into.text(message.origin.with);
            break;
        case message_origin_uid:
            into.number(message.origin.uid.emplace());
            break;
        case message_body_file:
            take_file(field, into, message.body);
            break;
        case message_body_size:
            into.number(message.body.size);
            break;
        case message_body_crc:
            into.number(message.body.crc);
            break;
        case message_body_eight_bit:
            into.flag(message.body.eight_bit);
            break;
        default:
            break;
    }
}

}  // namespace

Result<Accepted> decode_accepted(std::string_view fields) {
    Accepted out;
    NewMessage& message = out.message;
    bool has_id = false;
    std::uint64_t copy = 0;
    CopiedState copied;
    const bool ok = read_fields(fields, [&](const Field& field, Into& into) {
        switch (field.tag) {
            case message_id:
                into.number(message.id.value);
                has_id = true;
                break;
            case message_submission:
                message.submission.emplace();
                if (field.octets.size() != message.submission->octets.size()) return into.refuse();
                std::copy(field.octets.begin(), field.octets.end(), message.submission->octets.begin());
                break;
            case message_arrived:
                into.time(message.arrived);
                break;
            case message_class_tag:
                into.choice(message.message_class, MessageClass::report);
                break;
            case message_recipient:
                if (auto recipient = decode_recipient(field.octets, copied.recipients.emplace_back()))
                    message.recipients.push_back(std::move(*recipient));
                else
                    into.refuse();
                break;
            case message_copied:
                into.number(copy);
                break;
            default:
                take_envelope(field, into, message.envelope);
                take_origin_and_body(field, into, message);
        }
    });
    if (copy != 0) {
        copied.held = (copy & copied_held) != 0;
        copied.warned = (copy & copied_warned) != 0;
        out.copied = std::move(copied);
    }
    if (!ok || !has_id) return unreadable_record("message");
    return out;
}

Result<NewMessage> decode_message(std::string_view fields) {
    auto accepted = decode_accepted(fields);
    if (!accepted) return fail(std::move(accepted).error());
    return std::move(accepted->message);
}

Result<std::optional<Kept>> decode_kept(RecordType type, std::string_view fields) {
    Result<std::optional<Kept>> out = std::optional<Kept>();
    for_each_kind([&]<class Value>(std::type_identity<Value>) {
        if (type != Description<Value>::record) return;
        if (auto value = decode<Value>(fields))
            out = std::optional<Kept>(std::move(*value));
        else
            out = fail(std::move(value).error());
    });
    return out;
}

std::string encode_alike(const TlsOutcome& outcome) {
    described::Encoder encoder(WithOutcomes::no);
    alike_fields(encoder, outcome);
    return encoder.take();
}

}  // namespace sternpost::store
