#include "lab/ca.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

namespace sternpost::lab {
namespace {

using util::Errc;
using util::Result;

template <class T, void (*free_it)(T*)>
struct Freed {
    void operator()(T* object) const { free_it(object); }
};
using KeyPtr = std::unique_ptr<EVP_PKEY, Freed<EVP_PKEY, EVP_PKEY_free>>;
using CertificatePtr = std::unique_ptr<X509, Freed<X509, X509_free>>;
using ExtensionPtr = std::unique_ptr<X509_EXTENSION, Freed<X509_EXTENSION, X509_EXTENSION_free>>;
using BioPtr = std::unique_ptr<BIO, Freed<BIO, BIO_vfree>>;

constexpr long day = 24L * 3600;

auto openssl_failed(const std::string& what) {
    const unsigned long code = ERR_get_error();
    ERR_clear_error();
    return fail(Errc::io,
                what + ": " + (code == 0 ? "OpenSSL does not say why" : ERR_reason_error_string(code)));
}

std::string text_of(BIO* bio) {
    char* data = nullptr;
    const long size = BIO_get_mem_data(bio, &data);
    return size > 0 ? std::string(data, static_cast<std::size_t>(size)) : std::string();
}

std::string pem_of(X509* certificate) {
    const BioPtr bio(BIO_new(BIO_s_mem()));
    return bio && PEM_write_bio_X509(bio.get(), certificate) == 1 ? text_of(bio.get()) : "";
}

std::string pem_of(EVP_PKEY* key) {
    const BioPtr bio(BIO_new(BIO_s_mem()));
    return bio && PEM_write_bio_PrivateKey(bio.get(), key, nullptr, nullptr, 0, nullptr, nullptr) == 1
               ? text_of(bio.get())
               : "";
}

bool add_extension(X509* certificate, X509* issuer, int nid, const char* value) {
    X509V3_CTX context;
    X509V3_set_ctx_nodb(&context);
    X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
    const ExtensionPtr extension(X509V3_EXT_conf_nid(nullptr, &context, nid, value));
    return extension && X509_add_ext(certificate, extension.get(), -1) == 1;
}

// Version 3, a random serial number, the days given, one CN.
CertificatePtr blank(EVP_PKEY* key, const std::string& common_name, long from, long to) {
    CertificatePtr certificate(X509_new());
    std::uint64_t serial = 0;
    if (!certificate || RAND_bytes(reinterpret_cast<unsigned char*>(&serial), sizeof serial) != 1)
        return nullptr;
    const bool good =
        X509_set_version(certificate.get(), 2) == 1 &&
        ASN1_INTEGER_set_uint64(X509_get_serialNumber(certificate.get()), serial >> 1U) == 1 &&
        X509_gmtime_adj(X509_getm_notBefore(certificate.get()), from) != nullptr &&
        X509_gmtime_adj(X509_getm_notAfter(certificate.get()), to) != nullptr &&
        X509_set_pubkey(certificate.get(), key) == 1 &&
        X509_NAME_add_entry_by_NID(X509_get_subject_name(certificate.get()), NID_commonName, MBSTRING_ASC,
                                   reinterpret_cast<const unsigned char*>(common_name.data()),
                                   static_cast<int>(common_name.size()), -1, 0) == 1;
    return good ? std::move(certificate) : nullptr;
}

// `a.b.example` → `b.example`; a name of one label is its own parent.
std::string parent(const std::string& name) {
    const auto dot = name.find('.');
    return dot == std::string::npos ? name : name.substr(dot + 1);
}

}  // namespace

struct Authority::Signer {
    KeyPtr key;
    CertificatePtr certificate;

    static std::unique_ptr<Signer> make(const std::string& common_name) {
        auto signer = std::make_unique<Signer>();
        signer->key = KeyPtr(EVP_EC_gen("P-256"));
        if (!signer->key) return nullptr;
        signer->certificate = blank(signer->key.get(), common_name, -day, 30 * day);
        X509* certificate = signer->certificate.get();
        const bool good =
            certificate != nullptr &&
            X509_set_issuer_name(certificate, X509_get_subject_name(certificate)) == 1 &&
            add_extension(certificate, certificate, NID_basic_constraints, "critical,CA:TRUE") &&
            add_extension(certificate, certificate, NID_key_usage, "critical,keyCertSign,cRLSign") &&
            add_extension(certificate, certificate, NID_subject_key_identifier, "hash") &&
            X509_sign(certificate, signer->key.get(), EVP_sha256()) != 0;
        return good ? std::move(signer) : nullptr;
    }
};

Authority::Authority(std::unique_ptr<Signer> known, std::unique_ptr<Signer> unknown, std::string root_pem)
    : known_(std::move(known)), unknown_(std::move(unknown)), root_pem_(std::move(root_pem)) {}
Authority::Authority(Authority&&) noexcept = default;
Authority& Authority::operator=(Authority&&) noexcept = default;
Authority::~Authority() = default;

Result<Authority> Authority::make() {
    auto known = Signer::make("sternpost-lab authority");
    auto unknown = Signer::make("sternpost-lab unknown authority");
    if (!known || !unknown) return openssl_failed("cannot make a certification authority");
    std::string pem = pem_of(known->certificate.get());
    return Authority(std::move(known), std::move(unknown), std::move(pem));
}

Result<Identity> Authority::issue(const std::string& name, CertificateKind kind) const {
    std::string covered = name;
    long from = -day;
    long to = 10 * day;
    if (kind == CertificateKind::expired) {
        from = -10 * day;
        to = -day;
    }
    if (kind == CertificateKind::notyet) from = day;
    if (kind == CertificateKind::wrongname) covered = "wrong.name.example";
    if (kind == CertificateKind::wildcard) covered = "*." + parent(name);
    if (kind == CertificateKind::wildcard2) covered = "*." + parent(parent(name));

    const KeyPtr key(EVP_EC_gen("P-256"));
    const auto failed = [&] { return openssl_failed("cannot make a certificate for " + name); };
    if (!key) return failed();
    // The common name holds 64 octets at most (X.520's ub-common-name); what matters stands in the SAN.
    const CertificatePtr certificate =
        blank(key.get(), covered.size() <= 64 ? covered : "too long for a CN", from, to);
    if (!certificate) return failed();
    const Signer* signer = kind == CertificateKind::unknownca ? unknown_.get() : known_.get();
    const bool alone = kind == CertificateKind::selfsigned;
    X509* issuer = alone ? certificate.get() : signer->certificate.get();
    bool good = X509_set_issuer_name(certificate.get(), X509_get_subject_name(issuer)) == 1 &&
                add_extension(certificate.get(), issuer, NID_basic_constraints, "critical,CA:FALSE") &&
                add_extension(certificate.get(), issuer, NID_key_usage, "critical,digitalSignature") &&
                add_extension(certificate.get(), issuer, NID_ext_key_usage, "serverAuth");
    if (kind != CertificateKind::cnonly)
        good = good &&
               add_extension(certificate.get(), issuer, NID_subject_alt_name, ("DNS:" + covered).c_str());
    good = good && X509_sign(certificate.get(), alone ? key.get() : signer->key.get(), EVP_sha256()) != 0;
    Identity identity;
    if (good) identity = {pem_of(certificate.get()), pem_of(key.get())};
    if (identity.certificate.empty() || identity.key.empty()) return failed();
    return identity;
}

}  // namespace sternpost::lab
