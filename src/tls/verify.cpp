#include "tls/verify.h"

#include <openssl/err.h>
#include <openssl/x509v3.h>

#include <array>
#include <memory>

#include "util/text.h"

namespace sternpost::tls {
namespace {

using X509Ptr = std::unique_ptr<X509, void (*)(X509*)>;

// The chain of the session against the trusted roots, as without DANE.
long judge_chain(SSL* ssl, X509* leaf, std::optional<WallTime> now) {
    const std::unique_ptr<X509_STORE_CTX, void (*)(X509_STORE_CTX*)> context(X509_STORE_CTX_new(),
                                                                             X509_STORE_CTX_free);
    X509_STORE* roots = SSL_CTX_get_cert_store(SSL_get_SSL_CTX(ssl));
    if (!context || X509_STORE_CTX_init(context.get(), roots, leaf, SSL_get_peer_cert_chain(ssl)) != 1)
        return X509_V_ERR_OUT_OF_MEM;
    X509_STORE_CTX_set_default(context.get(), "ssl_server");
    X509_VERIFY_PARAM_set_auth_level(X509_STORE_CTX_get0_param(context.get()), auth_level);
    if (now)
        X509_VERIFY_PARAM_set_time(X509_STORE_CTX_get0_param(context.get()),
                                   std::chrono::system_clock::to_time_t(*now));
    if (X509_verify_cert(context.get()) == 1) return X509_V_OK;
    const int error = X509_STORE_CTX_get_error(context.get());
    return error == X509_V_OK ? X509_V_ERR_UNSPECIFIED : error;
}

}  // namespace

bool expect_dane(SSL* ssl, const DaneReference& reference) {
    if (SSL_dane_enable(ssl, reference.base_domain.text().c_str()) <= 0) return false;
    // With usage 3 neither name nor date counts (RFC 7672 §3.1.1).
    SSL_dane_set_flags(ssl, DANE_FLAG_NO_DANE_EE_NAMECHECKS);
    // With usage 2 a DNS-ID, or the CN where the leaf has none (RFC 7672 §3.2.3).
    SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    for (const auto& name : reference.names)
        if (name != reference.base_domain) SSL_add1_host(ssl, name.text().c_str());
    bool any = false;
    for (const auto& record : reference.records)
        any = SSL_dane_tlsa_add(ssl, record.usage, record.selector, record.matching_type, record.data.data(),
                                record.data.size()) > 0 ||
              any;
    return any;
}

namespace {

// What there is without judging.
Evidence session_of(SSL* ssl) {
    Evidence out;
    out.encrypted = true;
    out.version = SSL_get_version(ssl);
    if (const SSL_CIPHER* cipher = SSL_get_current_cipher(ssl)) out.cipher = SSL_CIPHER_get_name(cipher);
    out.resumed = SSL_session_reused(ssl) == 1;
    if (const char* sni = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name)) out.sni = sni;
    return out;
}

void judge_dane(SSL* ssl, Evidence& out) {
    // What was compared with TLSA records was another handshake, perhaps with other records.
    out.dane_error = out.resumed ? X509_V_ERR_UNSPECIFIED : SSL_get_verify_result(ssl);
    out.dane_matched = out.dane_error == X509_V_OK && SSL_get0_dane_authority(ssl, nullptr, nullptr) >= 0;
    dns::Tlsa match;
    const std::uint8_t* data = nullptr;
    std::size_t size = 0;
    if (out.dane_matched &&
        SSL_get0_dane_tlsa(ssl, &match.usage, &match.selector, &match.matching_type, &data, &size) >= 0) {
        match.data.assign(data, data + size);
        out.dane_match = text_of(match);
    }
}

void name_chain_error(Evidence& out) {
    out.chain_error_name =
        out.chain_error == X509_V_OK ? std::string() : X509_verify_cert_error_string(out.chain_error);
}

// Whether there is a certificate at all.
bool has_leaf(const X509Ptr& leaf, Evidence& out) {
    out.has_certificate = leaf != nullptr;
    if (leaf) return true;
    out.chain_error = X509_V_ERR_UNSPECIFIED;
    out.chain_error_name = "it has no certificate";
    return false;
}

}  // namespace

Evidence evidence_of(SSL* ssl, const std::optional<dns::Domain>& host,
                     const std::optional<DaneReference>& dane) {
    Evidence out = session_of(ssl);
    out.dane = dane;
    const X509Ptr leaf(SSL_get1_peer_certificate(ssl), X509_free);
    if (!has_leaf(leaf, out)) return out;
    if (dane) judge_dane(ssl, out);
    // OpenSSL has judged by the TLSA records then, or has only remembered an older judgement.
    const bool judged_here = dane || out.resumed;
    out.chain_error = judged_here ? judge_chain(ssl, leaf.get(), std::nullopt) : SSL_get_verify_result(ssl);
    name_chain_error(out);
    read_leaf(leaf.get(), host, out);
    return out;
}

Evidence evidence_at(SSL* ssl, const std::optional<dns::Domain>& host, WallTime now) {
    Evidence out = session_of(ssl);
    out.resumed = true;
    const X509Ptr leaf(SSL_get1_peer_certificate(ssl), X509_free);
    if (!has_leaf(leaf, out)) return out;
    out.chain_error = judge_chain(ssl, leaf.get(), now);
    name_chain_error(out);
    read_leaf(leaf.get(), host, out);
    return out;
}

std::string openssl_error() {
    const unsigned long code = ERR_peek_last_error();
    ERR_clear_error();
    if (code == 0) return "no reason given";
    std::array<char, 256> text{};
    ERR_error_string_n(code, text.data(), text.size());
    const char* reason = ERR_reason_error_string(code);
    return reason != nullptr ? reason : text.data();
}

}  // namespace sternpost::tls
