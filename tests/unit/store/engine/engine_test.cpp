#include "store/engine/engine.h"

#include <gtest/gtest.h>

#include <atomic>
#include <filesystem>
#include <future>
#include <mutex>
#include <set>
#include <thread>
#include <tuple>
#include <type_traits>

#include "store/alarms.h"
#include "store/engine/offline.h"
#include "unit/store/store_testing.h"

namespace sternpost::store::engine {
namespace {

// The name, size and time of each file.
std::set<std::tuple<std::string, std::uintmax_t, std::filesystem::file_time_type>> files_in(
    const std::string& folder) {
    std::set<std::tuple<std::string, std::uintmax_t, std::filesystem::file_time_type>> out;
    std::error_code gone;  // a file that goes meanwhile makes a difference, too
    for (const auto& entry : std::filesystem::recursive_directory_iterator(folder))
        if (entry.is_regular_file(gone))
            out.emplace(entry.path().string(), entry.file_size(gone), entry.last_write_time(gone));
    return out;
}

// As a kill would leave it: the store's threads may write while it is copied, and then it is copied again.
void copy_of_one_moment(const std::string& folder, const std::string& copy) {
    for (int tries = 0; tries < 100; ++tries) {
        std::filesystem::remove_all(copy);
        const auto before = files_in(folder);
        std::error_code failed;
        std::filesystem::copy(folder, copy, std::filesystem::copy_options::recursive, failed);
        if (!failed && files_in(folder) == before) return;
    }
    FAIL() << "the store never comes to rest";
}

using testing::message_to;

// The tables of the first release, as they stand on disks out there, with something in them.
constexpr const char* first_schema = R"sql(
CREATE TABLE position (
    only INTEGER PRIMARY KEY CHECK (only = 1),
    segment INTEGER NOT NULL,
    offset INTEGER NOT NULL,
    sequence INTEGER NOT NULL,
    newest_message INTEGER NOT NULL,
    complete INTEGER NOT NULL
);
INSERT INTO position VALUES (1, 0, 0, 1, 0, 0);

CREATE TABLE segment (
    id INTEGER PRIMARY KEY,
    messages INTEGER NOT NULL,
    recipients INTEGER NOT NULL,
    octets INTEGER NOT NULL,
    min_message INTEGER NOT NULL,
    max_message INTEGER NOT NULL
);

CREATE TABLE message (
    id INTEGER PRIMARY KEY,
    segment INTEGER NOT NULL,
    offset INTEGER NOT NULL,
    size INTEGER NOT NULL,
    unfinished INTEGER NOT NULL,
    held INTEGER NOT NULL,
    damaged INTEGER NOT NULL,
    file TEXT NOT NULL,
    reverse_path TEXT NOT NULL,
    head BLOB NOT NULL
);
CREATE INDEX message_by_file ON message (file) WHERE file <> '';

CREATE TABLE recipient (
    message INTEGER NOT NULL,
    n INTEGER NOT NULL,
    hop INTEGER NOT NULL,
    state INTEGER NOT NULL,
    next_at INTEGER NOT NULL,
    tries INTEGER NOT NULL,
    forward_path TEXT NOT NULL,
    notify INTEGER NOT NULL,
    orcpt TEXT NOT NULL,
    status TEXT NOT NULL,
    text TEXT NOT NULL,
    PRIMARY KEY (message, n)
) WITHOUT ROWID;
CREATE INDEX recipient_by_hop ON recipient (hop, message);

CREATE TABLE hop (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    at INTEGER NOT NULL DEFAULT 0,
    next_at INTEGER NOT NULL DEFAULT 0,
    failures INTEGER NOT NULL DEFAULT 0,
    status TEXT NOT NULL DEFAULT '',
    text TEXT NOT NULL DEFAULT ''
);

CREATE TABLE submission (
    id BLOB PRIMARY KEY,
    message INTEGER NOT NULL,
    at INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX submission_by_time ON submission (at);

CREATE TABLE policy_text (
    id INTEGER PRIMARY KEY,
    hash INTEGER NOT NULL,
    text BLOB NOT NULL
);
CREATE INDEX policy_text_by_hash ON policy_text (hash);
CREATE TABLE policy (
    domain TEXT PRIMARY KEY,
    id TEXT NOT NULL,
    text INTEGER NOT NULL,
    fetched INTEGER NOT NULL,
    expires INTEGER NOT NULL,
    checked INTEGER NOT NULL,
    fingerprint TEXT NOT NULL
) WITHOUT ROWID;
)sql";

class Engine : public ::testing::Test {
  protected:
    void SetUp() override {
        std::string pattern = ::testing::TempDir() + "sternpost-store-XXXXXX";
        dir_ = mkdtemp(pattern.data());
    }
    void TearDown() override { std::filesystem::remove_all(dir_); }

