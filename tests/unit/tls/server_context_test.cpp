#include <gtest/gtest.h>

#include "fake/temporary_folder.h"
#include "lab/ca.h"
#include "tls/context.h"
#include "tls/self_signed.h"
#include "util/file.h"

namespace sternpost::tls {
namespace {

constexpr WallTime now = std::chrono::sys_days(std::chrono::year(2026) / 11 / 23) + std::chrono::hours(12);

class ServerContext : public testing::Test {
  protected:
    std::string file(const std::string& name, std::string_view text) {
        EXPECT_TRUE(util::write_file(folder_ / name, text, 0600));
        return folder_ / name;
    }
    static std::string error_of(const std::string& certificate, const std::string& key) {
        Identity identity;
        identity.certificate_file = certificate;
        identity.key_file = key;
        const auto context = server_context(identity);
        if (context) return "";
        EXPECT_EQ(context.error().code, Errc::bad_certificate);
        return context.error().text;
    }

    fake::TemporaryFolder folder_;
    SelfSigned one_ = make_self_signed("relay.example", now).value();
    SelfSigned two_ = make_self_signed("relay.example", now).value();
};

TEST_F(ServerContext, IsMadeOfOneFileOrTwo) {
    EXPECT_EQ(error_of(file("c.pem", one_.certificate), file("k.pem", one_.key)), "");
    EXPECT_EQ(error_of(file("both.pem", one_.key + one_.certificate), ""), "");
}

TEST_F(ServerContext, NamesTheFileThatIsWrong) {
    const std::string good = file("c.pem", one_.certificate);
    const std::string key = file("k.pem", one_.key);
    const auto starts_with = [](const std::string& text, const std::string& start) {
        EXPECT_EQ(text.substr(0, start.size()), start);
    };
    EXPECT_NE(error_of(folder_ / "none.pem", key).find(folder_ / "none.pem"), std::string::npos);
    EXPECT_NE(error_of(good, folder_ / "none.pem").find(folder_ / "none.pem"), std::string::npos);
    const std::string junk = file("junk.pem", "no PEM at all\n");
    starts_with(error_of(junk, key), junk + " holds no certificate that can be used: ");
    starts_with(error_of(good, junk), junk + " holds no private key that can be used: ");
    const std::string other = file("other.pem", two_.key);
    EXPECT_NE(error_of(good, other), "");
}

TEST_F(ServerContext, IsNotMadeOfAWeakCertificate) {  // RFC 9325 §4.5
    const auto authority = lab::Authority::make().value();
    const auto error_with = [&](lab::CertificateKind kind) {
        lab::CertificateWish wish;
        wish.kind = kind;
        const auto identity = authority.issue("relay.example", wish).value();
        return error_of(file("c.pem", identity.certificate), file("k.pem", identity.key));
    };
    EXPECT_EQ(error_with(lab::CertificateKind::valid), "");
    const std::string weak = error_with(lab::CertificateKind::weakkey);
    EXPECT_NE(weak.find("holds no certificate that can be used: "), std::string::npos) << weak;
    EXPECT_NE(error_with(lab::CertificateKind::sha1), "");
}

TEST_F(ServerContext, ReadsFilesOfOneMiB) {
    const std::string certificate = file("c.pem", one_.certificate);
    const std::string key = file("k.pem", one_.key);
    const auto padded = [&](const std::string& name, const std::string& text, std::size_t octets) {
        return file(name, std::string(octets - text.size() - 1, '#') + "\n" + text);
    };
    EXPECT_EQ(error_of(padded("1.pem", one_.certificate, 1'048'576), key), "");
    EXPECT_NE(error_of(padded("2.pem", one_.certificate, 1'048'577), key), "");
    EXPECT_EQ(error_of(certificate, padded("3.pem", one_.key, 1'048'576)), "");
    EXPECT_NE(error_of(certificate, padded("4.pem", one_.key, 1'048'577)), "");
}

TEST(SelfSignedCertificate, IsForItsHostAndTime) {
    const auto made = make_self_signed("relay.example", now).value();
    EXPECT_TRUE(names_host(made.certificate, "relay.example", now));
    EXPECT_TRUE(names_host(made.certificate, "relay.example", now + std::chrono::hours(24 * 365 * 9)));
    EXPECT_FALSE(names_host(made.certificate, "relay.example", now + std::chrono::hours(24 * 365 * 11)));
    EXPECT_FALSE(names_host(made.certificate, "relay.example", now - std::chrono::hours(48)));
    EXPECT_FALSE(names_host(made.certificate, "other.example", now));
    EXPECT_FALSE(names_host("", "relay.example", now));
    const std::string longest = std::string(60, 'a') + "." + std::string(60, 'b') + ".example";
    EXPECT_TRUE(names_host(make_self_signed(longest, now).value().certificate, longest, now));
}

}  // namespace
}  // namespace sternpost::tls
