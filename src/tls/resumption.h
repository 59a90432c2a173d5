// TLS sessions that may be taken up again, with the chain that their full handshake showed: OpenSSL believes
// a resumed session whatever has changed since, so what it proves is judged again from that chain each time.
#pragma once

#include <openssl/ssl.h>

#include <memory>
#include <optional>
#include <vector>

#include "tls/verify.h"
#include "util/clock.h"

namespace sternpost::tls {

/// What a server gave to take a session up again. A value that any thread may have; copies are the same
/// ticket.
class Ticket {
  public:
    /// A copy of `session` of its own: what becomes of the connection that it came over does not matter.
    static std::optional<Ticket> copy_of(SSL_SESSION* session);

    SSL_SESSION* get() const { return session_.get(); }
    /// To be used once, so that no one who watches can tell that two connections are one client's (RFC 8446
    /// §C.4).
    bool single_use() const;
    /// When the server forgets it, by its own word.
    WallTime expires() const;

  private:
    explicit Ticket(SSL_SESSION* session) : session_(session, SSL_SESSION_free) {}
    std::shared_ptr<SSL_SESSION> session_;
};

/// A context whose connections may collect tickets. OpenSSL keeps none itself.
void let_collect(SSL_CTX* context);
/// What the server gives over `ssl` goes into `into`, which must outlive `ssl`; the newest two are kept.
void collect(SSL* ssl, std::vector<Ticket>& into);

/// What a session that `ticket` takes up proves about `host` at `now`: its chain against the roots of
/// `context`, its names and dates; never anything under DANE. Without what only a handshake shows.
Evidence evidence_of(const Ticket& ticket, SSL_CTX* context, const std::optional<dns::Domain>& host,
                     WallTime now);

}  // namespace sternpost::tls
