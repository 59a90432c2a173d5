#include "queue/shares.h"

#include <gtest/gtest.h>

namespace sternpost::queue {
namespace {

unsigned begin_all(Shares& shares, const std::string& sender, bool others_wait) {
    unsigned begun = 0;
    for (; shares.may_begin(sender, others_wait); ++begun) shares.begin(sender);
    return begun;
}

TEST(Shares, LeaveAReserveWhenOneSenderIsAlone) {
    Shares shares(500);
    EXPECT_EQ(begin_all(shares, "bulk", false), 450U);
    EXPECT_EQ(begin_all(shares, "alice", true), 50U);
    EXPECT_TRUE(shares.full());
}

TEST(Shares, GiveNobodyMoreThanHalfWhileOthersWait) {
    Shares shares(500);
    EXPECT_EQ(begin_all(shares, "bulk", true), 250U);
    EXPECT_EQ(begin_all(shares, "alice", true), 250U);
    shares.end("bulk");
    EXPECT_FALSE(shares.may_begin("alice", true));
    EXPECT_TRUE(shares.may_begin("bob", true));
}

TEST(Shares, ReturnWhatASenderHadBeyondHalfToOthers) {
    Shares shares(10);
    EXPECT_EQ(begin_all(shares, "bulk", false), 9U);
    for (int i = 0; i < 5; ++i) {
        EXPECT_FALSE(shares.may_begin("bulk", true));
        shares.end("bulk");
    }
    EXPECT_TRUE(shares.may_begin("bulk", true)) << "4 of 10 are its own now";
}

TEST(Shares, WorkWithOneConnection) {
    Shares shares(1);
    EXPECT_EQ(begin_all(shares, "a", true), 1U);
    EXPECT_FALSE(shares.may_begin("b", true));
    shares.end("a");
    EXPECT_EQ(begin_all(shares, "b", false), 1U);
    EXPECT_EQ(shares.in_use(), 1U);
}

}  // namespace
}  // namespace sternpost::queue
