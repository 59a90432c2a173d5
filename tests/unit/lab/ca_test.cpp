#include "lab/ca.h"

#include <gtest/gtest.h>
#include <openssl/pem.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>

#include <memory>

#include "lab/tlsa.h"

namespace sternpost::lab {
namespace {

using CertificatePtr = std::unique_ptr<X509, decltype(&X509_free)>;

CertificatePtr read(const std::string& pem) {
    const std::unique_ptr<BIO, decltype(&BIO_free)> bio(
        BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())), BIO_free);
    return {PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr), X509_free};
}

void free_all(STACK_OF(X509) * certificates) {
    sk_X509_pop_free(certificates, X509_free);
}

// OpenSSL's judgement of the chain: X509_V_OK or why not.
int chain_error(const Authority& authority, const Identity& identity) {
    const CertificatePtr root = read(authority.root());
    const CertificatePtr leaf = read(identity.certificate);
    const std::unique_ptr<STACK_OF(X509), decltype(&free_all)> others(sk_X509_new_null(), free_all);
    for (const auto& pem : identity.issuers) sk_X509_push(others.get(), read(pem).release());
    const std::unique_ptr<X509_STORE, decltype(&X509_STORE_free)> store(X509_STORE_new(), X509_STORE_free);
    X509_STORE_add_cert(store.get(), root.get());
    X509_STORE_set_purpose(store.get(), X509_PURPOSE_SSL_SERVER);
    const std::unique_ptr<X509_STORE_CTX, decltype(&X509_STORE_CTX_free)> context(X509_STORE_CTX_new(),
                                                                                  X509_STORE_CTX_free);
    X509_STORE_CTX_init(context.get(), store.get(), leaf.get(), others.get());
    X509_verify_cert(context.get());
    return X509_STORE_CTX_get_error(context.get());
}

bool names_in_san(const std::string& pem, const std::string& name) {
    const CertificatePtr leaf = read(pem);
    return X509_check_host(leaf.get(), name.data(), name.size(), X509_CHECK_FLAG_NEVER_CHECK_SUBJECT,
                           nullptr) == 1;
}

struct Case {
    const char* name;
    CertificateKind kind;
    int chain;
    bool san;  // it covers mx.b.example
};
class LabCertificate : public testing::TestWithParam<Case> {};
TEST_P(LabCertificate, IsWrongInItsOneWay) {
    const auto authority = Authority::make();
    ASSERT_TRUE(authority) << authority.error().text;
    const auto identity = authority->issue("mx.b.example", CertificateWish{GetParam().kind});
    ASSERT_TRUE(identity) << identity.error().text;
    EXPECT_STREQ(X509_verify_cert_error_string(chain_error(*authority, *identity)),
                 X509_verify_cert_error_string(GetParam().chain));
    EXPECT_EQ(names_in_san(identity->certificate, "mx.b.example"), GetParam().san);
    EXPECT_FALSE(identity->key.empty());
}

const Case cases[] = {
    {"Valid", CertificateKind::valid, X509_V_OK, true},
    {"Expired", CertificateKind::expired, X509_V_ERR_CERT_HAS_EXPIRED, true},
    {"NotYet", CertificateKind::notyet, X509_V_ERR_CERT_NOT_YET_VALID, true},
    {"SelfSigned", CertificateKind::selfsigned, X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT, true},
    {"UnknownCa", CertificateKind::unknownca, X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN, true},
    {"WrongName", CertificateKind::wrongname, X509_V_OK, false},
    {"CnOnly", CertificateKind::cnonly, X509_V_OK, false},
    {"Wildcard", CertificateKind::wildcard, X509_V_OK, true},
    {"TwoLabelsUnderAWildcard", CertificateKind::wildcard2, X509_V_OK, false},
    {"NotAnAuthority", CertificateKind::notca, X509_V_ERR_INVALID_CA, true},
    {"OutsideItsAuthoritysNames", CertificateKind::outside, X509_V_ERR_PERMITTED_VIOLATION, true},
    {"WeakKey", CertificateKind::weakkey, X509_V_OK, true},  // for its size TLS refuses it, not the chain
    {"Sha1", CertificateKind::sha1, X509_V_OK, true},
};
INSTANTIATE_TEST_SUITE_P(Kinds, LabCertificate, testing::ValuesIn(cases),
                         [](const auto& row) { return row.param.name; });

TEST(LabCertificate, MayHaveOtherNamesAndAnAuthorityBetween) {
    const auto authority = Authority::make();
    ASSERT_TRUE(authority);
    const auto identity =
        authority->issue("mx.b.example", {CertificateKind::valid, {"b.example", "c.example"}, true});
    ASSERT_TRUE(identity) << identity.error().text;
    EXPECT_TRUE(names_in_san(identity->certificate, "c.example"));
    EXPECT_FALSE(names_in_san(identity->certificate, "mx.b.example"));
    ASSERT_EQ(identity->issuers.size(), 2U);
    EXPECT_EQ(identity->issuers.back(), authority->root());
    EXPECT_EQ(chain_error(*authority, *identity), X509_V_OK);
}

TEST(LabTlsa, IsAboutTheCertificateThatItNames) {
    const auto authority = Authority::make();
    const auto identity = authority->issue("mx.b.example", {CertificateKind::valid, {}, true});
    ASSERT_TRUE(identity) << identity.error().text;
    const auto rdata = [&](const char* text) { return *tlsa_rdata(*TlsaWish::read(text), *identity); };
    EXPECT_EQ(rdata("3 1 1").size(), 6 + 64U);
    EXPECT_EQ(rdata("3 1 2").size(), 6 + 128U);
    EXPECT_EQ(rdata("3 1 1"), rdata("3 1 1 match leaf"));
    EXPECT_FALSE(TlsaWish::read("3 1 1 mismatch")->match);
    EXPECT_NE(rdata("3 0 1").substr(6), rdata("3 1 1").substr(6));
    EXPECT_EQ(rdata("2 0 1"), rdata("2 0 1 issuer"));
    EXPECT_NE(rdata("2 0 1"), rdata("2 0 1 root"));
    EXPECT_EQ(TlsaWish::read("2 0 1 mismatch MX.b.example")->host, "mx.b.example");
}

TEST(LabTlsa, IsRdataWhereItIsNoWish) {
    EXPECT_FALSE(TlsaWish::read("3 1 1 00ff"));
    EXPECT_FALSE(TlsaWish::read("3 1"));
    EXPECT_FALSE(TlsaWish::read("300 1 1"));
    EXPECT_FALSE(TlsaWish::read("3 1 1 a.example match"));
}

}  // namespace
}  // namespace sternpost::lab
