#include "tls/verify.h"

#include <openssl/err.h>
#include <openssl/x509v3.h>

#include <array>
#include <memory>

#include "util/text.h"

namespace sternpost::tls {
namespace {

constexpr std::size_t max_names = 20;  // ours: enough to show a person what the certificate is for

using X509Ptr = std::unique_ptr<X509, void (*)(X509*)>;

WallTime when(const ASN1_TIME* time) {
    std::tm parts{};
    if (time == nullptr || ASN1_TIME_to_tm(time, &parts) != 1) return {};
    return WallTime(std::chrono::seconds(timegm(&parts)));
}

std::vector<std::string> san_names(X509* certificate) {
    std::vector<std::string> out;
    const std::unique_ptr<GENERAL_NAMES, void (*)(GENERAL_NAMES*)> names(
        static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr)),
        GENERAL_NAMES_free);
    for (int i = 0; names && i < sk_GENERAL_NAME_num(names.get()) && out.size() < max_names; ++i) {
        const GENERAL_NAME* name = sk_GENERAL_NAME_value(names.get(), i);
        if (name->type != GEN_DNS) continue;
        const auto* data = ASN1_STRING_get0_data(name->d.dNSName);
        const auto size = static_cast<std::size_t>(ASN1_STRING_length(name->d.dNSName));
        out.push_back(printable(std::string(data, data + size)));
    }
    return out;
}

}  // namespace

Evidence evidence_of(SSL* ssl, const std::optional<dns::Domain>& host) {
    Evidence out;
    out.encrypted = true;
    out.version = SSL_get_version(ssl);
    if (const SSL_CIPHER* cipher = SSL_get_current_cipher(ssl)) out.cipher = SSL_CIPHER_get_name(cipher);
    out.resumed = SSL_session_reused(ssl) == 1;
    if (const char* sni = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name)) out.sni = sni;
    const X509Ptr leaf(SSL_get1_peer_certificate(ssl), X509_free);
    out.has_certificate = leaf != nullptr;
    out.chain_error = SSL_get_verify_result(ssl);
    out.chain_error_name =
        out.chain_error == X509_V_OK ? std::string() : X509_verify_cert_error_string(out.chain_error);
    if (!leaf) return out;
    // With NEVER_CHECK_SUBJECT a name in the CN counts for nothing, also where there is no SAN (RFC 8461
    // §4.2).
    out.name_matches =
        host && X509_check_host(leaf.get(), host->text().data(), host->text().size(),
                                X509_CHECK_FLAG_NEVER_CHECK_SUBJECT | X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS,
                                nullptr) == 1;
    out.names = san_names(leaf.get());
    out.not_after = when(X509_get0_notAfter(leaf.get()));
    std::array<std::uint8_t, EVP_MAX_MD_SIZE> digest{};
    unsigned length = 0;
    if (X509_digest(leaf.get(), EVP_sha256(), digest.data(), &length) == 1)
        out.fingerprint = hex(std::span(digest).first(length));
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
