#include <openssl/x509v3.h>

#include <array>
#include <memory>

#include "tls/verify.h"
#include "util/text.h"

namespace sternpost::tls {
namespace {

constexpr std::size_t max_names = 20;     // ours: enough to show a person what the certificate is for
constexpr int least_security_bits = 112;  // RSA from 2048 bits (RFC 9325 §4.5)

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

std::string issuer_of(X509* certificate) {
    std::array<char, 256> text{};
    X509_NAME_oneline(X509_get_issuer_name(certificate), text.data(), static_cast<int>(text.size()));
    return printable(text.data());
}

}  // namespace

void read_leaf(X509* leaf, const std::optional<dns::Domain>& host, Evidence& out) {
    // With NEVER_CHECK_SUBJECT a name in the CN counts for nothing, also where there is no SAN (RFC 8461
    // §4.2).
    out.name_matches =
        host && X509_check_host(leaf, host->text().data(), host->text().size(),
                                X509_CHECK_FLAG_NEVER_CHECK_SUBJECT | X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS,
                                nullptr) == 1;
    out.names = san_names(leaf);
    out.issuer = issuer_of(leaf);
    const EVP_PKEY* key = X509_get0_pubkey(leaf);
    out.weak_key = key == nullptr || EVP_PKEY_get_security_bits(key) < least_security_bits;
    out.not_before = when(X509_get0_notBefore(leaf));
    out.not_after = when(X509_get0_notAfter(leaf));
    std::array<std::uint8_t, EVP_MAX_MD_SIZE> digest{};
    unsigned length = 0;
    if (X509_digest(leaf, EVP_sha256(), digest.data(), &length) == 1)
        out.fingerprint = hex(std::span(digest).first(length));
}

}  // namespace sternpost::tls
