#include "lab/ca.h"

#include <gtest/gtest.h>
#include <openssl/pem.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>

#include <memory>

namespace sternpost::lab {
namespace {

using CertificatePtr = std::unique_ptr<X509, decltype(&X509_free)>;

CertificatePtr read(const std::string& pem) {
    const std::unique_ptr<BIO, decltype(&BIO_free)> bio(
        BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())), BIO_free);
    return {PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr), X509_free};
}

// OpenSSL's judgement of the chain: X509_V_OK or why not.
int chain_error(const Authority& authority, const std::string& pem) {
    const CertificatePtr root = read(authority.root());
    const CertificatePtr leaf = read(pem);
    const std::unique_ptr<X509_STORE, decltype(&X509_STORE_free)> store(X509_STORE_new(), X509_STORE_free);
    X509_STORE_add_cert(store.get(), root.get());
    X509_STORE_set_purpose(store.get(), X509_PURPOSE_SSL_SERVER);
    const std::unique_ptr<X509_STORE_CTX, decltype(&X509_STORE_CTX_free)> context(X509_STORE_CTX_new(),
                                                                                  X509_STORE_CTX_free);
    X509_STORE_CTX_init(context.get(), store.get(), leaf.get(), nullptr);
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
    const auto identity = authority->issue("mx.b.example", GetParam().kind);
    ASSERT_TRUE(identity) << identity.error().text;
    EXPECT_STREQ(X509_verify_cert_error_string(chain_error(*authority, identity->certificate)),
                 X509_verify_cert_error_string(GetParam().chain));
    EXPECT_EQ(names_in_san(identity->certificate, "mx.b.example"), GetParam().san);
    EXPECT_FALSE(identity->key.empty());
}

const Case cases[] = {
    {"Valid", CertificateKind::valid, X509_V_OK, true},
    {"Expired", CertificateKind::expired, X509_V_ERR_CERT_HAS_EXPIRED, true},
    {"NotYet", CertificateKind::notyet, X509_V_ERR_CERT_NOT_YET_VALID, true},
    {"SelfSigned", CertificateKind::selfsigned, X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT, true},
    {"UnknownCa", CertificateKind::unknownca, X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY, true},
    {"WrongName", CertificateKind::wrongname, X509_V_OK, false},
    {"CnOnly", CertificateKind::cnonly, X509_V_OK, false},
    {"Wildcard", CertificateKind::wildcard, X509_V_OK, true},
    {"TwoLabelsUnderAWildcard", CertificateKind::wildcard2, X509_V_OK, false},
};
INSTANTIATE_TEST_SUITE_P(Kinds, LabCertificate, testing::ValuesIn(cases),
                         [](const auto& row) { return row.param.name; });

}  // namespace
}  // namespace sternpost::lab
