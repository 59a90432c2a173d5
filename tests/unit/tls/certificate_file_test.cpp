#include "tls/certificate_file.h"

#include <gtest/gtest.h>

#include <fstream>

#include "fake/temporary_folder.h"
#include "tls/self_signed.h"

namespace sternpost::tls {
namespace {

using namespace std::chrono_literals;

const WallTime judged_at{std::chrono::hours(500'000)};

struct VerdictRow {
    const char* name;
    std::chrono::seconds left;
    bool names_host;
    CertificateState state;
    const char* said;
};

class CertificateFile : public ::testing::TestWithParam<VerdictRow> {};
TEST_P(CertificateFile, IsJudgedAsClientsWould) {
    CertificateFacts facts;
    facts.not_after = judged_at + GetParam().left;
    facts.names_host = GetParam().names_host;
    const auto verdict = judge_certificate("/c.pem", facts, "relay.test", judged_at);
    EXPECT_EQ(verdict.state, GetParam().state);
    EXPECT_NE(verdict.text.find(GetParam().said), std::string::npos) << verdict.text;
    EXPECT_EQ(verdict.text.find("/c.pem"), 0U) << verdict.text;
}
INSTANTIATE_TEST_SUITE_P(
    That, CertificateFile,
    ::testing::Values(
        VerdictRow{"IsGood", 14 * 24h, true, CertificateState::good, "expires on"},
        VerdictRow{"ExpiresSoon", 14 * 24h - 1s, true, CertificateState::expires_soon, "expires on"},
        VerdictRow{"ExpiresSoonAndNamesAnotherHost", 1h, false, CertificateState::expires_soon, "expires on"},
        VerdictRow{"HasExpired", 0s, true, CertificateState::expired, "expired on"},
        VerdictRow{"NamesAnotherHost", 90 * 24h, false, CertificateState::other_host, "relay.test"}),
    [](const auto& info) { return info.param.name; });

TEST(CertificateOnDisk, IsReadWithItsDatesAndNames) {
    const fake::TemporaryFolder folder;
    const std::string file = folder / "cert.pem";
    const WallTime now = SystemClock().wall();
    const auto made = make_self_signed("relay.test", now);
    ASSERT_TRUE(made);
    std::ofstream(file) << made->certificate;
    const auto read = read_certificate(file, "relay.test");
    ASSERT_TRUE(read) << read.error().text;
    EXPECT_TRUE(read->names_host);
    EXPECT_GT(read->not_after, now + 24h * 365);
    EXPECT_FALSE(read_certificate(file, "other.test")->names_host);
    std::ofstream(file) << "nothing";
    EXPECT_FALSE(read_certificate(file, "relay.test"));
    const auto missing = judge_certificate("/c.pem", read_certificate("/nowhere", "x.test"), "x.test", now);
    EXPECT_EQ(missing.state, CertificateState::unreadable);
}

}  // namespace
}  // namespace sternpost::tls
