// The serving end of a connection, plain and then TLS, and the socket that takes such connections.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl/context.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <functional>
#include <memory>
#include <span>
#include <string>

#include "lab/ca.h"
#include "util/clock.h"
#include "util/log.h"
#include "util/result.h"
#include "util/tasks.h"

namespace sternpost::lab {

namespace asio = boost::asio;

/// One accepted connection, on the lab's thread.
class Connection {
  public:
    explicit Connection(asio::ip::tcp::socket socket);

    asio::awaitable<util::Result<std::size_t>> read_some(std::span<char> into, Deadline deadline);
    /// All of `octets`, which the caller keeps alive.
    asio::awaitable<util::Result<void>> write(std::string_view octets, Deadline deadline);
    asio::awaitable<util::Result<void>> start_tls(std::shared_ptr<asio::ssl::context> context,
                                                  Deadline deadline);
    /// Takes a ClientHello and answers it as `hello` says, which is not Hello::usual.
    asio::awaitable<void> answer_hello(Hello hello, Deadline deadline);
    /// Reads and forgets until the peer goes away or `deadline` comes: what a host does that hangs.
    asio::awaitable<void> sit_still(Deadline deadline);
    /// close_notify where there is TLS, then the end.
    asio::awaitable<void> close();

    /// The end without close_notify.
    void abort();

    /// The cipher suites of the ClientHello that OpenSSL knows, by its names.
    std::string offered_ciphers() const;
    bool encrypted() const { return tls_ != nullptr; }
    std::string tls_version() const;  // `TLSv1.3`; empty while plain
    std::string sni() const;          // empty: none was sent
    std::string client() const;       // its address

  private:
    asio::ip::tcp::socket socket_;
    std::shared_ptr<asio::ssl::context> context_;
    std::unique_ptr<asio::ssl::stream<asio::ip::tcp::socket&>> tls_;
};

/// Server contexts and certificates, one for each name and what is asked of it, made when first wanted.
class Identities {
  public:
    explicit Identities(Authority authority) : authority_(std::move(authority)) {}
    const Authority& authority() const { return authority_; }
    util::Result<std::shared_ptr<asio::ssl::context>> context(const std::string& name, const TlsServer& host);
    /// The certificate that such a host has, made when first wanted; the same from then on.
    util::Result<const Identity*> identity(const std::string& name, const TlsServer& host);

  private:
    struct Wish {
        std::string name;
        CertificateWish certificate;
        Chain chain;
        TlsVersion least, most;
        auto operator<=>(const Wish&) const = default;
    };

    Authority authority_;
    std::map<std::pair<std::string, CertificateWish>, Identity> identities_;
    std::map<Wish, std::shared_ptr<asio::ssl::context>> made_;
};

/// A listening TCP socket that can be shut and opened again; each connection is served as a task of its own.
class Door {
  public:
    using Serve = std::function<asio::awaitable<void>(asio::ip::tcp::socket)>;

    Door(asio::io_context& context, asio::ip::tcp::endpoint endpoint, Serve serve, Log& log);
    /// io: the address is taken or may not be used.
    util::Result<void> open();
    /// New connections are refused from now on; those there are go on.
    void shut();
    bool is_open() const { return acceptor_ != nullptr; }
    asio::awaitable<void> stop();

  private:
    asio::awaitable<void> accept_loop(std::shared_ptr<asio::ip::tcp::acceptor> acceptor);

    asio::io_context& context_;
    asio::ip::tcp::endpoint endpoint_;
    Serve serve_;
    std::shared_ptr<asio::ip::tcp::acceptor> acceptor_;
    TaskGroup tasks_;
};

}  // namespace sternpost::lab
