#include "tls/stream.h"

#include <algorithm>
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

constexpr std::size_t record_octets = 16384;  // in a TLS record
constexpr std::size_t record_overhead = 128;  // ours: header, IV, padding and MAC of any cipher suite at most

// A BIO that puts what is written at the end of the std::string that is its data.
int append(BIO* bio, const char* octets, std::size_t size, std::size_t* written) {
    static_cast<std::string*>(BIO_get_data(bio))->append(octets, size);
    *written = size;
    return 1;
}
long control(BIO*, int command, long, void*) {
    return command == BIO_CTRL_FLUSH ? 1 : 0;
}
int create(BIO* bio) {
    BIO_set_init(bio, 1);
    return 1;
}
const BIO_METHOD* appending() {
    static const auto method = [] {
        std::unique_ptr<BIO_METHOD, decltype(&BIO_meth_free)> out(
            BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "records"), &BIO_meth_free);
        BIO_meth_set_write_ex(out.get(), append);
        BIO_meth_set_ctrl(out.get(), control);
        BIO_meth_set_create(out.get(), create);
        return out;
    }();
    return method.get();
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

// As many TLS records as `octets` take, which asio would send one by one. What OpenSSL cannot seal now stays
// in `octets`: it wants to read first, or is at its end, and asio's way of writing comes to know which.
std::string Stream::seal(std::string_view& octets) {
    std::string records;
    BIO* memory = BIO_new(appending());
    if (memory == nullptr) return records;
    records.reserve(octets.size() + record_overhead * (octets.size() / record_octets + 1));
    BIO_set_data(memory, &records);
    SSL* ssl = tls_->native_handle();
    BIO* to_asio = SSL_get_wbio(ssl);
    BIO_up_ref(to_asio);
    SSL_set0_wbio(ssl, memory);
    std::size_t sealed = 0;
    while (!octets.empty() && SSL_write_ex(ssl, octets.data(), octets.size(), &sealed) == 1)
        octets.remove_prefix(sealed);
    SSL_set0_wbio(ssl, to_asio);  // frees `memory`
    return records;
}

// What the kernel takes at once, as it does with all but large messages, needs no turn of the loop.
asio::awaitable<util::Result<void>> Stream::write(std::string_view octets, Deadline deadline) {
    const std::string records = tls_ ? seal(octets) : std::string();
    const std::string_view wire = tls_ ? records : octets;
    auto buffer = asio::buffer(wire.data(), wire.size());
    boost::system::error_code ec;
    if (!socket_.non_blocking()) socket_.non_blocking(true, ec);
    if (!ec && !wire.empty()) buffer += socket_.write_some(buffer, ec);
    if (ec == asio::error::would_block) ec.clear();
    if (!ec && buffer.size() == 0 && (!tls_ || octets.empty())) co_return util::Result<void>();
    const TimeLimit::Span span(limit_, deadline);
    std::size_t put = 0;
    if (!ec && buffer.size() > 0)
        std::tie(ec, put) = co_await asio::async_write(socket_, buffer, asio::as_tuple(asio::use_awaitable));
    if (!ec && tls_ && !octets.empty()) {
        const auto rest = asio::buffer(octets.data(), octets.size());
        std::tie(ec, put) = co_await asio::async_write(*tls_, rest, asio::as_tuple(asio::use_awaitable));
    }
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
