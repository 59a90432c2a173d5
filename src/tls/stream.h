// A connection that is plain and then, perhaps, TLS. Every operation has a deadline; closing is an operation.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "tls/context.h"
#include "tls/resumption.h"
#include "tls/verify.h"
#include "util/clock.h"
#include "util/result.h"
#include "util/time_limit.h"

namespace sternpost::tls {

namespace asio = boost::asio;

/// Lives on one I/O thread. After an error it is only good for close().
class Stream {
  public:
    explicit Stream(asio::ip::tcp::socket socket) : socket_(std::move(socket)), limit_(socket_) {}
    Stream(const Stream&) = delete;
    Stream& operator=(const Stream&) = delete;

    bool encrypted() const { return tls_ != nullptr; }
    asio::ip::tcp::socket& socket() { return socket_; }

    /// At least one octet. closed: the peer ended the connection; under TLS also when it did so without
    /// close_notify (TLS-18).
    asio::awaitable<util::Result<std::size_t>> read_some(std::span<char> into, Deadline deadline);
    /// All of `octets`, which the caller keeps alive.
    asio::awaitable<util::Result<void>> write(std::string_view octets, Deadline deadline);
    /// The client's handshake, with SNI = `host` (none towards an address literal), under DANE the TLSA base
    /// domain (RFC 7672 §8.1). `ticket`: a session that may be taken up again, never under DANE. Fails on
    /// anything but a certificate: that is for evidence().
    asio::awaitable<util::Result<void>> handshake(std::shared_ptr<asio::ssl::context> context,
                                                  std::optional<dns::Domain> host,
                                                  std::optional<DaneReference> dane,
                                                  std::optional<Ticket> ticket, Deadline deadline);
    /// What the server gave to take this session up again, so far; not under DANE.
    std::vector<Ticket> take_tickets() { return std::exchange(*tickets_, {}); }
    /// The server's handshake. The peer is not asked for a certificate.
    asio::awaitable<util::Result<void>> accept_tls(std::shared_ptr<asio::ssl::context> context,
                                                   Deadline deadline);
    /// `TLSv1.3`, and IANA's name of the cipher suite; empty while it is plain.
    std::string version() const;
    std::string cipher() const;
    /// What the connection proved so far; nothing while it is plain.
    Evidence evidence() const;
    /// Ends TLS politely (close_notify, without waiting for the peer's) and closes the socket.
    asio::awaitable<void> close(Deadline deadline);

  private:
    std::string seal(std::string_view& octets);

    asio::ip::tcp::socket socket_;
    TimeLimit limit_;
    std::shared_ptr<asio::ssl::context> context_;
    std::unique_ptr<asio::ssl::stream<asio::ip::tcp::socket&>> tls_;
    std::optional<dns::Domain> host_;
    std::optional<DaneReference> dane_;
    std::unique_ptr<std::vector<Ticket>> tickets_ = std::make_unique<std::vector<Ticket>>();
    bool broken_ = false;
};

}  // namespace sternpost::tls
