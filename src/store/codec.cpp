#include "store/codec.h"

#include <algorithm>
#include <limits>

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
enum ResultTag : std::uint64_t {
    result_message = 1,
    result_recipient = 2,
    result_state = 3,
    result_at = 4,
    result_next_at = 5,
    result_tries = 6,
    result_status = 7,
    result_text = 8,
    result_diagnostic = 9,
    result_mx_host = 10,
    result_mx_address = 11,
    result_tls = 12,
    result_policy = 13,
    result_result_type = 14,
    result_reason_code = 15,
    result_detail = 16,
    result_lost_replies = 17,
};
enum HopTag : std::uint64_t {
    hop_name = 1,
    hop_at = 2,
    hop_next_at = 3,
    hop_failures = 4,
    hop_status = 5,
    hop_text = 6,
    hop_reason_code = 7,
    hop_detail = 8,
};
enum DetailTag : std::uint64_t {
    detail_host = 1,
    detail_dialogue = 2,
    detail_outcome = 3,
    detail_mx_host = 4,
    detail_diagnostic = 5
};
enum OutcomeTag : std::uint64_t {
    outcome_at = 1,
    outcome_domain = 2,
    outcome_policy_type = 3,
    outcome_policy_domain = 4,  // absent: the domain
    outcome_policy_text = 5,
    outcome_mode = 6,
    outcome_count = 7,
    outcome_result_type = 8,
    outcome_reason_code = 9,
    outcome_mx_host = 10,
    outcome_helo = 11,
    outcome_local_address = 12,
    outcome_remote_address = 13,
    outcome_tls = 14,
    outcome_if_enforced = 15,
};
enum ActTag : std::uint64_t {
    act_kind = 1,
    act_message = 2,
    act_at = 3,
    act_who = 4,
    act_from = 5,
    act_to = 6,
};
enum PolicyTag : std::uint64_t {
    policy_domain = 1,
    policy_id = 2,
    policy_text = 3,
    policy_fetched = 4,
    policy_expires = 5,
    policy_checked = 6,
    policy_fingerprint = 7,
};
enum DiscoveryTag : std::uint64_t {
    discovery_domain = 1,
    discovery_unknown_since = 2,
    discovery_failed_id = 3,
    discovery_failed_at = 4,
    discovery_mailed = 5,
};
enum OverrideTag : std::uint64_t {
    override_scope = 1,
    override_level = 2,  // absent: the override is removed
    override_reason = 3,
    override_author = 4,
    override_set = 5,
    override_expires = 6,
};
enum AlarmTag : std::uint64_t {
    alarm_kind = 1,
    alarm_subject = 2,
    alarm_text = 3,
    alarm_first = 4,
    alarm_last = 5,
    alarm_count = 6,
};
enum SuspensionTag : std::uint64_t {
    suspension_kind = 1,
    suspension_scope = 2,
    suspension_reason = 3,
    suspension_author = 4,
    suspension_set = 5,
    suspension_ended = 6,
};

enum ClosedDayTag : std::uint64_t {
    closed_day = 1,  // days since 1970-01-01
};
enum ReportTag : std::uint64_t {
    report_day = 1,  // days since 1970-01-01
    report_domain = 2,
    report_id = 3,
    report_state = 4,
    report_first_tried = 5,
    report_at = 6,
    report_next_at = 7,
    report_tries = 8,
    report_resent = 9,
    report_text = 10,
    report_good = 11,
    report_failed = 12,
    report_place = 13,  // repeated
};
enum ReportPlaceTag : std::uint64_t {
    place_uri = 1,
    place_state = 2,
    place_at = 3,
    place_text = 4,
};

constexpr std::size_t max_hosts = 20;
constexpr std::size_t max_dialogue = 4096;
constexpr std::uint32_t most_days = 3'000'000;  // since 1970

tl::unexpected<Error<Errc>> damaged(const char* what) {
    return fail(Errc::damaged, std::string("not a readable record: ") + what);
}

// Takes fields one by one into the places named for their tags; remembers the first that does not fit.
class Into {
  public:
    explicit Into(const Field& field) : field_(field) {}

