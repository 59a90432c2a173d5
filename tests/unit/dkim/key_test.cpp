#include "dkim/key.h"

#include <gtest/gtest.h>
#include <openssl/pem.h>

#include "util/text.h"

namespace sternpost::dkim {
namespace {

// A key that OpenSSL makes and PrivateKey would not.
std::string pem_of(EVP_PKEY* key) {
    BIO* bio = BIO_new(BIO_s_mem());
    PEM_write_bio_PrivateKey(bio, key, nullptr, nullptr, 0, nullptr, nullptr);
    char* data = nullptr;
    const long size = BIO_get_mem_data(bio, &data);
    std::string out(data, static_cast<std::size_t>(size));
    BIO_free(bio);
    EVP_PKEY_free(key);
    return out;
}

std::string rsa(std::size_t bits) {
    return pem_of(EVP_PKEY_Q_keygen(nullptr, nullptr, "RSA", bits));
}

TEST(DkimKey, OfRsaHasAThousandBitsAtLeast) {  // DKIM-02
    const auto refused = PrivateKey::parse(rsa(768));
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, Errc::too_weak);
    EXPECT_EQ(PrivateKey::generate(Algorithm::rsa, 512).error().code, Errc::too_weak);
    EXPECT_FALSE(PrivateKey::generate(Algorithm::rsa, 8192));
    const auto weak = PrivateKey::parse(rsa(1024));
    ASSERT_TRUE(weak);
    EXPECT_TRUE(weak->weak());
    const auto made = PrivateKey::generate(Algorithm::rsa);
    ASSERT_TRUE(made);
    EXPECT_EQ(made->bits(), 2048U);
    EXPECT_FALSE(made->weak());
}

TEST(DkimKey, OfAnotherAlgorithmIsRefused) {  // DKIM-01
    const auto refused = PrivateKey::parse(pem_of(EVP_PKEY_Q_keygen(nullptr, nullptr, "EC", "P-256")));
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, Errc::unsupported);
    EXPECT_EQ(PrivateKey::parse("").error().code, Errc::malformed);
    EXPECT_EQ(
        PrivateKey::parse("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n").error().code,
        Errc::malformed);
    EXPECT_FALSE(algorithm_of("rsa-sha1"));
}

TEST(DkimKey, IsTheSameAfterItWasWritten) {
    for (const auto algorithm : {Algorithm::rsa, Algorithm::ed25519}) {
        const auto key = PrivateKey::generate(algorithm).value();
        const auto again = PrivateKey::parse(key.pem()).value();
        EXPECT_EQ(again.algorithm(), algorithm);
        EXPECT_EQ(again.public_text(), key.public_text());
        EXPECT_FALSE(key.weak());
        const Digest digest{1, 2, 3};
        EXPECT_EQ(again.sign(digest).value(), key.sign(digest).value());  // both are deterministic
    }
}

TEST(DkimRecord, IsSplitIntoStringsOf255) {  // DKIM-15
    const auto key = PrivateKey::generate(Algorithm::rsa, 4096).value();
    const std::string record = record_text(key, false);
    EXPECT_EQ(record, "v=DKIM1; k=rsa; p=" + key.public_text());
    const std::string line = zone_line("s._domainkey.example.com", record);
    EXPECT_TRUE(line.starts_with("s._domainkey.example.com. IN TXT ( \"v=DKIM1;"));
    std::string joined;
    const auto parts = split(line, '"');
    for (std::size_t i = 1; i < parts.size(); i += 2) {
        EXPECT_LE(parts[i].size(), 255U);
        joined += parts[i];
    }
    EXPECT_EQ(joined, record);
}

TEST(DkimRecord, SaysWhenItIsForReportsAlone) {  // RPT-66
    const auto key = PrivateKey::generate(Algorithm::ed25519).value();
    EXPECT_EQ(record_text(key, true), "v=DKIM1; k=ed25519; s=tlsrpt; p=" + key.public_text());
}