    std::unique_ptr<SqliteStore> open() {
        Events events;
        events.accepted = [this](std::vector<StoredMessage> news) {
            const std::lock_guard guard(mutex_);
            for (auto& message : news) told_.push_back(std::move(message));
        };
        auto store = SqliteStore::open(dir_, Options(), log_, clock_, random_, std::move(events));
        if (!store) ADD_FAILURE() << store.error().text;
        return store ? std::move(*store) : nullptr;
    }
    // Calls `start(reply)` and waits for the answer.
    template <class T, class Start>
    static T await(Start start) {
        std::promise<T> promise;
        start(Completion<T>([&](T value) { promise.set_value(std::move(value)); }));
        return promise.get_future().get();
    }
    static Result<MessageId> accept(Store& store, NewMessage message) {
        return await<Result<MessageId>>(
            [&](auto reply) { store.accept(std::move(message), std::move(reply)); });
    }
    static std::vector<HopState> failing(Store& store) {
        std::vector<HopState> out;
        auto hops = testing::asked(store, [](Questions& questions) { return questions.hops({}); }).value();
        for (auto& hop : hops)
            if (hop.state.failures > 0) out.push_back(std::move(hop.state));
        return out;
    }
    static Result<std::vector<StoredMessage>> find(Store& store, QueueFilter filter = {}) {
        return testing::asked(store, [&](Questions& questions) { return questions.find(filter); });
    }

