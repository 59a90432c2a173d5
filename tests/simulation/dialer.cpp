// Sessions of the simulated network. What TLS would prove is worked out from the host's certificate; the rest
// runs the real client core over octets, or tells the outcomes of the same script at once.
#include <openssl/x509_vfy.h>

#include <algorithm>

#include "mx_host.h"
#include "smtp/command.h"
#include "smtp/dotstuff.h"
#include "util/call.h"

namespace sternpost::simulation {
namespace {

using smtp::Errc;
using smtp::Stage;
using Kind = MxHost::Said::Kind;

tls::Evidence evidence_of(const Certificate& certificate, const delivery::DialRequest& request,
                          WallTime now) {
    tls::Evidence out;
    out.encrypted = true;
    out.version = "TLSv1.3";
    out.cipher = "TLS_AES_256_GCM_SHA384";
    out.has_certificate = true;
    out.names = {certificate.names.begin(), certificate.names.end()};
    out.fingerprint = "key" + std::to_string(certificate.key);
    out.not_after = certificate.expires;
    if (!certificate.trusted) out.chain_error = X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT;
    if (certificate.trusted && now >= certificate.expires) out.chain_error = X509_V_ERR_CERT_HAS_EXPIRED;
    out.chain_error_name = out.chain_error == 0 ? "" : "chain error " + std::to_string(out.chain_error);
    out.name_matches = request.host && certificate.names.contains(request.host->text());
    if (request.dane) {
        out.dane = request.dane;
        for (const auto& record : request.dane->records)
            if (record == tlsa_of(certificate.key)) out.dane_matched = true;
        if (out.dane_matched)
            out.dane_match = tls::text_of(tlsa_of(certificate.key));
        else
            out.dane_error = X509_V_ERR_DANE_NO_MATCH;
    }
    return out;
}

// The way to and from one host: what is said takes its time, and may never come.
class Link {
  public:
    Link(Network& network, Host& host, bool stripped)
        : net_(network), slow_(host.slow), host_(network, host, stripped) {}

    MxHost& host() { return host_; }

    /// One reply in whole, or what came in its place after the time that the stage allows.
    asio::awaitable<smtp::Result<smtp::Reply>> hear(MxHost::Said said, Stage stage) {
        if (said.kind == Kind::silence) {
            co_await net_.pause(timeouts_.of(stage));
            co_return fail(net_.silent() ? Errc::aborted : Errc::timed_out, "timed out");
        }
        if (slow_) co_await net_.pause(timeouts_.of(stage) * net_.chance.between(60, 95) / 100);
        co_await net_.pause(net_.chance.time(std::chrono::milliseconds(1), std::chrono::milliseconds(60)));
        if (net_.silent()) co_return fail(Errc::aborted, "we stop");
        if (said.kind == Kind::closes) co_return fail(Errc::closed, "the host closed the connection");
        co_return std::move(said.reply);
    }

    /// The next reply to what was fed to the host, as octets that come in pieces.
    asio::awaitable<smtp::Result<smtp::Reply>> read(Stage stage) {
        for (;;) {
            auto parsed = parser_.next();
            if (!parsed) co_return fail(std::move(parsed).error());
            if (*parsed) co_return std::move(**parsed);
            if (host_.said().empty()) co_return fail(Errc::closed, "the host closed the connection");
            auto said = std::move(host_.said().front());
            host_.said().pop_front();
            auto reply = co_await hear(std::move(said), stage);
            if (!reply) co_return reply;
            std::string octets;
            for (std::size_t i = 0; i < reply->lines.size(); ++i)
                octets += std::to_string(reply->code) + (i + 1 < reply->lines.size() ? "-" : " ") +
                          reply->lines[i] + "\r\n";
            while (!octets.empty()) {
                const std::size_t piece = net_.chance.between(1, octets.size());
                parser_.feed(octets.substr(0, piece));
                octets.erase(0, piece);
                if (octets.empty()) break;
                auto early = parser_.next();
                if (!early || *early) co_return fail(Errc::reply_malformed, "half a reply was taken for one");
            }
        }
    }

  private:
    Network& net_;
    const bool slow_;
    MxHost host_;
    smtp::ReplyParser parser_;
    smtp::ClientTimeouts timeouts_;
};

class SimChannel final : public delivery::Channel {
  public:
    SimChannel(Network& network, store::Store& store, std::unique_ptr<Link> link, smtp::Opened opened,
               Truth truth)
        : net_(network),
          store_(store),
          link_(std::move(link)),
          opened_(std::move(opened)),
          truth_(std::move(truth)) {}

