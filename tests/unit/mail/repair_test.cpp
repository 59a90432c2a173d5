#include "mail/repair.h"

#include <gtest/gtest.h>

#include <string>

#include "mail/encoded_word.h"
#include "mail/header.h"
#include "mail/header_filter.h"
#include "mail/seven_bit.h"
#include "util/text.h"

namespace sternpost::mail {
namespace {

struct RepairRow {
    const char* name;
    std::string in;   // without the final CRLF
    std::string out;  // the same; empty: nothing changes
    const char* done = "none";
    bool utf8_address = false;
};

class RepairedField : public testing::TestWithParam<RepairRow> {};
TEST_P(RepairedField, IsSoundAndStaysSo) {
    const RepairRow& row = GetParam();
    Repairs repairs;
    const std::string out = repaired(row.in + "\r\n", "host.example", repairs);
    EXPECT_EQ(out, (row.out.empty() ? row.in : row.out) + "\r\n");
    EXPECT_EQ(repairs.text(), row.done);
    EXPECT_EQ(repairs.utf8_address, row.utf8_address);
    EXPECT_FALSE(has_long_line(out));
    Repairs again;
    EXPECT_EQ(repaired(out, "host.example", again), out);
    EXPECT_EQ(again.text(), "none");
    EXPECT_TRUE(row.out.empty() || !is_plainly_sound(row.in + "\r\n"));
}

// D-42; RFC 2047
const RepairRow encoded[] = {
    {"AsciiStays", "Subject: plain  text\r\n folded", ""},
    {"Subject", "Subject: Bestellung best\xc3\xa4tigt",
     "Subject: Bestellung =?UTF-8?B?YmVzdMOkdGlndA==?=", "encoded"},
    {"BlanksBetweenWordsThatAreEncoded", "Subject: \xc3\xa4  \xc3\xb6 x", "Subject: =?UTF-8?B?w6QgIMO2?= x",
     "encoded"},
    {"NextToAnEncodedWord", "Subject: =?UTF-8?Q?=C3=A4?= \xc3\xb6",
     "Subject: =?UTF-8?Q?=C3=A4?= =?UTF-8?B?IMO2?=", "encoded"},
    {"Latin1", "Subject: w\xf6rld", "Subject: =?UTF-8?B?d8O2cmxk?=", "encoded,latin1"},
    {"CutOffUtf8IsLatin1", "Subject: \xc3", "Subject: =?UTF-8?B?w4M=?=", "encoded,latin1"},
    {"Unknown", "X-Note:\xc3\xb6", "X-Note:=?UTF-8?B?w7Y=?=", "encoded"},
    {"DisplayName", "From: J\xc3\xb6rg M\xc3\xbcller <j@x.example>",
     "From: =?UTF-8?B?SsO2cmcgTcO8bGxlcg==?= <j@x.example>", "encoded"},
    {"OneWordOfADisplayName", "From: J\xc3\xb6rg Smith <j@x.example>",
     "From: =?UTF-8?B?SsO2cmc=?= Smith <j@x.example>", "encoded"},
    {"QuotedDisplayName", "From: \"M\xc3\xbcller, \\\"J\\\"\" <j@x.example>",
     "From: =?UTF-8?B?TcO8bGxlciwgIkoi?= <j@x.example>", "encoded"},
    {"NoBlankBeforeTheAddress", "From: \"\xc3\xb6\"<j@x.example>", "From: =?UTF-8?B?w7Y=?= <j@x.example>",
     "encoded"},
    {"AsciiQuotesStay", "From: \"a, b\" <j@x.example>", ""},
    {"Comment", "From: j@x.example (J\xc3\xb6rg Smith)", "From: j@x.example (=?UTF-8?B?SsO2cmc=?= Smith)",
     "encoded"},
    {"NestedComment", "From: j@x.example (a(\xc3\xb6)\\))", "From: j@x.example (a(=?UTF-8?B?w7Y=?=)\\))",
     "encoded"},
    {"GroupName", "To: Fr\xc3\xbcnde: a@x.example, \xc3\xb6 <b@x.example>;",
     "To: =?UTF-8?B?RnLDvG5kZQ==?=: a@x.example, =?UTF-8?B?w7Y=?= <b@x.example>;", "encoded"},
    {"DomainBecomesALabels",
     "To: <x@b\xc3\xbc"
     "cher.example>, y@b\xc3\xbc"
     "cher.example",
     "To: <x@xn--bcher-kva.example>, y@xn--bcher-kva.example", "encoded"},
    {"LocalPartStays",
     "To: <j\xc3\xb6rg@b\xc3\xbc"
     "cher.example>",
     "To: <j\xc3\xb6rg@xn--bcher-kva.example>", "encoded", true},
    {"DateComment", "Date: Mon, 23 Nov 2026 12:00:00 +0100 (m\xc3\xb6z)",
     "Date: Mon, 23 Nov 2026 12:00:00 +0100 (=?UTF-8?B?bcO2eg==?=)", "encoded"},
    {"MessageId", "Message-ID: <\xc3\xb6@x.example>", "Message-ID: <=C3=B6@x.example>", "encoded"},
    {"Parameter", "Content-Disposition: attachment; filename=\"\xc3\xb6 1.pdf\"; size=1",
     "Content-Disposition: attachment; filename*=utf-8''%C3%B6%201.pdf; size=1", "encoded"},
    {"WordsForNoAddressStandApart", "To: a!<\xc3\xb6 x><b@x.example>",
     "To: a! =?UTF-8?B?PMO2IHg+?= <b@x.example>", "encoded"},
    {"DisplayNameWithoutAddress", "To: J\xc3\xb6rg", "To: =?UTF-8?B?SsO2cmc=?=", "encoded"},
};
INSTANTIATE_TEST_SUITE_P(Encoded, RepairedField, testing::ValuesIn(encoded),
                         [](const auto& row) { return row.param.name; });

// D-43; RFC 6409 §8.1
const RepairRow qualified[] = {
    {"Cron", "From: root (Cron Daemon)", "From: root@host.example (Cron Daemon)", "qualified"},
    {"Bare", "To: root", "To: root@host.example", "qualified"},
    {"Angle", "Sender: Root User <root>", "Sender: Root User <root@host.example>", "qualified"},
    {"List", "Cc: a, b@x.example,\"c d\"", "Cc: a@host.example, b@x.example,\"c d\"@host.example",
     "qualified"},
    {"Group", "To: Ops: root, adm@x.example; , bob",
     "To: Ops: root@host.example, adm@x.example; , bob@host.example", "qualified"},
    {"EmptyGroup", "To: undisclosed-recipients:;", ""},
    {"Resent", "Resent-Reply-To: root", "Resent-Reply-To: root@host.example", "qualified"},
    {"NullPath", "From: <>", ""},
    {"WordsWithoutAddress", "From: Cron Daemon", ""},
    {"ControlInTheName", "To: ro\x01ot", ""},
    {"EncodedWordsWithoutAddress", "To: =?utf-8?q?J=C3=B6rg?= (c), b@x.example", ""},
    {"QualifiedWithBlanks", "To: a . b @ x.example (c)", ""},
    {"OtherFields", "Subject: root", ""},
    {"AtInTheName", "From: \"a@b\"", "From: \"a@b\"@host.example", "qualified"},
    {"Literal", "To: a@[192.0.2.1]", ""},
    {"Empty", "To:", ""},
};
INSTANTIATE_TEST_SUITE_P(Qualified, RepairedField, testing::ValuesIn(qualified),
                         [](const auto& row) { return row.param.name; });

TEST(RepairedField, IsSoundAtAGlance) {
    for (const char* sound :
         {"Subject: a, b; c", "To: a@x.example", "From: A B <a@x.example> ", "cc :\r\n <a@x.example>", "X:"})
        EXPECT_TRUE(is_plainly_sound(std::string(sound) + "\r\n")) << sound;
    for (const char* perhaps : {"To: a", "to : a", "To: a, b@x.example", "To: a <b>@x",
                                "To: =?utf-8?q?a?=<b@x.example>", "To: <b@x.example>c", "To: b@x.example>",
                                "To: \"a@b\"", "From: a (b@c)", "To: a@x@y", "Subject: \xc3\xb6"})
        EXPECT_FALSE(is_plainly_sound(std::string(perhaps) + "\r\n")) << perhaps;
    EXPECT_FALSE(is_plainly_sound("X: " + std::string(999, 'x') + "\r\n"));
}

TEST(RepairedField, HasShortLinesWhereItsGrammarAllowsIt) {  // D-22
    std::string many = "To: a0@x.example";
    for (int i = 1; i < 200; ++i) many += ",a" + std::to_string(i) + "@x.example";
    std::string ids = "References: ";
    for (int i = 0; i < 100; ++i) ids += "<" + std::to_string(i) + "@x.example>";
    for (const std::string& in :
         {many, ids, "Subject:" + std::string(5000, 'x'), "X-A: " + std::string(5000, ' ') + "b",
          "Subject: " + std::string(2000, '\xe4'), std::string(990, 'n') + ":vvvvvvvvvv"}) {
        Repairs repairs;
        const std::string out = repaired(in + "\r\n", "host.example", repairs);
        EXPECT_FALSE(has_long_line(out)) << in.substr(0, 40);
        EXPECT_TRUE(repairs.too_long.empty());
        EXPECT_TRUE(is_ascii(out));
        if (in == many) {
            EXPECT_EQ(addresses(out.substr(out.find(':') + 1)), addresses(in.substr(in.find(':') + 1)));
        }
        Repairs again;
        EXPECT_EQ(repaired(out, "host.example", again), out);
    }
    Repairs repairs;
    const std::string id = "Message-ID: <" + std::string(1500, 'x') + "@x.example>\r\n";
    repaired(id, "host.example", repairs);
    EXPECT_EQ(repairs.too_long, "Message-ID");
}

TEST(EncodedWords, HaveAtMost75OctetsAndWholeCharacters) {  // RFC 2047 §2, §5
    std::string text;
    for (int i = 0; i < 100; ++i) text += "\xe2\x82\xac";
    for (std::size_t shift = 0; shift < 4; ++shift) {
        const std::string words = encoded_words(std::string(shift, 'x') + text);
        std::string decoded;
        for (const auto word : split(words, ' ')) {
            EXPECT_LE(word.size(), 75U);
            const auto octets = unbase64(word.substr(10, word.size() - 12));
            ASSERT_TRUE(octets);
            EXPECT_TRUE(valid_utf8(*octets));
            decoded += *octets;
        }
        EXPECT_EQ(decoded, std::string(shift, 'x') + text);
    }
}

HeaderRules originate() {
    HeaderRules rules;
    rules.drop_private = rules.drop_mbox_line = rules.repair = true;
    rules.from = "w@x.example";
    rules.domain = "host.example";
    return rules;
}

struct FilterRow {
    const char* name;
    std::string_view in;
    std::string_view out;
};
class RepairedHeader : public testing::TestWithParam<FilterRow> {};
TEST_P(RepairedHeader, ComesOutTheSameHoweverItIsCut) {
    const auto& row = GetParam();
    for (std::size_t cut = 0; cut <= row.in.size(); ++cut) {
        HeaderFilter filter(originate());
        std::string out;
        filter.feed(row.in.substr(0, cut), out);
        filter.feed(row.in.substr(cut), out);
        filter.finish(out);
        ASSERT_EQ(out, row.out) << cut;
        EXPECT_FALSE(filter.eight_bit());
    }
}
INSTANTIATE_TEST_SUITE_P(
    Rfc6409, RepairedHeader,
    testing::Values(FilterRow{"MboxLine", "From bob Mon Nov 23\r\nFrom: a\r\n\r\nFrom x\r\n",  // CLI-13
                              "From: a@host.example\r\n\r\nFrom x\r\n"},
                    FilterRow{"QuotedMboxLine", ">From bob Mon\r\nFrom: a\r\n\r\n",
                              "From: a@host.example\r\n\r\n"},
                    FilterRow{"MboxLineAlone", "From bob\r\n", "From: w@x.example\r\n\r\n"},
                    FilterRow{"BlankBeforeTheColon", "From : a\r\n\r\n", "From : a@host.example\r\n\r\n"},
                    FilterRow{"MboxLineLater", "To: a\r\nFrom bob\r\n\r\n",
                              "To: a@host.example\r\nFrom: w@x.example\r\n\r\nFrom bob\r\n\r\n"},
                    FilterRow{"FoldedField", "From: a\r\n (\xc3\xb6)\r\nBcc: b\r\n\r\n\xc3\xb6\r\n",
                              "From: a@host.example (=?UTF-8?B?w7Y=?=)\r\n\r\n\xc3\xb6\r\n"},
                    FilterRow{"HeaderAlone", "From: a", "From: a@host.example\r\n\r\n"}),
    [](const auto& row) { return row.param.name; });

TEST(HeaderFilter, RefusesAFieldThatIsTooLongToBeRepaired) {
    HeaderFilter filter(originate());
    std::string out;
    filter.feed("X-Long:", out);
    for (int i = 0; i < 1000; ++i) filter.feed(std::string(1022, 'x') + "\r\n ", out);
    EXPECT_EQ(filter.too_long_field(), "");
    for (int i = 0; i < 30; ++i) filter.feed(std::string(1022, 'x') + "\r\n ", out);
    EXPECT_EQ(filter.too_long_field(), "x-long");
}

TEST(HeaderFilter, MeasuresTheLongestLineThatGoesOut) {
    for (const std::size_t n : {1U, 998U, 999U, 5000U}) {
        HeaderFilter filter;
        std::string out;
        filter.feed("Subject: x\r\n\r\n" + std::string(n, 'y'), out);
        EXPECT_EQ(filter.longest_line(), std::max<std::size_t>(n, 10));
        filter.feed("\r", out);
        filter.feed("\nz\r\n", out);
        EXPECT_EQ(filter.longest_line(), std::max<std::size_t>(n, 10));
    }
}

// D-22: what has a line of more than 998 octets.
struct LinesRow {
    const char* name;
    std::string in;
    std::string has;  // in what comes out; empty: refused
};
const std::string x2000 = std::string(2000, 'x');
class LongLines : public testing::TestWithParam<LinesRow> {};
TEST_P(LongLines, AreEncodedWhereMimeAllowsIt) {
    const auto& row = GetParam();
    const auto out = to_short_lines(row.in);
    ASSERT_EQ(out.has_value(), !row.has.empty());
    if (!out) return;
    EXPECT_FALSE(has_long_line(*out));
    EXPECT_NE(out->find(row.has), std::string::npos) << *out;
    EXPECT_EQ(to_short_lines(*out), *out);
}
const std::string multipart = "Content-Type: multipart/mixed; boundary=b\r\nMIME-Version: 1.0\r\n\r\n";
INSTANTIATE_TEST_SUITE_P(
    Rfc5322, LongLines,
    testing::Values(
        LinesRow{"NoMime", "Subject: s\r\n\r\n" + x2000 + "\r\n",
                 "Subject: s\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=us-ascii\r\n"
                 "Content-Transfer-Encoding: quoted-printable\r\n\r\nxxx"},
        LinesRow{
            "Html",
            "MIME-Version: 1.0\r\nContent-Type: text/html; charset=utf-8\r\n\r\n<p>\xc3\xb6" + x2000 + "\r\n",
            "Content-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: "
            "quoted-printable\r\n\r\n<p>=C3=B6"},
        LinesRow{"ShortStays", "Subject: s\r\n\r\nx", "Subject: s\r\n\r\nx"},
        LinesRow{"Pdf", "Content-Type: application/pdf\r\nContent-Transfer-Encoding: binary\r\n\r\n" + x2000,
                 "Content-Transfer-Encoding: base64\r\n"},
        LinesRow{"UnwrappedBase64", "Content-Transfer-Encoding: base64\r\n\r\n" + x2000 + "\r\n",
                 "base64\r\n\r\n" + std::string(76, 'x') + "\r\nx"},
        LinesRow{"UnwrappedQuotedPrintable",
                 "Content-Transfer-Encoding: quoted-printable\r\n\r\n" + std::string(74, 'y') + "=3D" +
                     x2000 + "\r\n",
                 "y=\r\n=3Dxxx"},
        LinesRow{"OnlyThePart",
                 multipart + "--b\r\n\r\nshort\r\n--b\r\nContent-Type: text/html\r\n\r\n" + x2000 +
                     "\r\n--b--\r\n",
                 "--b\r\n\r\nshort\r\n--b\r\nContent-Type: text/html\r\nContent-Transfer-Encoding: "
                 "quoted-printable\r\n\r\nxxx"},
        LinesRow{"MessageInside",
                 multipart + "--b\r\nContent-Type: message/rfc822\r\n\r\nSubject: in\r\n\r\n" + x2000 +
                     "\r\n--b--\r\n",
                 "Content-Type: message/rfc822\r\n\r\nSubject: in\r\nMIME-Version: 1.0\r\n"},
        LinesRow{"Signed",
                 "Content-Type: multipart/signed; boundary=b\r\n\r\n--b\r\n\r\n" + x2000 + "\r\n--b--\r\n",
                 ""},
        LinesRow{"Encrypted",
                 "Content-Type: multipart/encrypted; boundary=b\r\n\r\n--b\r\n\r\n" + x2000 + "\r\n--b--\r\n",
                 ""},
        LinesRow{"NoBoundary", "Content-Type: multipart/mixed\r\n\r\n" + x2000, ""},
        LinesRow{"UnknownEncoding", "Content-Transfer-Encoding: x-uuencode\r\n\r\n" + x2000, ""},
        LinesRow{"Preamble", multipart + x2000 + "\r\n--b\r\n\r\nshort\r\n--b--\r\n",
                 "--b\r\n\r\nshort\r\n--b--\r\n"}),
    [](const auto& row) { return row.param.name; });

}  // namespace
}  // namespace sternpost::mail
