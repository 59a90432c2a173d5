// What handshakes prove: by TLSA records, and where a session is taken up again.
#include "tls/verify.h"

#include <gtest/gtest.h>
#include <openssl/pem.h>
#include <openssl/x509_vfy.h>

#include <array>

#include "fake/tls_handshake.h"
#include "tls/resumption.h"

namespace sternpost::tls {
namespace {

dns::Domain name(const char* text) {
    return dns::Domain::parse(text).value();
}

// `USAGE 0 1`, the SHA-256 digest of a certificate.
dns::Tlsa record_of(std::uint8_t usage, const std::string& pem) {
    const std::unique_ptr<BIO, int (*)(BIO*)> bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())),
                                                  BIO_free);
    const std::unique_ptr<X509, void (*)(X509*)> certificate(
        PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr), X509_free);
    std::array<std::uint8_t, 32> digest{};
    unsigned size = digest.size();
    X509_digest(certificate.get(), EVP_sha256(), digest.data(), &size);
    return {usage, 0, 1, {digest.begin(), digest.end()}};
}

class Handshake : public testing::Test {
  protected:
    lab::Identity certificate_for(const char* host) { return authority_.issue(host, {}).value(); }
    Evidence judged_by(const DaneReference& dane, const lab::Identity& shown) {
        const auto there = fake::server_with(shown);
        const auto session = fake::shake_hands(*contexts_.strict, *there,
                                               [&](SSL* ssl) { EXPECT_TRUE(expect_dane(ssl, dane)); });
        EXPECT_FALSE(SSL_in_init(session.get())) << openssl_error();
        return evidence_of(session.get(), dane.base_domain, dane);
    }

    lab::Authority authority_ = lab::Authority::make().value();
    ClientContexts contexts_ = fake::clients_that_trust(authority_);
};

TEST_F(Handshake, WithUsage3IsForAnyNameWithThatCertificate) {  // RFC 7672 §3.1.1
    const auto shown = certificate_for("other.test");
    DaneReference dane(name("mx.d.test"));
    dane.records = {record_of(3, shown.certificate)};
    EXPECT_TRUE(judged_by(dane, shown).dane_matched);
    EXPECT_FALSE(judged_by(dane, certificate_for("mx.d.test")).dane_matched);
}

TEST_F(Handshake, WithUsage2IsForEachNameOfTheReference) {  // RFC 7672 §3.2.2
    DaneReference dane(name("mx.d.test"));
    dane.names.push_back(name("d.test"));
    dane.names.push_back(name("e.test"));
    dane.records = {record_of(2, authority_.root())};
    for (const char* host : {"mx.d.test", "d.test", "e.test"})
        EXPECT_TRUE(judged_by(dane, certificate_for(host)).dane_matched) << host;
    const Evidence other = judged_by(dane, certificate_for("other.test"));
    EXPECT_FALSE(other.dane_matched);
    EXPECT_EQ(other.dane_error, X509_V_ERR_HOSTNAME_MISMATCH);
}

TEST_F(Handshake, ThatTakesASessionUpIsJudgedByTheRootsOfToday) {
    const auto there = fake::server_with(certificate_for("mx.d.test"));
    std::vector<Ticket> tickets;
    fake::shake_hands(*contexts_.strict, *there, [&](SSL* ssl) { collect(ssl, tickets); });
    ASSERT_EQ(tickets.size(), 2U) << "each serves once";
    const auto taken_up = [&](const ClientContexts& contexts, const Ticket& ticket) {
        const auto session = fake::shake_hands(*contexts.strict, *there,
                                               [&](SSL* ssl) { SSL_set_session(ssl, ticket.get()); });
        return evidence_of(session.get(), name("mx.d.test"), std::nullopt);
    };
    const Evidence same = taken_up(contexts_, tickets[0]);
    EXPECT_TRUE(same.resumed);
    EXPECT_TRUE(same.chain_ok()) << same.chain_error_name;
    const auto others = lab::Authority::make().value();
    const Evidence changed = taken_up(fake::clients_that_trust(others), tickets[1]);
    EXPECT_TRUE(changed.resumed);
    EXPECT_FALSE(changed.chain_ok()) << "the root is trusted no more";
}

}  // namespace
}  // namespace sternpost::tls