    void text(std::string& place) const { place.assign(field_.octets); }
    void reason_code(ReasonCode& place) const { place = reason_code_of(field_.octets); }
    template <class Number>
    void number(Number& place) {
        const auto value = field_.number();
        if (!value || *value > std::numeric_limits<Number>::max()) {
            ok_ = false;
            return;
        }
        place = static_cast<Number>(*value);
    }
    template <class Enum>
    void choice(Enum& place, Enum most) {
        std::uint64_t value = 0;
        number(value);
        if (value > static_cast<std::uint64_t>(most)) ok_ = false;
        if (ok_) place = static_cast<Enum>(value);
    }
    void time(WallTime& place) {
        if (const auto value = field_.time())
            place = *value;
        else
            ok_ = false;
    }
    void day(std::chrono::sys_days& place) {
        std::uint32_t days = 0;
        number(days);
        if (days > most_days) ok_ = false;
        if (ok_) place = std::chrono::sys_days(std::chrono::days(static_cast<int>(days)));
    }
    void flag(bool& place) {
        std::uint64_t value = 0;
        number(value);
        place = value != 0;
    }
    void refuse() { ok_ = false; }
    bool ok() const { return ok_; }

  private:
    const Field& field_;
    bool ok_ = true;
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

std::string encode_recipient(const QueuedRecipient& recipient, const RecipientProgress* standing) {
    FieldWriter out;
    out.octets(recipient_path, recipient.recipient.path.text());
    out.some_number(recipient_notify, notify_bits(recipient.recipient.notify));
    out.some_octets(recipient_orcpt, recipient.recipient.orcpt);
    out.octets(recipient_hop, recipient.next_hop);
    if (standing == nullptr) return out.take();
    out.some_number(recipient_state, static_cast<std::uint64_t>(standing->state));
    out.time(recipient_next_at, standing->next_at);
    out.some_number(recipient_tries, standing->tries);
    out.some_octets(recipient_status, standing->status);
    out.some_octets(recipient_text, standing->text);
    out.some_number(recipient_lost_replies, standing->lost_replies);
    return out.take();
}

void put_recipients(FieldWriter& out, const NewMessage& message) {
    const Standing* standing = message.standing ? &*message.standing : nullptr;
    for (std::size_t n = 0; n < message.recipients.size(); ++n)
        out.octets(message_recipient, encode_recipient(message.recipients[n],
                                                       standing != nullptr && n < standing->recipients.size()
                                                           ? &standing->recipients[n]
                                                           : nullptr));
}

std::optional<QueuedRecipient> decode_recipient(std::string_view fields, RecipientProgress& standing) {
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
                into.choice(standing.state, RecipientState::deleted);
                break;
            case recipient_next_at:
                into.time(standing.next_at);
                break;
            case recipient_tries:
                into.number(standing.tries);
                break;
            case recipient_status:
                into.text(standing.status);
                break;
            case recipient_text:
                into.text(standing.text);
                break;
            case recipient_lost_replies:
                into.number(standing.lost_replies);
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
    out.some_octets(message_body_file, message.body.file);
    out.number(message_body_crc, message.body.crc);
    out.some_number(message_body_eight_bit, message.body.eight_bit ? 1 : 0);
}

}  // namespace

void put_varint(std::string& out, std::uint64_t value) {
    for (; value >= 0x80; value >>= 7U) out += static_cast<char>(0x80U | (value & 0x7FU));
    out += static_cast<char>(value);
}

void put_u32(std::string& out, std::uint32_t value) {
    for (unsigned shift = 0; shift < 32; shift += 8) out += static_cast<char>((value >> shift) & 0xFFU);
}

void put_u64(std::string& out, std::uint64_t value) {
    for (unsigned shift = 0; shift < 64; shift += 8) out += static_cast<char>((value >> shift) & 0xFFU);
}

std::uint32_t get_u32(std::string_view octets, std::size_t offset) {
    std::uint32_t value = 0;
    for (unsigned i = 0; i < 4; ++i)
        value |= std::uint32_t{static_cast<unsigned char>(octets[offset + i])} << (8U * i);
    return value;
}

