// Real handshakes in memory: OpenSSL resumes whatever it is given, and what that proves is judged here.
#include "tls/resumption.h"

#include <gtest/gtest.h>

#include "delivery/requirement.h"
#include "delivery/tickets.h"
#include "fake/tls_handshake.h"

namespace sternpost::delivery {
namespace {

namespace ssl = boost::asio::ssl;
using fake::Ssl;

dns::Domain name(const char* text) {
    return dns::Domain::parse(text).value();
}

dns::Tlsa record_3_1_1(SSL* client, bool matching) {
    dns::Tlsa out;
    out.usage = 3;
    out.selector = 0;
    out.matching_type = 1;
    std::array<std::uint8_t, 32> digest{};
    unsigned size = digest.size();
    const std::unique_ptr<X509, void (*)(X509*)> leaf(SSL_get1_peer_certificate(client), X509_free);
    if (matching) X509_digest(leaf.get(), EVP_sha256(), digest.data(), &size);
    out.data.assign(digest.begin(), digest.end());
    return out;
}

class Resumption : public testing::Test {
  protected:
    std::shared_ptr<ssl::context> server_for(const char* host, lab::CertificateKind kind) {
        lab::CertificateWish wish;
        wish.kind = kind;
        return fake::server_with(authority_.issue(host, wish).value());
    }

    // The client's end of a connection whose handshake is over and which has read what the server gave.
    Ssl connect(ssl::context& client, ssl::context& server, const tls::Ticket* ticket = nullptr,
                const tls::DaneReference* dane = nullptr) {
        auto out = fake::shake_hands(client, server, [&](SSL* ssl) {
            tls::collect(ssl, tickets_);
            if (dane != nullptr) {
                EXPECT_TRUE(tls::expect_dane(ssl, *dane));
            }
            if (ticket != nullptr) SSL_set_session(ssl, ticket->get());
        });
        EXPECT_FALSE(SSL_in_init(out.get())) << tls::openssl_error();
        return out;
    }
    tls::Ticket ticket_from(ssl::context& client, ssl::context& server) {
        tickets_.clear();
        connect(client, server);
        EXPECT_FALSE(tickets_.empty());
        return tickets_.back();
    }
    // By an enforced policy.
    static Verdict verdict(const tls::Evidence& proof) {
        Requirement out;
        out.domain = "d.test";
        out.host = dns::MxHost(name("mx.d.test"));
        out.route_level = TlsLevel::verify;
        return decide(out, Observation::of_session(proof, true));
    }

