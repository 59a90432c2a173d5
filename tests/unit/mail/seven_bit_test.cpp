#include "mail/seven_bit.h"

#include <gtest/gtest.h>

#include <random>

#include "util/text.h"

namespace sternpost::mail {
namespace {

std::string converted(std::string_view message) {
    const auto out = to_seven_bit(message);
    EXPECT_TRUE(out.has_value()) << out.error().text;
    return out.value_or("");
}
std::string_view error_of(std::string_view message) {
    const auto out = to_seven_bit(message);
    if (out) return "converted";
    switch (out.error().code) {
        case SevenBitErrc::header_not_ascii:
            return "header_not_ascii";
        case SevenBitErrc::signed_part:
            return "signed_part";
        case SevenBitErrc::malformed:
            return "malformed";
        case SevenBitErrc::too_complex:
            return "too_complex";
    }
    return "";
}

struct SevenBitRow {
    const char* name;
    std::string_view in;
    std::string_view out;
};
class SevenBit : public testing::TestWithParam<SevenBitRow> {};
TEST_P(SevenBit, SaysTheSameAsBefore) {  // SMTP-78, D-28
    const std::string out = converted(GetParam().in);
    EXPECT_EQ(out, GetParam().out);
    EXPECT_EQ(converted(out), out);  // and is done
}

const SevenBitRow rows[] = {
    {"AsciiStays", "Subject: x\r\n\r\nhello\r\n", "Subject: x\r\n\r\nhello\r\n"},
    {"HeaderAlone", "Subject: x\r\n", "Subject: x\r\n"},
    {"Nothing", "", "\r\n"},
    {"DeclaredText",
     "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=iso-8859-1\r\n"
     "Content-Transfer-Encoding: 8bit\r\nSubject: x\r\n\r\ncaf\xe9 = 1 \r\n\r\n",
     "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=iso-8859-1\r\n"
     "Content-Transfer-Encoding: quoted-printable\r\nSubject: x\r\n\r\ncaf=E9 =3D 1=20\r\n\r\n"},
    {"TextWithoutMime", "Subject: x\r\n\r\ncaf\xc3\xa9\r\n",
     "Subject: x\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n"
     "Content-Transfer-Encoding: quoted-printable\r\n\r\ncaf=C3=A9\r\n"},
    {"TextOfUnknownCharset", "Subject: x\r\n\r\ncaf\xe9\r\n",
     "Subject: x\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=unknown-8bit\r\n"
     "Content-Transfer-Encoding: quoted-printable\r\n\r\ncaf=E9\r\n"},
    {"NoHeaderAtAll", "caf\xe9\r\n",
     "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=unknown-8bit\r\n"
     "Content-Transfer-Encoding: quoted-printable\r\n\r\ncaf=E9\r\n"},
    {"OtherTypes",
     "MIME-Version: 1.0\r\nContent-Type: application/octet-stream\r\nContent-Transfer-Encoding: 8BIT (as it "
     "is)\r\n\r\n\xff\xfe\r\n",
     "MIME-Version: 1.0\r\nContent-Type: application/octet-stream\r\nContent-Transfer-Encoding: "
     "base64\r\n\r\n//4NCg==\r\n"},
    {"ContentTypeWithoutMimeVersion", "content-type: Text/HTML\r\n\r\n<b>\xc3\xa9</b>\r\n",
     "content-type: Text/HTML\r\nMIME-Version: 1.0\r\nContent-Transfer-Encoding: "
     "quoted-printable\r\n\r\n<b>=C3=A9</b>\r\n"},
    {"EncodedStays",
     "MIME-Version: 1.0\r\nContent-Type: image/png\r\nContent-Transfer-Encoding: base64\r\n\r\nAAAA\r\n",
     "MIME-Version: 1.0\r\nContent-Type: image/png\r\nContent-Transfer-Encoding: base64\r\n\r\nAAAA\r\n"},
    {"AsciiThatSays8bit", "MIME-Version: 1.0\r\nContent-Transfer-Encoding: 8bit\r\n\r\nx\r\n",
     "MIME-Version: 1.0\r\nContent-Transfer-Encoding: 7bit\r\n\r\nx\r\n"},
    {"Multipart",
     "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; (why) boundary=\"a \\b\"\r\n"
     "Content-Transfer-Encoding: 8bit\r\n\r\n"
     "pr\xc3\xa9\x61mble\r\n"
     "--a b\r\n"
     "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n\xc3\xa9 \r\n"
     "--a b \r\n"
     "Content-Type: image/png\r\nContent-Transfer-Encoding: base64\r\n\r\nAAAA\r\n"
     "--a b\r\n"
     "\r\nplain\r\n"
     "--a b\r\n"
     "\r\n\xe9\r\n"
     "--a b\r\n"
     "Content-Type: application/x; name=\"--a b\"\r\n\r\n\xff\r\n"
     "--a b--\r\n"
     "\xe9pilogue\r\n",
     "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; (why) boundary=\"a \\b\"\r\n"
     "Content-Transfer-Encoding: 7bit\r\n\r\n"
     "pr??amble\r\n"
     "--a b\r\n"
     "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: "
     "quoted-printable\r\n\r\n=C3=A9=20\r\n"
     "--a b \r\n"
     "Content-Type: image/png\r\nContent-Transfer-Encoding: base64\r\n\r\nAAAA\r\n"
     "--a b\r\n"
     "\r\nplain\r\n"
     "--a b\r\n"
     "Content-Type: text/plain; charset=unknown-8bit\r\nContent-Transfer-Encoding: "
     "quoted-printable\r\n\r\n=E9\r\n"
     "--a b\r\n"
     "Content-Type: application/x; name=\"--a b\"\r\nContent-Transfer-Encoding: base64\r\n\r\n/w==\r\n"
     "--a b--\r\n"
     "?pilogue\r\n"},
    {"Nested",  // a boundary that begins with the outer one, and one that is cut off
     "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=a\r\n\r\n"
     "--a\r\nContent-Type: multipart/alternative; boundary=ab\r\n\r\n"
     "--ab\r\n\r\n\xc3\xa9\r\n--ab\r\nContent-Type: text/html\r\n\r\n\xc3\xa9\r\n--ab--\r\n"
     "--a\r\n\r\nend\r\n",
     "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=a\r\n\r\n"
     "--a\r\nContent-Type: multipart/alternative; boundary=ab\r\n\r\n"
     "--ab\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: "
     "quoted-printable\r\n\r\n=C3=A9\r\n"
     "--ab\r\nContent-Type: text/html\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n=C3=A9\r\n"
     "--ab--\r\n"
     "--a\r\n\r\nend\r\n"},
    {"MessageInMessage",
     "MIME-Version: 1.0\r\nContent-Type: message/rfc822\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
     "Subject: inner\r\n\r\n\xc3\xa9\r\n",
     "MIME-Version: 1.0\r\nContent-Type: message/rfc822\r\nContent-Transfer-Encoding: 7bit\r\n\r\n"
     "Subject: inner\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n"
     "Content-Transfer-Encoding: quoted-printable\r\n\r\n=C3=A9\r\n"},
    {"Digest",
     "MIME-Version: 1.0\r\nContent-Type: multipart/digest; boundary=d\r\n\r\n"
     "--d\r\n\r\nSubject: inner\r\n\r\n\xc3\xa9\r\n--d--\r\n",
     "MIME-Version: 1.0\r\nContent-Type: multipart/digest; boundary=d\r\n\r\n"
     "--d\r\n\r\nSubject: inner\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n"
     "Content-Transfer-Encoding: quoted-printable\r\n\r\n=C3=A9\r\n--d--\r\n"},
    {"GlobalMessageIsEncodedWhole",
     "MIME-Version: 1.0\r\nContent-Type: message/global\r\n\r\nSubject: \xc3\xa9\r\n\r\nx\r\n",
     "MIME-Version: 1.0\r\nContent-Type: message/global\r\nContent-Transfer-Encoding: "
     "quoted-printable\r\n\r\nSubject: =C3=A9\r\n\r\nx\r\n"},
    {"FoldedEncoding", "MIME-Version: 1.0\r\nContent-Transfer-Encoding:\r\n 8bit\r\nX: y\r\n\r\n\xe9\r\n",
     "MIME-Version: 1.0\r\nContent-Transfer-Encoding: quoted-printable\r\nX: y\r\n"
     "Content-Type: text/plain; charset=unknown-8bit\r\n\r\n=E9\r\n"},
};
INSTANTIATE_TEST_SUITE_P(Rfc2045, SevenBit, testing::ValuesIn(rows),
                         [](const auto& row) { return row.param.name; });

TEST(SevenBitRefusal, SaysWhatCannotBe) {  // SMTP-78
    EXPECT_EQ(error_of("Subject: \xc3\xa9\r\n\r\nx\r\n"), "header_not_ascii");
    EXPECT_EQ(error_of("MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=a\r\n\r\n--a\r\n"
                       "Content-Disposition: attachment; filename=\xc3\xa9\r\n\r\nx\r\n--a--\r\n"),
              "header_not_ascii");
    EXPECT_EQ(error_of("MIME-Version: 1.0\r\nContent-Type: multipart/signed; boundary=a\r\n\r\n--a\r\n"
                       "\r\n\xc3\xa9\r\n--a\r\n\r\nsignature\r\n--a--\r\n"),
              "signed_part");
    EXPECT_EQ(error_of("MIME-Version: 1.0\r\nContent-Transfer-Encoding: base64\r\n\r\nAA\xff\r\n"),
              "malformed");
    EXPECT_EQ(error_of("MIME-Version: 1.0\r\nContent-Transfer-Encoding: x-uue\r\n\r\nAA\xff\r\n"),
              "malformed");
    EXPECT_EQ(error_of("MIME-Version: 1.0\r\nContent-Type: multipart/mixed\r\n\r\n\xff\r\n"), "malformed");
    EXPECT_EQ(error_of("MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=a\r\n\r\n\xff\r\n"),
              "malformed");
    EXPECT_EQ(error_of("MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=a\r\n"
                       "Content-Transfer-Encoding: base64\r\n\r\n--a\r\n\r\n\xff\r\n--a--\r\n"),
              "malformed");
    EXPECT_EQ(error_of("MIME-Version: 1.0\r\nContent-Type: message/partial\r\n\r\n\xff\r\n"), "malformed");
}

TEST(SevenBitRefusal, BoundsDepthAndParts) {
    const auto nested = [](int depth) {
        std::string out;
        for (int i = 0; i < depth; ++i)
            out += "Content-Type: message/rfc822\r\nContent-Transfer-Encoding: 8bit\r\n\r\n";
        return out + "Subject: x\r\n\r\n\xc3\xa9\r\n";
    };
    EXPECT_EQ(error_of(nested(30)), "converted");
    EXPECT_EQ(error_of(nested(31)), "too_complex");
    const auto parts = [](int count) {
        std::string out = "Content-Type: multipart/mixed; boundary=a\r\n\r\n\xff\r\n";
        for (int i = 0; i < count; ++i) out += "--a\r\n\r\nx\r\n";
        return out + "--a--\r\n";
    };
    EXPECT_EQ(error_of(parts(9999)), "converted");
    EXPECT_EQ(error_of(parts(10'000)), "too_complex");
}

// What a reader makes of quoted-printable (RFC 2045 §6.7).
std::string decoded(std::string_view text) {
    std::string out;
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (text[i] != '=') {
            out += text[i];
        } else if (text.substr(i + 1).starts_with("\r\n")) {
            i += 2;
        } else {
            const auto octet = unhex(text.substr(i + 1, 2));
            EXPECT_TRUE(octet.has_value());
            out += static_cast<char>(octet->at(0));
            i += 2;
        }
    }
    return out;
}

TEST(QuotedPrintable, ComesBackFromAnything) {  // SMTP-78
    constexpr std::string_view octets[] = {"a",    " ", "\t",        "=",  "\xc3", "\xff",
                                           "\r\n", ".", "long word", "\r", "\n"};
    for (unsigned seed = 0; seed < 500; ++seed) {
        std::mt19937 chance(seed);
        std::string text;
        for (auto i = chance() % 300; i > 0; --i) text += octets[chance() % std::size(octets)];
        const std::string coded = quoted_printable(text);
        SCOPED_TRACE(coded);
        EXPECT_EQ(decoded(coded), text);
        EXPECT_TRUE(is_ascii(coded));
        std::string_view rest = coded;
        while (!rest.empty()) {
            const auto eol = rest.find("\r\n");
            const std::string_view line = rest.substr(0, eol);
            EXPECT_LE(line.size(), 76U);
            EXPECT_FALSE(line.ends_with(' ') || line.ends_with('\t'));
            rest.remove_prefix(eol == std::string_view::npos ? rest.size() : eol + 2);
        }
    }
}

TEST(Base64Lines, AreOf76) {
    EXPECT_EQ(base64_lines(""), "");
    EXPECT_EQ(base64_lines("\xff"), "/w==");
    EXPECT_EQ(base64_lines(std::string(57, '\0')), std::string(76, 'A'));
    EXPECT_EQ(base64_lines(std::string(58, '\0')), std::string(76, 'A') + "\r\nAA==");
}

TEST(SevenBitConversion, SurvivesAnything) {
    const std::string_view words[] = {"Content-Type: multipart/mixed; boundary=a\r\n",
                                      "Content-Type: multipart/digest; boundary=\"b\"\r\n",
                                      "Content-Type: message/rfc822\r\n",
                                      "Content-Type: text/plain; charset=\"\\",
                                      "Content-Type: image/png\r\n",
                                      "Content-Transfer-Encoding: 8bit\r\n",
                                      "Content-Transfer-Encoding: base64\r\n",
                                      "\r\n",
                                      "\r\n",
                                      "--a\r\n",
                                      "--a--\r\n",
                                      "--b\r\n",
                                      "--b--",
                                      "\xc3\xa9",
                                      "text ",
                                      "\r",
                                      "\n",
                                      "("};
    unsigned good = 0;
    for (unsigned seed = 0; seed < 20'000; ++seed) {
        std::mt19937 chance(seed);
        std::string text;
        for (auto i = chance() % 20; i > 0; --i) text += words[chance() % std::size(words)];
        const auto out = to_seven_bit(text);
        if (!out) continue;
        ++good;
        ASSERT_TRUE(is_ascii(*out)) << text;
        ASSERT_EQ(to_seven_bit(*out), *out) << text;
    }
    EXPECT_GT(good, 5000U);
}

}  // namespace
}  // namespace sternpost::mail
