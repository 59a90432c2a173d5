// TLS settings as OpenSSL wants them, made once from Options; a reload makes new ones and never changes one
// in use.
#pragma once

#include <boost/asio/ssl/context.hpp>
#include <memory>
#include <string>

#include "util/result.h"

namespace sternpost::tls {

enum class Errc {
    bad_ca_file,
    bad_certificate,  // a server's certificate or key: unreadable, not PEM, too weak, or not a pair
    openssl,
};

template <class T>
using Result = Expected<T, Errc>;

struct Options {
    std::string ca_file =
        "/etc/ssl/certs/ca-certificates.crt";  // PEM; the roots that MX and policy hosts are verified against
};

/// What client sessions use. Neither context aborts a handshake over a certificate: what it proved is read
/// afterwards (verify.h) and judged in one place.
struct ClientContexts {
    /// Under a requirement: TLS 1.2 or later, OpenSSL's security level 2 (RSA from 2048 bits, no SHA-1; RFC
    /// 9325 §4).
    std::shared_ptr<boost::asio::ssl::context> strict;
    /// Without one: TLS 1.2 or later (D-20), but whatever key and digest the peer has, since the alternative
    /// is clear text.
    std::shared_ptr<boost::asio::ssl::context> opportunistic;
};

/// bad_ca_file: it cannot be read or holds no certificate. Mail that needs no verification could still go;
/// callers decide.
Result<ClientContexts> client_contexts(const Options& options);

/// Where a server's certificate is.
struct Identity {
    std::string certificate_file;  // PEM: the certificate, then the chain to its root
    std::string key_file;          // PEM, not encrypted; empty: in certificate_file too
};

/// What a listener does STARTTLS with: TLS 1.2 or later, security level 2, neither compression nor
/// renegotiation (RFC 9325 §3, §4); no certificate is asked of the client. bad_certificate names the file and
/// what is wrong with it.
Result<std::shared_ptr<boost::asio::ssl::context>> server_context(const Identity& identity);

}  // namespace sternpost::tls
