// Handshakes of OpenSSL in memory, with certificates of an authority that is made here.
#pragma once

#include <openssl/ssl.h>

#include <boost/asio/buffer.hpp>
#include <functional>
#include <memory>
#include <stdexcept>

#include "fake/temporary_folder.h"
#include "lab/ca.h"
#include "tls/context.h"
#include "util/file.h"

namespace sternpost::fake {

using Ssl = std::unique_ptr<SSL, void (*)(SSL*)>;

/// What our client sessions use, where this authority is the only root.
inline tls::ClientContexts clients_that_trust(const lab::Authority& authority) {
    const TemporaryFolder folder;
    tls::Options options;
    options.ca_file = folder / "ca.pem";
    if (!util::write_file(options.ca_file, authority.root(), 0600)) throw std::logic_error("no root");
    return tls::client_contexts(options).value();
}

/// A server that shows this certificate, and those up to the root.
inline std::shared_ptr<boost::asio::ssl::context> server_with(const lab::Identity& identity) {
    std::string chain = identity.certificate;
    for (const auto& issuer : identity.issuers) chain += issuer;
    auto out = std::make_shared<boost::asio::ssl::context>(boost::asio::ssl::context::tls_server);
    out->use_certificate_chain(boost::asio::buffer(chain));
    out->use_private_key(boost::asio::buffer(identity.key), boost::asio::ssl::context::pem);
    return out;
}

/// The client's end of a connection whose handshake is over, or has failed: SSL_in_init() then. `before` sees
/// it first.
inline Ssl shake_hands(boost::asio::ssl::context& client, boost::asio::ssl::context& server,
                       const std::function<void(SSL*)>& before = nullptr) {
    Ssl out(SSL_new(client.native_handle()), SSL_free);
    const Ssl other(SSL_new(server.native_handle()), SSL_free);
    BIO* ours = nullptr;
    BIO* theirs = nullptr;
    if (BIO_new_bio_pair(&ours, 65536, &theirs, 65536) != 1) throw std::bad_alloc();
    SSL_set_bio(out.get(), ours, ours);
    SSL_set_bio(other.get(), theirs, theirs);
    SSL_set_connect_state(out.get());
    SSL_set_accept_state(other.get());
    if (before) before(out.get());
    for (int i = 0; i < 10 && (SSL_in_init(out.get()) != 0 || SSL_in_init(other.get()) != 0); ++i) {
        SSL_do_handshake(out.get());
        SSL_do_handshake(other.get());
    }
    char octet = 0;
    if (SSL_in_init(out.get()) == 0)
        SSL_read(out.get(), &octet, 1);  // TLS 1.3 gives its tickets behind the handshake
    return out;
}

}  // namespace sternpost::fake
