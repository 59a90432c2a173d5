// What a certificate alone tells, of certificates made here.
#include <gtest/gtest.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>

#include <memory>

#include "tls/verify.h"

namespace sternpost::tls {
namespace {

using std::chrono::hours;

template <auto Free>
struct Frees {
    template <class T>
    void operator()(T* one) const {
        Free(one);
    }
};
using Key = std::unique_ptr<EVP_PKEY, Frees<EVP_PKEY_free>>;
using Certificate = std::unique_ptr<X509, Frees<X509_free>>;

const WallTime begins{std::chrono::sys_days(std::chrono::year(2026) / 11 / 1)};
const WallTime ends = begins + hours(24 * 90);

Key ec_key() {
    return Key(EVP_PKEY_Q_keygen(nullptr, nullptr, "EC", "P-256"));
}

// For the common name mx.d.test; `names`: subjectAltName as OpenSSL's configuration has it, empty: none.
Certificate certificate(const Key& key, const char* names) {
    Certificate out(X509_new());
    const auto seconds = [](WallTime time) { return std::chrono::system_clock::to_time_t(time); };
    X509_set_version(out.get(), X509_VERSION_3);
    ASN1_TIME_set(X509_getm_notBefore(out.get()), seconds(begins));
    ASN1_TIME_set(X509_getm_notAfter(out.get()), seconds(ends));
    const std::string name = "mx.d.test";
    X509_NAME_add_entry_by_txt(X509_get_subject_name(out.get()), "CN", MBSTRING_ASC,
                               reinterpret_cast<const unsigned char*>(name.data()),
                               static_cast<int>(name.size()), -1, 0);
    X509_set_issuer_name(out.get(), X509_get_subject_name(out.get()));
    X509_set_pubkey(out.get(), key.get());
    if (*names != '\0') {
        const std::unique_ptr<X509_EXTENSION, Frees<X509_EXTENSION_free>> extension(
            X509V3_EXT_conf_nid(nullptr, nullptr, NID_subject_alt_name, names));
        X509_add_ext(out.get(), extension.get(), -1);
    }
    X509_sign(out.get(), key.get(), EVP_sha256());
    return out;
}

Evidence read(const Key& key, const char* names = "DNS:mx.d.test", const char* host = "mx.d.test") {
    Evidence out;
    read_leaf(certificate(key, names).get(), dns::Domain::parse(host).value(), out);
    return out;
}

TEST(Leaf, IsForTheNamesOfItsSubjectAltNameAlone) {  // RFC 8461 §4.2
    EXPECT_TRUE(read(ec_key()).name_matches);
    EXPECT_FALSE(read(ec_key(), "").name_matches) << "the common name counts for nothing";
    EXPECT_FALSE(read(ec_key(), "DNS:other.test").name_matches);
    EXPECT_TRUE(read(ec_key(), "DNS:*.d.test").name_matches);
    EXPECT_FALSE(read(ec_key(), "DNS:m*.d.test").name_matches) << "a `*` is a whole label";
    EXPECT_FALSE(read(ec_key(), "DNS:*.d.test", "a.mx.d.test").name_matches);
    EXPECT_EQ(read(ec_key(), "DNS:a.test,email:x@b.test,DNS:c.test").names,
              (std::vector<std::string>{"a.test", "c.test"}));
}

TEST(Leaf, HasAKeyOf112BitsOfStrengthOrMore) {  // RFC 9325 §4.5
    EXPECT_TRUE(read(Key(EVP_RSA_gen(1024U))).weak_key);
    EXPECT_FALSE(read(Key(EVP_RSA_gen(2048U))).weak_key);
    EXPECT_FALSE(read(ec_key()).weak_key);
}

TEST(Leaf, TellsWhenItIsValid) {
    const Evidence evidence = read(ec_key());
    EXPECT_EQ(evidence.not_before, begins);
    EXPECT_EQ(evidence.not_after, ends);
    EXPECT_EQ(evidence.fingerprint.size(), 64U);
    EXPECT_EQ(evidence.issuer, "/CN=mx.d.test");
}

}  // namespace
}  // namespace sternpost::tls