    std::string dir_;
    testing::NullLog log_;
    SystemClock machine_clock_;
    TrustedClock clock_{machine_clock_};
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
    EXPECT_TRUE(has_file(message.body));
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
    auto second = SqliteStore::open(dir_, Options(), log_, clock_, random_, {});
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
        auto database = sqlite::Database::open({dir_ + "/queue.db", ""}, sqlite::Access::write);
        (*database)->run("PRAGMA user_version = 99");
    }
    auto store = SqliteStore::open(dir_, Options(), log_, clock_, random_, {});
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
    copy_of_one_moment(dir_, copy);
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
    ASSERT_TRUE(await<Result<void>>([&](auto reply) { store->keep(policy, std::move(reply)); }));
    store->keep(
        HopState{"example.com", {}, WallTime(std::chrono::seconds(60)), 3, "4.4.1", "refused", {}, {}});
    ASSERT_TRUE(await<Result<void>>([&](auto reply) {
        store->act({{ActKind::hold, message.id, {}, "root"}}, std::move(reply));
    }));
    store.reset();
    store = open();
    EXPECT_EQ(testing::asked(*store, [](Questions& questions) { return questions.policies(); }).value(),
              std::vector{policy});
    const auto hops = failing(*store);
    ASSERT_EQ(hops.size(), 1U);
    EXPECT_EQ(hops[0].failures, 3U);
    QueueFilter filter;
    filter.domain = "example.net";
    const auto found = find(*store, filter).value();
    ASSERT_EQ(found.size(), 1U);
    EXPECT_TRUE(found[0].held);
    const auto totals =
        testing::asked(*store, [](Questions& questions) { return questions.totals(); }).value();
    EXPECT_EQ(totals.messages, 1U);
    EXPECT_EQ(totals.recipients, 2U);
}

TEST_F(Engine, BringsAnIndexOfTheFirstReleaseUpToDate) {
    const NewMessage message = message_to(7, {"bob@example.com"}, "x");
    {
        auto store = open();
        ASSERT_TRUE(accept(*store, message));
    }
    std::filesystem::remove(dir_ + "/queue.db");
    {
        // As the first release leaves it: the message from the journal, a policy, a next hop that waits.
        auto database = sqlite::Database::open({dir_ + "/queue.db", ""}, sqlite::Access::write).value();
        ASSERT_TRUE(database->transaction([&] {
            database->run(first_schema);
            database->run("PRAGMA application_id = 0x53505131");
            database->run("PRAGMA user_version = 1");
            database->run("UPDATE position SET complete = 1");
            database->run("INSERT INTO policy_text VALUES (3, 0, x'414243')");
            database->run(
                "INSERT INTO policy VALUES ('example.com', '1', 3, 1000000, 5000000, 2000000, 'ab')");
            database->run("INSERT INTO hop VALUES (1, 'example.com', 1, 60000000, 3, '4.4.1', 'refused')");
        }));
    }
    auto store = open();
    ASSERT_TRUE(store);
    EXPECT_EQ(find(*store).value().size(), 1U);
    const auto versions =
        testing::asked(*store, [](Questions& questions) { return questions.versions("example.com"); });
    const PolicyVersion version{"1", "ABC", "ab", WallTime(std::chrono::seconds(1)),
                                WallTime(std::chrono::seconds(2))};
    EXPECT_EQ(versions.value(), std::vector{version});
    const auto hops = failing(*store);
    ASSERT_EQ(hops.size(), 1U);
    EXPECT_EQ(hops[0].text, "refused");
    EXPECT_TRUE(hops[0].detail.hosts.empty());
}

// Discoveries, overrides, suspensions and alarms had a table each before they shared one.
TEST_F(Engine, BringsWhatHadATableOfItsOwnAlong) {
    const auto second = [](int n) { return WallTime(std::chrono::seconds(n)); };
    const StoredDiscovery discovery{"example.com", second(1), "id1", second(2), second(3)};
    const StoredOverride override{"mx:.example.net", "may", "they asked", "root", second(4), second(5)};
    const StoredSuspension sender{SuspensionKind::sender, "uid=33", "spam", "uid 0", second(6), false};
    const StoredSuspension hop{SuspensionKind::next_hop, ".example.org", "moves", "uid 0", second(7), false};
    const StoredAlarm alarm{"policy-vanished", "example.com", "gone", second(8), second(9), 3};
    open().reset();
    {
        auto database = sqlite::Database::open({dir_ + "/queue.db", ""}, sqlite::Access::write).value();
        ASSERT_TRUE(database->transaction([&] {
            database->run("DROP TABLE kept; DROP TABLE mail_count");
            database->run(
                "CREATE TABLE discovery (domain TEXT PRIMARY KEY, unknown_since, failed_id, failed_at, "
                "mailed);"
                "CREATE TABLE override (scope TEXT PRIMARY KEY, level, reason, author, set_at, expires);"
                "CREATE TABLE alarm (kind, subject, text, first, last, count);"
                "CREATE TABLE suspension (kind, scope, reason, author, set_at);"
                "INSERT INTO discovery VALUES ('example.com', 1000000, 'id1', 2000000, 3000000);"
                "INSERT INTO override VALUES ('mx:.example.net', 'may', 'they asked', 'root', 4000000, "
                "5000000);"
                "INSERT INTO alarm VALUES ('policy-vanished', 'example.com', 'gone', 8000000, 9000000, 3);"
                "INSERT INTO suspension VALUES (1, 'uid=33', 'spam', 'uid 0', 6000000);"
                "INSERT INTO suspension VALUES (0, '.example.org', 'moves', 'uid 0', 7000000);");
            database->run("PRAGMA user_version = 7");
        }));
    }
    auto store = open();
    ASSERT_TRUE(store);
    testing::asked(*store, [&](Questions& questions) -> Result<void> {
        EXPECT_EQ(questions.all<StoredDiscovery>().value(), std::vector{discovery});
        EXPECT_EQ(questions.all<StoredOverride>().value(), std::vector{override});
        EXPECT_EQ(questions.all<StoredSuspension>().value(), (std::vector{hop, sender}));
        EXPECT_EQ(questions.all<StoredAlarm>().value(), std::vector{alarm});
        return {};
    });
}

// What policy, reports and the administrator need, asked of the daemon, of the files it leaves when it is
// killed (half of it in the index, half beyond it), and of the next daemon.
class Knowledge : public Engine {
  protected:
    const WallTime now = std::chrono::time_point_cast<std::chrono::microseconds>(SystemClock().wall());
    const NewMessage one = [this] {
        auto message = message_to(7, {"bob@example.com", "carol@example.net"}, "x");
        message.arrived = now;
        return message;
    }();