std::uint64_t get_u64(std::string_view octets, std::size_t offset) {
    std::uint64_t value = 0;
    for (unsigned i = 0; i < 8; ++i)
        value |= std::uint64_t{static_cast<unsigned char>(octets[offset + i])} << (8U * i);
    return value;
}

void FieldWriter::octets(std::uint64_t tag, std::string_view value) {
    put_varint(out_, tag);
    put_varint(out_, value.size());
    out_ += value;
}

void FieldWriter::number(std::uint64_t tag, std::uint64_t value) {
    std::string text;
    for (; value != 0; value >>= 8U) text += static_cast<char>(value & 0xFFU);
    octets(tag, text);
}

void FieldWriter::time(std::uint64_t tag, WallTime value) {
    number(tag, static_cast<std::uint64_t>(value.time_since_epoch().count()));
}

void FieldWriter::some_octets(std::uint64_t tag, std::string_view value) {
    if (!value.empty()) octets(tag, value);
}

void FieldWriter::some_number(std::uint64_t tag, std::uint64_t value) {
    if (value != 0) number(tag, value);
}

std::optional<std::uint64_t> Field::number() const {
    if (octets.size() > 8) return std::nullopt;
    std::uint64_t value = 0;
    for (std::size_t i = 0; i < octets.size(); ++i)
        value |= std::uint64_t{static_cast<unsigned char>(octets[i])} << (8U * i);
    return value;
}

std::optional<WallTime> Field::time() const {
    const auto value = number();
    if (!value) return std::nullopt;
    return WallTime(std::chrono::microseconds(static_cast<std::int64_t>(*value)));
}

std::optional<std::uint64_t> FieldReader::varint() {
    std::uint64_t value = 0;
    for (unsigned i = 0; i < 10 && i < rest_.size(); ++i) {
        const auto octet = static_cast<unsigned char>(rest_[i]);
        if (i == 9 && octet > 1) break;  // beyond 64 bits
        value |= std::uint64_t{octet & 0x7FU} << (7U * i);
        if (octet < 0x80) {
            rest_.remove_prefix(i + 1);
            return value;
        }
    }
    damaged_ = true;
    return std::nullopt;
}

std::optional<Field> FieldReader::next() {
    if (rest_.empty() || damaged_) return std::nullopt;
    const auto tag = varint();
    const auto length = tag ? varint() : std::nullopt;
    if (!length) return std::nullopt;
    if (*length > rest_.size()) {
        damaged_ = true;
        return std::nullopt;
    }
    const Field field{*tag, rest_.substr(0, *length)};
    rest_.remove_prefix(*length);
    return field;
}

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

std::string encode(const NewMessage& message) {
    FieldWriter out;
    put_head(out, message, Keep::all);
    if (message.standing) {
        std::uint64_t flags = copied;
        if (message.standing->held) flags |= copied_held;
        if (message.standing->warned) flags |= copied_warned;
        out.number(message_copied, flags);
    }
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

Result<NewMessage> decode_message(std::string_view fields) {
    NewMessage message;
    bool has_id = false;
    std::uint64_t copy = 0;
    Standing standing;
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
            case message_reverse_path:
                if (auto path = mail::ReversePath::parse(field.octets, true))
                    message.envelope.reverse_path = std::move(*path);
                else
                    into.refuse();
                break;
            case message_body_type:
                into.choice(message.envelope.body, mail::BodyType::eight_bit_mime);
                break;
            case message_ret:
                into.choice(message.envelope.ret, mail::Ret::hdrs);
                break;
            case message_envid:
                into.text(message.envelope.envid);
                break;
            case message_flags: {
                std::uint64_t flags = 0;
                into.number(flags);
                message.envelope.smtputf8 = (flags & flag_smtputf8) != 0;
                message.envelope.requiretls = (flags & flag_requiretls) != 0;
                message.envelope.tls_required_no = (flags & flag_tls_required_no) != 0;
                message.envelope.eight_bit_header = (flags & flag_eight_bit_header) != 0;
                message.envelope.dkim_signed = (flags & flag_dkim_signed) != 0;
                message.envelope.originated = (flags & flag_originated) != 0;
                break;
            }
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
                into.text(message.body.file);
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
            case message_recipient:
                if (auto recipient = decode_recipient(field.octets, standing.recipients.emplace_back()))
                    message.recipients.push_back(std::move(*recipient));
                else
                    into.refuse();
                break;
            case message_copied:
                into.number(copy);
                break;
            default:
                break;
        }
    });
    if (copy != 0) {
        standing.held = (copy & copied_held) != 0;
        standing.warned = (copy & copied_warned) != 0;
        message.standing = std::move(standing);
    }
    // A body file's name becomes part of a path: nothing but what we make ourselves may stand there.
    const auto odd = message.body.file.find_first_not_of("0123456789abcdef");
    if (!ok || !has_id || odd != std::string::npos) return damaged("message");
    return message;
}

