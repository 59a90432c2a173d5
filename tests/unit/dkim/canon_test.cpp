#include "dkim/canon.h"

#include <gtest/gtest.h>

#include "util/text.h"

namespace sternpost::dkim {
namespace {

std::string base64_of(const Digest& digest) {
    return base64({reinterpret_cast<const char*>(digest.data()), digest.size()});
}

std::string text_hash(std::string_view text) {
    Sha256 hash;
    hash.feed(text);
    return base64_of(hash.finish());
}

std::string body_hash(std::string_view body, Form form, std::size_t cut = 0) {
    BodyHash hash(form);
    hash.feed(body.substr(0, cut));
    hash.feed(body.substr(cut));
    return base64_of(hash.finish());
}

struct BodyRow {
    const char* name;
    std::string_view body;
    std::string_view simple;
    std::string_view relaxed;
};
class CanonicalBody : public testing::TestWithParam<BodyRow> {};

TEST_P(CanonicalBody, IsHashedTheSameHoweverItIsCut) {
    const BodyRow& row = GetParam();
    for (std::size_t cut = 0; cut <= row.body.size(); ++cut) {
        SCOPED_TRACE(cut);
        EXPECT_EQ(body_hash(row.body, Form::simple, cut), text_hash(row.simple));
        EXPECT_EQ(body_hash(row.body, Form::relaxed, cut), text_hash(row.relaxed));
    }
}

const BodyRow bodies[] = {
    {"OfTheRfc_DKIM08", " C \r\nD \t E\r\n\r\n\r\n", " C \r\nD \t E\r\n", " C\r\nD E\r\n"},  // §3.4.5
    {"Empty_DKIM08", "", "\r\n", ""},
    {"OneEmptyLine", "\r\n", "\r\n", ""},
    {"EmptyLines", "\r\n\r\n\r\n", "\r\n", ""},
    {"BlanksAlone", " \t\r\n  \r\n", " \t\r\n  \r\n", ""},
    {"WithoutALineEnd", "a", "a\r\n", "a\r\n"},
    {"BlanksWithoutALineEnd", "a  ", "a  \r\n", "a\r\n"},
    {"EmptyLinesBetween", "a\r\n\r\n\r\nb\r\n", "a\r\n\r\n\r\nb\r\n", "a\r\n\r\n\r\nb\r\n"},
    {"BlankLineBetween", "a\r\n \r\nb\r\n\r\n", "a\r\n \r\nb\r\n", "a\r\n\r\nb\r\n"},
    {"BlanksAtTheStart", "\t  a\r\n", "\t  a\r\n", " a\r\n"},
    {"BareCr", "a\rb\r\n", "a\rb\r\n", "a\rb\r\n"},
    {"BareCrAtTheEnd", "a\r", "a\r\r\n", "a\r\r\n"},
    {"TwoCrs", "a\r\r\n\r\n", "a\r\r\n", "a\r\r\n"},
    {"EightBit", "\xC3\xA4  \xFF\r\n", "\xC3\xA4  \xFF\r\n", "\xC3\xA4 \xFF\r\n"},
};
INSTANTIATE_TEST_SUITE_P(Rfc6376, CanonicalBody, testing::ValuesIn(bodies),
                         [](const auto& row) { return row.param.name; });

TEST(CanonicalBody, HasTheKnownHashesWhenEmpty) {  // DKIM-08
    EXPECT_EQ(body_hash("", Form::simple), "frcCV1k9oG9oKj3dpUqdJg1PxRT2RSN/XKdLCPjaYaY=");
    EXPECT_EQ(body_hash("", Form::relaxed), "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=");
}

TEST(CanonicalBody, IsHashedInPiecesWhateverItsSize) {
    const std::string line = "forty octets of text, and blanks    at \t \r\n";
    BodyHash hash(Form::relaxed);
    std::string whole;
    for (int i = 0; i < 50'000; ++i) {
        hash.feed(line);
        whole += "forty octets of text, and blanks at\r\n";
    }
    EXPECT_EQ(base64_of(hash.finish()), text_hash(whole));
}

struct FieldRow {
    const char* name;
    std::string_view field;
    std::string_view relaxed;
};
class CanonicalField : public testing::TestWithParam<FieldRow> {};

TEST_P(CanonicalField, IsAsTheRfcSays) {
    const std::string text = std::string(GetParam().field) + "\r\n";
    const auto header = mail::read_header(text);
    ASSERT_EQ(header.fields.size(), 1U);
    EXPECT_EQ(canonical(header.fields[0], Form::relaxed), GetParam().relaxed);
    EXPECT_EQ(canonical(header.fields[0], Form::simple), GetParam().field);
}

const FieldRow fields[] = {
    {"OfTheRfcA_DKIM08", "A: X\r\n", "a:X\r\n"},
    {"OfTheRfcB_DKIM08", "B : Y\t\r\n\tZ  \r\n", "b:Y Z\r\n"},
    {"Empty", "Subject:\r\n", "subject:\r\n"},
    {"BlanksAlone", "Subject: \t \r\n", "subject:\r\n"},
    {"WithoutABlank", "SUBJECT:x\r\n", "subject:x\r\n"},
    {"Folds", "To: a@x.test,\r\n  b@x.test,\r\n\t\tc@x.test\r\n", "to:a@x.test, b@x.test, c@x.test\r\n"},
    {"CaseOfTheValueStays", "X-A: Ab  CD\r\n", "x-a:Ab CD\r\n"},
    {"Colons", "X-A: a:b : c\r\n", "x-a:a:b : c\r\n"},
};
INSTANTIATE_TEST_SUITE_P(Rfc6376, CanonicalField, testing::ValuesIn(fields),
                         [](const auto& row) { return row.param.name; });

}  // namespace
}  // namespace sternpost::dkim