    // Everything before `half` is in the index for sure.
    void fill(SqliteStore& store) {
        ASSERT_TRUE(accept(store, one));
        policy(store, "1", "version: STSv1\nmode: testing\n");
        record(store, 0, RecipientState::queued);
        store.keep(
            HopState{"example.com",
                     now,
                     now + std::chrono::minutes(5),
                     1,
                     "4.7.5",
                     "no host would do",
                     store::ReasonCode::sts_mx_not_listed,
                     {{"mx9.example.com: not in the policy"}, "", {}, "mx9.example.com", "421 later"}});
        put(store, {"example.org", "may", "they asked", "root", now, {}});
        put(store, {".example.net", "encrypt", "", "root", now, now + std::chrono::hours(1)});
        store.keep(StoredAlarm{"policy-vanished", "example.com", "gone", {}, now, 0});
        store.keep(StoredDiscovery{"example.com", now, "", {}, now});
        ASSERT_TRUE(find(store));
        record(store, 0, RecipientState::sent);
        record(store, 1, RecipientState::bounced);
        policy(store, "2", "version: STSv1\nmode: enforce\n");
        put(store, {"example.org", "", "", "root", now, {}});
        store.keep(
            StoredAlarm{"policy-vanished", "example.com", "still gone", {}, now + std::chrono::hours(1), 2});
        store.keep(StoredDiscovery{"example.com", {}, "2", now, now});
        policy(store, "2", "version: STSv1\nmode: enforce\n");
    }
    static void put(SqliteStore& store, const StoredOverride& value) {
        ASSERT_TRUE(await<Result<void>>([&](auto r) { store.keep(value, std::move(r)); }));
    }
    void policy(SqliteStore& store, const std::string& id, const std::string& text) const {
        const StoredPolicy value{"example.com", id, text, now, now + std::chrono::hours(1), now, "ab"};
        ASSERT_TRUE(await<Result<void>>([&](auto r) { store.keep(value, std::move(r)); }));
    }
    void record(SqliteStore& store, std::uint32_t recipient, RecipientState state) const {
        DeliveryResult result;
        result.message = one.id;
        result.recipient = recipient;
        result.state = state;
        result.at = now;
        result.text = "what happened";
        result.detail.hosts = {"mx1.example.com: tried"};
        auto sts = testing::outcome_with("mx1.example.com", now);
        sts.policy_type = PolicyType::sts;
        sts.policy_text = "version: STSv1\n";
        auto dane = testing::outcome_with("mx1.example.com", now);
        dane.policy_type = PolicyType::tlsa;
        result.detail.outcomes = {sts, dane};
        ASSERT_TRUE(await<Result<void>>([&](auto r) { store.record({result}, {}, std::move(r)); }));
    }

