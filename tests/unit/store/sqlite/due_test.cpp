// What sleeps in the index: what is due, for whom first, and how the questions about it are answered.
#include <gtest/gtest.h>
#include <sqlite3.h>

#include <set>

#include "fake/disk_vfs.h"
#include "fake/sim_disk.h"
#include "store/engine/journaled_store.h"
#include "store/engine/layout.h"
#include "store/fair_order.h"
#include "store/sqlite/reader.h"
#include "unit/store/store_testing.h"

namespace sternpost::store::sqlite {
namespace {

using namespace std::chrono_literals;
using engine::index_name;
using engine::JournaledStore;
using engine::JournaledStoreOptions;
using engine::JournaledStoreParts;
using testing::message_to;
constexpr const char* due_vfs = "due-test";

class WhatSleeps : public ::testing::Test {
  protected:
    WhatSleeps() : vfs_(due_vfs, disk_, clock_, random_) {
        clock_.now = start;
        JournaledStoreParts parts{disk_,   {index_name, due_vfs},     log_,   trusted_clock_.emplace(clock_),
                                  random_, [](const std::string&) {}, nullptr};
        spool_ = JournaledStore::open(std::move(parts), JournaledStoreOptions()).value();
        reader_ = Reader::open({index_name, due_vfs}).value();
    }

    void accept(std::uint64_t id, const std::vector<std::string>& recipients,
                const char* client = "192.0.2.1", bool requiretls = false) {
        NewMessage message = message_to(id, recipients, "x");
        message.arrived = start;
        message.origin.address = client;
        message.envelope.requiretls = requiretls;
        spool_->accept(std::move(message), Completion<Result<MessageId>>([](const Result<MessageId>&) {}));
        settle();
    }
    void defer(std::uint64_t id, std::uint32_t recipient, WallTime next_at) {
        DeliveryResult result;
        result.message = {id};
        result.recipient = recipient;
        result.at = start;
        result.next_at = next_at;
        result.tries = 1;
        result.status = "4.2.0";
        result.text = "mailbox full";
        record({result});
    }
    void finish(std::uint64_t id, std::uint32_t recipients) {
        for (std::uint32_t n = 0; n < recipients; ++n) {
            DeliveryResult result;
            result.message = {id};
            result.recipient = n;
            result.state = RecipientState::sent;
            record({result});
        }
    }
    void record(std::vector<DeliveryResult> results) {
        spool_->writer().record(std::move(results), {}, Completion<Result<void>>([](const Result<void>&) {}));
        settle();
    }
    void act(ActKind kind, std::uint64_t id, const char* from = "", const char* to = "") {
        spool_->writer().act({{kind, {id}, start + 1min, "root", from, to}},
                             Completion<Result<void>>([](const Result<void>&) {}));
        settle();
    }
    void block(const char* hop, WallTime until) {
        spool_->writer().keep(
            HopState{hop, start, until, 2, "4.4.1", "refused", store::ReasonCode::unreachable, {}}, {});
        settle();
    }
    void settle() {
        spool_->commit();
        spool_->apply();
        const auto wrong = inconsistent();
        EXPECT_TRUE(wrong.empty()) << wrong;
    }
    // What each hop's row says of what waits for it must be so.
    std::string inconsistent() {
        auto database = Database::open({index_name, due_vfs}, Access::read).value();
        Statement row(
            *database,
            "SELECT h.name FROM hop h WHERE h.waiting <> "
            "(SELECT count(*) FROM recipient r WHERE r.hop = h.id AND r.state = 0) OR "
            "(h.waiting > 0 AND h.due_at < h.next_at) OR "
            "(h.due_at = 9223372036854775807) <> (NOT EXISTS (SELECT 1 FROM recipient r WHERE r.hop = h.id "
            "AND r.state = 0 AND r.tier < 2))");
        std::string out;
        while (row.row()) out += row.text(0) + " ";
        return out;
    }
    Due due(WallTime now, std::vector<MessageId> known = {}, std::vector<std::string> full = {},
            std::size_t per_hop = 100, std::size_t messages = 1000) {
        DueQuestion question{now, messages, per_hop, std::move(full), std::move(known)};
        return reader_->due(question).value();
    }
    static std::vector<std::uint64_t> ids(const Due& due) {
        std::vector<std::uint64_t> out;
        for (const auto& message : due.messages) out.push_back(message.id.value);
        return out;
    }
    static bool more(const Due& due, const std::string& hop) {
        for (const auto& one : due.hops)
            if (one.state.next_hop == hop) return one.more;
        ADD_FAILURE() << hop << " is not in the answer";
        return false;
    }

