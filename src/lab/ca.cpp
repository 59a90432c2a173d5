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
constexpr long year = 365 * day;

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

// Who signs, and how far up there are others.
struct Authority::Signer {
    KeyPtr key;
    CertificatePtr certificate;
    std::vector<std::string> issuers;  // its own, PEM, to the root

    struct Limits {
        bool may_sign = true;
        const char* names = nullptr;  // nameConstraints
    };

    static std::unique_ptr<Signer> make(const std::string& common_name, const Signer* above, Limits limits);
    static std::unique_ptr<Signer> make(const std::string& common_name) {
        return make(common_name, nullptr, Limits{});
    }
};

std::unique_ptr<Authority::Signer> Authority::Signer::make(const std::string& common_name,
                                                           const Signer* above, Limits limits) {
    auto signer = std::make_unique<Signer>();
    signer->key = KeyPtr(EVP_PKEY_Q_keygen(nullptr, nullptr, "EC", "P-256"));
    if (!signer->key) return nullptr;
    signer->certificate = blank(signer->key.get(), common_name, -2 * year, 10 * year);
    X509* certificate = signer->certificate.get();
    if (certificate == nullptr) return nullptr;
    X509* issuer = above != nullptr ? above->certificate.get() : certificate;
    bool good = X509_set_issuer_name(certificate, X509_get_subject_name(issuer)) == 1;
    if (limits.may_sign)
        good = good && add_extension(certificate, issuer, NID_basic_constraints, "critical,CA:TRUE") &&
               add_extension(certificate, issuer, NID_key_usage, "critical,keyCertSign,cRLSign");
    else
        good = good && add_extension(certificate, issuer, NID_basic_constraints, "critical,CA:FALSE");
    if (limits.names != nullptr)
        good = good && add_extension(certificate, issuer, NID_name_constraints, limits.names);
    good = good && add_extension(certificate, issuer, NID_subject_key_identifier, "hash") &&
           X509_sign(certificate, above != nullptr ? above->key.get() : signer->key.get(), EVP_sha256()) != 0;
    if (!good) return nullptr;
    signer->issuers.push_back(pem_of(certificate));
    if (above != nullptr)
        signer->issuers.insert(signer->issuers.end(), above->issuers.begin(), above->issuers.end());
    return signer;
}

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

namespace {

struct Validity {
    long from = -day;
    long to = year;
};

Validity validity_of(CertificateKind kind) {
    if (kind == CertificateKind::expired) return {-10 * day, -day};
    if (kind == CertificateKind::notyet) return {day, year};
    return {};
}

// What the certificate covers instead of the host's name, if that is what is wrong with it.
std::vector<std::string> names_of(const std::string& name, const CertificateWish& wish) {
    if (!wish.names.empty()) return wish.names;
    const CertificateKind kind = wish.kind;
    if (kind == CertificateKind::wrongname) return {"wrong.name.example"};
    if (kind == CertificateKind::wildcard) return {"*." + parent(name)};
    if (kind == CertificateKind::wildcard2) return {"*." + parent(parent(name))};
    if (kind == CertificateKind::partial) return {name.substr(0, 1) + "*." + parent(name)};
    return {name};
}

std::string san_of(const std::vector<std::string>& names) {
    std::string out;
    for (const auto& name : names) out += (out.empty() ? "DNS:" : ",DNS:") + name;
    return out;
}

}  // namespace

Result<Identity> Authority::issue(const std::string& name, const CertificateWish& wish) const {
    const auto failed = [&] { return openssl_failed("cannot make a certificate for " + name); };
    const Signer* signer = wish.kind == CertificateKind::unknownca ? unknown_.get() : known_.get();
    std::unique_ptr<Signer> between;
    if (wish.intermediate) between = Signer::make("sternpost-lab intermediate", signer, {});
    if (wish.kind == CertificateKind::notca)
        between = Signer::make("sternpost-lab no authority", signer, {false, nullptr});
    if (wish.kind == CertificateKind::outside)
        between =
            Signer::make("sternpost-lab narrow authority", signer, {true, "permitted;DNS:other.example"});
    if (between) signer = between.get();

    const KeyPtr key(wish.kind == CertificateKind::weakkey
                         ? EVP_RSA_gen(1024)
                         : EVP_PKEY_Q_keygen(nullptr, nullptr, "EC", "P-256"));
    if (!key) return failed();
    const auto names = names_of(name, wish);
    const auto [from, to] = validity_of(wish.kind);
    // The common name holds 64 octets at most (X.520's ub-common-name); what matters stands in the SAN.
    const std::string& common = wish.kind == CertificateKind::cnonly ? name : names.front();
    const CertificatePtr certificate =
        blank(key.get(), common.size() <= 64 ? common : "too long for a CN", from, to);
    if (!certificate) return failed();
    const bool alone = wish.kind == CertificateKind::selfsigned;
    X509* issuer = alone ? certificate.get() : signer->certificate.get();
    bool good = X509_set_issuer_name(certificate.get(), X509_get_subject_name(issuer)) == 1 &&
                add_extension(certificate.get(), issuer, NID_basic_constraints, "critical,CA:FALSE") &&
                add_extension(certificate.get(), issuer, NID_key_usage, "critical,digitalSignature") &&
                add_extension(certificate.get(), issuer, NID_ext_key_usage, "serverAuth");
    if (wish.kind != CertificateKind::cnonly || !wish.names.empty())
        good = good && add_extension(certificate.get(), issuer, NID_subject_alt_name, san_of(names).c_str());
    good = good && X509_sign(certificate.get(), alone ? key.get() : signer->key.get(),
                             wish.kind == CertificateKind::sha1 ? EVP_sha1() : EVP_sha256()) != 0;
    Identity identity;
    if (good) identity = {pem_of(certificate.get()), pem_of(key.get()), {}};
    if (identity.certificate.empty() || identity.key.empty()) return failed();
    if (!alone) identity.issuers = signer->issuers;
    return identity;
}

}  // namespace sternpost::lab
