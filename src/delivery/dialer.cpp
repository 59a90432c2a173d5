#include "delivery/dialer.h"

#include <algorithm>
#include <boost/asio/post.hpp>

#include "mail/seven_bit.h"
#include "util/call.h"
#include "util/run_on.h"

namespace sternpost::delivery {
namespace {

class AsioChannel final : public Channel {
  public:
    AsioChannel(asio::io_context& io, std::shared_ptr<smtp::Session> session, smtp::Opened opened,
                store::Store& store, Signing& signing, ConvertEightBit convert)
        : io_(io),
          session_(std::move(session)),
          opened_(std::move(opened)),
          store_(store),
          signing_(signing),
          convert_(convert) {}
    AsioChannel(const AsioChannel&) = delete;
    AsioChannel& operator=(const AsioChannel&) = delete;
    ~AsioChannel() override {
        // The session's socket belongs to the I/O thread: it is let go of there.
        asio::post(io_, [session = std::move(session_)] { session->abort(); });
    }

    const smtp::Opened& opened() const override { return opened_; }
    bool reusable() const override { return reusable_; }
    const std::string& dialogue() const override { return dialogue_; }

    asio::awaitable<std::vector<smtp::RecipientOutcome>> transact(queue::Work work) override {
        const Adaptation adapted = adapt(traits_of(work), opened_.offered, convert_);
        auto job = signing_.job_for(*work.message);
        auto done =
            co_await run_on(io_, run(session_, store_, signing_, std::move(work), adapted, std::move(job)));
        signing_.heard(done.signatures);
        reusable_ = done.reusable;
        dialogue_ = std::move(done.dialogue);
        co_return std::move(done.outcomes);
    }

    asio::awaitable<void> quit() override {
        reusable_ = false;
        co_await run_on(io_, leave(session_));
    }

  private:
    struct Done {
        std::vector<smtp::RecipientOutcome> outcomes;
        bool reusable = false;
        std::string dialogue;
        Signed signatures;
    };

    // None of the recipients gets it, before anything was said to the host.
    static std::vector<smtp::RecipientOutcome> none_of(std::size_t recipients, smtp::Errc code,
                                                       const std::string& text) {
        const smtp::Failure failure{smtp::Stage::body, code, text, std::nullopt};
        return {recipients, smtp::RecipientOutcome{smtp::Reply(), failure}};
    }

    // On the I/O thread.
    static asio::awaitable<Done> run(std::shared_ptr<smtp::Session> session, store::Store& store,
                                     Signing& signing, queue::Work work, Adaptation adapted,
                                     std::shared_ptr<const SigningJob> job) {
        std::vector<mail::Recipient> recipients;
        for (const auto n : work.recipients)
            recipients.push_back(work.message->recipients[n].address.recipient);
        smtp::Message message;
        message.size = work.message->body.size;
        message.eight_bit = work.message->body.eight_bit;
        message.read = [&store, stored = work.message](std::uint64_t offset, std::size_t most) {
            return read(store, stored, offset, most);
        };
        mail::Envelope envelope = work.message->envelope;
        envelope.smtputf8 = adapted.smtputf8;
        Done done;
        done.reusable = session->reusable();
        if (adapted.convert) {
            auto converted = co_await seven_bit(store, work.message);
            if (!converted) {
                done.outcomes = none_of(recipients.size(), converted.error().code, converted.error().text);
                co_return done;
            }
            message = message_of(std::move(*converted));
            envelope.body = mail::BodyType::seven_bit;
        }
        if (job != nullptr) {
            auto signatures = co_await signing.sign(std::move(job), message);
            if (!signatures) {
                done.outcomes = none_of(recipients.size(), signatures.error().code, signatures.error().text);
                co_return done;
            }
            done.signatures = std::move(*signatures);
            if (done.signatures.waits) {
                done.outcomes =
                    none_of(recipients.size(), smtp::Errc::not_signed, done.signatures.sentence());
                co_return done;
            }
            if (!done.signatures.fields.empty())
                message = Signing::in_front(std::exchange(done.signatures.fields, {}), std::move(message));
        }
        done.outcomes =
            co_await session->transact(std::move(envelope), std::move(recipients), std::move(message));
        done.reusable = session->reusable();
        if (std::any_of(done.outcomes.begin(), done.outcomes.end(),
                        [](const smtp::RecipientOutcome& o) { return o.failure.has_value(); }))
            done.dialogue = session->dialogue();
        co_return done;
    }

    // The whole message in memory, converted (D-28); adapt() keeps it to max_converted octets.
    static asio::awaitable<smtp::Result<std::string>> seven_bit(store::Store& store,
                                                                queue::MessagePtr stored) {
        std::string whole;
        while (whole.size() < stored->body.size) {
            auto octets = co_await read(store, stored, whole.size(), 1U << 20U);
            if (!octets) co_return octets;
            if (octets->empty()) break;
            whole += *octets;
        }
        auto converted = mail::to_seven_bit(whole);
        if (!converted) co_return fail(smtp::Errc::not_convertible, std::move(converted.error().text));
        co_return std::move(*converted);
    }

    static smtp::Message message_of(std::string octets) {
        smtp::Message out;
        out.size = octets.size();
        const auto shared = std::make_shared<const std::string>(std::move(octets));
        out.read = [shared](std::uint64_t offset, std::size_t most) { return slice(shared, offset, most); };
        return out;
    }

    static asio::awaitable<smtp::Result<std::string>> slice(std::shared_ptr<const std::string> whole,
                                                            std::uint64_t offset, std::size_t most) {
        if (offset >= whole->size()) co_return std::string();
        co_return whole->substr(offset, most);
    }

