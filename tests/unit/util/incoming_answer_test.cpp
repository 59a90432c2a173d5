// What may come in over one HTTPS connection.
#include "util/incoming_answer.h"

#include <gtest/gtest.h>

namespace sternpost::util {
namespace {

TEST(IncomingAnswer, CountsEveryOctetWhateverItIsPartOf) {  // D-46
    IncomingAnswer answer(1000);
    const std::uint64_t budget = IncomingAnswer::budget_of(1000);
    EXPECT_EQ(budget, 1000U + 250U + 65536U);
    for (std::uint64_t i = 0; i + 100 <= budget; i += 100) ASSERT_TRUE(answer.received(100)) << i;
    EXPECT_FALSE(answer.too_big());
    EXPECT_FALSE(answer.received(100));
    EXPECT_TRUE(answer.too_big());
    EXPECT_FALSE(answer.received(1)) << "it stays so";
    EXPECT_NE(answer.excess().find(std::to_string(budget)), std::string::npos);
}

TEST(IncomingAnswer, TakesABodyOfJustTheLimit) {
    IncomingAnswer answer(10);
    EXPECT_TRUE(answer.body_piece("12345"));
    EXPECT_TRUE(answer.body_piece("67890"));
    EXPECT_FALSE(answer.too_big());
    EXPECT_FALSE(answer.body_piece("x"));
    EXPECT_TRUE(answer.too_big());
    EXPECT_NE(answer.excess().find("the body is larger than 10 octets"), std::string::npos);
    EXPECT_EQ(answer.body_size(), 10U);
}

TEST(IncomingAnswer, NoSizeWraps) {
    IncomingAnswer answer(10);
    EXPECT_TRUE(answer.received(1));
    EXPECT_FALSE(answer.received(SIZE_MAX));
    EXPECT_TRUE(answer.too_big());
}

TEST(IncomingAnswer, ReadsTheContentTypeOfTheLastAnswer) {
    IncomingAnswer answer(10);
    answer.header_line("HTTP/1.1 100 Continue\r\n");
    answer.header_line("Content-Type: text/html\r\n");
    answer.header_line("HTTP/1.1 200 OK\r\n");
    EXPECT_FALSE(answer.content_type());
    answer.header_line("cOnTeNt-type: \t text/plain; charset=utf-8 \r\n");
    answer.header_line("Content-Length: 3\r\n");
    EXPECT_EQ(answer.content_type(), "text/plain; charset=utf-8");
    answer.header_line("Content-Type: " + std::string(100'000, 'x') + "\r\n");
    EXPECT_LE(answer.content_type()->size(), 256U);
}

}  // namespace
}  // namespace sternpost::util