namespace {

void put_alike(FieldWriter& out, const TlsOutcome& outcome) {
    out.some_number(outcome_policy_type, static_cast<std::uint64_t>(outcome.policy_type));
    if (outcome.policy_domain != outcome.domain) out.octets(outcome_policy_domain, outcome.policy_domain);
    out.some_octets(outcome_mode, outcome.mode);
    out.some_number(outcome_count, static_cast<std::uint64_t>(outcome.count));
    out.some_octets(outcome_result_type, outcome.result_type);
    out.some_octets(outcome_reason_code, outcome.reason_code);
    out.some_octets(outcome_mx_host, outcome.mx_host);
    out.some_octets(outcome_helo, outcome.helo);
    out.some_octets(outcome_local_address, outcome.local_address);
    out.some_octets(outcome_remote_address, outcome.remote_address);
    out.some_octets(outcome_tls, outcome.tls);
    out.some_octets(outcome_if_enforced, outcome.if_enforced);
}

void put_detail(FieldWriter& out, std::uint64_t tag, const AttemptDetail& detail, WithOutcomes outcomes) {
    if (auto octets = encode(detail, outcomes); !octets.empty()) out.octets(tag, octets);
}

}  // namespace

std::string encode_alike(const TlsOutcome& outcome) {
    FieldWriter out;
    put_alike(out, outcome);
    return out.take();
}

Result<TlsOutcome> decode_outcome(std::string_view fields) {
    TlsOutcome outcome;
    bool other_policy_domain = false;
    const bool ok = read_fields(fields, [&](const Field& field, Into& into) {
        switch (field.tag) {
            case outcome_at:
                into.time(outcome.at);
                break;
            case outcome_domain:
                into.text(outcome.domain);
                break;
            case outcome_policy_type:
                into.choice(outcome.policy_type, PolicyType::tlsa);
                break;
            case outcome_policy_domain:
                into.text(outcome.policy_domain);
                other_policy_domain = true;
                break;
            case outcome_policy_text:
                into.text(outcome.policy_text);
                break;
            case outcome_mode:
                into.text(outcome.mode);
                break;
            case outcome_count:
                into.choice(outcome.count, OutcomeCount::detail);
                break;
            case outcome_result_type:
                into.text(outcome.result_type);
                break;
            case outcome_reason_code:
                into.text(outcome.reason_code);
                break;
            case outcome_mx_host:
                into.text(outcome.mx_host);
                break;
            case outcome_helo:
                into.text(outcome.helo);
                break;
            case outcome_local_address:
                into.text(outcome.local_address);
                break;
            case outcome_remote_address:
                into.text(outcome.remote_address);
                break;
            case outcome_tls:
                into.text(outcome.tls);
                break;
            case outcome_if_enforced:
                into.text(outcome.if_enforced);
                break;
            default:
                break;
        }
    });
    if (!ok) return damaged("TLS outcome");
    if (!other_policy_domain) outcome.policy_domain = outcome.domain;
    return outcome;
}

std::string encode(const AttemptDetail& detail, WithOutcomes outcomes) {
    FieldWriter out;
    for (std::size_t i = 0; i < detail.hosts.size() && i < max_hosts; ++i)
        out.octets(detail_host, detail.hosts[i]);
    out.some_octets(detail_dialogue, std::string_view(detail.dialogue).substr(0, max_dialogue));
    out.some_octets(detail_mx_host, detail.mx_host);
    out.some_octets(detail_diagnostic, detail.diagnostic);
    if (outcomes == WithOutcomes::no) return out.take();
    for (const auto& outcome : detail.outcomes) {
        FieldWriter one;
        one.time(outcome_at, outcome.at);
        one.octets(outcome_domain, outcome.domain);
        one.some_octets(outcome_policy_text, outcome.policy_text);
        put_alike(one, outcome);
        out.octets(detail_outcome, one.take());
    }
    return out.take();
}

