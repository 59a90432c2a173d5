// Names and the messages that they lead to, by themselves.
#include "store/sqlite/history_names.h"

#include <gtest/gtest.h>

#include "fake/disk_vfs.h"
#include "fake/sim_disk.h"
#include "unit/store/store_testing.h"

namespace sternpost::store::sqlite {
namespace {

constexpr const char* names_vfs = "history-names-test";

class Names : public ::testing::Test {
  protected:
    void SetUp() override {
        database_ = Database::open({"names.db", names_vfs}, Access::write).value();
        database_->run(history_name_tables);
        ASSERT_FALSE(database_->take_error());
        names_ = std::make_unique<HistoryNames>(*database_);
    }
    void TearDown() override { names_.reset(); }
    void add(std::vector<NameEntry> entries) {
        const auto done = database_->transaction([&] { names_->add(std::move(entries)); });
        ASSERT_TRUE(done) << done.error().text;
    }
    std::vector<std::uint64_t> find(std::int64_t hash, std::uint64_t last = INT64_MAX,
                                    std::size_t most = 1000) {
        return look_up(*database_, hash, MessageId{last}, most);
    }
    using Ids = std::vector<std::uint64_t>;

    fake::SimDisk disk_;
    store::testing::FixedClock clock_;
    store::testing::SeededRandom random_{1};
    fake::DiskVfs vfs_{names_vfs, disk_, clock_, random_};
    std::unique_ptr<Database> database_;
    std::unique_ptr<HistoryNames> names_;
};

TEST_F(Names, OfARunThatWasRolledBackAreForgotten) {
    const auto undone = database_->transaction([&] {
        names_->add({{1, 10}});
        database_->run("this is no SQL");
    });
    ASSERT_FALSE(undone);
    names_->read_runs();
    EXPECT_EQ(find(1), Ids{});
    add({{1, 11}});
    EXPECT_EQ(find(1), Ids{11});
}

TEST_F(Names, LeadToTheNewestFirst) {
    add({{7, 30}, {7, 10}, {8, 20}});
    add({{7, 25}, {6, 5}});
    EXPECT_EQ(find(7), (Ids{30, 25, 10}));
    EXPECT_EQ(find(7, 25), (Ids{25, 10}));
    EXPECT_EQ(find(7, INT64_MAX, 2), (Ids{30, 25}));
    EXPECT_EQ(find(9), Ids{});
}

// However little each transaction brings, few runs stay: fewer than sixteen of a size.
TEST_F(Names, StayInFewRuns) {
    constexpr std::uint64_t messages = 5000;
    for (std::uint64_t n = 0; n < messages; ++n)
        add({{static_cast<std::int64_t>(n % 97), n}, {static_cast<std::int64_t>(1000 + n), n}});
    EXPECT_LE(database_->number("SELECT count(*) FROM name_run"), 60);
    EXPECT_EQ(database_->number("SELECT sum(entries) FROM name_run"), static_cast<int>(2 * messages));
    EXPECT_EQ(database_->number("SELECT sum(length(entries)) FROM name"),
              static_cast<int>(2 * messages * 16));
    const auto found = find(5);
    ASSERT_EQ(found.size(), 52U);
    for (std::size_t n = 0; n < found.size(); ++n) EXPECT_EQ(found[n], 5 + 97 * (found.size() - 1 - n));
    for (const std::uint64_t n : {0U, 4321U, 4999U})
        EXPECT_EQ(find(static_cast<std::int64_t>(1000 + n)), Ids{n});
    HistoryNames(*database_).add({{5, 9999}});
    EXPECT_EQ(find(5).front(), 9999U) << "by a writer that begins with what is there";
}

TEST_F(Names, AreTheSameInAnyCaseButNotOfAnotherKind) {
    EXPECT_EQ(hash_of(NameOf::sender, "Bob@Example.COM"), hash_of(NameOf::sender, "bob@example.com"));
    EXPECT_NE(hash_of(NameOf::sender, "bob@example.com"), hash_of(NameOf::recipient, "bob@example.com"));
    EXPECT_NE(hash_of(NameOf::sender, "bob@example.com"), hash_of(NameOf::sender, "bob@example.org"));
    EXPECT_GE(hash_of(NameOf::message_id, "x"), 0);
    EXPECT_EQ(hash_of(NameOf::recipient, "bob@example.com"), 6628055752605139036)
        << "files keep it: it never changes";
}

}  // namespace
}  // namespace sternpost::store::sqlite
