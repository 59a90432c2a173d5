// What a TLS connection proved, as a value: chain, names, version. Whether that suffices is
// delivery/requirement's question.
#pragma once

#include <openssl/ssl.h>

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "dns/name.h"
#include "util/clock.h"

namespace sternpost::tls {

struct Evidence {
    bool encrypted = false;
    std::string version;  // TLSv1.3
    std::string cipher;
    bool resumed = false;
    std::string sni;  // what the ClientHello named

    bool has_certificate = false;
    long chain_error = 0;  // X509_V_OK (0), or why the chain does not lead to a trusted root (X509_V_ERR_…)
    std::string chain_error_name;  // `certificate has expired`
    bool name_matches =
        false;  // a SAN dNSName of the leaf matches the MX host's name (RFC 8461 §4.2, RFC 9525 §6.3)
    std::vector<std::string> names;  // the leaf's SAN dNSNames, at most 20, for people
    std::string fingerprint;         // SHA-256 of the leaf, hex
    WallTime not_after{};            // of the leaf

    bool chain_ok() const { return encrypted && has_certificate && chain_error == 0; }
};

/// Reads what `ssl` (a finished client handshake) proved about `host`. SAN dNSNames only, never the CN; a `*`
/// counts only as the whole left-most label. Without a `host` (an address literal) no name matches.
Evidence evidence_of(SSL* ssl, const std::optional<dns::Domain>& host);

/// The newest entry of OpenSSL's error queue as text, and an empty queue.
std::string openssl_error();

}  // namespace sternpost::tls