Result<AttemptDetail> decode_detail(std::string_view fields) {
    AttemptDetail detail;
    const bool ok = read_fields(fields, [&](const Field& field, Into& into) {
        switch (field.tag) {
            case detail_host:
                into.text(detail.hosts.emplace_back());
                break;
            case detail_dialogue:
                into.text(detail.dialogue);
                break;
            case detail_mx_host:
                into.text(detail.mx_host);
                break;
            case detail_diagnostic:
                into.text(detail.diagnostic);
                break;
            case detail_outcome:
                if (auto outcome = decode_outcome(field.octets))
                    detail.outcomes.push_back(std::move(*outcome));
                else
                    into.refuse();
                break;
            default:
                break;
        }
    });
    if (!ok) return damaged("attempt's detail");
    return detail;
}

namespace {

void take_detail(AttemptDetail& place, const Field& field, Into& into) {
    if (auto detail = decode_detail(field.octets))
        place = std::move(*detail);
    else
        into.refuse();
}

std::string encode_result(const DeliveryResult& result, WithOutcomes outcomes) {
    FieldWriter out;
    out.number(result_message, result.message.value);
    out.number(result_recipient, result.recipient);
    out.number(result_state, static_cast<std::uint64_t>(result.state));
    out.time(result_at, result.at);
    out.some_number(result_next_at, static_cast<std::uint64_t>(result.next_at.time_since_epoch().count()));
    out.some_number(result_tries, result.tries);
    out.some_octets(result_status, result.status);
    out.some_octets(result_text, result.text);
    out.some_octets(result_diagnostic, result.diagnostic);
    out.some_octets(result_mx_host, result.mx_host);
    out.some_octets(result_mx_address, result.mx_address);
    out.some_octets(result_tls, result.tls);
    out.some_octets(result_policy, result.policy);
    out.some_octets(result_result_type, result.result_type);
    out.some_octets(result_reason_code, name_of(result.reason_code));
    put_detail(out, result_detail, result.detail, outcomes);
    out.some_number(result_lost_replies, result.lost_replies);
    return out.take();
}

std::string encode_hop(const HopState& state, WithOutcomes outcomes) {
    FieldWriter out;
    out.octets(hop_name, state.next_hop);
    out.time(hop_at, state.at);
    out.time(hop_next_at, state.next_at);
    out.some_number(hop_failures, state.failures);
    out.some_octets(hop_status, state.status);
    out.some_octets(hop_text, state.text);
    out.some_octets(hop_reason_code, name_of(state.reason_code));
    put_detail(out, hop_detail, state.detail, outcomes);
    return out.take();
}

}  // namespace

std::string encode(const DeliveryResult& result) {
    return encode_result(result, WithOutcomes::yes);
}
std::string encode_for_history(const DeliveryResult& result) {
    return encode_result(result, WithOutcomes::no);
}
std::string encode(const HopState& state) {
    return encode_hop(state, WithOutcomes::yes);
}
std::string encode_for_history(const HopState& state) {
    return encode_hop(state, WithOutcomes::no);
}

