#include "store/sqlite/engine.h"

#include <gtest/gtest.h>

#include <atomic>
#include <filesystem>
#include <future>
#include <mutex>
#include <thread>

#include "store/sqlite/offline.h"
#include "store_testing.h"

namespace sternpost::store::sqlite {
namespace {

using testing::message_to;

class Engine : public ::testing::Test {
  protected:
    void SetUp() override {
        std::string pattern = ::testing::TempDir() + "sternpost-store-XXXXXX";
        dir_ = mkdtemp(pattern.data());
    }
    void TearDown() override { std::filesystem::remove_all(dir_); }

    std::unique_ptr<SqliteStore> open() {
        auto store = SqliteStore::open(dir_, Options(), log_, clock_, random_,
                                       [this](std::vector<StoredMessage> news) {
                                           const std::lock_guard guard(mutex_);
                                           for (auto& message : news) told_.push_back(std::move(message));
                                       });
        if (!store) ADD_FAILURE() << store.error().text;
        return store ? std::move(*store) : nullptr;
    }
    // Calls `start(reply)` and waits for the answer.
    template <class T, class Start>
    static T await(Start start) {
        std::promise<T> promise;
        start(Reply<T>([&](T value) { promise.set_value(std::move(value)); }));
        return promise.get_future().get();
    }
    static Result<MessageId> accept(Store& store, NewMessage message) {
        return await<Result<MessageId>>(
            [&](auto reply) { store.accept(std::move(message), std::move(reply)); });
    }
    static Result<std::vector<StoredMessage>> find(Store& store, QueueFilter filter = {}) {
        return await<Result<std::vector<StoredMessage>>>(
            [&](auto reply) { store.find(filter, std::move(reply)); });
    }

