#include "dkim/sign.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "util/text.h"

namespace sternpost::dkim {
namespace {

// RFC 8463 Appendix A: key, message and signature.
constexpr std::string_view example_seed = "nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A=";
constexpr std::string_view example_message =
    "From: Joe SixPack <joe@football.example.com>\r\n"
    "To: Suzie Q <suzie@shopping.example.net>\r\n"
    "Subject: Is dinner ready?\r\n"
    "Date: Fri, 11 Jul 2003 21:00:37 -0700 (PDT)\r\n"
    "Message-ID: <20030712040037.46341.5F8J@football.example.com>\r\n"
    "\r\n"
    "Hi.\r\n"
    "\r\n"
    "We lost the game.  Are you hungry yet?\r\n"
    "\r\n"
    "Joe.\r\n";

PrivateKey example_key() {
    const std::string prefix("\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20",
                             16);  // PKCS#8
    return PrivateKey::parse("-----BEGIN PRIVATE KEY-----\n" + base64(prefix + *unbase64(example_seed)) +
                             "\n-----END PRIVATE KEY-----\n")
        .value();
}

std::unique_ptr<MessageHash> hash_of(std::string_view message, std::size_t cut = 0) {
    auto hash = std::make_unique<MessageHash>();
    hash->feed(message.substr(0, cut));
    hash->feed(message.substr(cut));
    EXPECT_TRUE(hash->finish());
    return hash;
}

const WallTime noon = std::chrono::sys_days(std::chrono::year(2026) / 11 / 26) + std::chrono::hours(12);

std::string signed_by(std::string_view message, const PrivateKey& key) {
    const auto hash = hash_of(message);
    return signature_field(*hash, {dns::Domain::parse("example.com").value(), "s1", key}, noon).value();
}

std::map<std::string, std::string> tags_of(const std::string& field) {
    return parse_tags(std::string_view(field).substr(field.find(':') + 1)).value();
}

std::vector<std::string> names_of(const std::string& field) {
    std::vector<std::string> out;
    const std::string names = tags_of(field).at("h");
    for (const auto name : split(names, ':')) {
        std::string plain;
        for (const char c : name)
            if (c > ' ') plain += lower(c);
        out.push_back(plain);
    }
    return out;
}

TEST(Ed25519Example, IsReproduced) {  // DKIM-03
    const auto key = example_key();
    EXPECT_EQ(key.public_text(), "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=");
    const auto hash = hash_of(example_message);
    EXPECT_EQ(hash->body_hash(), "2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=");
    const std::string field =
        "DKIM-Signature: v=1; a=ed25519-sha256; c=relaxed/relaxed;\r\n"
        " d=football.example.com; i=@football.example.com;\r\n"
        " q=dns/txt; s=brisbane; t=1528637909; h=from : to :\r\n"
        " subject : date : message-id : from : subject : date;\r\n"
        " bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;\r\n"
        " b=\r\n";
    const auto own = mail::read_header(field);
    std::string last = canonical(own.fields.at(0), Form::relaxed);
    last.resize(last.size() - 2);
    Sha256 digest;
    digest.feed(canonical_fields(hash->header(),
                                 {"from", "to", "subject", "date", "message-id", "from", "subject", "date"}));
    digest.feed(last);
    EXPECT_EQ(base64(key.sign(digest.finish()).value()),
              "/gCrinpcQOoIfuHNQIbq4pgh9kyIK3AQUdt9OdqQehSwhEIug4D11BusFa3bT3FY5OsU7ZbnKELq+eXdp1Q1Dw==");
}

TEST(SignedFields, AreTakenFromTheBottomUp) {  // DKIM-07
    const std::string text = "X-A: upper\r\nX-B: b\r\nx-a: lower\r\n\r\n";
    const auto header = mail::read_header(text);
    EXPECT_EQ(canonical_fields(header, {"x-a"}), "x-a:lower\r\n");
    EXPECT_EQ(canonical_fields(header, {"X-A", "x-b", "x-a", "x-a"}), "x-a:lower\r\nx-b:b\r\nx-a:upper\r\n");
    EXPECT_EQ(canonical_fields(header, {"x-c"}), "");
}

TEST(Signature, NamesWhatPeopleReadOnceMoreThanItStands) {  // DKIM-04, DKIM-05, DKIM-06
    const auto names = names_of(signed_by(
        "Received: x\r\nReturn-Path: <a@example.com>\r\nDKIM-Signature: v=1\r\nComments: c\r\nFrom: "
        "<a@example.com>\r\n"
        "To: <b@example.com>\r\nSender: <c@example.com>\r\nList-Id: <l.example.com>\r\nKeywords: k\r\n\r\n",
        example_key()));
    const auto count = [&](const char* name) { return std::count(names.begin(), names.end(), name); };
    for (const char* twice : {"from", "to"}) EXPECT_EQ(count(twice), 2) << twice;
    for (const char* once :
         {"subject", "date", "cc", "reply-to", "content-type", "mime-version", "message-id", "in-reply-to",
          "references", "content-transfer-encoding", "sender", "list-id"})
        EXPECT_EQ(count(once), 1) << once;
    for (const char* never : {"received", "return-path", "dkim-signature", "comments", "keywords",
                              "tls-report-domain", "tls-report-submitter"})
        EXPECT_EQ(count(never), 0) << never;
}

TEST(Signature, OversignsTheFieldsOfTlsReports) {  // RPT-65
    const auto names =
        names_of(signed_by("From: <a@example.com>\r\nTLS-Report-Domain: example.net\r\nTLS-Report-Submitter: "
                           "example.com\r\n\r\n",
                           example_key()));
    EXPECT_EQ(std::count(names.begin(), names.end(), "tls-report-domain"), 2);
    EXPECT_EQ(std::count(names.begin(), names.end(), "tls-report-submitter"), 2);
}

TEST(Signature, SaysWhatItIs) {  // DKIM-01, DKIM-09, DKIM-10, DKIM-13, RPT-64
    const auto tags = tags_of(signed_by(example_message, example_key()));
    EXPECT_EQ(tags.at("v"), "1");
    EXPECT_EQ(tags.at("a"), "ed25519-sha256");
    EXPECT_EQ(tags.at("c"), "relaxed/relaxed");
    EXPECT_EQ(tags.at("d"), "example.com");
    EXPECT_EQ(tags.at("s"), "s1");
    EXPECT_EQ(tags.at("t"), "1795694400");
    EXPECT_FALSE(tags.contains("l"));
    const auto rsa = tags_of(signed_by(example_message, PrivateKey::generate(Algorithm::rsa).value()));
    EXPECT_EQ(rsa.at("a"), "rsa-sha256");
}

// RFC 6376 §3.7: the fields that h= names, then this one with an empty b= and without the CRLF at its end.
// The same key signs the same octets alike (RFC 8032 §5.1.6).
TEST(Signature, IsOverItselfWithoutItsValueAndLineEnd) {
    const auto key = example_key();
    const std::string field = signed_by(example_message, key);
    const auto value = field.rfind("b=") + 2;
    const std::string without = field.substr(0, value) + "\r\n\r\n";
    const auto header = mail::read_header(without);
    std::string last = canonical(header.fields.at(0), Form::relaxed);
    ASSERT_TRUE(last.ends_with(" b=\r\n")) << last;
    last.resize(last.size() - 2);
    Sha256 digest;
    digest.feed(canonical_fields(mail::read_header(example_message), names_of(field)));
    digest.feed(last);
    std::string octets;
    for (const char c : field.substr(value))
        if (c > ' ') octets += c;
    EXPECT_EQ(octets, base64(key.sign(digest.finish()).value()));
}

TEST(Signature, IsFoldedBeforeLinesGetLong) {  // DKIM-15
    const auto field = signed_by(example_message, PrivateKey::generate(Algorithm::rsa, 4096).value());
    ASSERT_TRUE(field.ends_with("\r\n"));
    for (auto line : split(field, '\n')) {
        EXPECT_LE(line.size(), 78U) << line;
        if (!line.empty()) {
            EXPECT_TRUE(line.ends_with('\r'));
        }
    }
    const auto header = mail::read_header(field);
    EXPECT_EQ(header.fields.size(), 1U);
    EXPECT_EQ(header.end, field.size());
}

TEST(MessageHash, IsTheSameHoweverTheOctetsAreCut) {
    for (std::size_t cut = 0; cut <= example_message.size(); ++cut) {
        SCOPED_TRACE(cut);
        const auto hash = hash_of(example_message, cut);
        EXPECT_EQ(hash->header().fields.size(), 5U);
        EXPECT_EQ(hash->body_hash(), "2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=");
    }
}

TEST(MessageHash, RefusesWhatHasNoHeader) {
    for (const std::string_view text : {"", "\r\nbody\r\n", "no field\r\n\r\nbody\r\n", "From: <a@b>\r\n",
                                        "From: <a@b>\r\nno field\r\n\r\nbody\r\n"}) {
        MessageHash hash;
        hash.feed(text);
        EXPECT_FALSE(hash.finish()) << text;
    }
}

TEST(MessageHash, RefusesAHeaderWithoutEnd) {
    MessageHash hash;
    hash.feed("From: <a@b>\r\n");
    for (int i = 0; i < 20'000; ++i) hash.feed("X-Filler: " + std::string(100, 'x') + "\r\n");
    hash.feed("\r\nbody\r\n");
    EXPECT_FALSE(hash.finish());
}

struct AuthorRow {
    const char* name;
    std::string_view header;
    std::string_view domain;
};
class Author : public testing::TestWithParam<AuthorRow> {};

TEST_P(Author, IsTheDomainOfTheFromField) {
    const auto domain = author_domain(mail::read_header(GetParam().header));
    EXPECT_EQ(domain ? domain->text() : "", GetParam().domain);
}

const AuthorRow authors[] = {
    {"Plain", "From: a@Example.COM\r\n\r\n", "example.com"},
    {"WithAName", "From: \"x@y.test\" <a@example.com>\r\n\r\n", "example.com"},
    {"OfSeveralTheFirst", "From: a@example.com, b@example.net\r\n\r\n", "example.com"},
    {"ULabels_DKIM13",
     "From: <a@b\xC3\xBC"
     "cher.example>\r\n\r\n",
     "xn--bcher-kva.example"},
    {"TwoFields_DKIM16", "From: a@example.com\r\nFrom: b@example.com\r\n\r\n", ""},
    {"None", "To: a@example.com\r\n\r\n", ""},
    {"WithoutADomain", "From: root\r\n\r\n", ""},
    {"Group", "From: undisclosed:;\r\n\r\n", ""},
};
INSTANTIATE_TEST_SUITE_P(Rfc6376, Author, testing::ValuesIn(authors),
                         [](const auto& row) { return row.param.name; });

}  // namespace
}  // namespace sternpost::dkim