Result<DeliveryResult> decode_result(std::string_view fields) {
    DeliveryResult result;
    bool has_message = false;
    const bool ok = read_fields(fields, [&](const Field& field, Into& into) {
        switch (field.tag) {
            case result_message:
                into.number(result.message.value);
                has_message = true;
                break;
            case result_recipient:
                into.number(result.recipient);
                break;
            case result_state:
                into.choice(result.state, RecipientState::deleted);
                break;
            case result_at:
                into.time(result.at);
                break;
            case result_next_at:
                into.time(result.next_at);
                break;
            case result_tries:
                into.number(result.tries);
                break;
            case result_status:
                into.text(result.status);
                break;
            case result_text:
                into.text(result.text);
                break;
            case result_diagnostic:
                into.text(result.diagnostic);
                break;
            case result_mx_host:
                into.text(result.mx_host);
                break;
            case result_mx_address:
                into.text(result.mx_address);
                break;
            case result_tls:
                into.text(result.tls);
                break;
            case result_policy:
                into.text(result.policy);
                break;
            case result_result_type:
                into.text(result.result_type);
                break;
            case result_reason_code:
                into.reason_code(result.reason_code);
                break;
            case result_detail:
                take_detail(result.detail, field, into);
                break;
            case result_lost_replies:
                into.number(result.lost_replies);
                break;
            default:
                break;
        }
    });
    if (!ok || !has_message) return damaged("result");
    // Releases that did not count lost replies named the last one.
    if (result.reason_code == ReasonCode::possibly_delivered && result.lost_replies == 0)
        result.lost_replies = std::max(result.tries, 1U);
    return result;
}

Result<HopState> decode_hop(std::string_view fields) {
    HopState state;
    const bool ok = read_fields(fields, [&](const Field& field, Into& into) {
        switch (field.tag) {
            case hop_name:
                into.text(state.next_hop);
                break;
            case hop_at:
                into.time(state.at);
                break;
            case hop_next_at:
                into.time(state.next_at);
                break;
            case hop_failures:
                into.number(state.failures);
                break;
            case hop_status:
                into.text(state.status);
                break;
            case hop_text:
                into.text(state.text);
                break;
            case hop_reason_code:
                into.reason_code(state.reason_code);
                break;
            case hop_detail:
                take_detail(state.detail, field, into);
                break;
            default:
                break;
        }
    });
    if (!ok || state.next_hop.empty()) return damaged("next hop");
    return state;
}

std::string encode(const Act& act) {
    FieldWriter out;
    out.number(act_kind, static_cast<std::uint64_t>(act.kind));
    out.number(act_message, act.message.value);
    out.time(act_at, act.at);
    out.some_octets(act_who, act.who);
    out.some_octets(act_from, act.from);
    out.some_octets(act_to, act.to);
    return out.take();
}

Result<Act> decode_act(std::string_view fields) {
    Act act;
    bool has_kind = false;
    bool has_message = false;
    const bool ok = read_fields(fields, [&](const Field& field, Into& into) {
        switch (field.tag) {
            case act_kind:
                into.choice(act.kind, ActKind::reroute);
                has_kind = static_cast<std::uint8_t>(act.kind) != 0;
                break;
            case act_message:
                into.number(act.message.value);
                has_message = true;
                break;
            case act_at:
                into.time(act.at);
                break;
            case act_who:
                into.text(act.who);
                break;
            case act_from:
                into.text(act.from);
                break;
            case act_to:
                into.text(act.to);
                break;
            default:
                break;
        }
    });
    if (!ok || !has_kind || !has_message) return damaged("act");
    return act;
}

std::string encode(const StoredPolicy& policy) {
    FieldWriter out;
    out.octets(policy_domain, policy.domain);
    out.octets(policy_id, policy.id);
    out.octets(policy_text, policy.text);
    out.time(policy_fetched, policy.fetched);
    out.time(policy_expires, policy.expires);
    out.time(policy_checked, policy.checked);
    out.some_octets(policy_fingerprint, policy.fingerprint);
    return out.take();
}

Result<StoredPolicy> decode_policy(std::string_view fields) {
    StoredPolicy policy;
    const bool ok = read_fields(fields, [&](const Field& field, Into& into) {
        switch (field.tag) {
            case policy_domain:
                into.text(policy.domain);
                break;
            case policy_id:
                into.text(policy.id);
                break;
            case policy_text:
                into.text(policy.text);
                break;
            case policy_fetched:
                into.time(policy.fetched);
                break;
            case policy_expires:
                into.time(policy.expires);
                break;
            case policy_checked:
                into.time(policy.checked);
                break;
            case policy_fingerprint:
                into.text(policy.fingerprint);
                break;
            default:
                break;
        }
    });
    if (!ok || policy.domain.empty()) return damaged("policy");
    return policy;
}

