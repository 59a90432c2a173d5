#include "tls/dane.h"

#include <gtest/gtest.h>
#include <openssl/evp.h>
#include <openssl/x509.h>

#include <memory>

namespace sternpost::tls {
namespace {

dns::Tlsa record(int usage, int selector, int matching, std::size_t size) {
    dns::Tlsa out;
    out.usage = static_cast<std::uint8_t>(usage);
    out.selector = static_cast<std::uint8_t>(selector);
    out.matching_type = static_cast<std::uint8_t>(matching);
    out.data.assign(size, 0xAB);
    return out;
}

struct Case {
    const char* name;
    dns::Tlsa record;
    bool usable;
};
class TlsaRecord : public testing::TestWithParam<Case> {};
TEST_P(TlsaRecord, IsUsableOrNot) {
    EXPECT_EQ(usable(GetParam().record), GetParam().usable);
}
const Case records[] = {
    {"EndEntityKeySha256", record(3, 1, 1, 32), true},
    {"EndEntityCertificateSha512", record(3, 0, 2, 64), true},
    {"TrustAnchorSha256_DANE12", record(2, 0, 1, 32), true},
    {"PkixTrustAnchor_DANE09", record(0, 0, 1, 32), false},
    {"PkixEndEntity_DANE09", record(1, 1, 1, 32), false},
    {"UnknownUsage_DANE10", record(4, 1, 1, 32), false},
    {"PrivateUsage_DANE10", record(255, 1, 1, 32), false},
    {"UnknownSelector_DANE10", record(3, 2, 1, 32), false},
    {"UnknownMatchingType_DANE10", record(3, 1, 9, 32), false},
    {"DigestTooShort_DANE10", record(3, 1, 1, 31), false},
    {"DigestTooLong_DANE10", record(3, 1, 1, 33), false},
    {"Sha512WithTheLengthOfSha256_DANE10", record(3, 1, 2, 32), false},
    {"NoDigestAtAll_DANE10", record(3, 1, 1, 0), false},
    {"CertificateThatIsNone_DANE10", record(2, 0, 0, 200), false},
    {"KeyThatIsNone_DANE10", record(3, 1, 0, 200), false},
    {"EmptyCertificate_DANE10", record(2, 0, 0, 0), false},
};
INSTANTIATE_TEST_SUITE_P(Rfc7671, TlsaRecord, testing::ValuesIn(records),
                         [](const auto& row) { return row.param.name; });

std::vector<std::string> texts(const std::vector<dns::Tlsa>& all) {
    std::vector<std::string> out;
    for (const auto& one : all)
        out.push_back(std::to_string(one.usage) + std::to_string(one.selector) +
                      std::to_string(one.matching_type));
    return out;
}

TEST(DigestAgility, TakesOnlyTheStrongestDigestOfEachUsageAndSelector) {  // DANE-26
    EXPECT_EQ(texts(usable_of({record(3, 1, 1, 32), record(3, 1, 2, 64)})),
              (std::vector<std::string>{"312"}));
    EXPECT_EQ(texts(usable_of({record(3, 0, 1, 32), record(3, 1, 2, 64)})),
              (std::vector<std::string>{"301", "312"}))
        << "another selector is another question";
    EXPECT_EQ(texts(usable_of({record(2, 0, 1, 32), record(3, 0, 2, 64)})),
              (std::vector<std::string>{"201", "302"}))
        << "and so is another usage";
}

TEST(DigestAgility, LeavesWhatIsNoDigest) {  // RFC 7671 §9
    const std::unique_ptr<EVP_PKEY, void (*)(EVP_PKEY*)> key(
        EVP_PKEY_Q_keygen(nullptr, nullptr, "EC", "P-256"), EVP_PKEY_free);
    unsigned char* octets = nullptr;
    const int size = i2d_PUBKEY(key.get(), &octets);
    ASSERT_GT(size, 0);
    dns::Tlsa whole = record(3, 1, 0, 0);
    whole.data.assign(octets, octets + size);
    OPENSSL_free(octets);
    EXPECT_EQ(texts(usable_of({whole, record(3, 1, 1, 32)})), (std::vector<std::string>{"310", "311"}));
}

TEST(DigestAgility, IsNotMisledByAStrongerDigestThatIsUnusable) {  // DANE-10, DANE-26
    EXPECT_EQ(texts(usable_of({record(3, 1, 1, 32), record(3, 1, 2, 63), record(1, 1, 2, 64)})),
              (std::vector<std::string>{"311"}));
    EXPECT_TRUE(usable_of({record(0, 0, 1, 32), record(3, 1, 9, 32)}).empty());  // DANE-07
}

TEST(TlsaText, IsThatOfReports) {  // RFC 8460 §4.5
    EXPECT_EQ(text_of(record(3, 1, 1, 3)), "3 1 1 ABABAB");
    EXPECT_EQ(text_of(std::vector<dns::Tlsa>{record(3, 1, 1, 1), record(2, 0, 1, 1)}), "2 0 1 AB\n3 1 1 AB\n")
        << "sorted: equal sets give equal texts";
}

}  // namespace
}  // namespace sternpost::tls
