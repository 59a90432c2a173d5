#include "queue/shares.h"

#include <gtest/gtest.h>

#include <vector>

namespace sternpost::queue {
namespace {

Slot slot_of(const std::string& sender, const std::string& owner = "") {
    return {"d.test", sender, owner.empty() ? sender + ".test" : owner};
}

constexpr Shares::Waiting nobody{false, false};
constexpr Shares::Waiting others{true, true};

unsigned begin_all(Shares& shares, const Slot& slot, Shares::Waiting waiting) {
    unsigned begun = 0;
    for (; shares.may_begin(slot, waiting); ++begun) shares.begin(slot);
    return begun;
}

TEST(Shares, LeaveAReserveWhenOneSenderIsAlone) {
    Shares shares(500);
    EXPECT_EQ(begin_all(shares, slot_of("bulk"), nobody), 450U);
    EXPECT_EQ(begin_all(shares, slot_of("alice"), others), 50U);
    EXPECT_TRUE(shares.full());
}

TEST(Shares, GiveNobodyMoreThanHalfWhileOthersWait) {
    Shares shares(500);
    EXPECT_EQ(begin_all(shares, slot_of("bulk"), others), 250U);
    EXPECT_EQ(begin_all(shares, slot_of("alice"), others), 250U);
    shares.end(slot_of("bulk"));
    EXPECT_FALSE(shares.may_begin(slot_of("alice"), others));
    EXPECT_TRUE(shares.may_begin(slot_of("bob"), others));
}

TEST(Shares, GiveOneOwnerOfNextHopsNoMoreThanHalfWhileMailForOthersWaits) {
    Shares shares(10);
    EXPECT_EQ(begin_all(shares, slot_of("alice", "slow.test"), others), 5U);
    EXPECT_FALSE(shares.may_begin(slot_of("bob", "slow.test"), others)) << "whoever sends it";
    EXPECT_TRUE(shares.may_begin(slot_of("bob", "good.test"), others));
    EXPECT_FALSE(shares.may_begin(slot_of("alice", "good.test"), others));
    EXPECT_EQ(begin_all(shares, slot_of("bob", "slow.test"), {true, false}), 4U)
        << "none but the reserve is left";
}

TEST(Shares, ReturnWhatASenderHadBeyondHalfToOthers) {
    Shares shares(10);
    EXPECT_EQ(begin_all(shares, slot_of("bulk"), nobody), 9U);
    for (int i = 0; i < 5; ++i) {
        EXPECT_FALSE(shares.may_begin(slot_of("bulk"), others));
        shares.end(slot_of("bulk"));
    }
    EXPECT_TRUE(shares.may_begin(slot_of("bulk"), others)) << "4 of 10 are its own now";
}

TEST(Shares, WorkWithOneConnection) {
    Shares shares(1);
    EXPECT_EQ(begin_all(shares, slot_of("a"), others), 1U);
    EXPECT_FALSE(shares.may_begin(slot_of("b"), others));
    shares.end(slot_of("a"));
    EXPECT_EQ(begin_all(shares, slot_of("b"), nobody), 1U);
    EXPECT_EQ(shares.in_use(), 1U);
}

bool stalls(Shares& shares, Slot& slot) {
    shares.stall(slot);
    return slot.stalled;
}

TEST(Shares, TakeAStalledConnectionsPlaceBackWhileTheSecondPoolHasRoom) {
    Shares shares(20);
    EXPECT_EQ(begin_all(shares, slot_of("bulk"), others), 10U);
    EXPECT_EQ(begin_all(shares, slot_of("alice"), others), 10U);
    EXPECT_FALSE(shares.may_begin(slot_of("bob"), others));
    std::vector<Slot> bulk(3, slot_of("bulk"));
    std::vector<Slot> alice(3, slot_of("alice"));
    EXPECT_TRUE(stalls(shares, bulk[0]));
    EXPECT_TRUE(stalls(shares, bulk[1]));
    EXPECT_FALSE(stalls(shares, bulk[2])) << "half of the second pool, which has four places";
    EXPECT_TRUE(stalls(shares, alice[0]));
    EXPECT_TRUE(stalls(shares, alice[1]));
    EXPECT_FALSE(stalls(shares, alice[2]));
    EXPECT_EQ(begin_all(shares, slot_of("bob"), others), 4U);
    EXPECT_EQ(shares.in_use(), 24U);
    shares.end(bulk[0]);
    EXPECT_EQ(shares.in_use(), 23U);
    EXPECT_TRUE(shares.full());
    EXPECT_TRUE(stalls(shares, bulk[2])) << "there is room again";
}

TEST(Shares, GiveOneOwnerHalfOfTheSecondPool) {
    Shares shares(20);
    std::vector<Slot> slots;
    for (const char* sender : {"a", "b", "c", "d"}) slots.push_back(slot_of(sender, "slow.test"));
    for (const Slot& slot : slots) shares.begin(slot);
    EXPECT_TRUE(stalls(shares, slots[0]));
    EXPECT_TRUE(stalls(shares, slots[1]));
    EXPECT_FALSE(stalls(shares, slots[2]));
    shares.resume(slots[0]);
    EXPECT_TRUE(stalls(shares, slots[3]));
}

TEST(Shares, CountAConnectionThatGoesOnWhereItWas) {
    Shares shares(10);
    EXPECT_EQ(begin_all(shares, slot_of("bulk"), nobody), 9U);
    Slot slot = slot_of("bulk");
    ASSERT_TRUE(stalls(shares, slot));
    EXPECT_EQ(begin_all(shares, slot_of("alice"), others), 2U);
    shares.resume(slot);
    EXPECT_FALSE(slot.stalled);
    EXPECT_EQ(shares.in_use(), 11U);
    EXPECT_TRUE(shares.full());
    shares.end(slot_of("alice"));
    EXPECT_TRUE(shares.full()) << "one more than there may be has ended";
    shares.end(slot_of("alice"));
    EXPECT_FALSE(shares.full());
    EXPECT_TRUE(stalls(shares, slot)) << "it has left the second pool";
}

}  // namespace
}  // namespace sternpost::queue
