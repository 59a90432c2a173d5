#include "tls/context.h"

#include <openssl/ssl.h>

#include "tls/resumption.h"
#include "tls/verify.h"
#include "util/file.h"

namespace sternpost::tls {
namespace {

constexpr std::size_t max_pem = 1U << 20U;  // ours: a chain has a few kilobytes

int verify_by_our_measure(X509_STORE_CTX* context, void*) {
    X509_VERIFY_PARAM_set_auth_level(X509_STORE_CTX_get0_param(context), auth_level);
    return X509_verify_cert(context);
}

Result<std::shared_ptr<boost::asio::ssl::context>> make(const Options& options, int security_level) {
    auto context = std::make_shared<boost::asio::ssl::context>(boost::asio::ssl::context::tls_client);
    SSL_CTX* ctx = context->native_handle();
    SSL_CTX_set_security_level(ctx, security_level);
    if (SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION) != 1) return fail(Errc::openssl, openssl_error());
    SSL_CTX_set_options(ctx, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION);
    let_collect(ctx);  // what a resumed session proves is judged again: see resumption
    SSL_CTX_set_verify(ctx, SSL_VERIFY_NONE, nullptr);  // recorded, not enforced: see evidence_of()
    SSL_CTX_set_purpose(ctx, X509_PURPOSE_SSL_SERVER);
    if (SSL_CTX_dane_enable(ctx) <= 0) return fail(Errc::openssl, openssl_error());
    // Handshakes take what they must; what a certificate proves is judged by one measure in either context.
    SSL_CTX_set_cert_verify_callback(ctx, verify_by_our_measure, nullptr);
    if (SSL_CTX_load_verify_file(ctx, options.ca_file.c_str()) != 1)
        return fail(Errc::bad_ca_file,
                    "no certificate can be read from " + options.ca_file + ": " + openssl_error());
    return context;
}

Result<std::string> read_pem(const std::string& file) {
    auto text = util::read_file(file, max_pem);
    if (!text) return fail(Errc::bad_certificate, std::move(text.error().text));
    return std::move(*text);
}

}  // namespace

Result<ClientContexts> client_contexts(const Options& options) {
    auto strict = make(options, 2);
    if (!strict) return fail(std::move(strict).error());
    auto opportunistic = make(options, 0);
    if (!opportunistic) return fail(std::move(opportunistic).error());
    return ClientContexts{std::move(*strict), std::move(*opportunistic)};
}

Result<std::shared_ptr<boost::asio::ssl::context>> server_context(const Identity& identity) {
    const std::string& key_file = identity.key_file.empty() ? identity.certificate_file : identity.key_file;
    auto certificate = read_pem(identity.certificate_file);
    if (!certificate) return fail(std::move(certificate).error());
    auto key = read_pem(key_file);
    if (!key) return fail(std::move(key).error());

    auto context = std::make_shared<boost::asio::ssl::context>(boost::asio::ssl::context::tls_server);
    SSL_CTX* ctx = context->native_handle();
    SSL_CTX_set_security_level(ctx, 2);  // before the certificate, so that a weak one is refused here
    if (SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION) != 1) return fail(Errc::openssl, openssl_error());
    SSL_CTX_set_options(ctx, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);  // tickets do, and keep nothing here
    SSL_CTX_set_verify(ctx, SSL_VERIFY_NONE, nullptr);
    boost::system::error_code ec;
    // no one is there to be asked for a pass phrase: an encrypted key is an error
    context->set_password_callback([](std::size_t, auto) { return std::string(); }, ec);
    if (!ec) context->use_certificate_chain(boost::asio::buffer(*certificate), ec);
    if (ec)
        return fail(Errc::bad_certificate,
                    identity.certificate_file + " holds no certificate that can be used: " + ec.message());
    context->use_private_key(boost::asio::buffer(*key), boost::asio::ssl::context::pem, ec);
    if (ec)
        return fail(
            Errc::bad_certificate,
            key_file + " holds no private key that can be used: " + ec.message() +
                (key->find("ENCRYPTED") == std::string::npos ? "" : " (the key must not be encrypted)"));
    if (SSL_CTX_check_private_key(ctx) != 1)
        return fail(Errc::bad_certificate, "the key in " + key_file + " is not that of the certificate in " +
                                               identity.certificate_file + ": " + openssl_error());
    return context;
}

}  // namespace sternpost::tls
