// What the doctor sees of a state directory, and what it mends.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <future>

#include "store/engine/engine.h"
#include "store/open.h"
#include "store/sqlite/database.h"
#include "unit/store/store_testing.h"

namespace sternpost::store::engine {
namespace {

using testing::message_to;

class Doctor : public ::testing::Test {
  protected:
    void SetUp() override {
        std::string pattern = ::testing::TempDir() + "sternpost-doctor-XXXXXX";
        dir_ = mkdtemp(pattern.data());
        auto store = open();
        for (std::uint64_t id = 1; id <= 20; ++id)
            accept(*store,
                   message_to(id, {"bob@example.com", "carol@example.net"}, "text " + std::to_string(id)));
        NewMessage large = message_to(21, {"bob@example.com"}, "");
        auto sink = store->new_body(1'000'000);
        EXPECT_TRUE(sink->write(std::string(100'000, 'x')));
        large.body = sink->finish().value();
        accept(*store, std::move(large));
    }
    void TearDown() override { std::filesystem::remove_all(dir_); }

    std::unique_ptr<SqliteStore> open() {
        return SqliteStore::open(dir_, Options(), log_, clock_, random_, {}).value();
    }
    static void accept(Store& store, NewMessage message) {
        std::promise<bool> done;
        store.accept(std::move(message), Completion<Result<MessageId>>([&](const Result<MessageId>& id) {
                         done.set_value(id.has_value());
                     }));
        EXPECT_TRUE(done.get_future().get());
    }
    void sql(const char* text) const {
        auto database = sqlite::Database::open({dir_ + "/queue.db", ""}, sqlite::Access::write).value();
        EXPECT_TRUE(database->transaction([&] { database->run(text); }));
    }
    SpoolReport look(bool repair = false) const {
        return check_spool(dir_, repair, [] {}).value();
    }
    static std::vector<std::string> rules(const SpoolReport& report) {
        std::vector<std::string> out;
        for (const auto& finding : report.findings) out.push_back(finding.rule);
        return out;
    }
    std::string only_file(const char* folder) const {
        for (const auto& entry : std::filesystem::directory_iterator(dir_ + "/" + folder))
            return entry.path();
        return "";
    }
    using Rules = std::vector<std::string>;

    std::string dir_;
    testing::NullLog log_;
    SystemClock machine_clock_;
    TrustedClock clock_{machine_clock_};
    SystemRandom random_;
};

TEST_F(Doctor, FindsNothingWrongWhereNothingIs) {
    const SpoolReport report = look();
    EXPECT_EQ(rules(report), Rules{});
    EXPECT_EQ(report.messages, 21U);
    EXPECT_EQ(report.bodies, 1U);
    EXPECT_GE(report.records, 21U);
    EXPECT_FALSE(report.daemon_runs);
}

TEST_F(Doctor, LooksWhileADaemonRunsAndRepairsNothingThen) {
    const auto store = open();
    const SpoolReport report = look();
    EXPECT_TRUE(report.daemon_runs);
    EXPECT_EQ(rules(report), Rules{});
    const auto refused = check_spool(dir_, true, [] {});
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, Errc::busy);
}

TEST_F(Doctor, CountsAnewWhatTheIndexCountsWrong) {
    sql("UPDATE hop SET waiting = 3 WHERE name = 'example.com'; UPDATE segment SET octets = 1; "
        "UPDATE message SET unfinished = 7 WHERE id = 5; INSERT INTO recipient SELECT 999, n, hop, state, "
        "next_at, "
        "tries, forward_path, notify, orcpt, status, text, tier, lost_replies FROM recipient WHERE message = "
        "5 AND n = 0");
    const Rules wrong{"index-recipients", "index-messages", "index-segments", "index-hops"};
    const SpoolReport seen = look();
    EXPECT_EQ(rules(seen), wrong);
    EXPECT_TRUE(
        std::none_of(seen.findings.begin(), seen.findings.end(), [](const auto& f) { return f.repaired; }));
    EXPECT_EQ(rules(look()), wrong) << "looking changes nothing";
    const SpoolReport mended = look(true);
    EXPECT_TRUE(std::all_of(mended.findings.begin(), mended.findings.end(),
                            [](const auto& f) { return f.repaired; }));
    EXPECT_EQ(rules(look()), Rules{});
}

TEST_F(Doctor, SeesThatAMessageIsNotWhereItIsToBe) {
    sql("UPDATE message SET offset = offset + 8 WHERE id = 3");
    const SpoolReport report = look();
    ASSERT_EQ(rules(report), Rules{"message-place"});
    EXPECT_NE(report.findings[0].text.find(MessageId{3}.text()), std::string::npos)
        << report.findings[0].text;
}

TEST_F(Doctor, SeesDamageInTheJournal) {
    const std::string segment = dir_ + "/journal/00000001.seg";
    std::fstream file(segment, std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(4096 + 60);  // in the fields of the first record
    file.put('\xff');
    file.close();
    const Rules seen = rules(look());
    EXPECT_NE(std::find(seen.begin(), seen.end(), "journal-gap"), seen.end());
    EXPECT_NE(std::find(seen.begin(), seen.end(), "message-place"), seen.end());
}

TEST_F(Doctor, SeesBodiesThatAreGoneOrTooManyOrTooShort) {
    const std::string body = only_file("bodies");
    std::ofstream(dir_ + "/bodies/0123456789abcdef") << "nobody's";
    std::filesystem::resize_file(body, 10);
    Rules seen = rules(look());
    std::sort(seen.begin(), seen.end());
    EXPECT_EQ(seen, (Rules{"body-size", "body-without-message"}));
    look(true);
    EXPECT_FALSE(std::filesystem::exists(dir_ + "/bodies/0123456789abcdef"));
    EXPECT_TRUE(std::filesystem::exists(body)) << "what a message has stays";
    std::filesystem::remove(body);
    EXPECT_EQ(rules(look()), Rules{"body-missing"});
}

TEST_F(Doctor, ShowsAThousandFindingsOfARuleAndCountsTheOthers) {
    // No record begins at an odd place.
    sql("WITH RECURSIVE n (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < 1002) "
        "INSERT INTO message (id, segment, offset, size, unfinished, held, damaged, file, reverse_path, "
        "head) "
        "SELECT 1000 + x, 1, 8 * x + 1, 1, 1, 0, 0, '', '', x'00' FROM n");
    std::vector<std::string> texts;
    for (const auto& finding : look().findings)
        if (finding.rule == "message-place") texts.push_back(finding.text);
    ASSERT_EQ(texts.size(), 1001U);
    EXPECT_EQ(texts.back(), "and 2 more");
}

// The index may be behind the journal after a crash: what it has not heard of is no leftover.
TEST_F(Doctor, LeavesTheBodyOfMailThatTheIndexHasNotHeardOf) {
    const std::string body = only_file("bodies");
    sql("DELETE FROM recipient; DELETE FROM message; DELETE FROM segment; UPDATE hop SET waiting = 0, due_at "
        "= "
        "9223372036854775807; UPDATE position SET segment = 0, offset = 0, sequence = 1");
    EXPECT_EQ(rules(look(true)), Rules{});
    EXPECT_TRUE(std::filesystem::exists(body));
}

// A page inside, and the first one, without which it is no database at all.
class DamagedIndex : public Doctor, public ::testing::WithParamInterface<int> {};

TEST_P(DamagedIndex, IsSetAsideAndTheQueueComesBackOnHold) {
    {
        std::fstream file(dir_ + "/queue.db", std::ios::in | std::ios::out | std::ios::binary);
        file.seekp(GetParam());
        file << std::string(20'000, '\x55');
    }
    const SpoolReport report = look(true);
    ASSERT_FALSE(report.findings.empty());
    EXPECT_EQ(report.findings[0].rule, "index-damaged");
    EXPECT_TRUE(report.findings[0].repaired);
    EXPECT_TRUE(std::filesystem::exists(dir_ + "/queue.db.damaged"));
    EXPECT_TRUE(std::filesystem::exists(only_file("bodies"))) << "without an index nobody knows whose it is";
    const auto store = open();
    const auto messages =
        testing::asked(*store, [](Questions& questions) { return questions.find({}); }).value();
    EXPECT_EQ(messages.size(), 21U);
    EXPECT_TRUE(std::all_of(messages.begin(), messages.end(), [](const auto& m) { return m.held; }));
}

INSTANTIATE_TEST_SUITE_P(Places, DamagedIndex, ::testing::Values(0, 4096));

}  // namespace
}  // namespace sternpost::store::engine