TEST(DkimSelector, IsMadeOfLabels) {
    EXPECT_EQ(parse_selector("2026-A.relay").value(), "2026-a.relay");
    for (const char* bad : {"", ".", "a..b", "-a", "a-", "a_b", "a b", "\xC3\xA4", "a/b", "../a"})
        EXPECT_FALSE(parse_selector(bad)) << bad;
    EXPECT_FALSE(parse_selector(std::string(64, 'a')));
}

TEST(DkimTags, AreReadWithTheirBlanks) {
    const auto tags = parse_tags(" v = DKIM1 ;\r\n k=rsa; p=AB CD= ; n=a=b; ");
    ASSERT_TRUE(tags);
    EXPECT_EQ(*tags, (std::map<std::string, std::string>{
                         {"v", "DKIM1"}, {"k", "rsa"}, {"p", "AB CD="}, {"n", "a=b"}}));
    EXPECT_EQ(parse_tags("p=")->at("p"), "");
    for (const char* bad : {"v=DKIM1; v=DKIM1", "p", "=x", "v=DKIM1;; p=x", "1a=x", "a b=x"})
        EXPECT_FALSE(parse_tags(bad)) << bad;
}

struct PublishedRow {
    const char* name;
    const char* record;  // KEY stands for the public key
    Published verdict;
    bool reports_only = false;
    bool silent = true;  // nothing is to be said
};
class DkimPublished : public testing::TestWithParam<PublishedRow> {};

TEST_P(DkimPublished, IsComparedWithTheKey) {
    static const auto key = PrivateKey::generate(Algorithm::ed25519).value();
    std::string record = GetParam().record;
    if (const auto at = record.find("KEY"); at != std::string::npos) record.replace(at, 3, key.public_text());
    const auto seen = compare({record}, key, GetParam().reports_only);
    EXPECT_EQ(seen.published, GetParam().verdict) << seen.text;
    EXPECT_EQ(seen.text.empty(), GetParam().verdict == Published::yes && GetParam().silent) << seen.text;
}

const PublishedRow published[] = {
    {"AsItShouldBe", "v=DKIM1; k=ed25519; p=KEY", Published::yes},
    {"WithoutAVersion", "k=ed25519;p=KEY;", Published::yes},
    {"ForReports_RPT66", "v=DKIM1; k=ed25519; s=tlsrpt; p=KEY", Published::yes, true},
    {"ForAllAndReports", "v=DKIM1; k=ed25519; s=*; p=KEY", Published::yes, true},
    {"ForReportsButMail", "v=DKIM1; k=ed25519; s=tlsrpt; p=KEY", Published::different},
    {"ForMailButReports", "v=DKIM1; k=ed25519; s=email; p=KEY", Published::different, true},
    {"OfAnotherAlgorithm", "v=DKIM1; p=KEY", Published::different},
    {"OfAnotherHash", "v=DKIM1; k=ed25519; h=sha1; p=KEY", Published::different},
    {"OfTheHash", "v=DKIM1; k=ed25519; h=sha1 : sha256; p=KEY", Published::yes},
    {"OfAnotherKey", "v=DKIM1; k=ed25519; p=AAAA", Published::different},
    {"Revoked", "v=DKIM1; k=ed25519; p=", Published::revoked},
    {"Tested", "v=DKIM1; k=ed25519; t=y; p=KEY", Published::yes, false, false},
    {"OfAnotherVersion", "v=DKIM2; k=ed25519; p=KEY", Published::malformed},
    {"OfSomethingElse", "v=spf1 -all", Published::malformed},
};
INSTANTIATE_TEST_SUITE_P(Rfc6376, DkimPublished, testing::ValuesIn(published),
                         [](const auto& row) { return row.param.name; });

TEST(DkimPublished, IsOneRecord) {
    const auto key = PrivateKey::generate(Algorithm::ed25519).value();
    EXPECT_EQ(compare({}, key, false).published, Published::no);
    const std::string record = record_text(key, false);
    EXPECT_EQ(compare({record, record}, key, false).published, Published::several);
}

}  // namespace
}  // namespace sternpost::dkim
