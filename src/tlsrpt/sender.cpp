#include "tlsrpt/sender.h"

#include <openssl/sha.h>

#include <algorithm>
#include <array>

#include "mail/header.h"
#include "store/ask.h"
#include "util/call.h"
#include "util/text.h"

namespace sternpost::tlsrpt {
namespace {

constexpr std::size_t most_addresses = 8;  // ours: enough to find one that works

store::SubmissionId id_of(const std::string& text) {
    std::array<std::uint8_t, SHA256_DIGEST_LENGTH> digest{};
    SHA256(reinterpret_cast<const std::uint8_t*>(text.data()), text.size(), digest.data());
    store::SubmissionId id;
    std::copy_n(digest.begin(), id.octets.size(), id.octets.begin());
    return id;
}

bool accepted(const store::StoredReport& report, const std::string& uri) {
    return std::any_of(report.places.begin(), report.places.end(), [&](const store::ReportPlace& place) {
        return place.uri == uri && place.state == store::PlaceState::accepted;
    });
}

}  // namespace

Reporter Options::reporter() const {
    Reporter out;
    out.organization = organization;
    out.node = node;
    if (!contact) return out;
    out.contact = contact->a_label_text();
    out.submitter = contact->host();
    return out;
}

Sender::Sender(const Runtime& runtime, Options options, dns::Resolver& resolver, util::Https& https,
               store::Store& store, store::IdSource& ids)
    : options_(std::move(options)),
      resolver_(resolver),
      https_(https),
      store_(store),
      clock_(runtime.clock),
      random_(runtime.random),
      ids_(ids) {}

asio::awaitable<Result<Report>> Sender::make(std::string domain, std::chrono::sys_days day) {
    store::OutcomeFilter filter{day, day, domain};
    auto question = [filter = std::move(filter)](store::Questions& questions) {
        return questions.outcomes(filter);
    };
    const auto outcomes = co_await store::ask(store_, std::move(question));
    if (!outcomes) co_return fail(Errc::not_kept, outcomes.error().text);
    if (outcomes->empty())
        co_return fail(Errc::nothing, "no session with a host of " + domain + " was counted on that day");
    co_return make_report(options_.reporter(), domain, day, *outcomes);
}

// RFC 8460 §3. Errors: temporary.
asio::awaitable<Result<Sender::Wanted>> Sender::ask(std::string domain) {
    Wanted out;
    auto policy_domain = dns::Domain::parse(domain);
    auto name = policy_domain ? policy_domain->under("_smtp._tls") : policy_domain;
    if (!name) {
        out.why = domain + " can have no TLSRPT record: " + name.error().text;
        co_return out;
    }
    const std::string text = name->text();
    const auto answer = co_await resolver_.txt(std::move(*name));
    if (!answer) co_return fail(Errc::temporary, text + " cannot be looked up: " + answer.error().text);
    auto record = parse_record(answer->records, options_.allow_other_ports);
    if (!record)
        out.why = text + ": " + record.error().text;
    else if (!*record)
        out.why = text + " has no TLSRPT record";
    else
        out.record = std::move(*record);
    if (out.record && out.record->destinations.size() > options_.most_places)
        out.record->destinations.erase(
            out.record->destinations.begin() + static_cast<std::ptrdiff_t>(options_.most_places),
            out.record->destinations.end());
    co_return out;
}

asio::awaitable<Result<Preview>> Sender::preview(std::string domain, std::chrono::sys_days day) {
    auto report = co_await make(domain, day);
    if (!report) co_return fail(std::move(report).error());
    Preview out;
    out.report = std::move(*report);
    auto wanted = co_await ask(std::move(domain));
    if (!wanted) {
        out.why_not = wanted.error().text;
        co_return out;
    }
    out.record = std::move(wanted->record);
    out.why_not = std::move(wanted->why);
    co_return out;
}

asio::awaitable<store::StoredReport> Sender::attempt(store::StoredReport report) {
    const WallTime now = clock_.wall();
    report.at = now;
    if (report.tries++ == 0) report.first_tried = now;
    report.text.clear();
    const auto later = [&](const std::string& why) {
        report.text = why;
        const auto next = options_.schedule.again(report.first_tried, report.tries, now);
        const bool some = std::any_of(report.places.begin(), report.places.end(), [](const auto& place) {
            return place.state == store::PlaceState::accepted;
        });
        report.state = next   ? store::ReportState::waiting
                       : some ? store::ReportState::done
                              : store::ReportState::given_up;
        report.next_at = next.value_or(WallTime{});
    };
    auto wanted = co_await ask(report.domain);
    if (!wanted) {
        later(wanted.error().text);
        co_return report;
    }
    if (!wanted->record) {
        report.state = store::ReportState::not_asked;
        report.text = std::move(wanted->why);
        co_return report;
    }
    const auto made = co_await make(report.domain, report.day);
    if (!made) {
        if (made.error().code == Errc::nothing)
            report.state = store::ReportState::not_asked;
        else
            later(made.error().text);
        if (report.text.empty()) report.text = made.error().text;
        co_return report;
    }
    report.id = made->id;
    report.good = made->good();
    report.failed = made->failed();
    const Packed packed = pack(*made);
    std::string trouble;
    for (auto& to : wanted->record->destinations) {
        if (accepted(report, to.uri)) continue;
        const std::string uri = to.uri;
        store::ReportPlace place = co_await deliver(*made, packed, std::move(to), report.resent);
        place.uri = uri;
        place.at = clock_.wall();
        if (place.state != store::PlaceState::accepted) trouble = uri + ": " + place.text;
        std::erase_if(report.places, [&](const store::ReportPlace& known) { return known.uri == uri; });
        report.places.push_back(std::move(place));
    }
    if (trouble.empty()) {
        report.state = store::ReportState::done;
    } else {
        later(trouble);
        if (report.state != store::ReportState::waiting)
            for (auto& place : report.places)
                if (place.state == store::PlaceState::waiting) place.state = store::PlaceState::given_up;
    }
    co_return report;
}

bool Sender::may_have_another(const Destination& to) {
    const auto today = std::chrono::floor<std::chrono::days>(clock_.wall());
    if (std::exchange(counted_on_, today) != today) sent_to_.clear();
    const auto* mailbox = std::get_if<mail::Mailbox>(&to.place);
    // Whoever publishes the record invents mailboxes at will; the host that gets the mail is the same.
    const std::string key = mailbox != nullptr ? mailbox->host() : std::get<HttpsPlace>(to.place).host.text();
    return ++sent_to_[key] <= options_.most_to_one_place;
}

asio::awaitable<store::ReportPlace> Sender::deliver(const Report& report, const Packed& packed,
                                                    Destination to, std::uint32_t resent) {
    if (!may_have_another(to)) {
        store::ReportPlace full;
        full.text = "it has had as many reports today as one place may have, " +
                    std::to_string(options_.most_to_one_place);
        co_return full;
    }
    if (std::holds_alternative<mail::Mailbox>(to.place))
        co_return co_await mail_it(report, packed, std::move(to), resent);
    co_return co_await post_it(packed, std::move(to));
}

asio::awaitable<store::ReportPlace> Sender::mail_it(const Report& report, const Packed& packed,
                                                    Destination to, std::uint32_t resent) {
    const auto& mailbox = std::get<mail::Mailbox>(to.place);
    const Letter letter{mailbox.ascii() ? mailbox.a_label_text() : mailbox.text(),
                        mail::make_message_id(clock_.wall(), random_, report.by.submitter), clock_.wall()};
    std::string text = compose(report, packed, letter);
    std::string unique = "tls report " + report.id + " " + to.uri + " " + std::to_string(resent);
    const auto id = co_await submit(std::move(text), letter.message_id, mail::ForwardPath(mailbox),
                                    std::move(unique), store::MessageClass::report);
    store::ReportPlace out;
    if (id) {
        out.state = store::PlaceState::accepted;
        out.text = "queued as " + id->text();
    } else if (id.error().code == store::Errc::duplicate) {
        out.state = store::PlaceState::accepted;
        out.text = "queued before";
    } else {
        out.text = "cannot be queued: " + id.error().text;
    }
    co_return out;
}

asio::awaitable<store::Result<store::MessageId>> Sender::submit_text(std::string subject, std::string text,
                                                                     mail::ForwardPath to) {
    const WallTime now = clock_.wall();
    const Reporter by = options_.reporter();
    const std::string host = by.submitter.empty() ? options_.node : by.submitter;
    const Letter letter{to.ascii() ? to.a_label_text() : to.text(), mail::make_message_id(now, random_, host),
                        now};
    const std::string from = by.contact.empty() ? "postmaster@" + options_.node : by.contact;
    std::string octets = compose_text(from, subject, text, letter);
    std::string unique = "text " + letter.message_id;
    co_return co_await submit(std::move(octets), letter.message_id, std::move(to), std::move(unique),
                              store::MessageClass::notice);
}

asio::awaitable<store::Result<store::MessageId>> Sender::submit(std::string text, std::string message_id,
                                                                mail::ForwardPath to, std::string unique,
                                                                store::MessageClass message_class) {
    auto sink = store_.new_body(text.size());
    auto written = sink->write(text);
    auto body = written ? sink->finish() : store::Result<store::Body>(fail(written.error()));
    if (!body) co_return fail(body.error());
    store::NewMessage message;
    message.id = ids_.next();
    message.submission = id_of(unique);
    message.arrived = clock_.wall();
    message.message_class = message_class;
    // The null reverse-path is for what a standard sends with it (RFC 5321 §4.5.5, D-18).
    if (options_.contact) message.envelope.reverse_path = mail::ReversePath(*options_.contact);
    message.envelope.smtputf8 = !to.ascii();
    message.envelope.eight_bit_header = !is_ascii(std::string_view(text).substr(0, text.find("\r\n\r\n")));
    message.envelope.tls_required_no = message_class == store::MessageClass::report;
    message.envelope.originated = true;
    message.envelope.message_id = "<" + message_id + ">";
    if (body->eight_bit) message.envelope.body = mail::BodyType::eight_bit_mime;
    std::string next_hop = to.mailbox().host();
    mail::Recipient recipient(std::move(to));
    recipient.notify.never = true;
    message.recipients.emplace_back(std::move(recipient), std::move(next_hop));
    message.origin.with = name_of(message_class);
    message.body = std::move(*body);
    auto start = [this,
                  given = std::move(message)](Completion<store::Result<store::MessageId>> reply) mutable {
        store_.accept(std::move(given), std::move(reply));
    };
    co_return co_await call<store::Result<store::MessageId>>(std::move(start));
}

asio::awaitable<Expected<util::HttpsAnswer, util::HttpsErrc>> Sender::post(util::HttpsRequest request) {
    auto start = [this, asked = std::move(request)](
                     Completion<Expected<util::HttpsAnswer, util::HttpsErrc>> reply) mutable {
        https_.run(std::move(asked), std::move(reply));
    };
    co_return co_await call<Expected<util::HttpsAnswer, util::HttpsErrc>>(std::move(start));
}

// RFC 8460 §5.4.
asio::awaitable<store::ReportPlace> Sender::post_it(const Packed& packed, Destination to) {
    store::ReportPlace out;
    const auto& place = std::get<HttpsPlace>(to.place);
    util::HttpsRequest request;
    const dns::Gate gate = options_.gate.allowing_special(options_.allow_special_addresses);
    std::string trouble = place.host.text() + " has no address";
    for (const bool v6 : {true, false}) {
        if (v6 ? !options_.ipv6 : !options_.ipv4) continue;
        dns::Result<dns::Answer<dns::Address>> answer = dns::Answer<dns::Address>();
        if (v6)
            answer = co_await resolver_.aaaa(place.host);
        else
            answer = co_await resolver_.a(place.host);
        if (!answer) {
            trouble = place.host.text() + " cannot be resolved: " + answer.error().text;
            continue;
        }
        for (const auto& address : answer->records) {
            const dns::Passage passage = gate.judge(address, place.port);
            if (passage != dns::Passage::open)
                trouble = place.host.text() + " has no address that is dialled: " + dns::reason_of(passage);
            else if (request.addresses.size() < most_addresses)
                request.addresses.push_back(address.text());
        }
    }
    if (request.addresses.empty()) {
        out.text = trouble;
        co_return out;
    }
    request.host = place.host.text();
    request.port = place.port;
    request.path = place.path;
    request.timeout = options_.post_timeout;
    request.allow_special = options_.allow_special_addresses;
    request.post_body = packed.gzip;
    request.content_type = "application/tlsrpt+gzip";
    util::HttpsRequest unverified = request;
    auto answer = co_await post(std::move(request));
    std::string doubt;
    if (!answer && answer.error().code == util::HttpsErrc::certificate) {
        // RFC 8460 §3: a report says how a certificate is broken, and that one may be the reason (D-17).
        doubt = "; its certificate was not believed: " + answer.error().text;
        unverified.verify = false;
        answer = co_await post(std::move(unverified));
    }
    if (!answer) {
        out.text = answer.error().text + doubt;
        co_return out;
    }
    out.text = "HTTP status " + std::to_string(answer->status) + doubt;
    if (answer->status >= 200 && answer->status <= 299) out.state = store::PlaceState::accepted;
    co_return out;
}

}  // namespace sternpost::tlsrpt
