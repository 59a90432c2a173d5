#include "tls/stream.h"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/deferred.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <tuple>

#include "util/deadline.h"

namespace sternpost::tls {

namespace {

// What an operation's end says; `over`: it was cut off at its deadline.
util::Result<std::size_t> result_of(bool over, const boost::system::error_code& ec, std::size_t octets) {
    if (!ec) return octets;
    if (over) return fail(util::Errc::timed_out, "timed out");
    if (ec == asio::error::eof) return fail(util::Errc::closed, "the connection was closed");
    return fail(util::Errc::io, ec.message());
}

}  // namespace

asio::awaitable<util::Result<std::size_t>> Stream::read_some(std::span<char> into, Deadline deadline) {
    const auto buffer = asio::buffer(into.data(), into.size());
    const TimeLimit::Span span(limit_, deadline);
    boost::system::error_code ec;
    std::size_t octets = 0;
    if (tls_)
        std::tie(ec, octets) = co_await tls_->async_read_some(buffer, asio::as_tuple(asio::use_awaitable));
    else
        std::tie(ec, octets) = co_await socket_.async_read_some(buffer, asio::as_tuple(asio::use_awaitable));
    if (ec) broken_ = true;
    co_return result_of(span.over(), ec, octets);
}

asio::awaitable<util::Result<void>> Stream::write(std::string_view octets, Deadline deadline) {
    auto buffer = asio::buffer(octets.data(), octets.size());
    boost::system::error_code ec;
    std::size_t put = 0;
    if (!tls_) {
        // What the kernel takes at once, as it does with all but large messages, needs no turn of the loop.
        if (!socket_.non_blocking()) socket_.non_blocking(true, ec);
        if (!ec) put = socket_.write_some(buffer, ec);
        if (ec == asio::error::would_block) ec.clear();
        if (!ec && put == octets.size()) co_return util::Result<void>();
        buffer += put;
    }
    const TimeLimit::Span span(limit_, deadline);
    if (tls_)
        std::tie(ec, put) = co_await asio::async_write(*tls_, buffer, asio::as_tuple(asio::use_awaitable));
    else if (!ec)
        std::tie(ec, put) = co_await asio::async_write(socket_, buffer, asio::as_tuple(asio::use_awaitable));
    if (ec) {
        broken_ = true;
        co_return fail(result_of(span.over(), ec, 0).error());
    }
    co_return util::Result<void>();
}

asio::awaitable<util::Result<void>> Stream::handshake(std::shared_ptr<asio::ssl::context> context,
                                                      std::optional<dns::Domain> host,
                                                      std::optional<DaneReference> dane,
                                                      std::optional<Ticket> ticket, Deadline deadline) {
    context_ = std::move(context);
    host_ = std::move(host);
    dane_ = std::move(dane);
    tls_ = std::make_unique<asio::ssl::stream<asio::ip::tcp::socket&>>(socket_, *context_);
    // SNI always (RFC 8461 §7.1). SSL_set_tlsext_host_name() is a macro around this call.
    const std::optional<dns::Domain> sni = dane_ ? std::optional(dane_->base_domain) : host_;
    if (dane_ && !expect_dane(tls_->native_handle(), *dane_)) {
        broken_ = true;
        co_return fail(util::Errc::malformed, "OpenSSL takes none of the TLSA records: " + openssl_error());
    }
    if (sni) {
        std::string name = sni->text();
        SSL_ctrl(tls_->native_handle(), SSL_CTRL_SET_TLSEXT_HOSTNAME, TLSEXT_NAMETYPE_host_name, name.data());
    }
    if (!dane_) {
        collect(tls_->native_handle(), *tickets_);
        if (ticket) SSL_set_session(tls_->native_handle(), ticket->get());  // else a full handshake
    }
    auto done =
        co_await until_done(deadline, tls_->async_handshake(asio::ssl::stream_base::client, asio::deferred));
    if (!done) broken_ = true;
    co_return done;
}

asio::awaitable<util::Result<void>> Stream::accept_tls(std::shared_ptr<asio::ssl::context> context,
                                                       Deadline deadline) {
    context_ = std::move(context);
    tls_ = std::make_unique<asio::ssl::stream<asio::ip::tcp::socket&>>(socket_, *context_);
    auto done =
        co_await until_done(deadline, tls_->async_handshake(asio::ssl::stream_base::server, asio::deferred));
    if (!done) broken_ = true;
    co_return done;
}

std::string Stream::version() const {
    return tls_ ? SSL_get_version(tls_->native_handle()) : "";
}

std::string Stream::cipher() const {
    if (!tls_) return {};
    const char* name = SSL_CIPHER_standard_name(SSL_get_current_cipher(tls_->native_handle()));
    return name == nullptr ? "" : name;
}

Evidence Stream::evidence() const {
    if (!tls_ || broken_) return {};
    return evidence_of(tls_->native_handle(), host_, dane_);
}

asio::awaitable<void> Stream::close(Deadline deadline) {
    boost::system::error_code ignored;
    if (tls_ && !broken_) {
        // Sends close_notify and would wait for the peer's: we do not care for that, so the time is short.
        const auto soon =
            std::min(deadline, std::chrono::steady_clock::now() + std::chrono::milliseconds(200));
        co_await until_done(soon, tls_->async_shutdown(asio::deferred));
    }
    socket_.shutdown(asio::ip::tcp::socket::shutdown_both, ignored);
    socket_.close(ignored);
}

}  // namespace sternpost::tls
