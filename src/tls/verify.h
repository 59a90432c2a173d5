// What a TLS connection proved, as a value: chain, names, version. Whether that suffices is
// delivery/requirement's question.
#pragma once

#include <openssl/ssl.h>

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "dns/name.h"
#include "tls/dane.h"
#include "util/clock.h"

namespace sternpost::tls {

/// OpenSSL's measure of keys and signatures: RSA from 2048 bits, no SHA-1 below the root (RFC 9325 §4.5).
constexpr int auth_level = 2;

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
    std::string issuer;              // of the leaf, for people
    WallTime not_before{};           // of the leaf
    WallTime not_after{};
    bool weak_key =
        false;  // the leaf's key has less than 112 bits of strength: RSA below 2048 (RFC 9325 §4.5)

    /// What the TLSA records said, where the handshake was judged by some. The chain above is judged apart
    /// from them, so that both policies of a host can be reported (D-08).
    std::optional<DaneReference> dane;
    bool dane_matched = false;  // one of them authenticated the host, names and dates where they matter
    std::string dane_match;     // the record that did, `3 1 1 AB…`
    long dane_error = 0;        // else why not (X509_V_ERR_…)

    bool chain_ok() const { return encrypted && has_certificate && chain_error == 0 && !weak_key; }
};

/// Reads what `ssl` (a finished client handshake) proved about `host`. SAN dNSNames only, never the CN; a `*`
/// counts only as the whole left-most label. A session that was taken up again is judged by its chain again,
/// and proves nothing under DANE. Without a `host` (an address literal) no name matches. `dane`: what
/// expect_dane() was given, if it was called.
Evidence evidence_of(SSL* ssl, const std::optional<dns::Domain>& host,
                     const std::optional<DaneReference>& dane);

/// The same of the session that `ssl` has, judged by the time `now`, without DANE: what a session proves that
/// is taken up again (resumption).
Evidence evidence_at(SSL* ssl, const std::optional<dns::Domain>& host, WallTime now);

/// The part of it that a certificate alone tells: names, dates, key, fingerprint (leaf.cpp).
void read_leaf(X509* leaf, const std::optional<dns::Domain>& host, Evidence& out);

/// Before the handshake: has OpenSSL compare the peer with the TLSA records. False: it takes none of them.
bool expect_dane(SSL* ssl, const DaneReference& reference);

/// The newest entry of OpenSSL's error queue as text, and an empty queue.
std::string openssl_error();

}  // namespace sternpost::tls
