#include "tls/self_signed.h"

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <memory>

#include "tls/verify.h"

namespace sternpost::tls {
namespace {

template <class T, void (*free_it)(T*)>
struct Freed {
    void operator()(T* object) const { free_it(object); }
};
using Key = std::unique_ptr<EVP_PKEY, Freed<EVP_PKEY, EVP_PKEY_free>>;
using Certificate = std::unique_ptr<X509, Freed<X509, X509_free>>;
using Extension = std::unique_ptr<X509_EXTENSION, Freed<X509_EXTENSION, X509_EXTENSION_free>>;
using Bio = std::unique_ptr<BIO, Freed<BIO, BIO_vfree>>;

constexpr int years = 10;
constexpr std::size_t max_common_name = 64;  // RFC 5280 Appendix A.1, ub-common-name

std::string contents(const Bio& bio) {
    char* data = nullptr;
    const long size = BIO_get_mem_data(bio.get(), &data);
    return size > 0 ? std::string(data, static_cast<std::size_t>(size)) : std::string();
}

bool add(X509* certificate, int nid, const std::string& value) {
    X509V3_CTX context;
    X509V3_set_ctx_nodb(&context);
    X509V3_set_ctx(&context, certificate, certificate, nullptr, nullptr, 0);
    const Extension extension(X509V3_EXT_conf_nid(nullptr, &context, nid, value.c_str()));
    return extension && X509_add_ext(certificate, extension.get(), -1) == 1;
}

// Clients' clocks may be behind ours, so it begins a day ago.
bool set_validity(X509* certificate, WallTime now) {
    std::time_t at = std::chrono::system_clock::to_time_t(
        std::chrono::time_point_cast<std::chrono::system_clock::duration>(now));
    return X509_time_adj_ex(X509_getm_notBefore(certificate), -1, 0, &at) != nullptr &&
           X509_time_adj_ex(X509_getm_notAfter(certificate), years * 365, 0, &at) != nullptr;
}

bool fill(X509* certificate, EVP_PKEY* key, const std::string& hostname, WallTime now) {
    std::uint64_t serial = 0;
    X509_NAME* name = X509_get_subject_name(certificate);
    // what matters stands in the SAN; a long name does not fit here
    const std::string shown = hostname.size() <= max_common_name ? hostname : "sternpost";
    return RAND_bytes(reinterpret_cast<unsigned char*>(&serial), sizeof serial) == 1 &&
           X509_set_version(certificate, X509_VERSION_3) == 1 &&
           ASN1_INTEGER_set_uint64(X509_get_serialNumber(certificate), serial >> 1U) == 1 &&
           set_validity(certificate, now) && X509_set_pubkey(certificate, key) == 1 &&
           X509_NAME_add_entry_by_NID(name, NID_commonName, MBSTRING_ASC,
                                      reinterpret_cast<const unsigned char*>(shown.data()),
                                      static_cast<int>(shown.size()), -1, 0) == 1 &&
           X509_set_issuer_name(certificate, name) == 1 &&
           add(certificate, NID_basic_constraints, "critical,CA:FALSE") &&
           add(certificate, NID_key_usage, "critical,digitalSignature") &&
           add(certificate, NID_ext_key_usage, "serverAuth") &&
           add(certificate, NID_subject_alt_name, "DNS:" + hostname) &&
           X509_sign(certificate, key, EVP_sha256()) != 0;
}

}  // namespace

Result<SelfSigned> make_self_signed(const std::string& hostname, WallTime now) {
    const Key key(EVP_PKEY_Q_keygen(nullptr, nullptr, "EC", "P-256"));
    const Certificate certificate(X509_new());
    const Bio certificate_pem(BIO_new(BIO_s_mem()));
    const Bio key_pem(BIO_new(BIO_s_mem()));
    const bool made =
        key && certificate && certificate_pem && key_pem &&
        fill(certificate.get(), key.get(), hostname, now) &&
        PEM_write_bio_X509(certificate_pem.get(), certificate.get()) == 1 &&
        PEM_write_bio_PrivateKey(key_pem.get(), key.get(), nullptr, nullptr, 0, nullptr, nullptr) == 1;
    if (!made)
        return fail(Errc::openssl, "cannot make a certificate for " + hostname + ": " + openssl_error());
    SelfSigned out;
    out.certificate = contents(certificate_pem);
    out.key = contents(key_pem);
    return out;
}

bool names_host(std::string_view pem, const std::string& hostname, WallTime now) {
    const Bio bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
    if (!bio) return false;
    const Certificate certificate(PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr));
    if (!certificate) {
        openssl_error();
        return false;
    }
    std::time_t at = std::chrono::system_clock::to_time_t(
        std::chrono::time_point_cast<std::chrono::system_clock::duration>(now));
    return X509_cmp_time(X509_get0_notBefore(certificate.get()), &at) < 0 &&
           X509_cmp_time(X509_get0_notAfter(certificate.get()), &at) > 0 &&
           X509_check_host(certificate.get(), hostname.data(), hostname.size(),
                           X509_CHECK_FLAG_NEVER_CHECK_SUBJECT, nullptr) == 1;
}

}  // namespace sternpost::tls
