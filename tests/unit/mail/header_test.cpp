#include "mail/header.h"

#include <gtest/gtest.h>

namespace sternpost::mail {
namespace {

TEST(Header, IsCutIntoFieldsWithTheirFolds) {
    const std::string text = "Received: a\r\n\tb\r\nSubject: x\r\nreceived: c\r\n\r\nbody: no\r\n";
    const Header header = read_header(text);
    ASSERT_EQ(header.fields.size(), 3U);
    EXPECT_EQ(header.fields[0].whole, "Received: a\r\n\tb\r\n");
    EXPECT_EQ(unfolded(header.fields[0].value), "a\tb");
    EXPECT_EQ(header.count("RECEIVED"), 2U);
    EXPECT_TRUE(header.separated);
    EXPECT_EQ(text.substr(header.end), "body: no\r\n");
}

TEST(Header, EndsAtALineThatIsNoField) {
    const std::string text = "Subject: x\r\nhello there\r\n";
    const Header header = read_header(text);
    EXPECT_EQ(header.fields.size(), 1U);
    EXPECT_FALSE(header.separated);
    EXPECT_EQ(text.substr(header.end), "hello there\r\n");
}

TEST(Addresses, ComeOutOfEveryForm) {  // CLI-02, CLI-03
    using List = std::vector<std::string>;
    EXPECT_EQ(addresses("a@x"), (List{"a@x"}));
    EXPECT_EQ(addresses("A <a@x>, b@x"), (List{"a@x", "b@x"}));
    EXPECT_EQ(addresses("\"Doe, J.\" <j@x> (a, comment), b @ x . test"), (List{"j@x", "b@x.test"}));
    EXPECT_EQ(addresses("Team: a@x, B <b@y>;, c@z"), (List{"a@x", "b@y", "c@z"}));
    EXPECT_EQ(addresses("undisclosed-recipients:;"), (List{}));
    EXPECT_EQ(addresses("\"a b\"@x"), (List{"\"a b\"@x"}));
    EXPECT_EQ(addresses("root"), (List{"root"}));
    EXPECT_EQ(addresses("not an address"), std::nullopt);
    EXPECT_EQ(addresses("a@x (open"), std::nullopt);
}

TEST(Field, IsFoldedAtBlanks) {
    const std::string text = field("X-Long", "one two " + std::string(70, 'y') + " three");
    EXPECT_EQ(text, "X-Long: one two\r\n " + std::string(70, 'y') + " three\r\n");
}

}  // namespace
}  // namespace sternpost::mail