    const smtp::Opened& opened() const override { return opened_; }
    bool reusable() const override { return reusable_ && !net_.silent(); }
    const std::string& dialogue() const override { return dialogue_; }
    asio::awaitable<void> quit() override {
        reusable_ = false;
        co_return;
    }

    asio::awaitable<std::vector<smtp::RecipientOutcome>> transact(queue::Work work) override {
        if (net_.silent()) co_return all(work, {Stage::mail, Errc::aborted, "we stop", std::nullopt});
        net_.oracle.judge(work, truth_);
        auto octets = co_await read_body(work);
        if (!octets) {
            reusable_ = false;
            smtp::Failure failure{Stage::body, octets.error().code, octets.error().text, std::nullopt};
            co_return all(work, std::move(failure));
        }
        std::vector<smtp::RecipientOutcome> out;
        if (net_.octets)
            out = co_await by_octets(work, std::move(*octets));
        else
            out = co_await by_script(work, std::move(*octets));
        std::string said;
        for (const auto& outcome : out)
            said += ' ' + (outcome.failure ? std::string(smtp::name_of(outcome.failure->stage)) + ":" +
                                                 outcome.failure->text
                                           : outcome.reply.text());
        net_.trace.step("session {} carries {}:{}", truth_.host, work.message->id.text(), said);
        co_return out;
    }

  private:
    static std::vector<smtp::RecipientOutcome> all(const queue::Work& work, smtp::Failure failure) {
        return std::vector<smtp::RecipientOutcome>(work.recipients.size(),
                                                   {smtp::Reply(), std::move(failure)});
    }

    asio::awaitable<smtp::Result<std::string>> read_body(queue::Work work) {
        if (work.message->body.octets) co_return *work.message->body.octets;
        std::string whole;
        while (whole.size() < work.message->body.size) {
            auto ask = [this, stored = work.message,
                        offset = whole.size()](Completion<store::Result<std::string>> reply) {
                store_.read_body(*stored, offset, 65536, std::move(reply));
            };
            auto piece = co_await call<store::Result<std::string>>(std::move(ask));
            if (!piece)
                co_return fail(
                    piece.error().code == store::Errc::damaged ? Errc::body_damaged : Errc::body_unreadable,
                    std::move(piece.error().text));
            if (piece->empty()) break;
            whole += *piece;
        }
        co_return whole;
    }

    // The host has said its last word on the message.
    void note_taken(const queue::Work& work, const std::vector<std::string>& accepted, bool heard,
                    const std::string& octets) {
        if (net_.silent() && !heard) net_.trace.step("taken as the power goes");
        for (const auto n : work.recipients) {
            const auto& path = work.message->recipients[n].address.recipient.path;
            if (std::find(accepted.begin(), accepted.end(), path.text()) != accepted.end())
                net_.oracle.taken(work, n, heard);
        }
        net_.oracle.arrived(work, octets);
    }

    asio::awaitable<std::vector<smtp::RecipientOutcome>> by_script(queue::Work work, std::string octets) {
        MxHost& host = link_->host();
        auto said = host.mail();
        auto reply = co_await link_->hear(std::move(said), Stage::mail);
        if (!reply || !reply->positive()) co_return all(work, refusal(std::move(reply), Stage::mail));
        std::vector<smtp::RecipientOutcome> out(work.recipients.size());
        for (std::size_t i = 0; i < out.size(); ++i) {
            const auto n = work.recipients[i];
            said = host.rcpt(work.message->recipients[n].address.recipient.path.text());
            auto answer = co_await link_->hear(std::move(said), Stage::rcpt);
            const bool lost = !answer;
            if (lost || !answer->positive()) out[i].failure = refusal(std::move(answer), Stage::rcpt);
            if (lost || !reusable_) {
                for (auto& outcome : out) outcome.failure = out[i].failure;
                co_return out;
            }
        }
        if (host.accepted().empty()) co_return out;
        said = host.data();
        reply = co_await link_->hear(std::move(said), Stage::data);
        const bool go = reply && reply->code == 354;
        if (go) {
            said = host.dot();
            const auto accepted = host.accepted();
            const bool took = host.took();
            reply = co_await link_->hear(std::move(said), Stage::dot);
            if (took) note_taken(work, accepted, reply && reply->positive(), octets);
        }
        const bool ok = go && reply && reply->positive();
        std::optional<smtp::Failure> failure;
        smtp::Reply last;
        if (ok)
            last = *reply;
        else
            failure = refusal(std::move(reply), go ? Stage::dot : Stage::data);
        for (auto& outcome : out) {
            if (outcome.failure) continue;
            outcome.reply = last;
            outcome.failure = failure;
        }
        co_return out;
    }