    static asio::awaitable<void> leave(std::shared_ptr<smtp::Session> session) { co_await session->quit(); }

    static asio::awaitable<smtp::Result<std::string>> read(store::Store& store, queue::MessagePtr stored,
                                                           std::uint64_t offset, std::size_t most) {
        if (stored->body.octets) {
            if (offset >= stored->body.octets->size()) co_return std::string();
            co_return stored->body.octets->substr(offset, most);
        }
        auto ask = [&store, stored, offset, most](Completion<store::Result<std::string>> reply) {
            store.read_body(*stored, offset, most, std::move(reply));
        };
        auto octets = co_await call<store::Result<std::string>>(std::move(ask));
        if (!octets) {
            const bool damaged = octets.error().code == store::Errc::damaged;
            co_return fail(damaged ? smtp::Errc::body_damaged : smtp::Errc::body_unreadable,
                           std::move(octets.error().text));
        }
        co_return std::move(*octets);
    }

    asio::io_context& io_;
    std::shared_ptr<smtp::Session> session_;
    smtp::Opened opened_;
    store::Store& store_;
    Signing& signing_;
    ConvertEightBit convert_;
    bool reusable_ = true;
    std::string dialogue_;
};

// TLS sessions of different hosts, addresses and strictness have nothing to do with each other.
std::string key_of(const DialRequest& request) {
    return (request.host ? request.host->text() : std::string("literal")) + "|" + request.address.text() +
           "|" + std::to_string(request.port) + (request.tls == smtp::TlsUse::required ? "|strict" : "|");
}

asio::awaitable<tl::expected<smtp::Opened, smtp::Failure>> open_session(
    std::shared_ptr<smtp::Session> session) {
    co_return co_await session->open();
}

}  // namespace

AsioDialer::AsioDialer(std::vector<asio::io_context*> io_contexts, Options options,
                       tls::ClientContexts contexts, store::Store& store, Signing& signing,
                       const Clock& clock)
    : io_contexts_(std::move(io_contexts)),
      options_(std::move(options)),
      contexts_(std::move(contexts)),
      store_(store),
      signing_(signing),
      clock_(clock) {}

void AsioDialer::use(tls::ClientContexts contexts) {
    contexts_ = std::move(contexts);
    tickets_.clear();
}

// The newest whose chain, judged today, proves what is demanded.
std::optional<tls::Ticket> AsioDialer::ticket_for(const DialRequest& request) {
    if (!options_.resume || !request.may_resume || request.dane || request.tls == smtp::TlsUse::never)
        return std::nullopt;
    const WallTime now = clock_.wall();
    const auto& context = request.tls == smtp::TlsUse::required ? contexts_.strict : contexts_.opportunistic;
    std::optional<dns::Domain> host;
    if (request.host) host = request.host->name();
    const std::string key = key_of(request);
    while (auto ticket = tickets_.take(key, now)) {
        if (!request.may_resume(tls::evidence_of(*ticket, context->native_handle(), host, now))) continue;
        if (!ticket->single_use()) tickets_.put(key, *ticket, now);
        return ticket;
    }
    return std::nullopt;
}

asio::awaitable<AsioDialer::Dialled> AsioDialer::open(DialRequest request) {
    auto ticket = ticket_for(request);
    if (!ticket) co_return co_await dial(std::move(request), std::nullopt);
    auto resumed = co_await dial(request, std::move(ticket));
    if (!resumed && resumed.error().stage != smtp::Stage::handshake) co_return resumed;
    if (resumed) {
        const tls::Evidence& proof = (*resumed)->opened().evidence;
        if (!proof.resumed || request.may_resume(proof)) co_return resumed;
        auto unwanted = std::move(*resumed);
        co_await unwanted->quit();
    }
    co_return co_await dial(std::move(request), std::nullopt);
}

asio::awaitable<AsioDialer::Dialled> AsioDialer::dial(DialRequest request,
                                                      std::optional<tls::Ticket> ticket) {
    const dns::Passage passage = options_.gate.judge(request.address, request.port, request.chooser);
    if (passage != dns::Passage::open) {
        smtp::Failure refused;
        refused.code = smtp::Errc::no_passage;
        refused.text = dns::reason_of(passage);
        co_return tl::unexpected<smtp::Failure>(std::move(refused));
    }
    asio::io_context& io = *io_contexts_[next_++ % io_contexts_.size()];
    const std::string key = key_of(request);
    smtp::Target target{
        std::move(request.host), request.address,   request.port,       request.source,    request.tls,
        std::move(request.dane), std::move(ticket), options_.helo_name, options_.timeouts, contexts_};
    auto session = std::make_shared<smtp::Session>(io.get_executor(), std::move(target));
    std::erase_if(live_, [](const Live& l) { return l.session.expired(); });
    live_.push_back({&io, session});
    auto opened = co_await run_on(io, open_session(session));
    if (!opened) {
        asio::post(io, [gone = std::move(session)] {});
        co_return tl::unexpected<smtp::Failure>(std::move(opened).error());
    }
    if (options_.resume)
        for (auto& one : opened->tickets) tickets_.put(key, std::move(one), clock_.wall());
    opened->tickets.clear();
    std::unique_ptr<Channel> channel = std::make_unique<AsioChannel>(
        io, std::move(session), std::move(*opened), store_, signing_, options_.convert_8bit);
    co_return channel;
}

void AsioDialer::abort() {
    for (const Live& live : live_)
        asio::post(*live.io, [weak = live.session] {
            if (const auto session = weak.lock()) session->abort();
        });
}

}  // namespace sternpost::delivery
