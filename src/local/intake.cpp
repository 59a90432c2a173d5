#include "local/intake.h"

#include <fmt/format.h>

#include <algorithm>

#include "mail/encoded_word.h"
#include "mail/local_names.h"
#include "mail/trace.h"
#include "util/text.h"

namespace sternpost::local {

RecordIntake::RecordIntake(const Options& options, store::Store& store, std::uint32_t uid,
                           store::MessageId id, WallTime now)
    : options_(options),
      store_(store),
      uid_(uid),
      login_(options.user_name ? options.user_name(uid) : std::string()),
      reader_(options.max_message_size, options.max_recipients) {
    message_.id = id;
    message_.arrived = now;
}

Result<void> RecordIntake::feed(std::string_view octets) {
    raw_.clear();
    if (auto read = reader_.feed(octets, raw_); !read) return read;
    if (reader_.head() == nullptr) return {};
    if (sink_ == nullptr)
        if (auto begun = begin(); !begun) return begun;
    lines_.clear();
    line_ends_.feed(raw_, lines_);  // the sender may be any program: the store holds CRLF only
    if (auto fed = text_.feed(lines_); !fed) return fed;
    return write();
}

Result<void> RecordIntake::begin() {
    const Submission& head = *reader_.head();
    std::string user = login_;
    if (!mail::Mailbox::parse(user + "@" + options_.hostname)) user = fmt::format("uid{}", uid_);

    auto from = reverse_path(user);
    if (!from) return fail(std::move(from).error());
    message_.envelope.reverse_path = std::move(*from);
    message_.envelope.body = head.body;
    message_.envelope.ret = head.ret;
    message_.envelope.smtputf8 = head.smtputf8;
    message_.envelope.requiretls = head.requiretls;
    message_.envelope.envid = head.envid;
    intake::Recipients recipients;
    for (const auto& given : head.recipients) {
        auto path = options_.resolve_recipient(given, head.smtputf8);
        if (!path) return fail(intake::bad_recipient(path.error()));
        recipients.add(std::move(*path), head.notify);
    }
    message_.recipients = recipients.take();
    message_.submission = head.id;
    message_.origin.with = "local";
    message_.origin.uid = uid_;

    intake::TextRules rules;
    rules.originated = !head.gateway;
    rules.hostname = options_.hostname;
    rules.max_received = options_.max_received;
    const auto& sender = message_.envelope.reverse_path;
    auto own = mail::Mailbox::parse(user + "@" + options_.hostname);
    if (!sender.is_null() || own)
        rules.from = from_value(head.full_name, sender.is_null() ? *own : sender.mailbox());
    rules.domains = domains();
    rules.sender = "this user";
    mail::Received trace;
    trace.from = fmt::format("{} (uid {})", user, uid_);
    trace.with = "local";
    text_ = intake::MessageText(std::move(rules), message_.id, message_.arrived, std::move(trace),
                                message_.recipients);
    sink_ = store_.new_body(options_.max_message_size + intake::room_for_fields);
    return {};
}

// Bare names and `@localhost` are names of this host; any other domain must be fully qualified (RFC 6409
// §4.2).
Result<mail::ReversePath> RecordIntake::reverse_path(const std::string& user) const {
    const auto& given = reader_.head()->reverse_path;
    if (given && given->empty()) return mail::ReversePath();
    std::string text = given.value_or(user);
    const auto at = text.rfind('@');
    if (at == std::string::npos)
        text += "@" + options_.hostname;
    else if (iequals(std::string_view(text).substr(at + 1), "localhost"))
        text = text.substr(0, at + 1) + options_.hostname;
    auto path = mail::ReversePath::parse(text, reader_.head()->smtputf8);
    if (!path) return fail(intake::bad_sender(path.error()));
    // our own host name may be a short one where no other is configured: then bounces come here and nowhere
    // else
    if (!mail::fully_qualified(path->mailbox()) && path->mailbox().host() != lowered(options_.hostname))
        return fail(Errc::bad_sender_domain, "the domain is not fully qualified: " + printable(text));
    const auto* rule = domains();
    if (rule != nullptr && !rule->allows(path->mailbox().host()))
        return fail(intake::not_allowed(*rule, path->mailbox().host(), "this user"));
    return std::move(*path);
}

Result<void> RecordIntake::write() {
    if (text_.piece().empty()) return {};
    const auto written = sink_->write(text_.piece());
    text_.piece_written();
    if (!written) return fail(intake::not_stored(written.error()));
    return {};
}

Result<store::NewMessage> RecordIntake::finish() {
    if (!reader_.complete()) return fail(Errc::incomplete, "the submission was cut off before its end mark");
    lines_.clear();
    line_ends_.finish(lines_);
    if (auto fed = text_.feed(lines_); !fed) return fail(std::move(fed).error());
    if (auto ended = text_.finish(); !ended) return fail(std::move(ended).error());
    if (auto written = write(); !written) return fail(std::move(written).error());
    if (auto sound = text_.judge(sink_->size()); !sound) return fail(std::move(sound).error());
    if (text_.has_long_lines())
        if (auto encoded = intake::encode_long_lines(store_, sink_, text_); !encoded)
            return fail(std::move(encoded).error());
    auto body = sink_->finish();
    if (!body) return fail(intake::not_stored(body.error()));
    text_.describe(message_.envelope);
    message_.body = std::move(*body);
    return std::move(message_);
}

// D-47: whom this user may write as; null: no one has said. What is passed on for others (-G) is no
// exception: whoever may run the program could say so.
const mail::SenderDomains::Rule* RecordIntake::domains() const {
    return options_.sender_domains.of_user(uid_, login_);
}

Answer answer_of(const Error<Errc>& error) {
    const auto kind = intake::may_pass(error.code) ? Answer::Kind::temporary : Answer::Kind::permanent;
    return Answer{kind, fmt::format("{} {}", intake::status_of(error.code), error.text)};
}

Answer answer_of(const store::Result<store::MessageId>& result, store::MessageId id) {
    if (result || result.error().code == store::Errc::duplicate) return Answer{Answer::Kind::ok, id.text()};
    return answer_of(intake::not_stored(result.error()));
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
