#include "lab/connection.h"

#include <openssl/ssl.h>

#include <array>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/write.hpp>

#include "util/deadline.h"

namespace sternpost::lab {
namespace {

using asio::ip::tcp;

constexpr std::size_t max_served = 1000;  // ours: connections of one host at a time

}  // namespace

// ---- Connection

Connection::Connection(tcp::socket socket) : socket_(std::move(socket)) {
    boost::system::error_code ignored;
    socket_.set_option(tcp::no_delay(true), ignored);
}

asio::awaitable<util::Result<std::size_t>> Connection::read_some(std::span<char> into, Deadline deadline) {
    const auto buffer = asio::buffer(into.data(), into.size());
    if (tls_) {
        auto reading = tls_->async_read_some(buffer, asio::deferred);
        co_return co_await until(deadline, std::move(reading));
    }
    auto reading = socket_.async_read_some(buffer, asio::deferred);
    co_return co_await until(deadline, std::move(reading));
}

asio::awaitable<util::Result<void>> Connection::write(std::string_view octets, Deadline deadline) {
    util::Result<std::size_t> written;
    if (tls_) {
        auto writing = asio::async_write(*tls_, asio::buffer(octets), asio::deferred);
        written = co_await until(deadline, std::move(writing));
    } else {
        auto writing = asio::async_write(socket_, asio::buffer(octets), asio::deferred);
        written = co_await until(deadline, std::move(writing));
    }
    if (!written) co_return fail(std::move(written).error());
    co_return util::Result<void>();
}

asio::awaitable<util::Result<void>> Connection::start_tls(std::shared_ptr<asio::ssl::context> context,
                                                          Deadline deadline) {
    context_ = std::move(context);
    tls_ = std::make_unique<asio::ssl::stream<tcp::socket&>>(socket_, *context_);
    auto shaking = tls_->async_handshake(asio::ssl::stream_base::server, asio::deferred);
    co_return co_await until_done(deadline, std::move(shaking));
}

asio::awaitable<void> Connection::answer_hello(Hello hello, Deadline deadline) {
    // A record of type alert: fatal, handshake_failure.
    static constexpr std::string_view alert("\x15\x03\x03\x00\x02\x02\x28", 7);
    static constexpr std::string_view garbage = "250 this is not TLS\r\n";
    std::array<char, 4096> forgotten{};
    const auto came = co_await read_some(forgotten, deadline);
    if (!came) co_return;
    if (hello == Hello::silence) {
        co_await sit_still(deadline);
    } else if (hello == Hello::alert) {
        (void)co_await write(alert, deadline);
    } else if (hello == Hello::garbage) {
        (void)co_await write(garbage, deadline);
    } else if (hello == Hello::reset) {
        boost::system::error_code ignored;
        socket_.set_option(asio::socket_base::linger(true, 0), ignored);
        socket_.close(ignored);
    }
}

asio::awaitable<void> Connection::sit_still(Deadline deadline) {
    std::array<char, 4096> forgotten{};
    for (;;) {
        const auto got = co_await read_some(forgotten, deadline);
        if (!got) co_return;
    }
}

asio::awaitable<void> Connection::close() {
    boost::system::error_code ignored;
    if (!socket_.is_open()) co_return;
    if (tls_ && SSL_is_init_finished(tls_->native_handle()) == 1) {
        auto shutting = tls_->async_shutdown(asio::deferred);
        (void)co_await until_done(std::chrono::steady_clock::now() + std::chrono::milliseconds(200),
                                  std::move(shutting));
    }
    socket_.shutdown(tcp::socket::shutdown_both, ignored);
    socket_.close(ignored);
}

void Connection::abort() {
    boost::system::error_code ignored;
    socket_.shutdown(tcp::socket::shutdown_both, ignored);
    socket_.close(ignored);
}

std::string Connection::offered_ciphers() const {
    std::string out;
    const STACK_OF(SSL_CIPHER)* offered = tls_ ? SSL_get_client_ciphers(tls_->native_handle()) : nullptr;
    for (int i = 0; offered != nullptr && i < sk_SSL_CIPHER_num(offered); ++i)
        out += (out.empty() ? "" : " ") + std::string(SSL_CIPHER_get_name(sk_SSL_CIPHER_value(offered, i)));
    return out;
}

std::string Connection::tls_version() const {
    return tls_ ? SSL_get_version(tls_->native_handle()) : "";
}

std::string Connection::sni() const {
    if (!tls_) return "";
    const char* name = SSL_get_servername(tls_->native_handle(), TLSEXT_NAMETYPE_host_name);
    return name != nullptr ? name : "";
}

std::string Connection::client() const {
    boost::system::error_code ec;
    const auto endpoint = socket_.remote_endpoint(ec);
    return ec ? "?" : endpoint.address().to_string();
}

// ---- Identities

namespace {

int protocol_of(TlsVersion version) {
    constexpr int numbers[] = {0, TLS1_VERSION, TLS1_1_VERSION, TLS1_2_VERSION, TLS1_3_VERSION};
    return numbers[static_cast<std::size_t>(version)];
}

// What a host sends in its handshake, PEM.
std::string shown_chain(const Identity& identity, Chain chain) {
    std::string out = identity.certificate;
    if (chain == Chain::leaf) return out;
    const std::size_t count = identity.issuers.size();
    for (std::size_t i = 0; i < count; ++i)
        if (i + 1 < count || chain == Chain::root) out += identity.issuers[i];
    return out;
}

}  // namespace

util::Result<const Identity*> Identities::identity(const std::string& name, const TlsServer& host) {
    CertificateWish wish{host.certificate, host.certificate_names, host.intermediate};
    const auto key = std::make_pair(name, std::move(wish));
    if (const auto found = identities_.find(key); found != identities_.end()) return &found->second;
    auto made = authority_.issue(name, key.second);
    if (!made) return fail(std::move(made).error());
    return &identities_.emplace(key, std::move(*made)).first->second;
}

util::Result<std::shared_ptr<asio::ssl::context>> Identities::context(const std::string& name,
                                                                      const TlsServer& host) {
    CertificateWish certificate{host.certificate, host.certificate_names, host.intermediate};
    auto& made = made_[{name, std::move(certificate), host.chain, host.tls_min, host.tls_max}];
    if (made) return made;
    const auto shown = identity(name, host);
    if (!shown) return fail(shown.error());
    auto context = std::make_shared<asio::ssl::context>(asio::ssl::context::tls_server);
    SSL_CTX* const raw = context->native_handle();
    // Old versions, small keys and SHA-1 are for the client to refuse.
    SSL_CTX_set_security_level(raw, 0);
    SSL_CTX_set_cipher_list(raw, "ALL:@SECLEVEL=0");
    const int least = host.tls_min == TlsVersion::any ? TLS1_VERSION : protocol_of(host.tls_min);
    if (SSL_CTX_set_min_proto_version(raw, least) != 1 ||
        SSL_CTX_set_max_proto_version(raw, protocol_of(host.tls_max)) != 1)
        return fail(util::Errc::io, "OpenSSL does not speak these versions of TLS");
    boost::system::error_code ec;
    context->use_certificate_chain(asio::buffer(shown_chain(**shown, host.chain)), ec);
    if (!ec) context->use_private_key(asio::buffer((*shown)->key), asio::ssl::context::pem, ec);
    if (ec) return fail(util::Errc::io, "cannot use a certificate for " + name + ": " + ec.message());
    SSL_CTX_set_mode(raw, SSL_MODE_NO_AUTO_CHAIN);
    SSL_CTX_set_session_cache_mode(raw, SSL_SESS_CACHE_OFF);
    made = std::move(context);
    return made;
}

// ---- Door

Door::Door(asio::io_context& context, tcp::endpoint endpoint, Serve serve, Log& log)
    : context_(context), endpoint_(std::move(endpoint)), serve_(std::move(serve)), tasks_(context, log) {}

util::Result<void> Door::open() {
    if (is_open()) return {};
    auto acceptor = std::make_shared<tcp::acceptor>(context_);
    boost::system::error_code ec;
    acceptor->open(endpoint_.protocol(), ec);
    if (!ec) acceptor->set_option(tcp::acceptor::reuse_address(true), ec);
    if (!ec) acceptor->bind(endpoint_, ec);
    if (!ec) acceptor->listen(asio::socket_base::max_listen_connections, ec);
    if (ec)
        return fail(util::Errc::io, "cannot listen on " + endpoint_.address().to_string() + ":" +
                                        std::to_string(endpoint_.port()) + ": " + ec.message());
    acceptor_ = acceptor;
    tasks_.spawn("door", accept_loop(std::move(acceptor)));
    return {};
}

void Door::shut() {
    if (!acceptor_) return;
    boost::system::error_code ignored;
    acceptor_->close(ignored);
    acceptor_.reset();
}

asio::awaitable<void> Door::accept_loop(std::shared_ptr<tcp::acceptor> acceptor) {
    while (acceptor->is_open()) {
        auto [ec, socket] = co_await acceptor->async_accept(asio::as_tuple(asio::use_awaitable));
        if (ec == asio::error::operation_aborted || !acceptor->is_open()) co_return;
        if (ec) {
            asio::steady_timer pause(
                context_, std::chrono::milliseconds(100));  // out of descriptors: not in a tight loop
            co_await pause.async_wait(asio::as_tuple(asio::use_awaitable));
            continue;
        }
        if (tasks_.size() <= max_served) tasks_.spawn("serve", serve_(std::move(socket)));
    }
}

asio::awaitable<void> Door::stop() {
    shut();
    tasks_.cancel();
    co_await tasks_.join();
}

}  // namespace sternpost::lab