    smtp::Failure refusal(smtp::Result<smtp::Reply> reply, Stage stage) {
        if (!reply) {
            reusable_ = false;
            return {stage, reply.error().code, std::move(reply.error().text), std::nullopt};
        }
        if (reply->code == 421) reusable_ = false;
        std::string text = reply->text();
        return {stage, Errc::reply_negative, std::move(text), std::move(*reply)};
    }

    asio::awaitable<std::vector<smtp::RecipientOutcome>> by_octets(queue::Work work, std::string octets) {
        MxHost& host = link_->host();
        std::vector<mail::Recipient> recipients;
        for (const auto n : work.recipients)
            recipients.push_back(work.message->recipients[n].address.recipient);
        smtp::Transaction transaction(work.message->envelope, std::move(recipients), octets.size(), false,
                                      opened_.offered);
        bool dotted = false;
        for (;;) {
            auto action = transaction.next();
            if (auto* send = std::get_if<smtp::Transaction::Send>(&action)) {
                host.feed(send->octets);
            } else if (auto* wait = std::get_if<smtp::Transaction::Await>(&action)) {
                const auto accepted = host.accepted();
                auto reply = co_await link_->read(wait->stage);
                if (wait->stage == Stage::dot && std::exchange(dotted, false) && host.took())
                    note_taken(work, accepted, reply && reply->positive(), host.message());
                if (reply)
                    transaction.on_reply(*reply);
                else
                    transaction.on_failure(reply.error().code, std::move(reply.error().text));
            } else if (std::holds_alternative<smtp::Transaction::SendMessage>(action)) {
                smtp::DotStuffer stuffer;
                std::string wire = stuffer.stuff(octets);
                wire += stuffer.end();
                host.feed(wire);
                dotted = true;
            } else {
                reusable_ = std::get<smtp::Transaction::Finished>(action).reusable;
                co_return transaction.outcomes();
            }
        }
    }

