#include "queue/fair.h"

#include <gtest/gtest.h>

#include "store/fair_order.h"

namespace sternpost::queue {
namespace {

const FairQueue::Place ann{"ann", true};
const FairQueue::Place bob{"bob", true};
const FairQueue::Place notices{"", false};

std::vector<std::uint64_t> all(FairQueue queue) {
    std::vector<std::uint64_t> out;
    while (!queue.empty()) out.push_back(queue.pop().value);
    return out;
}

TEST(FairQueue, SendersTakeTurnsInTheOrderOfTheirOwnMail) {
    FairQueue queue;
    for (const std::uint64_t id : {1U, 2U, 3U, 4U}) queue.push_back(ann, {id});
    for (const std::uint64_t id : {5U, 6U}) queue.push_back(bob, {id});
    EXPECT_EQ(queue.size(), 6U);
    EXPECT_EQ(queue.next_sender(), "ann");
    EXPECT_EQ(all(queue), (std::vector<std::uint64_t>{1, 5, 2, 6, 3, 4}));
}

TEST(FairQueue, PassesTheTurnToTheFirstWhoMayHaveIt) {
    FairQueue queue;
    for (const std::uint64_t id : {1U, 2U}) queue.push_back(ann, {id});
    for (const std::uint64_t id : {3U, 4U}) queue.push_back(bob, {id});
    EXPECT_FALSE(queue.pass_turn_to([](const std::string& sender) { return sender == "carol"; }));
    EXPECT_EQ(queue.next_sender(), "ann");
    EXPECT_TRUE(queue.pass_turn_to([](const std::string& sender) { return sender != "ann"; }));
    EXPECT_EQ(all(queue), (std::vector<std::uint64_t>{3, 1, 4, 2}));
}

TEST(FairQueue, WhatIsPutInFrontIsNext) {
    FairQueue queue;
    queue.push_back(ann, {1});
    queue.push_back(bob, {2});
    queue.push_front(bob, {3});
    EXPECT_EQ(all(queue), (std::vector<std::uint64_t>{3, 1, 2}));
}

TEST(FairQueue, NoticesHaveOnePlaceInNine) {
    FairQueue queue;
    for (std::uint64_t id = 1; id <= 20; ++id) queue.push_back(ann, {id});
    for (std::uint64_t id = 101; id <= 103; ++id) queue.push_back(notices, {id});
    const auto order = all(queue);
    EXPECT_EQ(order[8], 101U);
    EXPECT_EQ(order[17], 102U);
    EXPECT_EQ(order.back(), 103U);
    EXPECT_EQ(order.size(), 23U);
}

TEST(FairQueue, ForgetsWhatIsErased) {
    FairQueue queue;
    for (const std::uint64_t id : {1U, 2U, 3U}) queue.push_back(ann, {id});
    queue.push_back(bob, {4});
    queue.erase_if([](store::MessageId id) { return id.value != 2; });
    EXPECT_EQ(queue.size(), 1U);
    EXPECT_EQ(queue.ids(), std::vector<store::MessageId>{{2}});
    EXPECT_EQ(queue.next_sender(), "ann");
    EXPECT_EQ(all(queue), std::vector<std::uint64_t>{2});
    queue.erase_if([](store::MessageId) { return true; });
    EXPECT_TRUE(queue.empty());
    queue.push_back(bob, {5});
    EXPECT_EQ(all(queue), std::vector<std::uint64_t>{5});
}

TEST(Sender, IsTheClientOrTheLocalUser) {
    store::StoredMessage message;
    EXPECT_EQ(store::sender_of(message.origin, message.message_class), "local");
    message.origin.uid = 33;
    EXPECT_EQ(store::sender_of(message.origin, message.message_class), "uid 33");
    message.origin.address = "2001:db8::1";
    EXPECT_EQ(store::sender_of(message.origin, message.message_class), "2001:db8::/64");
    message.message_class = store::MessageClass::notice;
    EXPECT_EQ(store::sender_of(message.origin, message.message_class), "");
}

}  // namespace
}  // namespace sternpost::queue
