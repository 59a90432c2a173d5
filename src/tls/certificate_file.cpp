#include "tls/certificate_file.h"

#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <memory>
#include <optional>

#include "tls/verify.h"

namespace sternpost::tls {
namespace {

constexpr auto soon = std::chrono::hours(24 * 14);  // ours: to get a new one by hand

}  // namespace

Result<CertificateFacts> read_certificate(const std::string& file, const std::string& host) {
    const std::unique_ptr<BIO, int (*)(BIO*)> in(BIO_new_file(file.c_str(), "r"), BIO_free);
    if (!in) return fail(Errc::bad_certificate, file + " cannot be read");
    const std::unique_ptr<X509, void (*)(X509*)> certificate(
        PEM_read_bio_X509(in.get(), nullptr, nullptr, nullptr), X509_free);
    if (!certificate) return fail(Errc::bad_certificate, file + " holds no certificate in PEM");
    const auto domain = dns::Domain::parse(host);
    Evidence seen;
    read_leaf(certificate.get(), domain ? std::optional(*domain) : std::nullopt, seen);
    return CertificateFacts{seen.not_before, seen.not_after, seen.names, seen.name_matches};
}

CertificateVerdict judge_certificate(const std::string& file, const Result<CertificateFacts>& facts,
                                     const std::string& host, WallTime now) {
    if (!facts) return {CertificateState::unreadable, facts.error().text};
    const std::string end = rfc3339(facts->not_after);
    if (facts->not_after <= now) return {CertificateState::expired, file + " expired on " + end};
    if (facts->not_after - now < soon) return {CertificateState::expires_soon, file + " expires on " + end};
    if (!facts->names_host)
        return {CertificateState::other_host,
                file + " does not name " + host + ": clients that verify it will fail"};
    return {CertificateState::good, file + " expires on " + end};
}

}  // namespace sternpost::tls