    lab::Authority authority_ = lab::Authority::make().value();
    tls::ClientContexts contexts_ = fake::clients_that_trust(authority_);
    std::vector<tls::Ticket> tickets_;
    WallTime now_ = std::chrono::time_point_cast<WallTime::duration>(std::chrono::system_clock::now());
};

TEST_F(Resumption, ServesARequirementThatItsChainStillMeets) {
    const auto there = server_for("mx.d.test", lab::CertificateKind::valid);
    const auto ticket = ticket_from(*contexts_.strict, *there);
    EXPECT_TRUE(
        verdict(tls::evidence_of(ticket, contexts_.strict->native_handle(), name("mx.d.test"), now_)).go);
    const auto again = connect(*contexts_.strict, *there, &ticket);
    ASSERT_TRUE(SSL_session_reused(again.get()));
    const auto proof = tls::evidence_of(again.get(), name("mx.d.test"), std::nullopt);
    EXPECT_TRUE(proof.resumed);
    EXPECT_TRUE(proof.chain_ok());
    EXPECT_TRUE(verdict(proof).go);
}

TEST_F(Resumption, OfTls12IsJudgedAsThatOfTls13) {
    const auto there = server_for("mx.d.test", lab::CertificateKind::unknownca);
    SSL_CTX_set_max_proto_version(there->native_handle(), TLS1_2_VERSION);
    const auto ticket = ticket_from(*contexts_.strict, *there);
    EXPECT_FALSE(ticket.single_use());
    EXPECT_FALSE(
        verdict(tls::evidence_of(ticket, contexts_.strict->native_handle(), name("mx.d.test"), now_)).go);
    const auto again = connect(*contexts_.strict, *there, &ticket);
    ASSERT_TRUE(SSL_session_reused(again.get()));
    EXPECT_FALSE(verdict(tls::evidence_of(again.get(), name("mx.d.test"), std::nullopt)).go);
}

TEST_F(Resumption, ProvesNothingAboutAnotherHost) {
    const auto there = server_for("mx.d.test", lab::CertificateKind::valid);
    const auto ticket = ticket_from(*contexts_.strict, *there);
    const auto proof =
        tls::evidence_of(ticket, contexts_.strict->native_handle(), name("mx.other.test"), now_);
    EXPECT_FALSE(proof.name_matches);
    EXPECT_EQ(verdict(proof).reason_code, store::ReasonCode::certificate_host_mismatch);
    const auto again = connect(*contexts_.strict, *there, &ticket);
    ASSERT_TRUE(SSL_session_reused(again.get()));
    EXPECT_FALSE(tls::evidence_of(again.get(), name("mx.other.test"), std::nullopt).name_matches);
}

TEST_F(Resumption, OfASessionThatNothingVerifiedProvesNothing) {
    const auto there = server_for("mx.d.test", lab::CertificateKind::unknownca);
    const auto ticket = ticket_from(*contexts_.opportunistic, *there);
    const auto proof = tls::evidence_of(ticket, contexts_.strict->native_handle(), name("mx.d.test"), now_);
    EXPECT_FALSE(proof.chain_ok());
    EXPECT_EQ(verdict(proof).reason_code, store::ReasonCode::certificate_not_trusted);
    const auto again = connect(*contexts_.strict, *there, &ticket);
    ASSERT_TRUE(SSL_session_reused(again.get()));
    EXPECT_FALSE(verdict(tls::evidence_of(again.get(), name("mx.d.test"), std::nullopt)).go);
}

TEST_F(Resumption, EndsWithTheCertificate) {
    const auto there = server_for("mx.d.test", lab::CertificateKind::valid);
    const auto ticket = ticket_from(*contexts_.strict, *there);
    const auto today = tls::evidence_of(ticket, contexts_.strict->native_handle(), name("mx.d.test"), now_);
    ASSERT_TRUE(verdict(today).go);
    const auto later = today.not_after + std::chrono::seconds(1);
    const auto proof = tls::evidence_of(ticket, contexts_.strict->native_handle(), name("mx.d.test"), later);
    EXPECT_EQ(verdict(proof).reason_code, store::ReasonCode::certificate_expired);
}

TEST_F(Resumption, ProvesNothingUnderDane) {
    const auto there = server_for("mx.d.test", lab::CertificateKind::valid);
    const auto ticket = ticket_from(*contexts_.strict, *there);
    const auto full = connect(*contexts_.strict, *there);
    for (const bool matching : {true, false}) {  // what the TLSA records say now does not matter
        tls::DaneReference dane(name("mx.d.test"));
        dane.records = {record_3_1_1(full.get(), matching)};
        const auto fresh = connect(*contexts_.strict, *there, nullptr, &dane);
        EXPECT_EQ(tls::evidence_of(fresh.get(), name("mx.d.test"), dane).dane_matched, matching);
        const auto again = connect(*contexts_.strict, *there, &ticket, &dane);
        const auto proof = tls::evidence_of(again.get(), name("mx.d.test"), dane);
        EXPECT_FALSE(proof.resumed && proof.dane_matched);
    }
}

TEST_F(Resumption, OutlivesTheConnectionItCameFrom) {
    const auto there = server_for("mx.d.test", lab::CertificateKind::valid);
    const auto ticket = ticket_from(*contexts_.strict, *there);  // which was cut off, without close_notify
    const auto again = connect(*contexts_.strict, *there, &ticket);
    EXPECT_TRUE(SSL_session_reused(again.get()));
}

TEST_F(Resumption, TicketsAreKeptByHostAndForAnHour) {
    const auto there = server_for("mx.d.test", lab::CertificateKind::valid);
    const auto ticket = ticket_from(*contexts_.strict, *there);
    EXPECT_TRUE(ticket.single_use());
    Tickets tickets;
    tickets.put("a", ticket, now_);
    EXPECT_FALSE(tickets.take("b", now_));
    EXPECT_TRUE(tickets.take("a", now_));
    EXPECT_FALSE(tickets.take("a", now_)) << "used once";
    tickets.put("a", ticket, now_);
    EXPECT_FALSE(tickets.take("a", now_ + std::chrono::hours(1)));
    EXPECT_EQ(tickets.size(), 0U);
}

TEST_F(Resumption, TwoTicketsOfAConnectionAreTaken) {
    const auto there = server_for("mx.d.test", lab::CertificateKind::valid);
    for (const std::size_t given : {1U, 2U, 9U}) {
        SSL_CTX_set_num_tickets(there->native_handle(), given);
        tickets_.clear();
        connect(*contexts_.strict, *there);
        EXPECT_EQ(tickets_.size(), std::min<std::size_t>(given, 2));
    }
}

TEST_F(Resumption, TicketsAreBounded) {
    const auto there = server_for("mx.d.test", lab::CertificateKind::valid);
    const auto ticket = ticket_from(*contexts_.strict, *there);
    Tickets tickets;
    for (int i = 0; i < 10; ++i) tickets.put("one host", ticket, now_);
    EXPECT_EQ(tickets.size(), 4U);
    for (int i = 0; i < 1000; ++i) tickets.put(std::to_string(i), ticket, now_);
    EXPECT_EQ(tickets.size(), 500U);
    EXPECT_FALSE(tickets.take("one host", now_));
    EXPECT_TRUE(tickets.take("999", now_));
    tickets.clear();
    EXPECT_FALSE(tickets.take("998", now_));
}

}  // namespace
}  // namespace sternpost::delivery
