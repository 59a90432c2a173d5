#include "tlsrpt/record.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace sternpost::tlsrpt {
namespace {

// Where a destination leads, as one text.
std::string place_of(const Destination& destination) {
    if (const auto* mailbox = std::get_if<mail::Mailbox>(&destination.place)) return mailbox->text();
    const auto& https = std::get<HttpsPlace>(destination.place);
    return https.host.text() + ":" + std::to_string(https.port) + https.path;
}

struct Case {
    const char* name;  // ends with the obligation that it shows
    std::vector<std::string> texts;
    std::vector<std::string> places;  // of the record; empty: none, or bad_record
    bool bad = false;
    std::size_t passed_over = 0;
};
class TlsrptRecord : public testing::TestWithParam<Case> {};

TEST_P(TlsrptRecord, IsReadAsRfc8460Section3Says) {
    const Case& c = GetParam();
    const auto record = parse_record(c.texts);
    if (c.bad) {
        ASSERT_FALSE(record);
        EXPECT_EQ(record.error().code, Errc::bad_record);
        return;
    }
    ASSERT_TRUE(record) << record.error().text;
    std::vector<std::string> places;
    std::size_t passed_over = 0;
    if (*record) {
        for (const auto& destination : (*record)->destinations) places.push_back(place_of(destination));
        passed_over = (*record)->passed_over.size();
    }
    EXPECT_EQ(places, c.places);
    EXPECT_EQ(passed_over, c.passed_over);
}

const Case cases[] = {
    {"Plain", {"v=TLSRPTv1; rua=mailto:a@x.test"}, {"a@x.test"}},
    {"None_RPT02", {"v=spf1 -all"}, {}},
    {"VersionInAnotherCase_RPT02", {"v=tlsrptv1; rua=mailto:a@x.test"}, {}},
    {"LongerVersion_RPT02", {"v=TLSRPTv12; rua=mailto:a@x.test"}, {}},
    {"WithoutADelimiter_RPT02", {"v=TLSRPTv1 rua=mailto:a@x.test"}, {}},
    {"Two_RPT02", {"v=TLSRPTv1; rua=mailto:a@x.test", "v=TLSRPTv1; rua=mailto:b@x.test"}, {}, true},
    {"BesideAnother_RPT02", {"hello", "v=TLSRPTv1; rua=mailto:a@x.test"}, {"a@x.test"}},
    {"NoRua_RPT04", {"v=TLSRPTv1;"}, {}, true},
    {"EmptyRua_RPT04", {"v=TLSRPTv1; rua="}, {}, true},
    {"BlanksAndFurtherFields_RPT04",
     {"v=TLSRPTv1 ;  foo=1; rua=mailto:a@x.test , https://x.test/t ;"},
     {"a@x.test", "x.test:443/t"}},
    {"FirstRuaCounts", {"v=TLSRPTv1; rua=mailto:a@x.test; rua=mailto:b@x.test"}, {"a@x.test"}},
    {"EncodedComma_RPT05", {"v=TLSRPTv1; rua=mailto:a%2Cb@x.test"}, {"\"a,b\"@x.test"}},
    {"EncodedSemicolon_RPT05", {"v=TLSRPTv1; rua=https://x.test/t%3Ba%21"}, {"x.test:443/t%3Ba%21"}},
    {"BrokenEncoding_RPT05", {"v=TLSRPTv1; rua=mailto:a%2@x.test"}, {}, true},
    {"EncodingCutOff_RPT05",
     {"v=TLSRPTv1; rua=mailto:a@x.test%,mailto:a@x.test%7,mailto:a@x.tes%74"},
     {"a@x.test"},
     false,
     2},
    {"OtherSchemes_RPT06", {"v=TLSRPTv1; rua=http://x.test/,mailto:a@x.test"}, {"a@x.test"}, false, 1},
    {"OnlyOtherSchemes_RPT06", {"v=TLSRPTv1; rua=ftp://x.test/"}, {}, true},
    {"SchemesInCapitals", {"v=TLSRPTv1; rua=MAILTO:a@x.test,HTTPS://X.test"}, {"a@x.test", "x.test:443/"}},
    {"TwiceTheSame", {"v=TLSRPTv1; rua=mailto:a@x.test,mailto:a@x.test"}, {"a@x.test"}},
    {"HeaderFieldsOfAMailto", {"v=TLSRPTv1; rua=mailto:a@x.test?subject=tls"}, {"a@x.test"}},
    {"PortAndQuery", {"v=TLSRPTv1; rua=https://x.test:8443?k=v#f"}, {"x.test:8443/?k=v"}},
    {"PortZero", {"v=TLSRPTv1; rua=https://x.test:0/,mailto:a@x.test"}, {"a@x.test"}, false, 1},
    {"HighestPort",
     {"v=TLSRPTv1; rua=https://x.test:65535/,https://x.test:65536/"},
     {"x.test:65535/"},
     false,
     1},
    {"UserInAUri", {"v=TLSRPTv1; rua=https://u:p@x.test/,mailto:a@x.test"}, {"a@x.test"}, false, 1},
    {"AddressesAreNoHosts",
     {"v=TLSRPTv1; rua=https://192.0.2.1/,https://[::1]/,https://localhost/,mailto:a@x.test"},
     {"a@x.test"},
     false,
     3},
    {"LiteralsAreNoDomains",
     {"v=TLSRPTv1; rua=mailto:x@[10.99.0.3],mailto:x@[IPv6:::1],mailto:x@%5B127.0.0.1%5D,mailto:a@x.test"},
     {"a@x.test"},
     false,
     3},
    {"ControlCharactersInAUri",
     {"v=TLSRPTv1; rua=https://x.test/a\r\nb,mailto:a@x.test"},
     {"a@x.test"},
     false,
     1},
};

INSTANTIATE_TEST_SUITE_P(Rows, TlsrptRecord, testing::ValuesIn(cases),
                         [](const auto& row) { return std::string(row.param.name); });

// What an owner is told of a record that senders read otherwise than it was meant.
TEST(TlsrptRecordProblems, AreNamed) {
    const std::pair<const char*, const char*> rows[] = {
        {"v=TLSRPTv1; rua=mailto:a@x.test; rua=mailto:b@x.test", "more than once"},
        {"v=TLSRPTv1; rua=mailto:a@x.test\t", "ends with a blank"},
        {"v=TLSRPTv1; rua=mailto:a@x.test ", "ends with a blank"},
        {"v=TLSRPTv1; rua = mailto:a@x.test", "a blank stands before the `=`"},
        {"v=TLSRPTv1; RUA=mailto:a@x.test", "must be in small letters: `rua`"},
        {"v=TLSRPTv1 ; rua=mailto:a@x.test", "blanks before the first `;`"},
        {"v=tlsrptv1; rua=mailto:a@x.test", "in just these letters"},
        {"v=TLSRPTv1; rua=https://x.test:8443/t", "a port other than 443 is not used"},
    };
    for (const auto& [record, problem] : rows) {
        const auto problems = problems_of("_smtp._tls.d.test", {record}, false);
        EXPECT_TRUE(std::any_of(problems.begin(), problems.end(), [&, p = problem](const auto& one) {
            return one.find(p) != std::string::npos;
        })) << record;
    }
    EXPECT_TRUE(problems_of("_smtp._tls.d.test", {"v=TLSRPTv1; rua=mailto:a@x.test"}, false).empty());
}

TEST(TlsrptRecordProblems, OfAnotherPortAreThoseOfWhoSends) {
    const std::vector<std::string> texts{"v=TLSRPTv1; rua=https://x.test:8443/t,mailto:a@x.test"};
    EXPECT_EQ(parse_record(texts, true).value()->destinations.size(), 2U);
    EXPECT_EQ(parse_record(texts, false).value()->destinations.size(), 1U);
    EXPECT_TRUE(problems_of("n", texts, true).empty());
    EXPECT_EQ(problems_of("n", texts, false).size(), 1U);
}

TEST(TlsrptPlace, HasAUriOf2048Octets) {
    const std::string begin = "https://x.test/";
    EXPECT_TRUE(Destination::parse(begin + std::string(2048 - begin.size(), 'x')));
    EXPECT_FALSE(Destination::parse(begin + std::string(2049 - begin.size(), 'x')));
}

}  // namespace
}  // namespace sternpost::tlsrpt
