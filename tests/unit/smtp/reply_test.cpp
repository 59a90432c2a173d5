#include "smtp/reply.h"

#include <gtest/gtest.h>

#include "smtp/extensions.h"

namespace sternpost::smtp {
namespace {

struct ReplyCase {
    const char* name;
    std::string_view wire;
    int code;
    std::vector<std::string> lines;
};
class WellFormedReply : public testing::TestWithParam<ReplyCase> {};
TEST_P(WellFormedReply, ReadsTheSameHoweverItIsCut) {  // SMTP-08
    const ReplyCase& c = GetParam();
    for (std::size_t cut = 0; cut < c.wire.size(); ++cut) {
        SCOPED_TRACE(cut);
        ReplyParser parser;
        parser.feed(c.wire.substr(0, cut));
        ASSERT_EQ(parser.next().value(), std::nullopt);
        parser.feed(c.wire.substr(cut));
        EXPECT_EQ(parser.next().value(), (Reply{c.code, c.lines}));
        EXPECT_TRUE(parser.empty());
    }
}

const ReplyCase well_formed[] = {
    {"OneLine", "250 OK\r\n", 250, {"OK"}},
    {"CodeAlone", "354\r\n", 354, {""}},
    {"ManyLines", "250-mx.example\r\n250 STARTTLS\r\n", 250, {"mx.example", "STARTTLS"}},
    {"CodeAloneEndsMany", "250-a\r\n250\r\n", 250, {"a", ""}},
    {"BareLf", "220 hello\n", 220, {"hello"}},
    {"UnknownCode", "299 ?\r\n", 299, {"?"}},
};
INSTANTIATE_TEST_SUITE_P(Rfc5321, WellFormedReply, testing::ValuesIn(well_formed),
                         [](const auto& row) { return row.param.name; });

TEST(MalformedReply, EndsTheConnection) {
    for (const char* wire : {"250-a\r\n251 b\r\n", "hello\r\n", "25 x\r\n", "2500 x\r\n", "099 x\r\n",
                             "HTTP/1.1 400\r\n", "\r\n\r\n\r\n\r\n\r\n\r\n250 x\r\n"}) {
        ReplyParser parser;
        parser.feed(wire);
        const auto reply = parser.next();
        ASSERT_FALSE(reply) << wire;
        EXPECT_EQ(reply.error().code, Errc::reply_malformed) << wire;
    }
}

TEST(EmptyLines, BeforeAReplyArePassedOver) {  // D-50
    ReplyParser parser;
    parser.feed("\r\n\r\n\r\n\r\n\r\n250 x\r\n");
    const auto reply = parser.next();
    ASSERT_TRUE(reply);
    ASSERT_TRUE(*reply);
    EXPECT_EQ((*reply)->code, 250);
}

TEST(EndlessReply, IsCutOff) {
    ReplyParser line;
    line.feed("250 " + std::string(70000, 'x'));
    EXPECT_EQ(line.next().error().code, Errc::reply_too_long);
    ReplyParser lines;
    for (int i = 0; i < 101; ++i) lines.feed("250-x\r\n");
    EXPECT_EQ(lines.next().error().code, Errc::reply_too_long);
}

TEST(EnhancedCode, CountsOnlyIfItFitsTheReply) {  // SMTP-106
    EXPECT_EQ((Reply{550, {"5.1.1 no"}}).enhanced(), "5.1.1");
    EXPECT_EQ((Reply{550, {"no"}}).enhanced(), "");
    EXPECT_EQ((Reply{550, {"2.1.5 no"}}).enhanced(), "");
    EXPECT_EQ((Reply{550, {"5.01.1 no"}}).enhanced(), "");
    EXPECT_EQ((Reply{550, {"5.1 no"}}).enhanced(), "");
}

TEST(Extensions, MatchWholeKeywordsWhateverTheirCase) {  // TLS-15
    const auto parse = [](std::vector<std::string> lines) {
        lines.insert(lines.begin(), "mx.example greets");
        return Extensions::parse(Reply{250, std::move(lines)});
    };
    EXPECT_TRUE(parse({"starttls"}).starttls);
    EXPECT_FALSE(parse({"STARTTLS foo"}).starttls);
    EXPECT_FALSE(parse({"XXXXXXXX"}).starttls);
    EXPECT_FALSE(parse({"XSTARTTLS"}).starttls);
    EXPECT_EQ(parse({"SIZE 1000"}).size_limit, 1000U);
    EXPECT_TRUE(parse({"SIZE"}).size);
    EXPECT_EQ(parse({"SIZE many"}).size_limit, 0U);
    EXPECT_FALSE(Extensions::parse(Reply{250, {"STARTTLS"}}).starttls) << "the first line is a name";
}

}  // namespace
}  // namespace sternpost::smtp
