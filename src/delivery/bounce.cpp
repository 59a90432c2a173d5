#include "delivery/bounce.h"

#include <openssl/sha.h>

#include <algorithm>
#include <utility>

#include "dsn/notice.h"
#include "mail/header.h"
#include "store/ask.h"
#include "util/call.h"
#include "util/text.h"

namespace sternpost::delivery {
namespace {

store::SubmissionId id_of(const std::string& text) {
    std::array<std::uint8_t, SHA256_DIGEST_LENGTH> digest{};
    SHA256(reinterpret_cast<const std::uint8_t*>(text.data()), text.size(), digest.data());
    store::SubmissionId id;
    std::copy_n(digest.begin(), id.octets.size(), id.octets.begin());
    return id;
}

// The same report makes the same id, so that a notice made twice (a crash between) is accepted once.
store::SubmissionId id_of_report(std::string_view kind, store::MessageId message,
                                 const std::vector<store::DeliveryResult>& told) {
    std::string text = std::string(kind) + " " + message.text();
    for (const auto& result : told) text += " " + std::to_string(result.recipient);
    return id_of(text);
}

dsn::RecipientStatus status_of(const store::StoredMessage& message, const store::DeliveryResult& result,
                               dsn::Action action) {
    return {message.recipients[result.recipient].address.recipient,
            action,
            result.status,
            result.text,
            result.mx_host,
            result.diagnostic,
            result.at,
            std::nullopt};
}

}  // namespace

// What is to be told, and to whom.
struct Bouncer::Notice {
    mail::ForwardPath to;
    std::vector<dsn::RecipientStatus> recipients;
    store::SubmissionId submission;
    bool double_bounce = false;
    bool failure = true;  // else only the header comes back (RFC 3461 §4.3)
    bool later = false;   // an earlier notice has brought the message back
};

Bouncer::Bouncer(BounceOptions options, store::Store& store, const Clock& clock, Random& random, Log& log,
                 store::IdSource& ids)
    : options_(std::move(options)),
      store_(store),
      clock_(clock),
      random_(random),
      log_(log),
      ids_(ids),
      counts_(options_.most_per_message, options_.most_per_day) {}

asio::awaitable<store::Result<std::vector<store::NewMessage>>> Bouncer::notices(
    queue::MessagePtr message, std::vector<store::DeliveryResult> results) {
    std::vector<store::NewMessage> out;
    auto told = co_await relayed(message, results);
    if (!told) co_return fail(std::move(told).error());
    if (*told) out.push_back(std::move(**told));
    std::vector<store::DeliveryResult> bounced;
    const bool double_bounce = message->envelope.reverse_path.is_null();
    for (const auto& result : results) {
        // Our own notices go out with NOTIFY=NEVER, so that no one answers them; the administrator hears of
        // them all the same.
        const bool wanted =
            double_bounce || message->recipients[result.recipient].address.recipient.notify.wants_failure();
        if (result.state == store::RecipientState::bounced && wanted) bounced.push_back(result);
    }
    if (bounced.empty()) co_return out;
    const auto dropped = [&](std::string_view why) {
        Event(log_, Level::warning, "bounce")
            .kv("for", message->id.text())
            .kv("status", "dropped")
            .reason(why);
    };
    if (message->message_class == store::MessageClass::report)
        co_return out;  // reports never cause notices (RPT-14)
    std::optional<mail::ForwardPath> to;
    if (!double_bounce) {
        to = mail::ForwardPath(message->envelope.reverse_path.mailbox());
    } else if (!options_.admin) {
        dropped("a notice could not be delivered, and no admin_address is set to receive it");
        co_return out;
    } else {
        to = mail::ForwardPath(*options_.admin);
        // Never a notice about a notice to the administrator. About mail with a null reverse-path there is
        // one even if the administrator is its recipient: what its host refused of the mail (its size, its
        // octets) need not be true for the notice, and otherwise nothing would tell of it.
        const bool notice = message->message_class == store::MessageClass::notice;
        for (const auto& r : message->recipients)
            if (notice && r.address.recipient.path == *to) {
                dropped("the notice to the administrator could not be delivered either");
                co_return out;
            }
    }

    const mail::Mailbox mailbox = to->mailbox();
    if (!counts_.count(message->id, mailbox, clock_.wall())) {
        dropped("too many notices, about this message or to <" + to->text() +
                "> today: this one is not sent");
        co_return out;
    }
    Notice what{std::move(*to), {}, id_of_report("notice", message->id, bounced), double_bounce, true};
    what.later = std::any_of(message->recipients.begin(), message->recipients.end(), [&](const auto& one) {
        const auto n = static_cast<std::uint32_t>(&one - message->recipients.data());
        return one.state == store::RecipientState::bounced &&
               std::none_of(bounced.begin(), bounced.end(), [n](const auto& r) { return r.recipient == n; });
    });
    const store::MessageId id = message->id;
    for (const auto& result : bounced)
        what.recipients.push_back(status_of(*message, result, dsn::Action::failed));
    auto notice = co_await make(std::move(message), std::move(what));
    if (!notice) {
        counts_.take_back(id, mailbox);
        co_return fail(std::move(notice).error());
    }
    out.push_back(std::move(*notice));
    co_return out;
}

// Which host said what to a recipient is in the history: the last word counts.
asio::awaitable<void> Bouncer::add_replies(const store::StoredMessage& message,
                                           std::vector<store::DeliveryResult>& waiting) {
    store::HistoryFilter filter;
    filter.id = message.id.text();
    auto question = [filter](store::Questions& questions) { return questions.history(filter); };
    const auto history = co_await store::ask(store_, std::move(question));
    if (!history) co_return;
    for (auto& one : waiting) {
        if (one.at != WallTime{}) continue;  // its next hop is what fails, and that is told already
        for (const auto& entry : history->entries) {
            const auto* result = std::get_if<store::DeliveryResult>(&entry.what);
            if (result == nullptr || result->message != message.id || result->recipient != one.recipient)
                continue;
            one.mx_host = result->mx_host;
            one.diagnostic = result->diagnostic;
            one.at = result->at;
        }
    }
}

// RFC 3461 §5.2.2: the host behind us does not know that success is to be told.
asio::awaitable<store::Result<std::optional<store::NewMessage>>> Bouncer::relayed(
    queue::MessagePtr message, std::vector<store::DeliveryResult> results) {
    std::erase_if(results, [&](const store::DeliveryResult& r) {
        return !r.relayed || !message->recipients[r.recipient].address.recipient.notify.success;
    });
    if (results.empty() || message->message_class != store::MessageClass::mail ||
        message->envelope.reverse_path.is_null())
        co_return std::nullopt;
    Notice what{mail::ForwardPath(message->envelope.reverse_path.mailbox()),
                {},
                id_of_report("relayed", message->id, results),
                false,
                false};
    const store::MessageId id = message->id;
    const mail::Mailbox mailbox = what.to.mailbox();
    if (!counts_.count(id, mailbox, clock_.wall())) co_return std::nullopt;
    for (const auto& result : results)
        what.recipients.push_back(status_of(*message, result, dsn::Action::relayed));
    auto notice = co_await make(std::move(message), std::move(what));
    if (!notice) {
        counts_.take_back(id, mailbox);
        co_return fail(std::move(notice).error());
    }
    co_return std::move(*notice);
}

asio::awaitable<std::optional<store::NewMessage>> Bouncer::delay_warning(queue::Delayed delayed) {
    queue::MessagePtr message = std::move(delayed.message);
    std::vector<store::DeliveryResult> waiting = std::move(delayed.recipients);
    if (message->message_class != store::MessageClass::mail || message->envelope.reverse_path.is_null())
        co_return std::nullopt;
    Notice what{mail::ForwardPath(message->envelope.reverse_path.mailbox()),
                {},
                id_of("delay warning " + message->id.text()),
                false,
                false};
    co_await add_replies(*message, waiting);
    for (const auto& one : waiting) {
        if (!message->recipients[one.recipient].address.recipient.notify.wants_delay()) continue;
        what.recipients.push_back(status_of(*message, one, dsn::Action::delayed));
        const bool tried = std::find(delayed.held_back.begin(), delayed.held_back.end(), one.recipient) ==
                           delayed.held_back.end();
        if (tried) what.recipients.back().retry_until = delayed.until;
    }
    if (what.recipients.empty()) co_return std::nullopt;
    const mail::Mailbox mailbox = what.to.mailbox();
    const store::MessageId of = message->id;
    if (!counts_.count(of, mailbox, clock_.wall())) co_return std::nullopt;
    const std::string id = message->id.text();
    auto notice = co_await make(std::move(message), std::move(what));
    if (notice) co_return std::move(*notice);
    counts_.take_back(of, mailbox);
    Event(log_, Level::warning, "delay-warning").kv("for", id).reason(notice.error().text);
    co_return std::nullopt;
}

asio::awaitable<store::Result<store::NewMessage>> Bouncer::make(queue::MessagePtr message, Notice what) {
    mail::ForwardPath& to = what.to;
    dsn::NoticeRequest request;
    request.reporting_host = options_.hostname;
    // A reverse-path with UTF-8 before its @ lives behind hosts with SMTPUTF8: the notice may be in UTF-8
    // too. To all others it goes in ASCII, whatever the recipients' addresses are (RFC 6533 §4.5).
    request.smtputf8 = !to.ascii();
    request.to = request.smtputf8 ? to.text() : to.a_label_text();
    request.queue_id = message->id.text();
    request.message_id = mail::make_message_id(clock_.wall(), random_, options_.hostname);
    request.envid = message->envelope.envid;
    request.original_reverse_path = message->envelope.reverse_path.text();
    request.arrived = message->arrived;
    request.now = clock_.wall();
    request.double_bounce = what.double_bounce;
    request.recipients = std::move(what.recipients);
    // RFC 8689 §5: only the header of a message with REQUIRETLS comes back, whatever RET says. The raw octets
    // in some old headers fit into no part but one that can be encoded, and that is the header's.
    const bool whole = what.failure && !what.later && message->envelope.ret != mail::Ret::hdrs &&
                       !message->envelope.requiretls && message->body.size <= options_.most_returned;
    const std::size_t most = options_.most_returned;
    std::string original;
    if (message->body.octets) {
        original = message->body.octets->substr(0, most);
    } else {
        auto ask = [this, message, most](Completion<store::Result<std::string>> reply) {
            store_.read_body(*message, 0, most, std::move(reply));
        };
        auto octets = co_await call<store::Result<std::string>>(std::move(ask));
        original = octets ? std::move(*octets)
                          : std::string("X-Sternpost-Note: the message cannot be read: ") +
                                octets.error().text + "\r\n";
    }
    const auto header = mail::read_header(original);
    const std::string_view header_text = std::string_view(original).substr(0, header.end);
    request.original_whole = whole && valid_utf8(header_text);
    if (!request.original_whole) {
        original.resize(header.fields.empty() ? 0 : header.end);
        while (original.ends_with("\r\n\r\n")) original.resize(original.size() - 2);
    }
    request.original = std::move(original);
    const std::string text = dsn::compose(request);

    auto sink = store_.new_body(text.size());
    auto written = sink->write(text);
    auto body = written ? sink->finish() : store::Result<store::Body>(fail(written.error()));
    if (!body) co_return fail(body.error().code, "the notice cannot be stored: " + body.error().text);
    store::NewMessage notice;
    notice.id = ids_.next();
    notice.submission = what.submission;
    notice.arrived = clock_.wall();
    notice.message_class = store::MessageClass::notice;
    notice.envelope.originated = true;
    notice.envelope.message_id = "<" + request.message_id + ">";
    if (body->eight_bit) notice.envelope.body = mail::BodyType::eight_bit_mime;
    notice.envelope.smtputf8 = request.smtputf8;
    notice.envelope.eight_bit_header = !is_ascii(request.to);
    notice.envelope.requiretls = message->envelope.requiretls;  // RFC 8689 §5; it is redacted in any case
    const std::string shown = to.text();
    const std::size_t told = request.recipients.size();
    std::string next_hop = to.mailbox().host();
    mail::Recipient recipient(std::move(to));
    recipient.notify.never = true;  // RFC 3461 §6.1
    notice.recipients.emplace_back(std::move(recipient), std::move(next_hop));
    notice.origin.with = "notice";
    notice.body = std::move(*body);
    if (what.failure)
        Event(log_, Level::info, "bounce")
            .kv("qid", notice.id.text())
            .address("to", shown)
            .kv("for", message->id.text())
            .kv("recipients", told);
    co_return notice;
}

}  // namespace sternpost::delivery