std::string encode(const StoredDiscovery& discovery) {
    FieldWriter out;
    out.octets(discovery_domain, discovery.domain);
    out.some_number(discovery_unknown_since,
                    static_cast<std::uint64_t>(discovery.unknown_since.time_since_epoch().count()));
    out.some_octets(discovery_failed_id, discovery.failed_id);
    out.some_number(discovery_failed_at,
                    static_cast<std::uint64_t>(discovery.failed_at.time_since_epoch().count()));
    out.some_number(discovery_mailed,
                    static_cast<std::uint64_t>(discovery.mailed.time_since_epoch().count()));
    return out.take();
}

Result<StoredDiscovery> decode_discovery(std::string_view fields) {
    StoredDiscovery discovery;
    const bool ok = read_fields(fields, [&](const Field& field, Into& into) {
        switch (field.tag) {
            case discovery_domain:
                into.text(discovery.domain);
                break;
            case discovery_unknown_since:
                into.time(discovery.unknown_since);
                break;
            case discovery_failed_id:
                into.text(discovery.failed_id);
                break;
            case discovery_failed_at:
                into.time(discovery.failed_at);
                break;
            case discovery_mailed:
                into.time(discovery.mailed);
                break;
            default:
                break;
        }
    });
    if (!ok || discovery.domain.empty()) return damaged("discovery");
    return discovery;
}

std::string encode(const StoredOverride& override) {
    FieldWriter out;
    out.octets(override_scope, override.scope);
    out.some_octets(override_level, override.level);
    out.some_octets(override_reason, override.reason);
    out.some_octets(override_author, override.author);
    out.some_number(override_set, static_cast<std::uint64_t>(override.set.time_since_epoch().count()));
    out.some_number(override_expires,
                    static_cast<std::uint64_t>(override.expires.time_since_epoch().count()));
    return out.take();
}

Result<StoredOverride> decode_override(std::string_view fields) {
    StoredOverride override;
    const bool ok = read_fields(fields, [&](const Field& field, Into& into) {
        switch (field.tag) {
            case override_scope:
                into.text(override.scope);
                break;
            case override_level:
                into.text(override.level);
                break;
            case override_reason:
                into.text(override.reason);
                break;
            case override_author:
                into.text(override.author);
                break;
            case override_set:
                into.time(override.set);
                break;
            case override_expires:
                into.time(override.expires);
                break;
            default:
                break;
        }
    });
    if (!ok || override.scope.empty()) return damaged("override");
    return override;
}

std::string encode(const StoredSuspension& suspension) {
    FieldWriter out;
    out.some_number(suspension_kind, static_cast<std::uint64_t>(suspension.kind));
    out.octets(suspension_scope, suspension.scope);
    out.some_octets(suspension_reason, suspension.reason);
    out.some_octets(suspension_author, suspension.author);
    out.some_number(suspension_set, static_cast<std::uint64_t>(suspension.set.time_since_epoch().count()));
    out.some_number(suspension_ended, suspension.ended ? 1 : 0);
    return out.take();
}

Result<StoredSuspension> decode_suspension(std::string_view fields) {
    StoredSuspension suspension;
    const bool ok = read_fields(fields, [&](const Field& field, Into& into) {
        switch (field.tag) {
            case suspension_kind:
                into.choice(suspension.kind, SuspensionKind::sender);
                break;
            case suspension_scope:
                into.text(suspension.scope);
                break;
            case suspension_reason:
                into.text(suspension.reason);
                break;
            case suspension_author:
                into.text(suspension.author);
                break;
            case suspension_set:
                into.time(suspension.set);
                break;
            case suspension_ended: {
                std::uint64_t ended = 0;
                into.number(ended);
                suspension.ended = ended != 0;
                break;
            }
            default:
                break;
        }
    });
    if (!ok || suspension.scope.empty()) return damaged("suspension");
    return suspension;
}

std::string encode(const ClosedDay& closed) {
    FieldWriter out;
    out.number(closed_day, static_cast<std::uint64_t>(closed.day.time_since_epoch().count()));
    return out.take();
}