    std::string dir_;
    testing::NullLog log_;
    SystemClock clock_;
    SystemRandom random_;
    std::mutex mutex_;
    std::vector<StoredMessage> told_;
};

TEST_F(Engine, KeepsAMessageOverARestart) {
    NewMessage message = message_to(1, {"bob@example.com"}, "hello\r\n");
    {
        auto store = open();
        EXPECT_EQ(accept(*store, message).value(), message.id);
        ASSERT_EQ(told_.size(), 1U);
        EXPECT_EQ(*told_[0].body.octets, "hello\r\n");
    }
    auto store = open();
    EXPECT_EQ(store->opened().newest, message.id);
    EXPECT_TRUE(store->opened().warnings.empty()) << store->opened().warnings.front();
    const auto found = find(*store).value();
    ASSERT_EQ(found.size(), 1U);
    EXPECT_EQ(found[0].recipients[0].address.recipient.path.text(), "bob@example.com");
    EXPECT_EQ(found[0].origin, message.origin);
    const auto body =
        await<Result<std::string>>([&](auto reply) { store->read_body(found[0], 0, 100, std::move(reply)); });
    EXPECT_EQ(body.value(), "hello\r\n");
}

TEST_F(Engine, StreamsALargeBodyToAFileOfItsOwn) {
    auto store = open();
    auto sink = store->new_body(1'000'000);
    const std::string line(999, 'x');
    for (int i = 0; i < 200; ++i) ASSERT_TRUE(sink->write(line + '\n'));
    NewMessage message = message_to(1, {"bob@example.com"}, "");
    message.body = sink->finish().value();
    sink.reset();
    EXPECT_FALSE(message.body.file.empty());
    ASSERT_TRUE(accept(*store, message));
    const auto found = find(*store).value();
    const auto part = await<Result<std::string>>(
        [&](auto reply) { store->read_body(found.at(0), 199'990, 100, std::move(reply)); });
    EXPECT_EQ(part.value(), "xxxxxxxxx\n");
    const auto results = testing::sent(message);
    const auto recorded =
        await<Result<void>>([&](auto reply) { store->record(results, {}, std::move(reply)); });
    ASSERT_TRUE(recorded);
    EXPECT_TRUE(find(*store).value().empty());
    store->stop();
    EXPECT_TRUE(std::filesystem::is_empty(dir_ + "/bodies"));
}

TEST_F(Engine, RefusesTheSecondAcceptOfASubmission) {
    auto store = open();
    NewMessage first = message_to(1, {"bob@example.com"}, "x");
    first.submission = SubmissionId::make(random_);
    NewMessage second = first;
    second.id = MessageId{2};
    ASSERT_TRUE(accept(*store, first));
    const auto refused = accept(*store, second);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, Errc::duplicate);
    EXPECT_EQ(refused.error().text, first.id.text());
}

TEST_F(Engine, RefusesASecondDaemon) {
    auto store = open();
    auto second = SqliteStore::open(dir_, Options(), log_, clock_, random_, nullptr);
    ASSERT_FALSE(second);
    EXPECT_EQ(second.error().code, Errc::busy);
    EXPECT_NE(second.error().text.find(dir_), std::string::npos);
}

TEST_F(Engine, AnswersClosedAfterStop) {
    auto store = open();
    store->stop();
    EXPECT_EQ(accept(*store, message_to(1, {"bob@example.com"}, "x")).error().code, Errc::closed);
    EXPECT_EQ(find(*store).error().code, Errc::closed);
}

TEST_F(Engine, RefusesASchemaOfALaterRelease) {
    open().reset();
    {
        auto database = Database::open({dir_ + "/queue.db", ""}, Access::write);
        (*database)->run("PRAGMA user_version = 99");
    }
    auto store = SqliteStore::open(dir_, Options(), log_, clock_, random_, nullptr);
    ASSERT_FALSE(store);
    EXPECT_EQ(store.error().code, Errc::newer_schema);
    EXPECT_NE(store.error().text.find("later release"), std::string::npos);
}

// What the administrator's command sees after a kill -9: a copy of the folder taken while the daemon runs
// stands for it.
TEST_F(Engine, IsReadWhileNoDaemonRuns) {
    auto store = open();
    const NewMessage first = message_to(1, {"bob@example.com", "carol@example.net"}, "first");
    const NewMessage second = message_to(2, {"dave@example.com"}, "second");
    const NewMessage third = message_to(3, {"erin@example.org"}, "third");
    ASSERT_TRUE(accept(*store, first));
    ASSERT_TRUE(accept(*store, second));
    ASSERT_EQ(find(*store).value().size(), 2U);  // now in the index
    ASSERT_TRUE(accept(*store, third));
    auto results = testing::results_for(first, RecipientState::queued);
    results[0].state = RecipientState::sent;
    results[1].tries = 4;
    for (const auto& more : testing::sent(second)) results.push_back(more);
    ASSERT_TRUE(await<Result<void>>([&](auto reply) { store->record(results, {}, std::move(reply)); }));
    const std::string copy = dir_ + "-copy";
    std::filesystem::copy(dir_, copy, std::filesystem::copy_options::recursive);
    for (const bool lost : {false, true}) {
        SCOPED_TRACE(lost);
        if (lost)
            for (const char* name : {"/queue.db", "/queue.db-wal", "/queue.db-shm"})
                std::filesystem::remove(copy + name);
        auto offline = Offline::open(copy).value();
        EXPECT_EQ(offline->warnings().size(), lost ? 1U : 0U);
        const auto found = offline->find({}).value();
        ASSERT_EQ(found.size(), 2U);
        EXPECT_EQ(found[0].id, first.id);
        EXPECT_EQ(found[0].recipients[0].state, RecipientState::sent);
        EXPECT_EQ(found[0].recipients[1].tries, 4U);
        EXPECT_EQ(found[1].id, third.id);
        EXPECT_EQ(offline->read_body(found[1], 1, 100).value(), "hird");
        const auto totals = offline->totals().value();
        EXPECT_EQ(totals.messages, 2U);
        EXPECT_EQ(totals.recipients, 2U);
        EXPECT_EQ(totals.octets, 10U);
        QueueFilter filter;
        filter.domain = "example.com";
        EXPECT_TRUE(offline->find(filter).value().empty());
        filter.domain = "example.net";
        EXPECT_EQ(offline->find(filter).value().size(), 1U);
    }
    std::filesystem::remove_all(copy);
    EXPECT_EQ(Offline::open(copy).error().code, Errc::not_found);
}

TEST_F(Engine, AnswersManyThreadsAtOnce) {
    auto store = open();
    std::vector<std::thread> threads;
    std::atomic<int> accepted = 0;
    for (std::uint64_t t = 0; t < 4; ++t)
        threads.emplace_back([&, t] {
            for (std::uint64_t i = 1; i <= 50; ++i) {
                auto sink = store->new_body(100'000);
                const NewMessage plan = message_to(t * 1000 + i, {"bob@example.com"}, "");
                NewMessage message = plan;
                if (!sink->write(std::string(i % 10 == 0 ? 70'000 : 2000, 'x'))) continue;
                message.body = sink->finish().value();
                sink.reset();
                if (accept(*store, message)) ++accepted;
                const auto results = testing::sent(plan);
                if (i % 2 == 1) continue;
                EXPECT_TRUE(
                    await<Result<void>>([&](auto reply) { store->record(results, {}, std::move(reply)); }));
            }
        });
    for (auto& thread : threads) thread.join();
    EXPECT_EQ(accepted, 200);
    EXPECT_EQ(find(*store).value().size(), 100U);
    EXPECT_EQ(told_.size(), 200U);
}

TEST_F(Engine, KeepsPoliciesHopsAndActs) {
    auto store = open();
    const NewMessage message = message_to(7, {"bob@example.com", "carol@example.net"}, "x");
    ASSERT_TRUE(accept(*store, message));
    StoredPolicy policy{"example.com", "1", "version: STSv1\r\n", {}, WallTime(std::chrono::seconds(9)), {},
                        "ab"};
    ASSERT_TRUE(await<Result<void>>([&](auto reply) { store->put_policy(policy, std::move(reply)); }));
    store->record_hop({"example.com", {}, WallTime(std::chrono::seconds(60)), 3, "4.4.1", "refused"});
    ASSERT_TRUE(await<Result<void>>([&](auto reply) {
        store->act({{ActKind::hold, message.id, {}, "root"}}, std::move(reply));
    }));
    store.reset();
    store = open();
    EXPECT_EQ(
        await<Result<std::vector<StoredPolicy>>>([&](auto r) { store->policies(std::move(r)); }).value(),
        std::vector{policy});
    const auto hops =
        await<Result<std::vector<HopState>>>([&](auto r) { store->hops(std::move(r)); }).value();
    ASSERT_EQ(hops.size(), 1U);
    EXPECT_EQ(hops[0].failures, 3U);
    QueueFilter filter;
    filter.domain = "example.net";
    const auto found = find(*store, filter).value();
    ASSERT_EQ(found.size(), 1U);
    EXPECT_TRUE(found[0].held);
    const auto totals = await<Result<QueueTotals>>([&](auto r) { store->totals(std::move(r)); }).value();
    EXPECT_EQ(totals.messages, 1U);
    EXPECT_EQ(totals.recipients, 2U);
}

}  // namespace
}  // namespace sternpost::store::sqlite