    const WallTime start{std::chrono::sys_days(std::chrono::year(2026) / 5 / 1)};
    fake::SimDisk disk_;
    testing::NullLog log_;
    testing::FixedClock clock_;
    std::optional<TrustedClock> trusted_clock_;
    testing::SeededRandom random_{1};
    fake::DiskVfs vfs_;
    std::unique_ptr<JournaledStore> spool_;
    std::unique_ptr<Reader> reader_;
};

using Ids = std::vector<std::uint64_t>;

TEST_F(WhatSleeps, IsDueWhenItHasNotBeenTriedOrItsTimeHasCome) {
    accept(1, {"a@d.test"});
    accept(2, {"b@d.test"});
    accept(3, {"c@e.test"});
    defer(2, 0, start + 5min);
    const Due now = due(start);
    EXPECT_EQ(ids(now), (Ids{1, 3}));
    EXPECT_EQ(now.next, start + 5min);
    EXPECT_FALSE(now.more);
    EXPECT_FALSE(more(now, "d.test"));
    EXPECT_EQ(now.messages[0].recipients[0].next_at, start) << "its place in the line is nobody's business";
    EXPECT_EQ(ids(due(start + 5min)), (Ids{1, 2, 3}));
    EXPECT_EQ(ids(due(start + 5min, {{1}, {2}})), (Ids{3}));
    finish(1, 1);
    finish(2, 1);
    finish(3, 1);
    EXPECT_EQ(due(start + 24h).next, std::nullopt);
}

TEST_F(WhatSleeps, IsDueThoughTheClockWasAheadWhenItArrived) {
    accept(1, {"a@d.test"});
    EXPECT_EQ(due(start - 24h).messages.size(), 0U) << "its hop is due later";
    act(ActKind::retry, 1);
    accept(2, {"a@d.test"});
    const Due now = due(start + 1min);
    ASSERT_EQ(now.messages.size(), 2U);
    for (const auto& message : now.messages) EXPECT_LE(message.recipients[0].next_at, start + 1min);
}

TEST_F(WhatSleeps, WaitsForItsHopAsOneRow) {
    for (std::uint64_t id = 1; id <= 5; ++id) accept(id, {"a@d.test"});
    accept(6, {"a@e.test"});
    block("d.test", start + 10min);
    Due now = due(start);
    EXPECT_EQ(ids(now), (Ids{6}));
    EXPECT_EQ(now.next, start + 10min);
    now = due(start + 10min);
    EXPECT_EQ(ids(now), (Ids{1, 2, 3, 4, 5, 6}));
    EXPECT_EQ(now.hops[0].state.failures, 2U) << "how the hop is comes with it";
    EXPECT_EQ(now.hops[0].state.text, "refused");
    act(ActKind::retry, 3);
    EXPECT_EQ(ids(due(start + 1min)).size(), 6U) << "a retry by hand passes the hop's wait";
}

TEST_F(WhatSleeps, OnHoldIsNotDueUntilItIsReleased) {
    accept(1, {"a@d.test"});
    accept(2, {"b@d.test"});
    defer(2, 0, start + 5min);
    act(ActKind::hold, 1);
    act(ActKind::hold, 2);
    EXPECT_TRUE(due(start + 24h).messages.empty());
    EXPECT_EQ(due(start).next, std::nullopt);
    act(ActKind::release, 1);
    act(ActKind::release, 2);
    EXPECT_EQ(ids(due(start)), (Ids{1}));
    EXPECT_EQ(ids(due(start + 5min)), (Ids{1, 2})) << "each as it was before";
}

TEST_F(WhatSleeps, IsFoundInPagesOfBoundedRecipients) {
    accept(1, {"a@d.test"});
    accept(2, {"a@d.test", "b@d.test", "c@d.test"});
    accept(3, {"a@d.test", "b@d.test"});
    accept(4, {"a@d.test"});
    const auto page = [&](std::uint64_t after, const char* domain) {
        QueueFilter filter;
        filter.after = {after};
        filter.domain = domain;
        filter.recipients = 3;
        Ids out;
        const auto found = reader_->find(filter).value();
        for (const auto& message : found) out.push_back(message.id.value);
        return out;
    };
    for (const char* domain : {"", "d.test"}) {
        EXPECT_EQ(page(0, domain), (Ids{1, 2}))
            << "the second brings more than there is room for, and is the last";
        EXPECT_EQ(page(2, domain), (Ids{3, 4}));
    }
}

TEST_F(WhatSleeps, IsLoadedWithABoundOnRecipients) {
    accept(1, {"a@d.test", "b@d.test"});
    accept(2, {"a@d.test"});
    accept(3, {"a@e.test"});
    DueQuestion question;
    question.now = start;
    question.recipients = 2;
    const Due now = reader_->due(question).value();
    EXPECT_EQ(ids(now), (Ids{1}));
    EXPECT_TRUE(now.more);
    EXPECT_TRUE(more(now, "d.test"));
}

TEST_F(WhatSleeps, WaitsForNextHopsThatAreListedInPages) {
    for (std::uint64_t id = 1; id <= 3; ++id) accept(id, {"a@c.test"});
    for (std::uint64_t id = 4; id <= 8; ++id) accept(id, {"a@h" + std::to_string(id) + ".test"});
    block("gone.test", start + 10min);
    std::vector<std::string> names;
    HopFilter filter;
    filter.limit = 2;
    for (;;) {
        const auto page = reader_->hops(filter).value();
        for (const auto& load : page) names.push_back(load.state.next_hop);
        if (page.size() < filter.limit) break;
        filter.after = HopKey{page.back().recipients, page.back().state.next_hop};
    }
    EXPECT_EQ(names, (std::vector<std::string>{"c.test", "h4.test", "h5.test", "h6.test", "h7.test",
                                               "h8.test", "gone.test"}));
}

TEST_F(WhatSleeps, ComesInPagesAndSaysWhetherThereIsMore) {
    for (std::uint64_t id = 1; id <= 10; ++id) accept(id, {"a@d.test"});
    accept(11, {"a@e.test"});
    Due now = due(start, {}, {}, 4);
    EXPECT_EQ(ids(now), (Ids{1, 2, 3, 4, 11}));
    EXPECT_TRUE(more(now, "d.test"));
    EXPECT_FALSE(more(now, "e.test"));
    now = due(start, {{1}, {2}, {3}, {4}}, {"e.test"}, 4);
    EXPECT_EQ(ids(now), (Ids{5, 6, 7, 8}));
    now = due(start, {}, {}, 100, 3);
    EXPECT_EQ(ids(now).size(), 3U);
    EXPECT_TRUE(now.more || more(now, "d.test"));
}

TEST_F(WhatSleeps, ASendersBulkRunLeavesRoomForAnothersMessage) {
    for (std::uint64_t id = 1; id <= 200; ++id) accept(id, {"a@d.test"}, "192.0.2.1");
    accept(201, {"a@d.test"}, "192.0.2.2");
    EXPECT_EQ(ids(due(start, {}, {}, 3)), (Ids{1, 2, 201}));
}

TEST_F(WhatSleeps, SaysOfEveryHopOfAMessageHowItIs) {
    accept(1, {"a@d.test", "b@e.test"});
    block("e.test", start + 10min);
    const Due now = due(start);
    EXPECT_EQ(ids(now), (Ids{1}));
    ASSERT_EQ(now.hops.size(), 2U);
    EXPECT_TRUE(more(now, "e.test")) << "it was not looked at";
    EXPECT_EQ(now.hops[1].state.failures, 2U);
}

TEST_F(WhatSleeps, HasAGroupForWhatItSaysOfTls) {
    accept(1, {"a@d.test"});
    accept(2, {"a@d.test"}, "192.0.2.1", true);
    block("d.test requiretls", start + 10min);
    EXPECT_EQ(ids(due(start)), (Ids{1}));
    QueueFilter filter;
    filter.domain = "D.test";
    const auto found = reader_->find(filter).value();
    ASSERT_EQ(found.size(), 2U);
    EXPECT_EQ(found[1].recipients[0].address.next_hop, "d.test");
    EXPECT_EQ(found[1].recipients[0].text, "refused");
    EXPECT_EQ(found[1].recipients[0].reason_code, store::ReasonCode::unreachable);
    EXPECT_TRUE(found[0].recipients[0].text.empty());
}

TEST_F(WhatSleeps, IsFoundBySenderHopReasonAndAge) {
    accept(1, {"a@d.test", "b@e.test"});
    accept(2, {"b@e.test"}, "192.0.2.9");
    accept(3, {"c@f.test"});
    defer(1, 0, start + 5min);
    block("e.test", start + 10min);
    const auto found = [&](const QueueFilter& filter) {
        Ids out;
        const auto messages = reader_->find(filter).value();
        for (const auto& message : messages) out.push_back(message.id.value);
        return out;
    };
    EXPECT_EQ(found({}), (Ids{1, 2, 3}));
    QueueFilter of;
    of.sender = "alice@EXAMPLE.org";
    EXPECT_EQ(found(of), (Ids{1, 2, 3}));
    of.sender = "@example.org";
    EXPECT_EQ(found(of).size(), 3U);
    of.sender = "192.0.2.9";
    EXPECT_EQ(found(of), (Ids{2}));
    for (const char* nobody : {"<>", "bob@example.org", "@org", "example.org", "uid 0"}) {
        of.sender = nobody;
        EXPECT_TRUE(found(of).empty()) << nobody;
    }
    of = {};
    for (const char* reason : {"refused", "REFUSED", "4.4.1", "unreachable"}) {
        of.reason = reason;
        EXPECT_EQ(found(of), (Ids{1, 2})) << reason;
    }
    of.reason = "mailbox";
    EXPECT_EQ(found(of), (Ids{1}));
    of.domain = "e.test";
    EXPECT_TRUE(found(of).empty()) << "all that is set must hold, for the same recipient";
    of = {};
    of.after = {1};
    of.until = {2};
    EXPECT_EQ(found(of), (Ids{2}));
    of = {};
    of.limit = 2;
    EXPECT_EQ(found(of), (Ids{1, 2}));
    of.domain = "e.test";
    of.after = {1};
    EXPECT_EQ(found(of), (Ids{2}));
    of = {};
    of.ids = {{3}, {1}, {9}};
    EXPECT_EQ(found(of), (Ids{1, 3}));
    of.after = {1};
    EXPECT_EQ(found(of), (Ids{3}));
    act(ActKind::warned, 2);
    of = {};
    of.unwarned = true;
    EXPECT_EQ(found(of), (Ids{1, 3}));
}

TEST_F(WhatSleeps, MovesToAnotherHopByReroute) {
    accept(1, {"a@d.test", "b@e.test"});
    accept(2, {"c@d.test"}, "192.0.2.1", true);
    act(ActKind::reroute, 1, "d.test", "relay.test");
    act(ActKind::reroute, 2, "", "relay.test");
    QueueFilter of;
    of.domain = "d.test";
    EXPECT_TRUE(reader_->find(of).value().empty());
    of.domain = "relay.test";
    const auto found = reader_->find(of).value();
    ASSERT_EQ(found.size(), 2U);
    EXPECT_EQ(found[0].recipients[0].address.next_hop, "relay.test");
    EXPECT_EQ(found[0].recipients[1].address.next_hop, "e.test");
    const Due now = due(start);
    EXPECT_EQ(now.messages.size(), 2U);
    EXPECT_FALSE(more(now, "relay.test requiretls"));
}

TEST_F(WhatSleeps, IsAsNewAtTheHopThatItIsReroutedTo) {
    accept(1, {"a@d.test", "b@e.test"});
    defer(1, 0, start + 1h);
    defer(1, 1, start + 1h);
    accept(2, {"c@d.test"});
    defer(2, 0, start + 1h);
    act(ActKind::hold, 2);
    act(ActKind::reroute, 1, "d.test", "relay.test");
    act(ActKind::reroute, 2, "", "relay.test");
    QueueFilter of;
    of.domain = "relay.test";
    const auto found = reader_->find(of).value();
    ASSERT_EQ(found.size(), 2U);
    for (const auto& message : found) {
        const auto& moved = message.recipients[0];
        EXPECT_EQ(moved.text, "") << "nobody there has said anything yet";
        EXPECT_EQ(moved.status, "");
        EXPECT_EQ(moved.tries, 0U);
    }
    EXPECT_LE(found[0].recipients[0].next_at, start + 1min);
    EXPECT_EQ(found[0].recipients[1].text, "mailbox full") << "it waits where it waited";
    EXPECT_EQ(ids(due(start + 1min)), (std::vector<std::uint64_t>{1})) << "the other one is on hold";
    act(ActKind::release, 2);
    EXPECT_EQ(ids(due(start + 1min)), (std::vector<std::uint64_t>{1, 2}));
}

TEST_F(WhatSleeps, IsCountedByHop) {
    accept(1, {"a@d.test", "b@e.test"});
    accept(2, {"b@e.test"});
    block("gone.test", start + 10min);
    const auto hops = reader_->hops({}).value();
    ASSERT_EQ(hops.size(), 3U);
    EXPECT_EQ(hops[0].state.next_hop, "e.test") << "the longest line first";
    EXPECT_EQ(hops[0].recipients, 2U);
    EXPECT_EQ(hops[2].state.next_hop, "gone.test");
    HopFilter filter;
    filter.names = {"d.test", "unknown.test"};
    EXPECT_EQ(reader_->hops(filter).value().size(), 1U);
    act(ActKind::remove, 1);
    EXPECT_EQ(reader_->hops({}).value()[0].recipients, 1U);
}

TEST_F(WhatSleeps, SuspensionsAreKept) {
    StoredSuspension one;
    one.scope = ".example.com";
    one.reason = "maintenance";
    one.author = "uid 0";
    one.set = start;
    StoredSuspension two = one;
    two.kind = SuspensionKind::sender;
    two.scope = "@example.org";
    const auto put = [&](const StoredSuspension& suspension) {
        spool_->writer().keep(suspension, Completion<Result<void>>([](const Result<void>&) {}));
        settle();
    };
    put(one);
    put(two);
    EXPECT_EQ(reader_->all<StoredSuspension>().value(), (std::vector{one, two}));
    one.ended = true;
    put(one);
    EXPECT_EQ(reader_->all<StoredSuspension>().value(), std::vector{two});
}

// What is asked of SQLite on connections that are opened while it lives.
class Heard {
  public:
    Heard() { sqlite3_auto_extension(reinterpret_cast<void (*)()>(listen)); }
    ~Heard() {
        sqlite3_cancel_auto_extension(reinterpret_cast<void (*)()>(listen));
        texts().clear();
    }
    Heard(const Heard&) = delete;
    Heard& operator=(const Heard&) = delete;