Result<ClosedDay> decode_closed_day(std::string_view fields) {
    ClosedDay closed;
    const bool ok = read_fields(fields, [&](const Field& field, Into& into) {
        if (field.tag == closed_day) into.day(closed.day);
    });
    if (!ok || closed.day == std::chrono::sys_days()) return damaged("closed day");
    return closed;
}

namespace {

std::string encode_place(const ReportPlace& place) {
    FieldWriter out;
    out.octets(place_uri, place.uri);
    out.some_number(place_state, static_cast<std::uint64_t>(place.state));
    out.time(place_at, place.at);
    out.some_octets(place_text, place.text);
    return out.take();
}

bool decode_place(std::string_view fields, ReportPlace& place) {
    return read_fields(fields, [&](const Field& field, Into& into) {
        switch (field.tag) {
            case place_uri:
                into.text(place.uri);
                break;
            case place_state:
                into.choice(place.state, PlaceState::given_up);
                break;
            case place_at:
                into.time(place.at);
                break;
            case place_text:
                into.text(place.text);
                break;
            default:
                break;
        }
    });
}

}  // namespace

std::string encode(const StoredReport& report) {
    FieldWriter out;
    out.number(report_day, static_cast<std::uint64_t>(report.day.time_since_epoch().count()));
    out.octets(report_domain, report.domain);
    out.some_octets(report_id, report.id);
    out.some_number(report_state, static_cast<std::uint64_t>(report.state));
    out.time(report_first_tried, report.first_tried);
    out.time(report_at, report.at);
    out.time(report_next_at, report.next_at);
    out.some_number(report_tries, report.tries);
    out.some_number(report_resent, report.resent);
    out.some_octets(report_text, report.text);
    out.some_number(report_good, report.good);
    out.some_number(report_failed, report.failed);
    for (const auto& place : report.places) out.octets(report_place, encode_place(place));
    return out.take();
}

Result<StoredReport> decode_report(std::string_view fields) {
    StoredReport report;
    const bool ok = read_fields(fields, [&](const Field& field, Into& into) {
        switch (field.tag) {
            case report_day:
                into.day(report.day);
                break;
            case report_domain:
                into.text(report.domain);
                break;
            case report_id:
                into.text(report.id);
                break;
            case report_state:
                into.choice(report.state, ReportState::given_up);
                break;
            case report_first_tried:
                into.time(report.first_tried);
                break;
            case report_at:
                into.time(report.at);
                break;
            case report_next_at:
                into.time(report.next_at);
                break;
            case report_tries:
                into.number(report.tries);
                break;
            case report_resent:
                into.number(report.resent);
                break;
            case report_text:
                into.text(report.text);
                break;
            case report_good:
                into.number(report.good);
                break;
            case report_failed:
                into.number(report.failed);
                break;
            case report_place:
                if (!decode_place(field.octets, report.places.emplace_back())) into.refuse();
                break;
            default:
                break;
        }
    });
    if (!ok || report.domain.empty()) return damaged("report");
    return report;
}

std::string encode(const StoredAlarm& alarm) {
    FieldWriter out;
    out.octets(alarm_kind, alarm.kind);
    out.some_octets(alarm_subject, alarm.subject);
    out.some_octets(alarm_text, alarm.text);
    out.some_number(alarm_first, static_cast<std::uint64_t>(alarm.first.time_since_epoch().count()));
    out.some_number(alarm_last, static_cast<std::uint64_t>(alarm.last.time_since_epoch().count()));
    out.some_number(alarm_count, alarm.count);
    return out.take();
}

Result<StoredAlarm> decode_alarm(std::string_view fields) {
    StoredAlarm alarm;
    const bool ok = read_fields(fields, [&](const Field& field, Into& into) {
        switch (field.tag) {
            case alarm_kind:
                into.text(alarm.kind);
                break;
            case alarm_subject:
                into.text(alarm.subject);
                break;
            case alarm_text:
                into.text(alarm.text);
                break;
            case alarm_first:
                into.time(alarm.first);
                break;
            case alarm_last:
                into.time(alarm.last);
                break;
            case alarm_count:
                into.number(alarm.count);
                break;
            default:
                break;
        }
    });
    if (!ok || alarm.kind.empty()) return damaged("alarm");
    return alarm;
}

}  // namespace sternpost::store
