// What servers client sessions shake hands with, whatever their certificate.
#include <gtest/gtest.h>

#include <string>

#include "fake/tls_handshake.h"
#include "tls/verify.h"

namespace sternpost::tls {
namespace {

class ClientContext : public testing::Test {
  protected:
    // A server that would do anything, with these versions alone.
    std::shared_ptr<boost::asio::ssl::context> server(int least, int most) {
        auto out = fake::server_with(authority_.issue("mx.d.test", {}).value());
        SSL_CTX_set_security_level(out->native_handle(), 0);
        SSL_CTX_set_min_proto_version(out->native_handle(), least);
        SSL_CTX_set_max_proto_version(out->native_handle(), most);
        return out;
    }
    static bool connects(boost::asio::ssl::context& client, boost::asio::ssl::context& server) {
        const auto session = fake::shake_hands(client, server);
        openssl_error();  // the queue is empty for the next
        return SSL_in_init(session.get()) == 0;
    }

    lab::Authority authority_ = lab::Authority::make().value();
    ClientContexts contexts_ = fake::clients_that_trust(authority_);
};

TEST_F(ClientContext, SpeaksTls12AndLater) {  // D-20
    for (const auto& context : {contexts_.strict, contexts_.opportunistic}) {
        EXPECT_FALSE(connects(*context, *server(TLS1_VERSION, TLS1_1_VERSION)));
        EXPECT_TRUE(connects(*context, *server(TLS1_VERSION, TLS1_2_VERSION)));
        EXPECT_TRUE(connects(*context, *server(TLS1_3_VERSION, TLS1_3_VERSION)));
    }
}

TEST_F(ClientContext, TakesAWeakServerOnlyWhereTheAlternativeIsClearText) {  // RFC 9325 §4
    const auto weak = server(TLS1_2_VERSION, TLS1_2_VERSION);
    std::string algorithms = "ECDSA+SHA1";
    ASSERT_EQ(SSL_CTX_set1_sigalgs_list(weak->native_handle(), algorithms.data()), 1);
    EXPECT_FALSE(connects(*contexts_.strict, *weak));
    EXPECT_TRUE(connects(*contexts_.opportunistic, *weak));
}

}  // namespace
}  // namespace sternpost::tls
