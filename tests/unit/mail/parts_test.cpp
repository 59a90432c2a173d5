#include "mail/parts.h"

#include <gtest/gtest.h>

#include <ostream>
#include <string>
#include <vector>

namespace sternpost::mail {

bool operator==(const Part& a, const Part& b) {
    return a.type == b.type && a.file_name == b.file_name && a.octets == b.octets;
}

void PrintTo(const Part& part, std::ostream* out) {
    *out << part.type << " \"" << part.file_name << "\" \"" << part.octets << '"';
}

namespace {

const std::string two =
    "Content-Type: multipart/mixed; boundary=\"=_a b\"\r\n\r\npreamble\r\n--=_a b\r\n\r\none\r\n--=_a b \r\n"
    "Content-Type: TEXT/html\r\n\r\n<p>\r\n--=_a b--\r\n--=_a b\r\n\r\nepilogue\r\n";

struct PartsRow {
    std::string name;
    std::string message;
    std::vector<Part> parts;
};

void PrintTo(const PartsRow& row, std::ostream* out) {
    *out << row.name;
}

class Leaves : public testing::TestWithParam<PartsRow> {};

TEST_P(Leaves, AreFoundAndDecoded) {
    EXPECT_EQ(leaves(GetParam().message), GetParam().parts);
}

INSTANTIATE_TEST_SUITE_P(
    Parts, Leaves,
    testing::Values(
        PartsRow{"NoMultipart", "Subject: x\r\n\r\nhello\r\n", {{"text/plain", "", "hello\r\n"}}},
        PartsRow{"OnlyAHeader", "Subject: x\r\n", {{"text/plain", "", ""}}},
        PartsRow{"TwoParts", two, {{"text/plain", "", "one"}, {"text/html", "", "<p>"}}},
        PartsRow{"LinesThatEndWithLf",
                 "Content-Type: multipart/mixed; boundary=b\n\n--b\n\none\ntwo\n--b--\n",
                 {{"text/plain", "", "one\r\ntwo"}}},
        PartsRow{"AMultipartThatIsCutOff",
                 "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\none",
                 {{"text/plain", "", "one"}}},
        PartsRow{"AMultipartInside",
                 "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: multipart/related; "
                 "boundary=bb\r\n"
                 "\r\n--bb\r\n\r\none\r\n--bb--\r\n--b\r\n\r\ntwo\r\n--b--\r\n",
                 {{"text/plain", "", "one"}, {"text/plain", "", "two"}}},
        PartsRow{
            "AMessageInside",
            "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: message/rfc822\r\n\r\n"
            "Subject: y\r\nContent-Type: application/json\r\n\r\n{}\r\n--b--\r\n",
            {{"application/json", "", "{}"}}},
        PartsRow{"AMultipartWithoutABoundary",
                 "Content-Type: multipart/mixed\r\n\r\n--b\r\n",
                 {{"multipart/mixed", "", "--b\r\n"}}},
        PartsRow{"Base64WithWhatDoesNotBelongThere",
                 "Content-Transfer-Encoding: Base64 (as ever)\r\n\r\naGVs\r\n bG8!\r\n",
                 {{"text/plain", "", "hello"}}},
        PartsRow{"Base64ThatIsCutOff",
                 "Content-Transfer-Encoding: base64\r\n\r\naGVsbG8",
                 {{"text/plain", "", "hello"}}},
        PartsRow{"QuotedPrintable",
                 "Content-Transfer-Encoding: quoted-printable\r\n\r\na=3Db=3d=\r\nc = d=4",
                 {{"text/plain", "", "a=b=c = d=4"}}},
        PartsRow{"ANameOfTheType",
                 "Content-Type: application/gzip; name=\"a;b\\\".gz\"\r\n\r\n",
                 {{"application/gzip", "a;b\".gz", ""}}},
        PartsRow{"ANameOfTheDisposition",
                 "Content-Type: application/gzip; name=one.gz\r\nContent-Disposition: "
                 "attachment;\r\n\tFileName=two.gz\r\n\r\n",
                 {{"application/gzip", "two.gz", ""}}}),
    [](const auto& one) { return one.param.name; });

std::string nested(int deep) {
    std::string out;
    for (int i = 0; i < deep; ++i) out += "Content-Type: message/rfc822\r\n\r\n";
    return out + "\r\nhere";
}

TEST(Leaves, AreBoundedInDepthAndNumber) {
    EXPECT_EQ(leaves(nested(10)).size(), 1U);
    EXPECT_TRUE(leaves(nested(11)).empty());
    EXPECT_TRUE(leaves(nested(100'000)).empty());
    std::string many = "Content-Type: multipart/mixed; boundary=b\r\n\r\n";
    for (int i = 0; i < 1000; ++i) many += "--b\r\n\r\nx\r\n";
    EXPECT_EQ(leaves(many).size(), 200U);
}

}  // namespace
}  // namespace sternpost::mail
