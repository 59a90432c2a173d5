#include "smtp/data_reader.h"

#include <gtest/gtest.h>

#include <string>

namespace sternpost::smtp {
namespace {

struct Read {
    std::string message;
    std::string rest;  // what follows the end
    bool ended = false;
    bool bare = false;
    bool nul = false;
    bool operator==(const Read&) const = default;
};

// Feeds `stream` in pieces that end at each of `cuts`.
Read read(std::string_view stream, std::initializer_list<std::size_t> cuts) {
    DataReader reader;
    Read out;
    std::size_t from = 0;
    const auto feed = [&](std::size_t to) {
        std::string_view piece = stream.substr(from, to - from);
        if (!reader.ended()) piece.remove_prefix(reader.feed(piece, out.message));
        out.rest += piece;
        from = to;
    };
    for (const std::size_t cut : cuts) feed(cut);
    feed(stream.size());
    out.ended = reader.ended();
    out.bare = reader.bare_line_end();
    out.nul = reader.nul();
    return out;
}

TEST(LocalMailData, MayEndItsLinesWithLineFeedsAlone) {
    for (const std::string_view stream : {"a\n..b\n.\nQUIT\n", "a\r\n..b\r\n.\r\nQUIT\n"})
        for (std::size_t cut = 0; cut <= stream.size(); ++cut) {
            DataReader reader(DataReader::Lines::any);
            std::string message;
            std::size_t used = reader.feed(stream.substr(0, cut), message);
            if (!reader.ended()) used = cut + reader.feed(stream.substr(cut), message);
            EXPECT_TRUE(reader.ended()) << cut;
            EXPECT_EQ(message, "a\r\n.b\r\n") << cut;
            EXPECT_EQ(stream.substr(used), "QUIT\n") << cut;
        }
}

struct DataCase {
    const char* name;
    std::string_view stream;
    Read expected;
};

class MailData : public testing::TestWithParam<DataCase> {};

TEST_P(MailData, ReadsTheSameHoweverItIsCut) {
    const DataCase& c = GetParam();
    EXPECT_EQ(read(c.stream, {}), c.expected);
    for (std::size_t a = 0; a <= c.stream.size(); ++a)
        for (std::size_t b = a; b <= c.stream.size(); ++b) {
            SCOPED_TRACE(testing::Message() << a << " and " << b);
            ASSERT_EQ(read(c.stream, {a, b}), c.expected);
        }
    DataReader reader;
    std::string out;
    for (const char o : c.stream)
        if (!reader.ended()) reader.feed(std::string_view(&o, 1), out);
    EXPECT_EQ(out, c.expected.message);
}

using namespace std::string_view_literals;

const DataCase cases[] = {
    {"Empty", ".\r\n", {"", "", true}},
    {"OneLine", "a\r\n.\r\n", {"a\r\n", "", true}},
    {"CommandsFollow", "a\r\n.\r\nQUIT\r\n", {"a\r\n", "QUIT\r\n", true}},
    {"NotEndedYet", "a\r\n.\r", {"a\r\n", "", false}},
    // SMTP-63, RFC 5321 §4.5.2
    {"LeadingDotGoes", "..a\r\n.b\r\n...\r\n.\r\n", {".a\r\nb\r\n..\r\n", "", true}},
    {"DotsInsideStay", "a.\r\nb.c\r\n.\r\n", {"a.\r\nb.c\r\n", "", true}},
    // SMTP-77
    {"EightBits", "\xc3\xa9\xff\r\n.\r\n", {"\xc3\xa9\xff\r\n", "", true}},
    // SMTP-61, SMTP-62: the whole family of CVE-2023-51764, -51765, -51766; none of them ends the data, all
    // are bare
    {"LfDotLf", "a\n.\nb\r\n.\r\n", {"a\r\n.\r\nb\r\n", "", true, true}},
    {"LfDotCrlf", "a\n.\r\nb\r\n.\r\n", {"a\r\n.\r\nb\r\n", "", true, true}},
    {"CrlfDotLf", "a\r\n.\nb\r\n.\r\n", {"a\r\n\r\nb\r\n", "", true, true}},
    {"CrDotCr", "a\r.\rb\r\n.\r\n", {"a\r\n.\r\nb\r\n", "", true, true}},
    {"CrDotCrlf", "a\r.\r\nb\r\n.\r\n", {"a\r\n.\r\nb\r\n", "", true, true}},
    {"CrDotLf", "a\r.\nb\r\n.\r\n", {"a\r\n.\r\nb\r\n", "", true, true}},
    {"LfDotCr", "a\n.\rb\r\n.\r\n", {"a\r\n.\r\nb\r\n", "", true, true}},
    {"CrlfDotCr", "a\r\n.\rb\r\n.\r\n", {"a\r\n\r\nb\r\n", "", true, true}},
    {"CrCrlfDotCrCrlf", "a\r\r\n.\r\r\nb\r\n.\r\n", {"a\r\n\r\nb\r\n", "", true, true}},
    {"CrlfNulDotCrlf",
     "a\r\n\0.\r\nb\r\n.\r\n"sv,
     {std::string("a\r\n\0.\r\nb\r\n", 10), "", true, false, true}},
    {"CrlfDotNulCrlf",
     "a\r\n.\0\r\nb\r\n.\r\n"sv,
     {std::string("a\r\n\0\r\nb\r\n", 9), "", true, false, true}},
    {"DotCrAtTheStart", ".\rb\r\n.\r\n", {"\r\nb\r\n", "", true, true}},
    {"OnlyLfs", "a\n\n\n.\n\r\n.\r\n", {"a\r\n\r\n\r\n.\r\n\r\n", "", true, true}},
    {"CrAtTheEnd", "a\r\r\n.\r\n", {"a\r\n", "", true, true}},
    {"RunOfCrs", "a\r\r\r\nb\r\rc\r\n.\r\n", {"a\r\nb\r\n\r\nc\r\n", "", true, true}},
    {"NulAfterTheEndIsNotOurs", "a\r\n.\r\n\0"sv, {"a\r\n", std::string(1, '\0'), true}},
};
INSTANTIATE_TEST_SUITE_P(Rfc5321, MailData, testing::ValuesIn(cases),
                         [](const auto& row) { return row.param.name; });

}  // namespace
}  // namespace sternpost::smtp
