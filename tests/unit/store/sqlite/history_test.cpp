// The files of history by themselves: whatever the journal is read again in, each of its records counts once.
#include "store/sqlite/history.h"

#include <gtest/gtest.h>

#include "fake/disk_vfs.h"
#include "fake/sim_disk.h"
#include "unit/store/store_testing.h"

namespace sternpost::store::sqlite {
namespace {

constexpr const char* history_vfs = "history-test";

class HistoryOfAMessage : public ::testing::Test {
  protected:
    JournalEntry accepted() const { return {10, {}, Accepted{message_}}; }
    JournalEntry result(std::uint64_t sequence, RecipientState state, WallTime at) const {
        DeliveryResult value;
        value.message = message_.id;
        value.state = state;
        value.at = at;
        return {sequence, {}, value};
    }
    void apply(const std::vector<JournalEntry>& entries) {
        const auto done = files_.apply(entries, clock_.now);
        ASSERT_TRUE(done) << done.error().text;
    }
    std::vector<std::uint64_t> sequences() const {
        HistoryFilter filter;
        filter.id = message_.id.text();
        const auto history = read_history(place_, filter).value();
        EXPECT_EQ(history.messages.size(), 1U);
        std::vector<std::uint64_t> out;
        for (const auto& entry : history.entries) out.push_back(entry.sequence);
        return out;
    }

    fake::SimDisk disk_;
    testing::FixedClock clock_;
    testing::SeededRandom random_{1};
    fake::DiskVfs vfs_{history_vfs, disk_, clock_, random_};
    const HistoryPlace place_ = HistoryPlace::beside(disk_, {"queue.db", history_vfs});
    HistoryFiles files_{place_, std::chrono::days(14)};
    const NewMessage message_ = [this] {
        auto message = testing::message_to(7, {"bob@example.com"}, "x");
        message.arrived = clock_.now;
        return message;
    }();
    const WallTime now_ = clock_.now;
};

TEST_F(HistoryOfAMessage, CountsEachRecordOnceHoweverOftenItIsRead) {
    const std::vector<JournalEntry> all{accepted(), result(11, RecipientState::queued, now_),
                                        result(12, RecipientState::sent, now_)};
    apply(all);
    apply(all);
    for (const auto& one : all) apply({one});
    EXPECT_EQ(sequences(), (std::vector<std::uint64_t>{11, 12}));
}

TEST_F(HistoryOfAMessage, TakesWhatItsRowLacks) {
    apply({accepted()});
    apply({accepted(), result(11, RecipientState::sent, now_)});
    EXPECT_EQ(sequences(), std::vector<std::uint64_t>{11});
}

TEST_F(HistoryOfAMessage, KeepsWhatTheJournalHasNoMore) {
    apply({accepted(), result(11, RecipientState::sent, now_)});
    apply({accepted()});
    EXPECT_EQ(sequences(), std::vector<std::uint64_t>{11});
}

TEST_F(HistoryOfAMessage, IsAnsweredWithTheNewestThousand) {
    std::vector<JournalEntry> entries;
    std::uint64_t sequence = 100;
    for (std::uint64_t n = 0; n < 1005; ++n) {
        auto message = testing::message_to(1000 + n, {"bob@example.com"}, "x");
        message.arrived = now_ + std::chrono::seconds(n);
        DeliveryResult value;
        value.message = message.id;
        value.state = RecipientState::sent;
        value.at = message.arrived;
        entries.push_back({sequence++, {}, Accepted{std::move(message)}});
        entries.push_back({sequence++, {}, value});
    }
    apply(entries);
    const auto history = read_history(place_, HistoryFilter()).value();
    ASSERT_EQ(history.messages.size(), 1000U);
    EXPECT_EQ(history.messages.front().id, MessageId{1005});
    ASSERT_EQ(history.entries.size(), 1000U);
    EXPECT_EQ(history.entries.back().sequence, sequence - 1);
}

TEST_F(HistoryOfAMessage, GoesOnOverMidnight) {
    const WallTime tomorrow = now_ + std::chrono::hours(24);
    apply({accepted(), result(11, RecipientState::queued, now_), result(12, RecipientState::sent, tomorrow)});
    EXPECT_EQ(sequences(), (std::vector<std::uint64_t>{11, 12}));
    clock_.now = now_ + std::chrono::days(14);
    ASSERT_TRUE(files_.forget(clock_.now));
    HistoryFilter filter;
    filter.id = message_.id.text();
    const auto history = read_history(place_, filter).value();
    EXPECT_TRUE(history.messages.empty()) << "its own day is gone";
    ASSERT_EQ(history.entries.size(), 1U) << "the next one is not";
    EXPECT_EQ(history.entries[0].sequence, 12U);
}

TEST_F(HistoryOfAMessage, IsNotWrittenForDaysThatWouldBeForgotten) {
    clock_.now = now_ + std::chrono::days(14);
    apply({accepted(), result(11, RecipientState::sent, now_)});
    EXPECT_FALSE(disk_.exists("history").value() && !disk_.list("history").value().empty());
}

// What the last next hop's hosts did with it says nothing of the one that it waits for now, and the reverse.
TEST_F(HistoryOfAMessage, KnowsWhichNextHopAnAttemptWasFor) {
    Act reroute{ActKind::reroute, message_.id, now_, "root", "example.com", "relay.test"};
    apply({accepted(),
           result(11, RecipientState::queued, now_),
           {12, {}, reroute},
           result(13, RecipientState::sent, now_)});
    HistoryFilter filter;
    filter.next_hop = "example.com";
    const auto history = read_history(place_, filter).value();
    ASSERT_EQ(history.entries.size(), 2U);
    EXPECT_EQ(history.entries[0].sequence, 11U);
    EXPECT_EQ(history.entries[1].sequence, 12U);
    ASSERT_EQ(history.messages.size(), 1U);
    EXPECT_EQ(history.messages[0].recipients[0].address.next_hop, "relay.test");
    EXPECT_EQ(sequences(), (std::vector<std::uint64_t>{11, 12, 13}));
}

}  // namespace
}  // namespace sternpost::store::sqlite
