// The seam between delivery and SMTP sessions: a dialer opens channels. Real form: sessions on the I/O
// threads.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <functional>
#include <memory>
#include <vector>

#include "delivery/adapt.h"
#include "delivery/signing.h"
#include "delivery/tickets.h"
#include "dns/gate.h"
#include "queue/work.h"
#include "smtp/session.h"
#include "store/store.h"

namespace sternpost::delivery {

namespace asio = boost::asio;

/// Whom to call; contexts and time-outs are the dialer's.
struct DialRequest {
    std::optional<dns::MxHost> host;
    dns::Address address;
    std::uint16_t port = 25;
    std::optional<dns::Address> source;
    dns::Chooser chooser = dns::Chooser::stranger;  // of the address
    smtp::TlsUse tls = smtp::TlsUse::if_offered;
    std::optional<tls::DaneReference> dane;  // TLSA records that the handshake is judged by
    /// Whether a TLS session that proves this may be taken up again; empty: only a full handshake will do.
    std::function<bool(const tls::Evidence&)> may_resume;
    std::optional<smtp::Failure> tls_failure;  // of the session before: why this one is in clear
};

/// An open session, seen from the control thread.
class Channel {
  public:
    virtual ~Channel() = default;
    virtual const smtp::Opened& opened() const = 0;
    /// One transaction; outcomes in the order of work.recipients.
    virtual asio::awaitable<std::vector<smtp::RecipientOutcome>> transact(queue::Work work) = 0;
    virtual bool reusable() const = 0;
    /// What was said, when the last transaction had a failure (smtp/dialogue).
    virtual const std::string& dialogue() const = 0;
    virtual asio::awaitable<void> quit() = 0;
};

class Dialer {
  public:
    virtual ~Dialer() = default;
    virtual asio::awaitable<tl::expected<std::unique_ptr<Channel>, smtp::Failure>> open(
        DialRequest request) = 0;
};

/// Sessions on I/O threads, one after the other in turn. TLS sessions are taken up again where the request
/// allows it; whatever goes wrong with that, a full handshake over a new connection decides.
class AsioDialer final : public Dialer {
  public:
    struct Options {
        std::string helo_name;
        smtp::ClientTimeouts timeouts;
        ConvertEightBit convert_8bit = ConvertEightBit::unsigned_only;
        dns::Gate gate;      // asked for every connection
        bool resume = true;  // TLS sessions are taken up again where the request allows it
    };
    AsioDialer(std::vector<asio::io_context*> io_contexts, Options options, tls::ClientContexts contexts,
               store::Store& store, Signing& signing, const Clock& clock);

    asio::awaitable<tl::expected<std::unique_ptr<Channel>, smtp::Failure>> open(DialRequest request) override;
    /// For sessions opened from now on (a reload).
    void use(tls::ClientContexts contexts);
    /// Closes every session that is not past DATA: its operations fail with Errc::aborted or io.
    void abort();

  private:
    using Dialled = tl::expected<std::unique_ptr<Channel>, smtp::Failure>;
    std::optional<tls::Ticket> ticket_for(const DialRequest& request);
    asio::awaitable<Dialled> dial(DialRequest request, std::optional<tls::Ticket> ticket);

    std::vector<asio::io_context*> io_contexts_;
    Options options_;
    tls::ClientContexts contexts_;
    store::Store& store_;
    Signing& signing_;
    const Clock& clock_;
    Tickets tickets_;
    std::size_t next_ = 0;
    struct Live {
        asio::io_context* io;
        std::weak_ptr<smtp::Session> session;
    };
    std::vector<Live> live_;
};

}  // namespace sternpost::delivery