    /// Those that read tables.
    std::set<std::string> queries() const {
        std::set<std::string> out = texts();
        std::erase_if(out, [](const std::string& sql) {
            return !sql.starts_with("SELECT") || sql.find("sqlite_schema") != std::string::npos;
        });
        return out;
    }

  private:
    static std::set<std::string>& texts() {
        static std::set<std::string> all;
        return all;
    }
    static int note(unsigned, void*, void* statement, void*) {
        texts().insert(sqlite3_sql(static_cast<sqlite3_stmt*>(statement)));
        return 0;
    }
    static int listen(sqlite3* database, char**, const void*) {
        return sqlite3_trace_v2(database, SQLITE_TRACE_STMT, note, nullptr);
    }
};

// A million messages are a line of a million only if every question that the queue asks while it works, and
// the first of those that people ask, goes by an index.
TEST_F(WhatSleeps, IsFoundWithoutReadingAllOfIt) {
    accept(7, {"bob@example.com"});
    accept(8, {"carol@example.com"});
    defer(8, 0, start);
    const Heard heard;
    reader_ = Reader::open({index_name, due_vfs}).value();
    ASSERT_EQ(due(start + 1h).messages.size(), 2U);
    QueueFilter filter;
    ASSERT_EQ(reader_->find(filter).value().size(), 2U);
    filter.domain = "example.com";
    ASSERT_EQ(reader_->find(filter).value().size(), 2U);
    HopFilter hops;
    hops.names = {"example.com"};
    ASSERT_EQ(reader_->hops(hops).value().size(), 1U);
    const auto queries = heard.queries();
    EXPECT_EQ(queries.size(), 9U)
        << "due hops, both tiers, when next; messages by id, from an id and by hop; "
           "their recipients; a hop";
    auto database = Database::open({index_name, due_vfs}, Access::read).value();
    for (const auto& sql : queries) {
        SCOPED_TRACE(sql);
        Statement plan(*database, ("EXPLAIN QUERY PLAN " + sql).c_str());
        std::string text;
        while (plan.row()) text += plan.text(3) + "\n";
        EXPECT_NE(text.find("SEARCH"), std::string::npos) << text;
        EXPECT_EQ(text.find("SCAN"), std::string::npos) << text;
        EXPECT_EQ(text.find("TEMP B-TREE"), std::string::npos) << text;
    }
}

TEST(FairRanks, PutASendersMessagesApartAndForgetThePast) {
    FairRanks ranks;
    const WallTime start{};
    EXPECT_EQ(ranks.rank(1, "ann", start), start);
    EXPECT_EQ(ranks.rank(1, "ann", start), start + 1s);
    EXPECT_EQ(ranks.rank(1, "bob", start), start);
    EXPECT_EQ(ranks.rank(2, "ann", start), start) << "elsewhere nobody waits behind it";
    EXPECT_EQ(ranks.rank(1, "ann", start + 1h), start + 1h);
    EXPECT_EQ(ranks.rank(1, "", start), start);
    EXPECT_EQ(ranks.rank(1, "", start), start + 8s) << "notices stand back";
    for (int i = 0; i < 30'000; ++i) ranks.rank(i, "ann", start + std::chrono::seconds(i));
    EXPECT_LE(ranks.size(), 10'000U);
}

}  // namespace
}  // namespace sternpost::store::sqlite
