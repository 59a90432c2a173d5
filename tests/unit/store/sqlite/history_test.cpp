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

// ---- by name

class HistoryByName : public HistoryOfAMessage {
  protected:
    NewMessage mail(std::uint64_t id, const std::string& to, const std::string& from,
                    const std::string& message_id) const {
        auto out = testing::message_to(id, {to}, "x");
        out.arrived = now_ + std::chrono::seconds(id);
        out.envelope.reverse_path = mail::ReversePath::parse(from).value();
        out.envelope.message_id = message_id;
        return out;
    }
    std::vector<std::uint64_t> found(const std::string& name, std::optional<NameOf> what = std::nullopt,
                                     std::size_t limit = 1000) const {
        HistoryFilter filter;
        filter.name = name;
        filter.name_of = what;
        filter.limit = limit;
        return found(filter);
    }
    std::vector<std::uint64_t> found(const HistoryFilter& filter) const {
        const auto history = read_history(place_, filter).value();
        std::vector<std::uint64_t> out;
        for (const auto& message : history.messages) out.push_back(message.id.value);
        return out;
    }
    void accept(std::vector<NewMessage> messages) {
        std::vector<JournalEntry> entries;
        for (auto& message : messages) entries.push_back({sequence_++, {}, Accepted{std::move(message)}});
        apply(entries);
    }
    using Ids = std::vector<std::uint64_t>;
    std::uint64_t sequence_ = 100;
};

TEST_F(HistoryByName, FindsRecipientSenderAndMessageId) {
    accept({mail(1, "bob@example.com", "alice@sender.example", "<one@sender.example>"),
            mail(2, "carol@example.com", "bob@example.com", "<two@example.com>"),
            mail(3, "dave@example.com", "alice@sender.example", "")});
    EXPECT_EQ(found("bob@example.com"), (Ids{1, 2}));
    EXPECT_EQ(found("bob@example.com", NameOf::recipient), Ids{1});
    EXPECT_EQ(found("bob@example.com", NameOf::sender), Ids{2});
    EXPECT_EQ(found("Alice@SENDER.example"), (Ids{1, 3}));
    EXPECT_EQ(found("two@example.com"), Ids{2});
    EXPECT_EQ(found("two@example.com", NameOf::recipient), Ids{});
    EXPECT_EQ(found("nobody@example.com"), Ids{});
}

TEST_F(HistoryByName, GivesTheNewestWithWhatWasDoneWithThem) {
    for (std::uint64_t n = 1; n <= 600; ++n) {
        NewMessage one = mail(n, n % 3 == 0 ? "bob@example.com" : "carol@example.com", "a@b.example", "");
        const WallTime at = one.arrived;
        DeliveryResult value;
        value.message = one.id;
        value.state = RecipientState::sent;
        value.at = at;
        apply({{sequence_++, {}, Accepted{std::move(one)}}, {sequence_++, {}, value}});
    }
    EXPECT_EQ(found("bob@example.com").size(), 200U);
    EXPECT_EQ(found("a@b.example", std::nullopt, 2), (Ids{599, 600}));
    HistoryFilter filter;
    filter.name = "bob@example.com";
    filter.limit = 3;
    const auto history = read_history(place_, filter).value();
    ASSERT_EQ(history.messages.size(), 3U);
    EXPECT_EQ(history.messages[0].id.value, 594U);
    EXPECT_EQ(history.messages[0].recipients[0].state, RecipientState::sent);
    EXPECT_EQ(history.entries.size(), 3U);
    filter.limit = 1000;  // the ids of these messages do not tell their times
    filter.to = now_ + std::chrono::seconds(300);
    filter.from = now_ + std::chrono::seconds(295);
    EXPECT_EQ(found(filter), (Ids{297, 300}));
}

TEST_F(HistoryByName, FindsANameThatFillsManyBlocks) {
    std::vector<NewMessage> all;
    for (std::uint64_t n = 1; n <= 2000; ++n)
        all.push_back(mail(n, "r" + std::to_string(n) + "@example.com", "bulk@sender.example", ""));
    accept(all);
    EXPECT_EQ(found("bulk@sender.example", NameOf::sender, 3000).size(), 2000U);
    for (const std::uint64_t n : {1U, 777U, 2000U})
        EXPECT_EQ(found("r" + std::to_string(n) + "@example.com"), Ids{n});
}

TEST_F(HistoryByName, KnowsMailOfAFileWithoutNames) {
    accept({mail(1, "bob@example.com", "alice@sender.example", "<one@sender.example>")});
    ASSERT_TRUE(files_.checkpoint(now_ + std::chrono::days(1))) << "closes the file";
    {
        const std::string file = disk_.list("history").value().front();
        auto database = Database::open({place_.folder + file, place_.vfs}, Access::write).value();
        database->run("DROP TABLE name; DROP TABLE name_run; PRAGMA user_version = 1");
        ASSERT_FALSE(database->take_error());
    }
    EXPECT_EQ(found("bob@example.com"), Ids{1}) << "as another release left it";
    accept({mail(2, "carol@example.com", "alice@sender.example", "")});
    EXPECT_EQ(found("alice@sender.example"), (Ids{1, 2})) << "and as this one has completed it";
    EXPECT_EQ(found("one@sender.example"), Ids{1});
}

}  // namespace
}  // namespace sternpost::store::sqlite