    void expect_all(Questions& ask) const {
        const auto versions = ask.versions("example.com").value();
        ASSERT_EQ(versions.size(), 2U);
        EXPECT_EQ(versions[0].id, "1");
        EXPECT_EQ(versions[1].text, "version: STSv1\nmode: enforce\n");
        EXPECT_TRUE(ask.versions("example.net").value().empty());
        const StoredDiscovery discovery{"example.com", {}, "2", now, now};
        EXPECT_EQ(ask.all<StoredDiscovery>().value(), std::vector{discovery});
        const StoredOverride override{".example.net", "encrypt", "",
                                      "root",         now,       now + std::chrono::hours(1)};
        EXPECT_EQ(ask.all<StoredOverride>().value(), std::vector{override});
        const StoredAlarm alarm{
            "policy-vanished", "example.com", "still gone", now, now + std::chrono::hours(1), 3};
        EXPECT_EQ(alarms_since(ask, now).value(), std::vector{alarm});
        EXPECT_TRUE(alarms_since(ask, now + std::chrono::hours(2)).value().empty());
        const StoredHost host{"mx1.example.com", 3, now, {}, now};
        EXPECT_EQ(ask.hosts_seen().value(), std::vector{host});
        const auto day = std::chrono::floor<std::chrono::days>(now);
        const auto outcomes = ask.outcomes(OutcomeFilter{day, day, "example.com"}).value();
        ASSERT_EQ(outcomes.size(), 2U);
        for (const auto& [outcome, n, counted_on] : outcomes) {
            EXPECT_EQ(counted_on, day);
            EXPECT_EQ(n, 3U);
            EXPECT_EQ(outcome.at, now);
            EXPECT_EQ(outcome.policy_domain, "example.com");
            EXPECT_EQ(outcome.policy_text, outcome.policy_type == PolicyType::sts ? "version: STSv1\n" : "");
        }
        EXPECT_EQ(ask.outcomes({}).value(), outcomes);
        EXPECT_TRUE(ask.outcomes(OutcomeFilter{day, day, "example.net"}).value().empty());
        EXPECT_TRUE(ask.outcomes(OutcomeFilter{{}, day - std::chrono::days(1), ""}).value().empty());
        HistoryFilter filter;
        filter.id = one.id.text();
        expect_whole(ask.history(filter).value(), 4);
        filter.id.clear();
        filter.next_hop = "example.net";
        expect_whole(ask.history(filter).value(), 1);
        filter.next_hop = "example.com";
        expect_whole(ask.history(filter).value(), 3);
        filter.next_hop.clear();
        expect_whole(ask.history(filter).value(), 3);
        filter.limit = filter.entry_limit = 1;
        expect_whole(ask.history(filter).value(), 1);
        filter.next_hop = "example.org";
        EXPECT_TRUE(ask.history(filter).value().messages.empty());
        filter.id = "nonsense";
        EXPECT_TRUE(ask.history(filter).value().messages.empty());
    }
    void expect_whole(const History& history, std::size_t entries) const {
        ASSERT_EQ(history.messages.size(), 1U);
        const auto& message = history.messages[0];
        EXPECT_EQ(message.id, one.id);
        EXPECT_EQ(message.arrived, now);
        ASSERT_EQ(message.recipients.size(), 2U);
        EXPECT_EQ(message.recipients[0].address.recipient.path.text(), "bob@example.com");
        EXPECT_EQ(message.recipients[0].state, RecipientState::sent);
        EXPECT_EQ(message.recipients[1].state, RecipientState::bounced);
        EXPECT_EQ(message.recipients[1].text, "what happened");
        ASSERT_EQ(history.entries.size(), entries);
        for (const auto& entry : history.entries) {
            EXPECT_EQ(entry.at, now);
            if (const auto* hop = std::get_if<HopState>(&entry.what))
                EXPECT_EQ(hop->detail.hosts, std::vector<std::string>{"mx9.example.com: not in the policy"});
            else
                EXPECT_EQ(std::get<DeliveryResult>(entry.what).detail.hosts.size(), 1U);
        }
    }
    void expect_all_of(SqliteStore& store) const {
        const auto look = [this](Questions& questions) {
            expect_all(questions);
            return Result<void>();
        };
        EXPECT_TRUE(testing::asked(store, look));
    }
};

TEST_F(Knowledge, IsTheSameWhoeverAnswers) {
    auto store = open();
    fill(*store);
    const std::string copy = dir_ + "-copy";
    copy_of_one_moment(dir_, copy);
    {
        SCOPED_TRACE("the daemon");
        expect_all_of(*store);
    }
    for (const bool lost : {false, true}) {
        SCOPED_TRACE(lost ? "the journal alone" : "the killed daemon's files");
        if (lost)
            for (const char* name : {"/queue.db", "/queue.db-wal", "/queue.db-shm", "/history"})
                std::filesystem::remove_all(copy + name);
        auto offline = Offline::open(copy).value();
        expect_all(*offline);
    }
    std::filesystem::remove_all(copy);
    store.reset();
    store = open();
    SCOPED_TRACE("the next daemon");
    expect_all_of(*store);
}

// For `why` while nothing can be sent there.
TEST_F(Knowledge, OfABlockedNextHopSaysWhichHostsWereTried) {
    auto store = open();
    fill(*store);
    const auto hops = failing(*store);
    ASSERT_EQ(hops.size(), 1U);
    EXPECT_EQ(hops[0].reason_code, store::ReasonCode::sts_mx_not_listed);
    EXPECT_EQ(hops[0].detail.hosts, std::vector<std::string>{"mx9.example.com: not in the policy"});
}

TEST_F(Knowledge, OfHistoryCanBeSwitchedOff) {
    Options options;
    options.spool.follower.history_days = std::chrono::days(0);
    auto store = SqliteStore::open(dir_, options, log_, clock_, random_, {}).value();
    fill(*store);
    store->stop();
    EXPECT_FALSE(std::filesystem::exists(dir_ + "/history"));
}

}  // namespace
}  // namespace sternpost::store::engine
