#include "local/intake.h"

#include <fmt/format.h>

#include <algorithm>
#include <unordered_set>

#include "mail/local_names.h"
#include "mail/seven_bit.h"
#include "mail/trace.h"
#include "util/text.h"

namespace sternpost::local {
namespace {

constexpr std::uint64_t room_for_fields =
    4096;  // ours: what trace and added fields may come to beyond the size limit

Error<Errc> from_store(const Error<store::Errc>& error) {
    switch (error.code) {
        case store::Errc::full:
            return {Errc::no_space, error.text};
        case store::Errc::too_big:
            return {Errc::too_big, error.text};
        case store::Errc::duplicate:
        case store::Errc::not_found:
        case store::Errc::busy:
        case store::Errc::newer_schema:
        case store::Errc::damaged:
        case store::Errc::io:
        case store::Errc::closed:
            return {Errc::not_stored, error.text};
    }
    return {Errc::not_stored, error.text};
}

Errc recipient_error(mail::Errc code) {
    switch (code) {
        case mail::Errc::needs_utf8:
            return Errc::needs_smtputf8;
        case mail::Errc::bad_domain:
            return Errc::bad_domain;
        case mail::Errc::bad_address:
        case mail::Errc::loop:
        case mail::Errc::too_long:
        case mail::Errc::bad_parameter:
            return Errc::bad_recipient;
    }
    return Errc::bad_recipient;
}

Answer permanent(std::string_view status, const std::string& text) {
    return Answer{Answer::Kind::permanent, std::string(status) + " " + text};
}

}  // namespace

Intake::Intake(const Options& options, store::Store& store, std::uint32_t uid, store::MessageId id,
               WallTime now)
    : options_(options), store_(store), uid_(uid), reader_(options.max_message_size, options.max_recipients) {
    message_.id = id;
    message_.arrived = now;
}

Result<void> Intake::feed(std::string_view octets) {
    raw_.clear();
    if (auto read = reader_.feed(octets, raw_); !read) return read;
    if (reader_.head() == nullptr) return {};
    if (sink_ == nullptr)
        if (auto begun = begin(); !begun) return begun;
    if (raw_.find('\0') != std::string::npos)
        return fail(Errc::bad_message, "an octet of value zero is in the message");
    lines_.clear();
    line_ends_.feed(raw_, lines_);  // the sender may be any program: the store holds CRLF only
    filter_.feed(lines_, piece_);
    return write();
}

Result<void> Intake::begin() {
    const Submission& head = *reader_.head();
    std::string user = options_.user_name(uid_);
    if (!mail::Mailbox::parse(user + "@" + options_.hostname)) user = fmt::format("uid{}", uid_);

    auto from = reverse_path(user);
    if (!from) return fail(std::move(from).error());
    message_.envelope.reverse_path = std::move(*from);
    message_.envelope.body = head.body;
    message_.envelope.ret = head.ret;
    message_.envelope.smtputf8 = head.smtputf8;
    message_.envelope.requiretls = head.requiretls;
    message_.envelope.envid = head.envid;
    std::unordered_set<std::string> known;
    for (const auto& text : head.recipients) {
        auto path = options_.resolve_recipient(text, head.smtputf8);
        if (!path) return fail(recipient_error(path.error().code), std::move(path.error().text));
        if (!known.insert(path->text()).second) continue;
        mail::Recipient recipient(std::move(*path));
        recipient.notify = head.notify;
        std::string hop = recipient.path.mailbox().host();
        message_.recipients.emplace_back(std::move(recipient), std::move(hop));
    }
    message_.submission = head.id;
    message_.origin.with = "local";
    message_.origin.uid = uid_;

    mail::HeaderRules rules;
    if (!head.gateway) {
        const auto& sender = message_.envelope.reverse_path;
        auto own = mail::Mailbox::parse(user + "@" + options_.hostname);
        rules.drop_private = rules.drop_mbox_line = rules.repair = true;
        rules.domain = options_.hostname;
        if (!sender.is_null() || own)
            rules.from = from_value(head.full_name, sender.is_null() ? *own : sender.mailbox());
        rules.date = rfc5322_date(message_.arrived);
        rules.message_id = message_.id.text() + "@" + options_.hostname;
    }
    filter_ = mail::HeaderFilter(std::move(rules));
    mail::Received trace;
    trace.from = fmt::format("{} (uid {})", user, uid_);
    trace.by = options_.hostname;
    trace.with = "local";
    trace.id = message_.id.text();
    // UTF-8 in the trace would keep the message from hosts that could have it otherwise
    if (message_.recipients.size() == 1 && is_ascii(message_.recipients[0].recipient.path.text()))
        trace.for_path = message_.recipients[0].recipient.path.text();
    trace.at = message_.arrived;
    piece_ = trace.field();
    sink_ = store_.new_body(options_.max_message_size + room_for_fields);
    return {};
}

// Bare names and `@localhost` are names of this host; any other domain must be fully qualified (RFC 6409
// §4.2).
Result<mail::ReversePath> Intake::reverse_path(const std::string& user) const {
    const auto& given = reader_.head()->reverse_path;
    if (given && given->empty()) return mail::ReversePath();
    std::string text = given.value_or(user);
    const auto at = text.rfind('@');
    if (at == std::string::npos)
        text += "@" + options_.hostname;
    else if (iequals(std::string_view(text).substr(at + 1), "localhost"))
        text = text.substr(0, at + 1) + options_.hostname;
    auto path = mail::ReversePath::parse(text, reader_.head()->smtputf8);
    if (!path) {
        const bool utf8 = path.error().code == mail::Errc::needs_utf8;
        return fail(utf8 ? Errc::needs_smtputf8 : Errc::bad_reverse_path, std::move(path.error().text));
    }
    // our own host name may be a short one where no other is configured: then bounces come here and nowhere
    // else
    if (!mail::fully_qualified(path->mailbox()) && path->mailbox().host() != lowered(options_.hostname))
        return fail(Errc::bad_reverse_path, "the domain is not fully qualified: " + printable(text));
    return std::move(*path);
}

Result<void> Intake::write() {
    if (filter_.received() > options_.max_received)
        return fail(Errc::loop,
                    fmt::format("more than {} Received fields: a mail loop", options_.max_received));
    if (piece_.empty()) return {};
    auto written = sink_->write(piece_);
    piece_.clear();
    if (!written) return fail(from_store(written.error()));
    return {};
}

Result<store::NewMessage> Intake::finish() {
    if (!reader_.complete()) return fail(Errc::incomplete, "the submission was cut off before its end mark");
    lines_.clear();
    line_ends_.finish(lines_);
    filter_.feed(lines_, piece_);
    filter_.finish(piece_);
    if (auto written = write(); !written) return fail(std::move(written).error());
    const bool originated = !reader_.head()->gateway;
    if (originated && filter_.ambiguous_from())
        return fail(Errc::bad_message, "more than one From field is in the header (RFC 5322 §3.6)");
    if (originated)
        if (auto allowed = judge_domains(); !allowed) return fail(std::move(allowed).error());
    if (auto shortened = shorten_lines(); !shortened) return fail(std::move(shortened).error());
    auto body = sink_->finish();
    if (!body) return fail(from_store(body.error()));
    message_.envelope.originated = originated;
    // REQUIRETLS outranks the header field that asks for the opposite (RFC 8689 §4.1)
    message_.envelope.tls_required_no = filter_.tls_required_no() && !message_.envelope.requiretls;
    message_.envelope.eight_bit_header = filter_.eight_bit();
    message_.envelope.smtputf8 = message_.envelope.smtputf8 || filter_.repairs().utf8_address;
    message_.envelope.dkim_signed = filter_.dkim_signed();
    message_.body = std::move(*body);
    return std::move(message_);
}

// D-47: whom this user may write as, where a rule says so.
Result<void> Intake::judge_domains() const {
    const std::uint32_t uid = message_.origin.uid.value_or(0);
    const auto* rule =
        options_.sender_domains.of_user(uid, options_.user_name ? options_.user_name(uid) : "");
    if (rule == nullptr) return {};
    std::vector<std::string> domains = filter_.from_domains();
    if (!message_.envelope.reverse_path.is_null())
        domains.push_back(message_.envelope.reverse_path.mailbox().host());
    for (const auto& domain : domains)
        if (!rule->allows(domain))
            return fail(
                Errc::bad_message,
                fmt::format("5.7.1 {} is not among the domains that the rule {} lets this user write as",
                            domain == "?" ? "what is no address" : domain, rule->name));
    return {};
}

// No host has to take a longer line than 998 octets (RFC 5321 §4.5.3.1.6; D-22).
Result<void> Intake::shorten_lines() {
    if (reader_.head()->gateway) {
        if (filter_.longest_line() <= mail::max_relayed_line) return {};
        return fail(Errc::bad_message, fmt::format("a line of it has {} octets, at most {} are passed on",
                                                   filter_.longest_line(), mail::max_relayed_line));
    }
    if (!filter_.too_long_field().empty())
        return fail(Errc::bad_message, fmt::format("the header field {} has a line of more than {} octets",
                                                   filter_.too_long_field(), mail::max_line));
    if (filter_.longest_line() <= mail::max_line) return {};
    const std::string what = fmt::format("a line of it has {} octets, at most {} are allowed",
                                         filter_.longest_line(), mail::max_line);
    if (sink_->size() > mail::max_rewritten)
        return fail(Errc::bad_message, what + ", and it is too large to be encoded here");
    const auto text = sink_->contents();
    if (!text) return fail(from_store(text.error()));
    const auto shorter = mail::to_short_lines(*text);
    if (!shorter)
        return fail(Errc::bad_message, what + ", and it cannot be encoded: " + shorter.error().text);
    sink_ = store_.new_body(shorter->size());
    if (auto written = sink_->write(*shorter); !written) return fail(from_store(written.error()));
    repairs_.lines = true;
    return {};
}

Answer answer_of(const Error<Errc>& error) {
    switch (error.code) {
        case Errc::malformed:
            return permanent("5.5.2", error.text);
        // the sender was cut off, not the message bad: the same record may come again whole
        case Errc::incomplete:
            return Answer{Answer::Kind::temporary, "4.4.2 " + error.text};
        case Errc::too_big:
            return permanent("5.3.4", error.text);
        case Errc::bad_reverse_path:
            return permanent("5.1.7", error.text);
        case Errc::bad_recipient:
            return permanent("5.1.3", error.text);
        case Errc::bad_domain:
            return permanent("5.1.2", error.text);
        case Errc::needs_smtputf8:
            return permanent("5.6.7", error.text);
        case Errc::bad_message:
            return permanent("5.6.0", error.text);
        case Errc::loop:
            return permanent("5.4.6", error.text);
        case Errc::no_space:
            return Answer{Answer::Kind::temporary, "4.3.1 no space: " + error.text};
        case Errc::limited:
            return Answer{Answer::Kind::temporary, "4.7.1 " + error.text};
        case Errc::not_stored:
            return Answer{Answer::Kind::temporary, "4.3.0 could not be stored: " + error.text};
        case Errc::refused:
            return permanent("5.7.1", error.text);
        case Errc::io:
            return Answer{Answer::Kind::temporary, "4.3.0 " + error.text};
    }
    return {};
}

Answer answer_of(const store::Result<store::MessageId>& result, store::MessageId id) {
    if (result || result.error().code == store::Errc::duplicate) return Answer{Answer::Kind::ok, id.text()};
    return answer_of(from_store(result.error()));
}

std::string from_value(std::string_view full_name, const mail::Mailbox& mailbox) {
    const std::string_view name = trimmed(full_name);
    const std::string address = mailbox.a_label_text();
    if (name.empty() || !valid_utf8(name)) return address;
    if (!is_ascii(name)) return mail::encoded_words(name) + " <" + address + ">";
    const bool atoms = std::all_of(name.begin(), name.end(), [](char c) {
        return (c >= '0' && c <= '9') || (lower(c) >= 'a' && lower(c) <= 'z') ||
               std::string_view(" !#$%&'*+-/=?^_`{|}~").find(c) != std::string_view::npos;
    });
    if (atoms) return std::string(name) + " <" + address + ">";
    std::string quoted = "\"";
    for (const char c : name) {
        if (c == '"' || c == '\\') quoted += '\\';
        quoted += c;
    }
    return quoted + "\" <" + address + ">";
}

}  // namespace sternpost::local