    Network& net_;
    store::Store& store_;
    std::unique_ptr<Link> link_;
    smtp::Opened opened_;
    Truth truth_;
    bool reusable_ = true;
    std::string dialogue_;
};

std::string key_of(const delivery::DialRequest& request) {
    return (request.host ? request.host->text() : "") + "|" + request.address.text() +
           (request.tls == smtp::TlsUse::required ? "|strict" : "|");
}

}  // namespace

asio::awaitable<tl::expected<std::unique_ptr<delivery::Channel>, smtp::Failure>> SimDialer::open(
    delivery::DialRequest request) {
    const std::string name = request.host ? request.host->text() : "";
    smtp::Failure failure;
    failure.local_address = own_address().text();
    const auto failed = [&](Stage stage, Errc code, std::string text) {
        failure.stage = stage;
        failure.code = net_.silent() ? Errc::aborted : code;
        failure.text = std::move(text);
        net_.trace.step("dial {}[{}]: {} at {}", name, request.address.text(), failure.text,
                        smtp::name_of(stage));
        return tl::unexpected<smtp::Failure>(std::move(failure));
    };
    const auto refused = [&](smtp::Result<smtp::Reply> reply, Stage stage, Errc negative) {
        if (!reply) return failed(stage, reply.error().code, reply.error().text);
        std::string text = reply->text();
        failure.reply = std::move(*reply);
        return failed(stage, negative, std::move(text));
    };
    if (const auto passage = gate_.judge(request.address, request.port, request.chooser);
        passage != dns::Passage::open)
        co_return failed(Stage::connect, Errc::no_passage, dns::reason_of(passage));
    net_.oracle.dialled(request.address, name);
    const auto took = net_.chance.time(std::chrono::milliseconds(1), std::chrono::milliseconds(120));
    co_await net_.pause(took);
    if (net_.silent()) co_return failed(Stage::connect, Errc::aborted, "we stop");
    Host* who = net_.world.at(request.address);
    if (who == nullptr || who->down || net_.chance.percent(who->faults.refuses_connection))
        co_return failed(Stage::connect, Errc::connect_refused, "refused");
    if (net_.chance.percent(who->faults.takes_no_connection)) {
        co_await net_.pause(std::chrono::seconds(30));
        co_return failed(Stage::connect, Errc::connect_timed_out, "no answer");
    }
    const bool stripped = !who->evil && net_.world.attack_on_host(who->name).strips_starttls;
    auto link = std::make_unique<Link>(net_, *who, stripped);
    MxHost& host = link->host();
    auto said = host.greeting();
    auto reply = co_await link->hear(std::move(said), Stage::greeting);
    if (!reply || !reply->positive())
        co_return refused(std::move(reply), Stage::greeting, Errc::reply_negative);
    if (who->calls_itself == own_name)  // as the session does
        co_return failed(Stage::greeting, Errc::loop, "the host calls itself by our name: mail would loop");
    said = host.ehlo(false);
    reply = co_await link->hear(std::move(said), Stage::helo);
    if (!reply || !reply->positive()) co_return refused(std::move(reply), Stage::helo, Errc::reply_negative);
    smtp::Opened opened;
    opened.offered = smtp::Extensions::parse(*reply);
    opened.local_address = failure.local_address;
    failure.helo = opened.offered.greeting_name;
    net_.oracle.told_starttls(name, opened.offered.starttls);
    Truth truth;
    truth.host = name;
    if (request.tls != smtp::TlsUse::never && opened.offered.starttls) {
        said = host.starttls();
        reply = co_await link->hear(std::move(said), Stage::starttls);
        if (!reply) net_.oracle.told_handshake_failed(name, reply.error().text);
        if (!reply) co_return refused(std::move(reply), Stage::starttls, Errc::starttls_refused);
        if (!reply->positive()) {
            net_.oracle.told_starttls(name, false);
            if (request.tls == smtp::TlsUse::required || reply->code == 421)
                co_return refused(std::move(reply), Stage::starttls, Errc::starttls_refused);
            std::string text = reply->text();
            opened.starttls_refusal =
                smtp::Failure{Stage::starttls, Errc::starttls_refused, std::move(text), std::move(*reply)};
        } else {
            if (std::string why = host.handshake_fails(); !why.empty()) {
                net_.oracle.told_handshake_failed(name, why);
                co_return failed(Stage::handshake, Errc::handshake_failed, std::move(why));
            }
            // Taken up again where the chain of then, judged now, proves enough; else a full handshake.
            const std::string key = key_of(request);
            truth.certificate = who->certificate;
            bool resumed = false;
            const auto ticket = std::find_if(tickets_.begin(), tickets_.end(),
                                             [&](const Ticket& t) { return t.key == key && t.host == who; });
            if (ticket != tickets_.end() && !request.dane && request.may_resume) {
                const auto proof = evidence_of(ticket->certificate, request, net_.time.clock().wall());
                if (request.may_resume(proof)) {
                    resumed = true;
                    truth.certificate = ticket->certificate;
                }
                tickets_.erase(ticket);
            }
            truth.encrypted = true;
            opened.evidence = evidence_of(truth.certificate, request, net_.time.clock().wall());
            opened.evidence.resumed = resumed;
            failure.evidence = opened.evidence;
            tickets_.push_back({key, who, truth.certificate});
            if (tickets_.size() > 50) tickets_.erase(tickets_.begin());
            bool certain = !who->evil;
            for (const auto& [domain, what] : net_.world.domains())
                for (const auto& mx : what.mx)
                    certain = certain && (mx.second != name || !net_.oracle.ever_unlisted(domain, name));
            net_.oracle.session_opened(name, certain);
            said = host.ehlo(true);
            reply = co_await link->hear(std::move(said), Stage::helo);
            if (!reply || !reply->positive())
                co_return refused(std::move(reply), Stage::helo, Errc::reply_negative);
            opened.offered = smtp::Extensions::parse(*reply);
            truth.requiretls_offered = opened.offered.requiretls;
        }
    } else if (request.tls == smtp::TlsUse::required) {
        co_return failed(Stage::starttls, Errc::starttls_not_offered, "the host does not offer STARTTLS");
    }
    net_.trace.step("dial {}[{}]: open{}{}", name, request.address.text(), truth.encrypted ? ", TLS" : "",
                    opened.evidence.resumed ? ", resumed" : "");
    std::unique_ptr<delivery::Channel> channel =
        std::make_unique<SimChannel>(net_, store_, std::move(link), std::move(opened), std::move(truth));
    co_return channel;
}

}  // namespace sternpost::simulation
