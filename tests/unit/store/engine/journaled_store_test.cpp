// The store over a disk whose power goes at every operation in turn: what was acknowledged is there, nothing
// else is.
#include "store/engine/journaled_store.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "fake/disk_vfs.h"
#include "fake/sim_disk.h"
#include "store/engine/layout.h"
#include "store/journal/codec.h"
#include "store/journal/replay.h"
#include "store/sqlite/database.h"
#include "store/sqlite/history.h"
#include "store/sqlite/reader.h"
#include "unit/store/store_testing.h"
#include "util/crc32c.h"

namespace sternpost::store::engine {
namespace {

using testing::message_to;

constexpr const char* spool_vfs = "spool-test";

JournaledStoreOptions small_options() {
    JournaledStoreOptions options;
    options.journal.segment_octets = 12UL * 1024;
    options.follower.checkpoint_pages = 12;
    options.follower.idle_segments = 1;
    options.write_ahead = true;
    return options;
}

// What the world was told, and what it only asked for.
struct Ledger {
    std::map<std::uint64_t, NewMessage> submitted;
    std::set<std::uint64_t> accepted;
    std::map<std::pair<std::uint64_t, std::uint32_t>, RecipientState> asked;     // results
    std::map<std::pair<std::uint64_t, std::uint32_t>, RecipientState> recorded;  // … that were acknowledged
    std::set<std::string> policies;
    std::uint64_t sessions_asked = 0;  // TLS outcomes, each with a result
    std::uint64_t sessions_recorded = 0;
};

// One machine: a disk, and what runs on it until the power goes.
class Machine {
  public:
    explicit Machine(std::uint64_t seed) : random_(seed) {}

    fake::SimDisk& disk() { return disk_; }
    JournaledStore& spool() { return *spool_; }
    Random& random() { return random_; }
    const std::string& died() const { return died_; }
    testing::FixedClock& clock() { return clock_; }

    Result<void> start(JournaledStoreOptions options = small_options()) {
        stop();
        vfs_ = std::make_unique<fake::DiskVfs>(spool_vfs, disk_, clock_, random_);
        JournaledStoreParts parts{disk_,   {index_name, spool_vfs},
                                  log_,    trusted_clock_.emplace(clock_),
                                  random_, [this](const std::string& why) { died_ = why; },
                                  nullptr};
        auto spool = JournaledStore::open(std::move(parts), options);
        if (!spool) return fail(std::move(spool).error());
        spool_ = std::move(*spool);
        return {};
    }
    void stop() {
        spool_.reset();
        vfs_.reset();
    }
    void crash(std::uint64_t seed) {
        stop();
        testing::SeededRandom chance(seed);
        disk_.crash(chance);
        died_.clear();
    }
    // The process goes, the machine stays: all that was written is there.
    void kill() {
        stop();
        disk_.restart();
        died_.clear();
    }
    std::vector<StoredMessage> queue() {
        spool_->apply();
        auto reader = sqlite::Reader::open({index_name, spool_vfs});
        if (!reader) {
            ADD_FAILURE() << reader.error().text;
            return {};
        }
        auto found = (*reader)->find({});
        EXPECT_TRUE(found) << found.error().text;
        const auto totals = (*reader)->totals().value();
        EXPECT_EQ(totals.messages, found->size());
        std::uint64_t recipients = 0;
        std::uint64_t octets = 0;
        for (const auto& message : *found) {
            octets += message.body.size;
            for (const auto& recipient : message.recipients)
                recipients += recipient.state == RecipientState::queued ? 1 : 0;
        }
        EXPECT_EQ(totals.recipients, recipients);
        EXPECT_EQ(totals.octets, octets);
        return *found;
    }

  private:
    fake::SimDisk disk_;
    testing::NullLog log_;
    testing::FixedClock clock_;
    std::optional<TrustedClock> trusted_clock_;  // since it was started
    testing::SeededRandom random_;
    std::unique_ptr<fake::DiskVfs> vfs_;
    std::unique_ptr<JournaledStore> spool_;
    std::string died_;
};

// Drives a JournaledStore as the engine does, and keeps the ledger.
class Driver {
  public:
    Driver(Machine& machine, Ledger& ledger) : machine_(machine), ledger_(ledger) {}

    void submit(NewMessage message) {
        const std::uint64_t id = message.id.value;
        ledger_.submitted.emplace(id, message);
        if (has_file(message.body) && !machine_.spool().bodies().make_durable(message.body)) return;
        machine_.spool().accept(
            std::move(message),
            Completion<Result<MessageId>>([&ledger = ledger_, id](const Result<MessageId>& answer) {
                if (answer) ledger.accepted.insert(id);
            }));
    }
    NewMessage large(std::uint64_t id) {
        NewMessage message = message_to(id, {"bob@example.com"}, "");
        auto sink = machine_.spool().bodies().make(1'000'000);
        for (int i = 0; i < 3; ++i)
            if (!sink->write(std::string(30'000, static_cast<char>('a' + i)))) return message;
        auto body = sink->finish();
        if (body) message.body = *body;
        return message;
    }
    void record(const NewMessage& message, std::vector<std::uint32_t> recipients, RecipientState state,
                std::vector<NewMessage> notices = {}) {
        std::vector<DeliveryResult> results;
        for (const auto n : recipients) {
            DeliveryResult result;
            result.message = message.id;
            result.recipient = n;
            result.state = state;
            result.tries = 1;
            result.at = machine_.clock().now;
            result.detail.outcomes = {
                testing::outcome_with("mx" + std::to_string(n) + ".example.com", result.at)};
            ++ledger_.sessions_asked;
            results.push_back(result);
            ledger_.asked[{message.id.value, n}] = state;
        }
        std::vector<std::uint64_t> ids;
        for (const auto& notice : notices) {
            ids.push_back(notice.id.value);
            ledger_.submitted.emplace(notice.id.value, notice);
        }
        machine_.spool().writer().record(
            std::move(results), std::move(notices),
            Completion<Result<void>>([&ledger = ledger_, message = message.id.value, recipients, state,
                                      ids](const Result<void>& answer) {
                if (!answer) return;
                for (const auto n : recipients) ledger.recorded[{message, n}] = state;
                ledger.sessions_recorded += recipients.size();
                ledger.accepted.insert(ids.begin(), ids.end());
            }));
    }
    void policy(const std::string& domain) {
        StoredPolicy policy;
        policy.domain = domain;
        policy.text = "version: STSv1\nmode: enforce\n";
        machine_.spool().writer().keep(
            policy, Completion<Result<void>>([&ledger = ledger_, domain](const Result<void>& answer) {
                if (answer) ledger.policies.insert(domain);
            }));
    }

  private:
    Machine& machine_;
    Ledger& ledger_;
};

NewMessage with_submission(NewMessage message, std::uint64_t seed) {
    testing::SeededRandom random(seed);
    message.submission = SubmissionId::make(random);
    return message;
}

// Mail comes, is delivered, deferred, bounced; segments roll, empty and go; bodies of both kinds.
void work(Machine& machine, Ledger& ledger) {
    Driver driver(machine, ledger);
    JournaledStore& spool = machine.spool();
    const NewMessage sleeper = message_to(1, {"bob@example.com", "carol@example.net"}, std::string(500, 's'));
    const NewMessage two = with_submission(message_to(2, {"bob@example.com"}, std::string(3000, '2')), 2);
    driver.submit(sleeper);
    driver.submit(two);
    spool.commit();
    driver.policy("example.com");
    driver.record(two, {0}, RecipientState::sent);
    spool.commit();
    spool.apply();
    const NewMessage big = driver.large(3);
    driver.submit(big);
    spool.commit();
    spool.apply();
    spool.maintain();
    for (std::uint64_t id = 10; id < 16; ++id) {
        const NewMessage message = with_submission(
            message_to(id, {"dave@example.org", "erin@example.com"}, std::string(3500, 'm')), id);
        driver.submit(message);
        spool.commit();
        driver.record(message, {0}, RecipientState::sent);
        driver.record(sleeper, {1}, RecipientState::queued);
        spool.commit();
        NewMessage notice =
            with_submission(message_to(100 + id, {"alice@example.org"}, std::string(400, 'n')), 100 + id);
        notice.envelope.reverse_path = mail::ReversePath();
        if (id != 12) driver.record(message, {1}, RecipientState::bounced, {notice});
        spool.commit();
        if (id % 2 == 0) spool.apply();
        driver.record(notice, {0}, RecipientState::sent);
        spool.commit();
        spool.maintain();
    }
    driver.record(big, {0}, RecipientState::sent);
    driver.record(sleeper, {1}, RecipientState::sent);
    spool.commit();
    spool.apply();
    for (int i = 0; i < 4; ++i) spool.maintain();
    spool.close();
}

// The history has every message that was accepted and every result that was recorded, each once.
void expect_told(Machine& machine, const Ledger& ledger) {
    const auto history = sqlite::read_history(machine.spool().history_place(), {}).value();
    std::set<std::uint64_t> messages;
    for (const auto& message : history.messages) {
        messages.insert(message.id.value);
        EXPECT_TRUE(ledger.submitted.contains(message.id.value)) << "invented " << message.id.value;
    }
    std::map<std::pair<std::uint64_t, std::uint32_t>, int> finals;
    for (const auto& entry : history.entries) {
        const auto& result = std::get<DeliveryResult>(entry.what);
        if (result.state == RecipientState::queued) continue;
        EXPECT_EQ((++finals[{result.message.value, result.recipient}]), 1) << result.message.value;
    }
    for (const auto id : ledger.accepted) EXPECT_TRUE(messages.contains(id)) << "not in the history: " << id;
    for (const auto& [recipient, state] : ledger.recorded) {
        if (state == RecipientState::queued || !ledger.accepted.contains(recipient.first)) continue;
        EXPECT_TRUE(finals.contains(recipient)) << "not in the history: " << recipient.first;
    }
}

// What the ledger says is what the machine has.
void expect_kept(Machine& machine, const Ledger& ledger, bool held = false) {
    std::map<std::uint64_t, StoredMessage> queue;
    for (auto& message : machine.queue()) queue.emplace(message.id.value, message);
    for (const auto& [id, message] : queue) {
        const auto submitted = ledger.submitted.find(id);
        ASSERT_NE(submitted, ledger.submitted.end()) << "invented " << id;
        EXPECT_EQ(message.held, held);
        ASSERT_EQ(message.recipients.size(), submitted->second.recipients.size());
        const auto body = read_body(machine.disk(), message.body, 0, 1'000'000);
        ASSERT_TRUE(body) << body.error().text;
        EXPECT_EQ(crc32c(*body), submitted->second.body.crc);
        for (std::uint32_t n = 0; n < message.recipients.size(); ++n) {
            const auto state = message.recipients[n].state;
            const auto recorded = ledger.recorded.find({id, n});
            if (recorded != ledger.recorded.end() && recorded->second != RecipientState::queued) {
                EXPECT_EQ(state, recorded->second) << id << '/' << n;
            } else if (state != RecipientState::queued) {
                EXPECT_TRUE(ledger.asked.contains({id, n})) << "invented result " << id << '/' << n;
            }
        }
    }
    for (const auto id : ledger.accepted) {
        const NewMessage& message = ledger.submitted.at(id);
        bool finished = true;
        bool may_be_finished = true;
        for (std::uint32_t n = 0; n < message.recipients.size(); ++n) {
            const auto recorded = ledger.recorded.find({id, n});
            const auto asked = ledger.asked.find({id, n});
            finished =
                finished && recorded != ledger.recorded.end() && recorded->second != RecipientState::queued;
            may_be_finished =
                may_be_finished && asked != ledger.asked.end() && asked->second != RecipientState::queued;
        }
        if (finished) {
            EXPECT_FALSE(queue.contains(id)) << "finished, but here again: " << id;
        } else if (!may_be_finished) {
            EXPECT_TRUE(queue.contains(id)) << "lost " << id;
        }
    }
    auto reader = sqlite::Reader::open({index_name, spool_vfs});
    expect_told(machine, ledger);
    std::set<std::string> policies;
    const auto stored = (*reader)->policies().value();
    for (const auto& policy : stored) policies.insert(policy.domain);
    if (held) return;  // the segment that held the policies may be gone
    for (const auto& domain : ledger.policies) EXPECT_TRUE(policies.contains(domain));
    for (const auto& domain : ledger.policies) EXPECT_EQ((*reader)->versions(domain).value().size(), 1U);
    std::uint64_t sessions = 0;
    std::uint64_t with_hosts = 0;
    const auto outcomes = (*reader)->outcomes({}).value();
    const auto hosts = (*reader)->hosts_seen().value();
    for (const auto& [outcome, n, day] : outcomes) sessions += n;
    for (const auto& host : hosts) with_hosts += host.tls_sessions;
    EXPECT_GE(sessions, ledger.sessions_recorded) << "a TLS outcome is lost";
    EXPECT_LE(sessions, ledger.sessions_asked) << "a TLS outcome counts twice";
    EXPECT_EQ(with_hosts, sessions);
}

// Every accepted submission is known.
void expect_known(Machine& machine, const Ledger& ledger) {
    JournaledStore& spool = machine.spool();
    for (const auto id : ledger.accepted) {
        NewMessage again = ledger.submitted.at(id);
        if (!again.submission) continue;
        again.id = MessageId{100'000 + id};
        again.body = Body::of("again");
        spool.accept(again, Completion<Result<MessageId>>([id](const Result<MessageId>& answer) {
                         ASSERT_FALSE(answer) << "doubled " << id;
                         EXPECT_EQ(answer.error().code, Errc::duplicate);
                         EXPECT_EQ(answer.error().text, MessageId{id}.text());
                     }));
    }
    spool.commit();
}

void expect_quiet(const std::vector<std::string>& warnings) {
    for (const auto& warning : warnings)
        EXPECT_NE(warning.find("never acknowledged"), std::string::npos) << warning;
}

TEST(JournaledStore, LosesNothingWhereverThePowerGoes) {
    std::uint64_t operations = 0;
    {
        Machine machine(1);
        Ledger ledger;
        ASSERT_TRUE(machine.start());
        std::vector<std::string> trace;
        machine.disk().trace(&trace);
        work(machine, ledger);
        machine.disk().trace(nullptr);
        EXPECT_TRUE(std::any_of(trace.begin(), trace.end(), [](const std::string& done) {
            return done.starts_with("rename") && done.ends_with(".spare");
        })) << "the work should see a segment's file used again";
        operations = machine.disk().operations();
        EXPECT_FALSE(machine.disk().exists("journal/00000002.seg").value())
            << "the work should see segments go";
        EXPECT_TRUE(machine.disk().exists("journal/00000001.done").value());
        expect_kept(machine, ledger);
    }
    ASSERT_GT(operations, 100U);
    for (std::uint64_t cut = 0; cut < operations; ++cut) {
        SCOPED_TRACE(cut);
        Machine machine(1);
        Ledger ledger;
        machine.disk().stop_before(cut);
        if (machine.start()) work(machine, ledger);
        machine.crash(cut);
        // The power goes again, somewhere in the recovery.
        machine.disk().stop_before(machine.disk().operations() + cut % 7);
        [[maybe_unused]] const auto interrupted = machine.start();
        machine.crash(cut + 1);
        const auto started = machine.start();
        ASSERT_TRUE(started) << started.error().text;
        expect_quiet(machine.spool().opened().warnings);
        expect_kept(machine, ledger);
        expect_known(machine, ledger);
        const MessageId newest{ledger.accepted.empty() ? 0 : *ledger.accepted.rbegin()};
        EXPECT_GE(machine.spool().opened().newest, newest);
        // … and it works on.
        Driver(machine, ledger).submit(message_to(9000, {"bob@example.com"}, "after"));
        machine.spool().commit();
        EXPECT_TRUE(ledger.accepted.contains(9000));
        machine.spool().close();
        ASSERT_TRUE(machine.start());
        expect_quiet(machine.spool().opened().warnings);
        expect_kept(machine, ledger);
        if (::testing::Test::HasFailure()) return;
    }
}

TEST(JournaledStore, LosesNothingWhereverTheProcessIsKilled) {
    std::uint64_t operations = 0;
    {
        Machine machine(1);
        Ledger ledger;
        ASSERT_TRUE(machine.start());
        work(machine, ledger);
        operations = machine.disk().operations();
    }
    for (std::uint64_t cut = 0; cut < operations; ++cut) {
        SCOPED_TRACE(cut);
        Machine machine(1);
        Ledger ledger;
        machine.disk().stop_before(cut);
        if (machine.start()) work(machine, ledger);
        machine.kill();
        machine.disk().stop_before(machine.disk().operations() + cut % 7);
        [[maybe_unused]] const auto interrupted = machine.start();
        machine.kill();
        const auto started = machine.start();
        ASSERT_TRUE(started) << started.error().text;
        EXPECT_TRUE(machine.spool().opened().warnings.empty())
            << ::testing::PrintToString(machine.spool().opened().warnings);
        expect_kept(machine, ledger);
        expect_known(machine, ledger);
        machine.spool().close();
        ASSERT_TRUE(machine.start());
        expect_kept(machine, ledger);
        if (::testing::Test::HasFailure()) return;
    }
}

// What a sender hears of a message that he submits twice is as good as a 250: the first one is safe then.
TEST(JournaledStore, CallsNothingADuplicateOfWhatIsNotOnStableStorage) {
    const auto submit = [](Machine& machine, bool& answered, bool& doubled) {
        const auto give = [&](std::uint64_t id) {
            machine.spool().accept(with_submission(message_to(id, {"bob@example.com"}, "x"), 1),
                                   Completion<Result<MessageId>>([&](const Result<MessageId>& answer) {
                                       answered = true;
                                       doubled =
                                           doubled || (!answer && answer.error().code == Errc::duplicate);
                                   }));
        };
        give(1);
        give(2);
        EXPECT_FALSE(answered) << "nothing is written yet";
        machine.spool().commit();
    };
    std::uint64_t operations = 0;
    for (std::uint64_t cut = 0; cut <= operations; ++cut) {
        SCOPED_TRACE(cut);
        Machine machine(25);
        ASSERT_TRUE(machine.start());
        const std::uint64_t before = machine.disk().operations();
        bool answered = false;
        bool doubled = false;
        if (operations != 0) machine.disk().stop_before(before + cut - 1);
        submit(machine, answered, doubled);
        if (operations == 0) {
            operations = machine.disk().operations() - before;
            ASSERT_GE(operations, 2U);
            EXPECT_TRUE(doubled);
        }
        machine.crash(cut);
        ASSERT_TRUE(machine.start());
        if (doubled) {
            ASSERT_EQ(machine.queue().size(), 1U);
            EXPECT_EQ(machine.queue()[0].id, MessageId{1});
        }
    }
    Machine full(26);
    JournaledStoreOptions options = small_options();
    options.min_free = 0;
    options.write_ahead = false;
    ASSERT_TRUE(full.start(options));
    full.disk().set_room(0);
    bool answered = false;
    bool doubled = false;
    submit(full, answered, doubled);
    EXPECT_TRUE(answered);
    EXPECT_FALSE(doubled) << "the one that it doubles is not kept";
}

// What comes at once may need several batches. The disk is full for the first, and not for what doubles it.
TEST(JournaledStore, CallsNothingADuplicateOfWhatAnEarlierBatchCouldNotKeep) {
    Machine machine(28);
    JournaledStoreOptions options = small_options();
    options.min_free = 0;
    options.write_ahead = false;
    options.journal.segment_octets = 8UL * 1024 * 1024;
    ASSERT_TRUE(machine.start(options));
    std::map<Errc, int> refused;
    const auto give = [&](NewMessage message) {
        machine.spool().accept(std::move(message),
                               Completion<Result<MessageId>>([&](const Result<MessageId>& answer) {
                                   if (!answer) ++refused[answer.error().code];
                               }));
    };
    give(with_submission(message_to(1, {"bob@example.com"}, "x"), 1));
    for (std::uint64_t id = 2; id < 50; ++id)
        give(message_to(id, {"bob@example.com"}, std::string(60'000, 'x')));
    give(with_submission(message_to(50, {"bob@example.com"}, "x"), 1));
    machine.disk().set_room(1024UL * 1024);
    machine.spool().commit();
    EXPECT_EQ(refused, (std::map<Errc, int>{{Errc::full, 50}}));
    EXPECT_TRUE(machine.queue().empty());
}

TEST(JournaledStore, KnowsASubmissionUntilTheIndexDoes) {
    Machine machine(29);
    ASSERT_TRUE(machine.start());
    JournaledStore& spool = machine.spool();
    std::vector<std::string> doubled;
    const auto give = [&](NewMessage message) {
        spool.accept(std::move(message), Completion<Result<MessageId>>([&](const Result<MessageId>& answer) {
                         if (!answer && answer.error().code == Errc::duplicate)
                             doubled.push_back(answer.error().text);
                     }));
        spool.commit();
    };
    give(message_to(1, {"bob@example.com"}, "x"));
    auto first = spool.hand_over();
    give(with_submission(message_to(2, {"bob@example.com"}, "x"), 1));
    spool.follower().take(std::move(first));
    spool.followed(spool.follower().reached());
    EXPECT_EQ(spool.backlog(), 1U) << "the index has all but the last";
    give(with_submission(message_to(3, {"bob@example.com"}, "x"), 1));
    EXPECT_EQ(doubled, std::vector<std::string>{MessageId{2}.text()});
    EXPECT_EQ(machine.queue().size(), 2U);
    give(with_submission(message_to(4, {"bob@example.com"}, "x"), 1));
    EXPECT_EQ(doubled.size(), 2U) << "and from the index";
}

// A crash may keep the beginning of a batch: never the results without the notice that tells of them.
TEST(JournaledStore, KeepsNoBounceOfATornBatchWithoutItsNotice) {
    for (const std::size_t kept : {0U, 1U, 2U, 3U}) {
        SCOPED_TRACE(kept);
        Machine machine(27);
        Ledger ledger;
        ASSERT_TRUE(machine.start());
        Driver driver(machine, ledger);
        const NewMessage message = message_to(1, {"bob@example.com", "carol@example.com"}, "x");
        driver.submit(message);
        machine.spool().commit();
        machine.spool().apply();
        NewMessage notice = with_submission(message_to(2, {"alice@example.org"}, "sorry"), 2);
        notice.envelope.reverse_path = mail::ReversePath();
        driver.record(message, {0, 1}, RecipientState::bounced, {notice});
        machine.spool().commit();
        std::vector<JournalPlace> batch;
        ASSERT_TRUE(replay(machine.disk(), {}, false, [&](const RecordView& record, const JournalPosition&) {
            if (record.sequence > 1) batch.push_back(record.place);
            return Result<void>();
        }));
        ASSERT_EQ(batch.size(), 3U);
        machine.kill();
        for (std::size_t lost = kept; lost < batch.size(); ++lost)
            machine.disk().overwrite(segment_name(batch[lost].segment), batch[lost].offset, "\xde\xad");
        ASSERT_TRUE(machine.start());
        bool told = false;
        bool bounced = true;
        const auto queue = machine.queue();
        for (const auto& one : queue) {
            told = told || one.id == notice.id;
            if (one.id != message.id) continue;
            bounced = one.recipients[0].state == RecipientState::bounced ||
                      one.recipients[1].state == RecipientState::bounced;
        }
        EXPECT_TRUE(told || !bounced);
        EXPECT_EQ(told, kept > 0);
        EXPECT_EQ(bounced, kept > 1);
    }
}

// Others come and go; two fill a segment.
void pass_by(Machine& machine, Ledger& ledger, std::uint64_t from, std::uint64_t to) {
    Driver driver(machine, ledger);
    JournaledStore& spool = machine.spool();
    for (std::uint64_t id = from; id < to; ++id) {
        const NewMessage message = message_to(id, {"dave@example.org"}, std::string(5000, 'm'));
        driver.submit(message);
        spool.commit();
        driver.record(message, {0}, RecipientState::sent);
        spool.commit();
        spool.apply();
        spool.maintain();
    }
}

// A message sleeps meanwhile: its segment is thinned, twice.
void work_around_a_sleeper(Machine& machine, Ledger& ledger) {
    Driver driver(machine, ledger);
    const NewMessage sleeper = message_to(1, {"bob@example.com", "carol@example.net"}, std::string(500, 's'));
    driver.submit(sleeper);
    driver.record(sleeper, {0}, RecipientState::sent);
    pass_by(machine, ledger, 10, 22);
    driver.record(sleeper, {1}, RecipientState::queued);
    pass_by(machine, ledger, 22, 34);
}

std::uint64_t segment_of(Machine& machine, std::uint64_t id) {
    for (const auto& message : machine.queue())
        if (message.id.value == id) return place_of(message.body.ref)->segment;
    return 0;
}

JournaledStoreOptions thinning_options() {
    JournaledStoreOptions options = small_options();
    options.follower.thin_from = 1;
    return options;
}

TEST(JournaledStore, CopiesWhatLivesForwardSoThatASegmentCanGo) {
    Machine machine(20);
    Ledger ledger;
    ASSERT_TRUE(machine.start(thinning_options()));
    Driver(machine, ledger).submit(message_to(1, {"bob@example.com"}, std::string(500, 's')));
    pass_by(machine, ledger, 10, 24);
    const std::uint64_t first = segment_of(machine, 1);
    EXPECT_GT(first, 1U);
    EXPECT_FALSE(machine.disk().exists(segment_name(1)).value());
    pass_by(machine, ledger, 24, 40);
    EXPECT_GT(segment_of(machine, 1), first) << "a copy is copied too";
    EXPECT_LE(segments(machine.disk())->size(), 8U);
    expect_kept(machine, ledger);
}

TEST(JournaledStore, LosesNothingWhereverThePowerGoesInThinning) {
    std::uint64_t operations = 0;
    {
        Machine machine(21);
        Ledger ledger;
        ASSERT_TRUE(machine.start(thinning_options()));
        work_around_a_sleeper(machine, ledger);
        operations = machine.disk().operations();
        ASSERT_GT(segment_of(machine, 1), 6U);
    }
    for (std::uint64_t cut = operations / 4; cut < operations; cut += 2) {
        SCOPED_TRACE(cut);
        Machine machine(21);
        Ledger ledger;
        machine.disk().stop_before(cut);
        if (machine.start(thinning_options())) work_around_a_sleeper(machine, ledger);
        machine.crash(cut);
        const bool lost = cut % 3 == 0 && machine.disk().exists(index_name).value();
        if (lost) {
            ASSERT_TRUE(machine.disk().unlink(index_name));
        }
        const auto started = machine.start(thinning_options());
        ASSERT_TRUE(started) << started.error().text;
        expect_kept(machine, ledger, lost);
        if (::testing::Test::HasFailure()) return;
    }
}

TEST(JournaledStore, ACopyTellsAllThatIsKnownOfTheMessageWhenTheIndexIsLost) {
    Machine machine(22);
    Ledger ledger;
    ASSERT_TRUE(machine.start(thinning_options()));
    Driver driver(machine, ledger);
    const NewMessage sleeper =
        message_to(1, {"bob@example.com", "carol@example.net", "dave@example.org"}, std::string(500, 's'));
    driver.submit(sleeper);
    machine.spool().commit();
    const WallTime at = machine.clock().now;
    const auto act = [&](ActKind kind, const char* from, const char* to) {
        machine.spool().writer().act({{kind, sleeper.id, at, "root", from, to}},
                                     Completion<Result<void>>([](const Result<void>&) {}));
    };
    act(ActKind::reroute, "example.net", "relay.example");
    driver.record(sleeper, {0}, RecipientState::sent);
    DeliveryResult deferred;
    deferred.message = sleeper.id;
    deferred.recipient = 1;
    deferred.at = at;
    deferred.next_at = at + std::chrono::minutes(20);
    deferred.tries = 3;
    deferred.status = "4.2.1";
    deferred.text = "not yet";
    machine.spool().writer().record({deferred}, {}, Completion<Result<void>>([](const Result<void>&) {}));
    act(ActKind::warned, "", "");
    act(ActKind::hold, "", "");
    machine.spool().commit();
    const auto before = machine.queue();
    pass_by(machine, ledger, 10, 24);
    ASSERT_FALSE(machine.disk().exists(segment_name(1)).value());
    machine.stop();
    ASSERT_TRUE(machine.disk().unlink(index_name));
    ASSERT_TRUE(machine.start(thinning_options()));
    const auto after = machine.queue();
    ASSERT_EQ(after.size(), 1U);
    ASSERT_EQ(before.size(), 1U);
    EXPECT_TRUE(after[0].held);
    EXPECT_TRUE(after[0].warned);
    ASSERT_EQ(after[0].recipients.size(), 3U);
    for (std::size_t n = 0; n < 3; ++n) {
        const auto& then = before[0].recipients[n];
        const auto& now = after[0].recipients[n];
        EXPECT_EQ(now.state, then.state);
        EXPECT_EQ(now.tries, then.tries);
        EXPECT_EQ(now.status, then.status);
        EXPECT_EQ(now.text, then.text);
        EXPECT_EQ(now.address.next_hop, then.address.next_hop);
    }
    EXPECT_EQ(after[0].recipients[1].next_at, deferred.next_at);
    EXPECT_EQ(after[0].recipients[1].address.next_hop, "relay.example");
    EXPECT_EQ(read_body(machine.disk(), after[0].body, 0, 1000).value(), std::string(500, 's'));
}

TEST(JournaledStore, CopiesNothingThatChangedWhileItWasReadToBeCopied) {
    Machine machine(23);
    Ledger ledger;
    ASSERT_TRUE(machine.start(thinning_options()));
    Driver driver(machine, ledger);
    const NewMessage ended = message_to(1, {"bob@example.com"}, "one");
    const NewMessage sleeper = message_to(2, {"bob@example.com"}, "two");
    driver.submit(ended);
    driver.submit(sleeper);
    JournaledStore& spool = machine.spool();
    spool.commit();
    spool.apply();
    spool.begin_copy();
    auto copies = spool.follower().copies(1);
    ASSERT_EQ(copies.size(), 2U);
    driver.record(ended, {0}, RecipientState::sent);
    spool.commit();
    const NewMessage last = message_to(3, {"bob@example.com"}, "three");
    driver.submit(last);  // gathered, and written first
    spool.copy(std::move(copies));
    std::vector<std::uint64_t> accepts;
    const auto read =
        replay(machine.disk(), {}, false, [&](const RecordView& record, const JournalPosition&) {
            if (const auto entry = decode_entry(record).value())
                if (const auto* accepted = std::get_if<Accepted>(&entry->what))
                    accepts.push_back(accepted->message.id.value);
            return Result<void>();
        });
    ASSERT_TRUE(read);
    EXPECT_EQ(accepts, (std::vector<std::uint64_t>{1, 2, 3, 2}));
    expect_kept(machine, ledger);
}

TEST(JournaledStore, AFullDiskCostsNoBodyOfWhatWasToBeCopied) {
    Machine machine(24);
    Ledger ledger;
    ASSERT_TRUE(machine.start(thinning_options()));
    Driver driver(machine, ledger);
    driver.submit(driver.large(1));
    JournaledStore& spool = machine.spool();
    spool.commit();
    spool.apply();
    spool.begin_copy();
    auto copies = spool.follower().copies(1);
    ASSERT_EQ(copies.size(), 1U);
    machine.disk().set_room(0);
    spool.copy(std::move(copies));
    machine.disk().set_room(UINT64_MAX);
    expect_kept(machine, ledger);
}

TEST(JournaledStore, RebuildsALostIndexOnHold) {
    Machine machine(2);
    Ledger ledger;
    ASSERT_TRUE(machine.start());
    work(machine, ledger);
    machine.stop();
    ASSERT_TRUE(machine.disk().unlink(index_name));
    ASSERT_TRUE(machine.start());
    const auto& warnings = machine.spool().opened().warnings;
    ASSERT_EQ(warnings.size(), 1U) << ::testing::PrintToString(warnings);
    EXPECT_NE(warnings[0].find("on hold"), std::string::npos) << warnings[0];
    expect_kept(machine, ledger, true);
    ASSERT_TRUE(machine.start());
    EXPECT_TRUE(machine.spool().opened().warnings.empty());
    expect_kept(machine, ledger, true);
}

TEST(JournaledStore, RebuildsFromTheStartWhenARebuildIsCutShort) {
    for (std::uint64_t cut = 0; cut < 60; ++cut) {
        SCOPED_TRACE(cut);
        Machine machine(2);
        Ledger ledger;
        ASSERT_TRUE(machine.start());
        work(machine, ledger);
        machine.stop();
        ASSERT_TRUE(machine.disk().unlink(index_name));
        ASSERT_TRUE(machine.disk().sync_dir(""));
        machine.disk().stop_before(machine.disk().operations() + cut);
        if (machine.start()) cut = 60;
        machine.crash(cut);
        ASSERT_TRUE(machine.start());
        expect_kept(machine, ledger, true);
    }
}

// What is done to a message comes to the same, whether the index hears of it together with the message's
// arrival or later.
enum class Step { deferred, sent, hop_failed, remove, hold, release, retry, warned, reroute };
struct StepsRow {
    const char* name;
    std::vector<Step> steps;
    std::size_t left;  // messages in the queue
};

class WhatIsDoneAtOnce : public ::testing::TestWithParam<StepsRow> {
  protected:
    // The queue as people and as the queue's manager see it after the steps.
    static std::string outcome(bool together) {
        Machine machine(30);
        EXPECT_TRUE(machine.start());
        Ledger ledger;
        Driver(machine, ledger)
            .submit(message_to(1, {"bob@example.com", "carol@example.net", "dave@example.com"}, "x"));
        Driver(machine, ledger).submit(message_to(2, {"erin@example.com"}, "other"));
        const auto go_on = [&] {
            machine.spool().commit();
            if (!together) machine.spool().apply();
        };
        go_on();
        for (const Step step : GetParam().steps) {
            take(machine, step);
            go_on();
        }
        return described(machine);
    }
    static void take(Machine& machine, Step step) {
        Writer& writer = machine.spool().writer();
        machine.clock().now += std::chrono::minutes(1);
        const WallTime now = machine.clock().now;
        const auto done = [] {
            return Completion<Result<void>>([](const Result<void>& kept) { EXPECT_TRUE(kept); });
        };
        const auto act = [&](ActKind kind, const char* from = "", const char* to = "") {
            writer.act({{kind, MessageId{1}, now, "root", from, to}}, done());
        };
        DeliveryResult result;
        result.message = MessageId{1};
        result.at = now;
        result.tries = 1;
        HopState hop;
        switch (step) {
            case Step::deferred:
                result.status = "4.2.1";
                result.text = "not yet";
                result.next_at = now + std::chrono::hours(1);
                return writer.record({result}, {}, done());
            case Step::sent:
                result.recipient = 1;
                result.state = RecipientState::sent;
                return writer.record({result}, {}, done());
            case Step::hop_failed:
                hop.next_hop = "example.com";
                hop.at = now;
                hop.next_at = now + std::chrono::hours(2);
                hop.failures = 1;
                hop.text = "no host answers";
                return writer.keep(hop, {});
            case Step::remove:
                return act(ActKind::remove);
            case Step::hold:
                return act(ActKind::hold);
            case Step::release:
                return act(ActKind::release);
            case Step::retry:
                return act(ActKind::retry);
            case Step::warned:
                return act(ActKind::warned);
            case Step::reroute:
                return act(ActKind::reroute, "example.com", "relay.example");
        }
    }
    static std::string described(Machine& machine) {
        std::string out;
        const auto queue = machine.queue();
        EXPECT_EQ(queue.size(), GetParam().left);
        for (const auto& message : queue) {
            out +=
                message.id.text() + (message.held ? " held" : "") + (message.warned ? " warned" : "") + '\n';
            for (const auto& r : message.recipients)
                out += "  " + r.address.recipient.path.text() + " by " + r.address.next_hop + ' ' +
                       std::string(name_of(r.state)) + ' ' + rfc3339(r.next_at) + ' ' +
                       std::to_string(r.tries) + ' ' + r.status + ' ' + r.text + '\n';
        }
        auto reader = sqlite::Reader::open({index_name, spool_vfs}).value();
        // To the minute: in which order what is due goes is another matter.
        const auto minute = [](WallTime time) { return rfc3339(time).substr(0, 16); };
        std::set<std::string> lines;
        const auto loads = reader->hops({}).value();
        for (const auto& load : loads)
            lines.insert(load.state.next_hop + ": " + std::to_string(load.recipients) + " wait, " +
                         minute(load.state.next_at) + ", due " + (load.due ? minute(*load.due) : "never"));
        for (const auto& line : lines) out += line + '\n';
        DueQuestion question;
        question.now = machine.clock().now;
        const auto due = reader->due(question).value();
        for (const auto& message : due.messages) out += "due: " + message.id.text() + '\n';
        out += "next: " + (due.next ? minute(*due.next) : "never") + '\n';
        return out;
    }
};

TEST_P(WhatIsDoneAtOnce, ComesToTheSameAsLater) {
    const std::string later = outcome(false);
    EXPECT_EQ(outcome(true), later);
}

INSTANTIATE_TEST_SUITE_P(
    Steps, WhatIsDoneAtOnce,
    ::testing::Values(StepsRow{"Nothing", {}, 2}, StepsRow{"Retry", {Step::retry}, 2},
                      StepsRow{"RetryOfWhatWaits", {Step::deferred, Step::retry}, 2},
                      StepsRow{"RetryOverAFailingHop", {Step::hop_failed, Step::deferred, Step::retry}, 2},
                      StepsRow{"RetryOfWhatIsHeld", {Step::deferred, Step::hold, Step::retry}, 2},
                      StepsRow{"HoldAndRelease", {Step::deferred, Step::hold, Step::release}, 2},
                      StepsRow{"DeferralOfWhatIsHeld", {Step::hold, Step::deferred}, 2},
                      StepsRow{"Removal", {Step::remove}, 1},
                      StepsRow{"RemovalOfWhatWaits", {Step::deferred, Step::sent, Step::remove}, 1},
                      StepsRow{"RemovalOfWhatIsHeld", {Step::hold, Step::remove}, 1},
                      StepsRow{"ResultAfterTheRemoval", {Step::remove, Step::sent}, 1},
                      StepsRow{"DeferralAfterTheRemoval", {Step::remove, Step::deferred}, 1},
                      StepsRow{"RetryAfterTheRemoval", {Step::remove, Step::retry}, 1},
                      StepsRow{"Reroute", {Step::hop_failed, Step::deferred, Step::reroute}, 2},
                      StepsRow{
                          "RerouteAndRetry", {Step::deferred, Step::reroute, Step::warned, Step::retry}, 2}),
    [](const auto& row) { return std::string(row.param.name); });

// ---- what the disk has lost

TEST(JournaledStore, GoesOnAfterASegmentThatHasLostItsHeader) {
    for (const bool applied : {true, false}) {
        SCOPED_TRACE(applied);
        Machine machine(31);
        Ledger ledger;
        ASSERT_TRUE(machine.start());
        Driver driver(machine, ledger);
        driver.submit(message_to(1, {"bob@example.com"}, "one"));
        machine.spool().commit();
        if (applied) machine.spool().close();
        machine.stop();
        for (const std::uint64_t copy : {0U, 2048U})
            machine.disk().overwrite(segment_name(1), copy, "\xde\xad\xbe\xef");
        ASSERT_TRUE(machine.start());
        ASSERT_EQ(machine.spool().opened().warnings.size(), 1U);
        EXPECT_NE(machine.spool().opened().warnings[0].find("header is damaged; they are kept in damaged/"),
                  std::string::npos)
            << machine.spool().opened().warnings[0];
        EXPECT_EQ(machine.disk().content("damaged/00000001-0.octets"),
                  machine.disk().content(segment_name(1)));
        // What the index knew of it is still mail, with its text; and new mail is kept elsewhere.
        EXPECT_EQ(machine.queue().size(), applied ? 1U : 0U);
        if (applied) {
            EXPECT_EQ(read_body(machine.disk(), machine.queue()[0].body, 0, 100).value(), "one");
        }
        driver.submit(message_to(2, {"bob@example.com"}, "two"));
        machine.spool().commit();
        EXPECT_TRUE(ledger.accepted.contains(2));
        machine.crash(1);
        ASSERT_TRUE(machine.start());
        EXPECT_TRUE(machine.spool().opened().warnings.empty()) << "it was said once";
        const auto queue = machine.queue();
        ASSERT_EQ(queue.size(), applied ? 2U : 1U);
        EXPECT_EQ(queue.back().id, MessageId{2});
        EXPECT_EQ(read_body(machine.disk(), queue.back().body, 0, 100).value(), "two");
    }
}

struct LostTextRow {
    const char* name;
    void (*lose)(fake::SimDisk& disk, const std::string& path);
    bool seen_at_the_start;
};

class LargeBody : public ::testing::TestWithParam<LostTextRow> {};

TEST_P(LargeBody, HarmsItsMessageAloneWhenItIsLost) {
    Machine machine(32);
    Ledger ledger;
    ASSERT_TRUE(machine.start());
    Driver driver(machine, ledger);
    const NewMessage lost = driver.large(1);
    const NewMessage whole = driver.large(2);
    driver.submit(lost);
    driver.submit(whole);
    machine.spool().commit();
    machine.spool().close();
    machine.stop();
    GetParam().lose(machine.disk(), "bodies/" + file_of(lost.body.ref));
    ASSERT_TRUE(machine.start());
    const auto& warnings = machine.spool().opened().warnings;
    EXPECT_EQ(warnings.size(), GetParam().seen_at_the_start ? 1U : 0U) << ::testing::PrintToString(warnings);
    if (!warnings.empty()) {
        EXPECT_EQ(warnings[0], "message " + lost.id.text() + ": its text, bodies/" + file_of(lost.body.ref) +
                                   ", is missing; its sender will be told");
    }
    const auto queue = machine.queue();
    ASSERT_EQ(queue.size(), 2U) << "who sent it is to be told";
    EXPECT_EQ(queue[0].body.damaged, GetParam().seen_at_the_start);
    const auto text = read_body(machine.disk(), queue[0].body, 0, 1'000'000);
    ASSERT_FALSE(text);
    EXPECT_EQ(text.error().code, Errc::damaged) << text.error().text;
    EXPECT_EQ(read_body(machine.disk(), queue[1].body, 0, 1'000'000).value().size(), 90'000U);
}

INSTANTIATE_TEST_SUITE_P(
    Losses, LargeBody,
    ::testing::Values(
        LostTextRow{"Missing",
                    [](fake::SimDisk& disk, const std::string& path) { ASSERT_TRUE(disk.unlink(path)); },
                    true},
        LostTextRow{"AnOctetIsWrong",
                    [](fake::SimDisk& disk, const std::string& path) { disk.overwrite(path, 70'000, "#"); },
                    false},
        LostTextRow{"Short",
                    [](fake::SimDisk& disk, const std::string& path) {
                        ASSERT_TRUE(disk.open(path, OpenMode::read_write).value()->truncate(60'000));
                    },
                    false},
        LostTextRow{"Empty",
                    [](fake::SimDisk& disk, const std::string& path) {
                        ASSERT_TRUE(disk.open(path, OpenMode::read_write).value()->truncate(0));
                    },
                    false}),
    [](const auto& row) { return std::string(row.param.name); });

// A later release has been here, and the administrator went back to this one.
TEST(JournaledStore, PassesOverRecordsOfALaterRelease) {
    Machine machine(33);
    Ledger ledger;
    ASSERT_TRUE(machine.start());
    Driver driver(machine, ledger);
    driver.submit(message_to(1, {"bob@example.com"}, "one"));
    machine.spool().commit();
    machine.spool().close();
    machine.stop();
    const auto read = replay(machine.disk(), {}, false,
                             [](const RecordView&, const JournalPosition&) { return Result<void>(); });
    Journal journal(machine.disk(), small_options().journal, machine.random(), [](const std::string&) {});
    ASSERT_TRUE(journal.open(read->end));
    const std::vector<Record> later{{static_cast<RecordType>(200), "who knows", nullptr},
                                    {static_cast<RecordType>(201), "", Body::of("a text").octets}};
    ASSERT_TRUE(journal.append(later));
    const NewMessage second = message_to(2, {"bob@example.com"}, "two");
    ASSERT_TRUE(
        journal.append(std::vector<Record>{{RecordType::accept, encode(second), second.body.octets}}));
    ASSERT_TRUE(machine.start());
    const auto warnings = machine.spool().opened().warnings;
    ASSERT_EQ(warnings.size(), 2U) << ::testing::PrintToString(warnings);
    EXPECT_NE(warnings[0].find("record 2 is of type 200, which only a later release knows; passed over"),
              std::string::npos)
        << warnings[0];
    EXPECT_NE(warnings[1].find("record 3 is of type 201"), std::string::npos) << warnings[1];
    ASSERT_EQ(machine.queue().size(), 2U);
    EXPECT_EQ(read_body(machine.disk(), machine.queue()[1].body, 0, 100).value(), "two");
    ASSERT_TRUE(machine.start());
    EXPECT_TRUE(machine.spool().opened().warnings.empty());
    EXPECT_EQ(machine.queue().size(), 2U);
}

TEST(JournaledStore, RefusesMailButNotResultsWhenTheDiskIsNearlyFull) {
    Machine machine(3);
    Ledger ledger;
    ASSERT_TRUE(machine.start());
    Driver driver(machine, ledger);
    const NewMessage first = message_to(1, {"bob@example.com"}, "x");
    driver.submit(first);
    machine.spool().commit();
    EXPECT_TRUE(machine.spool().has_room(UINT64_MAX / 2));
    machine.disk().set_room(1024UL * 1024);
    machine.spool().maintain();
    EXPECT_FALSE(machine.spool().has_room(0));
    Errc code{};
    machine.spool().accept(
        message_to(2, {"bob@example.com"}, "x"),
        Completion<Result<MessageId>>([&](const Result<MessageId>& answer) { code = answer.error().code; }));
    EXPECT_EQ(code, Errc::full);
    driver.record(first, {0}, RecipientState::sent);
    machine.spool().commit();
    EXPECT_EQ(ledger.recorded.size(), 1U);
    machine.disk().set_room(65UL * 1024 * 1024);
    machine.spool().maintain();
    EXPECT_TRUE(machine.spool().has_room(100'000));
    EXPECT_FALSE(machine.spool().has_room(10'000'000)) << "it would leave less than min_free";
    machine.disk().set_room(UINT64_MAX);
    machine.spool().maintain();
    driver.submit(message_to(3, {"bob@example.com"}, "x"));
    machine.spool().commit();
    EXPECT_TRUE(ledger.accepted.contains(3));
}

TEST(JournaledStore, KeepsMailWithATimeThatIsTrusted) {
    using namespace std::chrono_literals;
    Machine machine(7);
    const WallTime began = machine.clock().now;
    ASSERT_TRUE(machine.start());
    Ledger ledger;
    Driver driver(machine, ledger);
    const auto arrive = [&](std::uint64_t id, std::chrono::seconds ahead) {
        machine.clock().now = began + ahead;
        NewMessage message = message_to(id, {"bob@example.com"}, "hello");
        message.arrived = machine.clock().now;
        driver.submit(std::move(message));
    };
    arrive(1, 5min);
    arrive(2, -7 * 24h);
    arrive(3, 7 * 24h);
    // The clock is set right between the arrival of these and their being kept.
    for (const auto& [id, ahead] : {std::pair(4, -7 * 24h), std::pair(5, 7 * 24h)}) {
        machine.clock().now = began;
        NewMessage message = message_to(static_cast<std::uint64_t>(id), {"bob@example.com"}, "hello");
        message.arrived = began + ahead;
        driver.submit(std::move(message));
    }
    NewMessage notice = message_to(6, {"alice@example.org"}, "sorry");
    notice.arrived = began - 7 * 24h;
    machine.spool().record({}, {notice}, Completion<Result<void>>([](const Result<void>&) {}));
    machine.spool().commit();
    const auto queue = machine.queue();
    ASSERT_EQ(queue.size(), 6U);
    EXPECT_EQ(queue[0].arrived, began + 5min);
    EXPECT_EQ(queue[1].arrived, began) << "the clock was behind";
    EXPECT_EQ(queue[2].arrived, began) << "the clock was ahead";
    EXPECT_EQ(queue[3].arrived, began) << "the clock had been behind";
    EXPECT_EQ(queue[4].arrived, began) << "the clock had been ahead";
    EXPECT_EQ(queue[5].arrived, began) << "the clock was behind when the notice was made";
}

TEST(JournaledStore, SurvivesADiskThatIsFull) {
    for (std::uint64_t room = 0; room < 60'000; room += 1500) {
        SCOPED_TRACE(room);
        Machine machine(4);
        Ledger ledger;
        JournaledStoreOptions options = small_options();
        options.min_free = 0;
        ASSERT_TRUE(machine.start(options));
        machine.disk().set_room(room);
        work(machine, ledger);
        EXPECT_EQ(machine.died(), "");
        machine.disk().set_room(UINT64_MAX);
        machine.spool().apply();
        expect_kept(machine, ledger);
        machine.spool().close();
        ASSERT_TRUE(machine.start(options));
        expect_kept(machine, ledger);
    }
}

TEST(JournaledStore, DiesOfASyncThatFailsAndAcknowledgesNothing) {
    Machine machine(5);
    Ledger ledger;
    ASSERT_TRUE(machine.start());
    machine.disk().fail_syncs(true);
    Driver(machine, ledger).submit(message_to(1, {"bob@example.com"}, "x"));
    machine.spool().commit();
    EXPECT_NE(machine.died(), "");
    EXPECT_TRUE(ledger.accepted.empty());
}

// The folder of a segment was never synced, and the process that made it is gone; the machine is not, until
// the next one has taken mail.
TEST(JournaledStore, GoesOnInASegmentOnlyWhenItsFolderIsSynced) {
    for (std::uint64_t seed = 0; seed < 20; ++seed) {
        SCOPED_TRACE(seed);
        Machine machine(seed);
        Ledger ledger;
        JournaledStoreOptions options = small_options();
        options.write_ahead = false;  // a spare file is synced before it is a segment
        ASSERT_TRUE(machine.start(options));
        machine.disk().fail_syncs(true);
        Driver(machine, ledger).submit(message_to(1, {"bob@example.com"}, "x"));
        machine.spool().commit();
        ASSERT_TRUE(machine.disk().exists(segment_name(1)).value());
        machine.disk().fail_syncs(false);
        ASSERT_TRUE(machine.start());
        Driver(machine, ledger).submit(message_to(2, {"bob@example.com"}, "x"));
        machine.spool().commit();
        ASSERT_TRUE(ledger.accepted.contains(2));
        machine.crash(seed);
        ASSERT_TRUE(machine.start());
        expect_kept(machine, ledger);
    }
}

TEST(JournaledStore, KeepsASegmentWhileAReaderHoldsTheCheckpointBack) {
    Machine machine(8);
    Ledger ledger;
    ASSERT_TRUE(machine.start());
    Driver driver(machine, ledger);
    const NewMessage first = message_to(1, {"bob@example.com"}, std::string(6000, 'x'));
    driver.submit(first);
    machine.spool().commit();
    machine.spool().apply();
    auto reader = sqlite::Database::open({index_name, spool_vfs}, sqlite::Access::read).value();
    reader->run("BEGIN");
    ASSERT_EQ(reader->number("SELECT count(*) FROM message"), 1);
    driver.record(first, {0}, RecipientState::sent);
    for (std::uint64_t id = 2; id < 4; ++id) {
        driver.submit(message_to(id, {"bob@example.com"}, std::string(6000, 'x')));
        machine.spool().commit();
    }
    machine.spool().apply();
    ASSERT_GT(machine.spool().follower().index().position().segment, 1U);
    machine.spool().maintain();
    EXPECT_TRUE(machine.disk().exists(segment_name(1)).value())
        << "a crash would need it: the index has not been synced";
    reader->run("COMMIT");
    machine.spool().maintain();
    EXPECT_FALSE(machine.disk().exists(segment_name(1)).value());
    expect_kept(machine, ledger);
}

// The index gets to stable storage and the history does not: someone reads it, so that its WAL cannot be
// moved and is not synced. The power takes what was not synced.
class HistoryBehindTheIndex : public ::testing::Test {
  protected:
    HistoryBehindTheIndex() {
        EXPECT_TRUE(machine_.start());
        Driver driver(machine_, ledger_);
        driver.submit(first_);
        machine_.spool().commit();
        machine_.spool().close();  // all of it is on stable storage
        const auto day = machine_.spool().history_place().folder + "2023-11-14.db";
        reader_ = sqlite::Database::open({day, spool_vfs}, sqlite::Access::read).value();
        reader_->run("BEGIN");
        EXPECT_EQ(reader_->number("SELECT count(*) FROM message"), 1);
        for (std::uint64_t id = 2; id < 5; ++id) {  // a segment each
            const NewMessage message = message_to(id, {"bob@example.com"}, std::string(9000, 'x'));
            driver.submit(message);
            driver.record(message, {0}, RecipientState::sent);
            machine_.spool().commit();
        }
        driver.record(first_, {0}, RecipientState::sent);
        machine_.spool().commit();
        machine_.spool().apply();
        for (int i = 0; i < 4; ++i) machine_.spool().maintain();
    }

    Machine machine_{13};
    Ledger ledger_;
    const NewMessage first_ = message_to(1, {"bob@example.com"}, "x");
    std::unique_ptr<sqlite::Database> reader_;
};

TEST_F(HistoryBehindTheIndex, IsMadeWholeAfterACrash) {
    ASSERT_GT(machine_.spool().follower().index().durable_position().segment, 1U)
        << "the index should be on stable storage";
    // Closing a database would bring it to stable storage: the power goes first.
    machine_.disk().stop_before(machine_.disk().operations());
    reader_.reset();
    machine_.crash(1);
    ASSERT_TRUE(machine_.start());
    EXPECT_EQ(ledger_.recorded.size(), 4U);
    expect_kept(machine_, ledger_);
}

TEST_F(HistoryBehindTheIndex, KeepsTheSegmentsThatItNeeds) {
    EXPECT_TRUE(machine_.disk().exists(segment_name(2)).value());
    reader_->run("COMMIT");
    reader_.reset();
    for (int i = 0; i < 4; ++i) machine_.spool().maintain();
    EXPECT_FALSE(machine_.disk().exists(segment_name(2)).value()) << "and no longer than that";
}

TEST(JournaledStore, TellsOfAMessageWhoseTextIsDamaged) {
    Machine machine(6);
    Ledger ledger;
    ASSERT_TRUE(machine.start());
    Driver driver(machine, ledger);
    driver.submit(message_to(1, {"bob@example.com"}, std::string(1000, 'x')));
    machine.spool().commit();
    driver.submit(message_to(2, {"bob@example.com"}, "y"));
    machine.spool().commit();
    machine.disk().overwrite("journal/00000001.seg", records_begin + 600, "damage");
    machine.crash(1);
    ASSERT_TRUE(machine.start());
    ASSERT_EQ(machine.spool().opened().warnings.size(), 2U);
    const auto queue = machine.queue();
    ASSERT_EQ(queue.size(), 2U);
    EXPECT_EQ(read_body(machine.disk(), queue[0].body, 0, 10).error().code, Errc::damaged);
    EXPECT_EQ(read_body(machine.disk(), queue[1].body, 0, 10).value(), "y");
}

TEST(JournaledStore, ForgetsSubmissionsAfterTheirTime) {
    Machine machine(7);
    Ledger ledger;
    ASSERT_TRUE(machine.start());
    const NewMessage first = with_submission(message_to(1, {"bob@example.com"}, "x"), 1);
    machine.clock().now = first.arrived;
    ASSERT_TRUE(machine.start());
    Driver driver(machine, ledger);
    driver.submit(first);
    machine.spool().commit();
    machine.spool().apply();
    const auto again = [&](std::uint64_t id) {
        NewMessage second = first;
        second.id = MessageId{id};
        driver.submit(second);
        machine.spool().commit();
        return ledger.accepted.contains(id);
    };
    machine.clock().pass(std::chrono::hours(24 * 7) - std::chrono::minutes(1));
    machine.spool().maintain();
    EXPECT_FALSE(again(2));
    machine.clock().pass(std::chrono::hours(2));
    machine.spool().maintain();
    EXPECT_TRUE(again(3));
}

// RPT-70: what is counted in the index is bounded, and totals stay exact.
TEST(JournaledStore, MergesOutcomesThatAreTooManyAndKeepsTheTotal) {
    Machine machine(9);
    ASSERT_TRUE(machine.start());
    const WallTime now = machine.clock().now;
    std::uint64_t sessions = 0;
    for (int batch = 0; batch < 4; ++batch) {
        std::vector<DeliveryResult> results(1);
        results[0].message = MessageId{1};
        results[0].at = now;
        for (int i = 0; i < 600; ++i) {
            const std::string number = std::to_string(batch * 600 + i);
            auto outcome = testing::outcome_with("mx" + number + ".example.com", now);
            outcome.remote_address = "2001:db8::" + number;
            results[0].detail.outcomes.push_back(outcome);
            ++sessions;
        }
        machine.spool().writer().record(results, {}, Completion<Result<void>>([](const Result<void>&) {}));
        machine.spool().commit();
        machine.spool().apply();
    }
    auto reader = sqlite::Reader::open({index_name, spool_vfs}).value();
    const auto outcomes = reader->outcomes({}).value();
    std::uint64_t total = 0;
    for (const auto& [outcome, n, day] : outcomes) total += n;
    EXPECT_EQ(total, sessions);
    EXPECT_GE(outcomes.size(), 1000U);
    EXPECT_LE(outcomes.size(), 1501U);
    const auto merged = std::find_if(outcomes.begin(), outcomes.end(),
                                     [](const StoredOutcome& o) { return o.outcome.mx_host.empty(); });
    ASSERT_NE(merged, outcomes.end());
    EXPECT_GT(merged->n, 800U);
    EXPECT_EQ(merged->outcome.tls, "TLSv1.3");
}

// RPT-09: whatever the zone of the machine, a session counts on the UTC day on which it ended.
TEST(JournaledStore, ASessionCountsOnTheDayOnWhichItEnded) {
    Machine machine(9);
    ASSERT_TRUE(machine.start());
    const auto today = std::chrono::floor<std::chrono::days>(machine.clock().now);
    const WallTime midnight = WallTime(today) + std::chrono::days(1);
    std::vector<DeliveryResult> results(1);
    results[0].message = MessageId{1};
    results[0].at = midnight + std::chrono::seconds(5);
    for (const auto seconds : {-1, 0, 1}) {
        auto outcome = testing::outcome_with("mx1.example.com", midnight + std::chrono::seconds(seconds));
        results[0].detail.outcomes.push_back(std::move(outcome));
    }
    machine.spool().writer().record(results, {}, Completion<Result<void>>([](const Result<void>&) {}));
    machine.spool().commit();
    machine.spool().apply();
    auto reader = sqlite::Reader::open({index_name, spool_vfs}).value();
    std::map<std::chrono::sys_days, std::uint64_t> seen;
    const auto outcomes = reader->outcomes({}).value();
    for (const auto& one : outcomes) seen[one.day] += one.n;
    EXPECT_EQ(seen[today], 1U);
    EXPECT_EQ(seen[today + std::chrono::days(1)], 2U);
}

// RPT-09, RPT-16: what is heard of after a day was closed counts in the next one, also when the power went in
// between.
TEST(JournaledStore, ADayThatIsClosedChangesNoMore) {
    Machine machine(9);
    ASSERT_TRUE(machine.start());
    const WallTime now = machine.clock().now;
    const auto today = std::chrono::floor<std::chrono::days>(now);
    const auto deliver = [&](std::uint64_t id) {
        std::vector<DeliveryResult> results(1);
        results[0].message = MessageId{id};
        results[0].at = now;
        results[0].detail.outcomes = {testing::outcome_with("mx1.example.com", now)};
        machine.spool().writer().record(results, {}, Completion<Result<void>>([](const Result<void>&) {}));
    };
    const auto sessions_on = [](std::chrono::sys_days day) {
        auto reader = sqlite::Reader::open({index_name, spool_vfs}).value();
        std::uint64_t out = 0;
        const auto outcomes = reader->outcomes(OutcomeFilter{day, day, {}}).value();
        for (const auto& one : outcomes) {
            EXPECT_EQ(one.day, day);
            out += one.n;
        }
        return out;
    };
    deliver(1);
    deliver(2);
    machine.spool().writer().keep(ClosedDay{today}, Completion<Result<void>>([](const Result<void>&) {}));
    deliver(3);
    StoredReport report;
    report.day = today;
    report.domain = "example.com";
    report.id = "1@example.net";
    report.state = ReportState::waiting;
    report.next_at = now + std::chrono::hours(1);
    report.places = {{"mailto:a@example.com", PlaceState::accepted, now, "queued"}};
    machine.spool().writer().keep(report, Completion<Result<void>>([](const Result<void>&) {}));
    machine.spool().commit();
    machine.spool().apply();
    EXPECT_EQ(sessions_on(today), 2U);
    EXPECT_EQ(sessions_on(today + std::chrono::days(1)), 1U);
    machine.crash(5);
    ASSERT_TRUE(machine.start());
    deliver(4);
    machine.spool().commit();
    machine.spool().apply();
    EXPECT_EQ(sessions_on(today), 2U);
    EXPECT_EQ(sessions_on(today + std::chrono::days(1)), 2U);
    auto reader = sqlite::Reader::open({index_name, spool_vfs}).value();
    EXPECT_EQ(reader->reports({}).value(), std::vector{report});
    ReportFilter by_id;
    by_id.id = "2@example.net";
    EXPECT_TRUE(reader->reports(by_id).value().empty());
    const auto state = reader->reporting(today).value();
    EXPECT_EQ(state.closed, today);
    ASSERT_EQ(state.unreported.size(), 2U);
    EXPECT_EQ(state.unreported[0].next_at, report.next_at);
    report.state = ReportState::done;
    machine.spool().writer().keep(report, Completion<Result<void>>([](const Result<void>&) {}));
    machine.spool().commit();
    machine.spool().apply();
    EXPECT_EQ(reader->reporting(today).value().unreported.size(), 1U);
    EXPECT_TRUE(reader->reporting(today + std::chrono::days(2)).value().unreported.empty());
}

TEST(JournaledStore, ForgetsOutcomesAndHistoryAfterTheirTime) {
    Machine machine(10);
    Ledger ledger;
    ASSERT_TRUE(machine.start());
    Driver driver(machine, ledger);
    const NewMessage first = message_to(1, {"bob@example.com"}, "x");
    driver.submit(first);
    driver.record(first, {0}, RecipientState::sent);
    driver.policy("example.com");
    machine.spool().commit();
    machine.spool().apply();
    const auto days_there = [&] {
        const auto names = machine.disk().list("history").value();
        return std::count_if(names.begin(), names.end(),
                             [](const std::string& name) { return name.ends_with(".db"); });
    };
    const auto counted = [&] {
        return sqlite::Reader::open({index_name, spool_vfs}).value()->outcomes({}).value().size();
    };
    EXPECT_EQ(days_there(), 1);
    EXPECT_EQ(counted(), 1U);
    // The machine is started again each time, so that the clock's step is no step.
    machine.clock().now += std::chrono::days(13);
    ASSERT_TRUE(machine.start());
    machine.spool().maintain();
    EXPECT_EQ(days_there(), 1);
    machine.clock().now += std::chrono::days(1);
    ASSERT_TRUE(machine.start());
    machine.spool().maintain();
    EXPECT_EQ(days_there(), 0);
    EXPECT_EQ(counted(), 1U);
    machine.clock().now += std::chrono::days(26);
    ASSERT_TRUE(machine.start());
    machine.spool().maintain();
    EXPECT_EQ(counted(), 1U) << "the fortieth day is kept";
    machine.clock().now += std::chrono::days(1);
    ASSERT_TRUE(machine.start());
    machine.spool().maintain();
    EXPECT_EQ(counted(), 0U);
    EXPECT_EQ(sqlite::Reader::open({index_name, spool_vfs}).value()->versions("example.com").value().size(),
              1U)
        << "its text is still referred to";
}

TEST(JournaledStore, KeepsSoManyVersionsOfPoliciesAndNoMore) {
    Machine machine(12);
    ASSERT_TRUE(machine.start());
    const auto count = [](const char* where) {
        auto database = sqlite::Database::open({index_name, spool_vfs}, sqlite::Access::read).value();
        return database->number((std::string("SELECT count(*) FROM policy_version WHERE ") + where).c_str());
    };
    {
        auto database = sqlite::Database::open({index_name, spool_vfs}, sqlite::Access::write).value();
        sqlite::Statement(
            *database,
            "WITH RECURSIVE one(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM one WHERE n < 200003) "
            "INSERT INTO policy_version SELECT 'd' || n, '1', 1, '', n, n FROM one")
            .run();
    }
    EXPECT_EQ(count("1"), 200'003);
    machine.spool().maintain();
    EXPECT_EQ(count("1"), 200'000);
    EXPECT_EQ(count("last_seen <= 3"), 0) << "the oldest go";
}

std::vector<MailCount> mail_counts(CountedBy by, bool by_hour = false) {
    auto reader = sqlite::Reader::open({index_name, spool_vfs}).value();
    MailCountFilter filter;
    filter.by = by;
    filter.by_hour = by_hour;
    return reader->mail_counts(filter).value();
}

HopState failed_hop(const std::string& name, WallTime at) {
    HopState out;
    out.next_hop = name;
    out.at = out.next_at = at;
    out.failures = 1;
    out.status = "4.4.1";
    return out;
}

TEST(JournaledStore, CountsAHundredKeysOfAnHourAndTheOthersTogether) {
    Machine machine(14);
    ASSERT_TRUE(machine.start());
    for (int round = 0; round < 2; ++round) {  // each in a transaction of its own
        for (int n = 0; n < 150; ++n)
            machine.spool().writer().keep(failed_hop("d" + std::to_string(n) + ".test", machine.clock().now),
                                          {});
        machine.spool().commit();
        machine.spool().apply();
    }
    const auto counts = mail_counts(CountedBy::destination);
    ASSERT_EQ(counts.size(), 101U);
    EXPECT_EQ(counts.back(), (MailCount{"", {0, 0, 0, 100, 0, 0}}));
    EXPECT_EQ(counts.front().numbers.deferred, 2U);
    EXPECT_EQ(mail_counts(CountedBy::all).at(0).numbers.deferred, 300U);
}

TEST(JournaledStore, CountsByTheDayWhatIsOlderThanAWeek) {
    Machine machine(15);
    ASSERT_TRUE(machine.start());
    const WallTime midnight = std::chrono::ceil<std::chrono::days>(machine.clock().now);
    for (const auto hour : {1, 2, 23, 24})
        machine.spool().writer().keep(failed_hop("d.test", midnight + std::chrono::hours(hour)), {});
    machine.spool().commit();
    machine.spool().apply();
    EXPECT_EQ(mail_counts(CountedBy::all, true).size(), 4U);
    // The machine is started again each time, so that the clock's step is no step.
    const auto looks_at = [&](WallTime when) {
        machine.clock().now = when;
        EXPECT_TRUE(machine.start());
        machine.spool().maintain();
    };
    looks_at(midnight + std::chrono::hours(24 * 8 + 23));
    EXPECT_EQ(mail_counts(CountedBy::all, true).size(), 4U) << "for eight days";
    looks_at(midnight + std::chrono::hours(24 * 9));
    const auto hours = mail_counts(CountedBy::all, true);
    ASSERT_EQ(hours.size(), 2U);
    EXPECT_EQ(hours[0], (MailCount{rfc3339(midnight), {0, 0, 0, 3, 0, 0}}));
    EXPECT_EQ(mail_counts(CountedBy::destination).at(0).numbers.deferred, 4U);
    looks_at(midnight + std::chrono::hours(24 * 10));
    EXPECT_EQ(mail_counts(CountedBy::all, true).size(), 2U);
    looks_at(midnight + std::chrono::hours(24 * 401));
    EXPECT_EQ(mail_counts(CountedBy::all).at(0).numbers.deferred, 1U) << "for 400 days";
}

// What is not mail, and how many days it is remembered after it was last heard of.
struct MemoryRow {
    const char* name;
    int days;
    const char* table;
    void (*put)(Writer& writer, WallTime now);
};
class WhatIsNotMail : public ::testing::TestWithParam<MemoryRow> {};

TEST_P(WhatIsNotMail, IsForgottenAfterItsTime) {
    Machine machine(13);
    ASSERT_TRUE(machine.start());
    GetParam().put(machine.spool().writer(), machine.clock().now);
    machine.spool().commit();
    machine.spool().apply();
    const std::string count = std::string("SELECT count(*) FROM ") + GetParam().table;
    // The machine is started again each time, so that the clock's step is no step.
    const auto after = [&](std::chrono::seconds time) {
        machine.clock().now += time;
        EXPECT_TRUE(machine.start());
        machine.spool().maintain();
        return sqlite::Database::open({index_name, spool_vfs}, sqlite::Access::read)
            .value()
            ->number(count.c_str());
    };
    EXPECT_EQ(after(std::chrono::days(GetParam().days)), 1);
    EXPECT_EQ(after(std::chrono::seconds(1)), 0);
}

const MemoryRow memory[] = {
    {"Discovery", 61, "kept WHERE record = 6",
     [](Writer& writer, WallTime now) {
         StoredDiscovery value;
         value.domain = "example.com";
         value.mailed = now;
         writer.keep(value, {});
     }},
    {"Alarm", 90, "kept WHERE record = 8",
     [](Writer& writer, WallTime now) {
         StoredAlarm value;
         value.kind = "tls-gone";
         value.subject = "mx.example.com";
         value.last = now;
         value.count = 1;
         writer.keep(value, {});
     }},
    {"TlsOfAHost", 400, "tls_host",
     [](Writer& writer, WallTime now) {
         std::vector<DeliveryResult> results(1);
         results[0].message = MessageId{1};
         results[0].at = now;
         results[0].detail.outcomes = {testing::outcome_with("mx1.example.com", now)};
         writer.record(results, {}, Completion<Result<void>>([](const Result<void>&) {}));
     }},
    {"NextHopWithoutMail", 7, "hop",
     [](Writer& writer, WallTime now) {
         HopState value;
         value.next_hop = "example.com";
         value.at = value.next_at = now;
         value.failures = 1;
         writer.keep(value, {});
     }},
};
INSTANTIATE_TEST_SUITE_P(Of, WhatIsNotMail, ::testing::ValuesIn(memory),
                         [](const auto& row) { return std::string(row.param.name); });

TEST(JournaledStore, ForgetsNothingWhenTheClockJumps) {
    Machine machine(11);
    Ledger ledger;
    ASSERT_TRUE(machine.start());
    Driver driver(machine, ledger);
    const NewMessage first = message_to(1, {"bob@example.com"}, "x");
    driver.submit(first);
    driver.record(first, {0}, RecipientState::sent);
    machine.spool().commit();
    machine.spool().apply();
    machine.clock().now += std::chrono::days(4000);
    machine.spool().maintain();
    EXPECT_EQ(sqlite::Reader::open({index_name, spool_vfs}).value()->outcomes({}).value().size(), 1U);
    EXPECT_EQ(sqlite::read_history(machine.spool().history_place(), {}).value().messages.size(), 1U);
}

// D-39: at most 20 versions of a domain's policy, and never the one in force.
TEST(JournaledStore, KeepsTwentyVersionsOfAPolicy) {
    Machine machine(12);
    ASSERT_TRUE(machine.start());
    const auto put = [&](int number) {
        StoredPolicy policy;
        policy.domain = "example.com";
        policy.id = std::to_string(number);
        policy.text = "version: STSv1\nmode: none\nx: " + policy.id + "\n";
        policy.fetched = policy.checked = machine.clock().now;
        machine.clock().now += std::chrono::hours(1);
        machine.spool().writer().keep(policy, Completion<Result<void>>([](const Result<void>&) {}));
    };
    for (int number = 0; number < 30; ++number) put(number);
    put(20);  // seen again: the same version
    machine.spool().commit();
    machine.spool().apply();
    auto reader = sqlite::Reader::open({index_name, spool_vfs}).value();
    const auto versions = reader->versions("example.com").value();
    ASSERT_EQ(versions.size(), 20U);
    EXPECT_EQ(versions.front().id, "10");
    EXPECT_EQ(versions.back().id, "29");
    const auto again =
        std::find_if(versions.begin(), versions.end(), [](const auto& v) { return v.id == "20"; });
    ASSERT_NE(again, versions.end());
    EXPECT_GT(again->last_seen, versions.back().last_seen);
    EXPECT_LT(again->first_seen, versions.back().first_seen);
}

TEST(DiskVfs, LetsSqliteRecoverAtEveryCut) {
    const auto fill = [](fake::SimDisk& disk, std::uint64_t& committed) {
        testing::FixedClock clock;
        testing::SeededRandom random(1);
        const fake::DiskVfs vfs(spool_vfs, disk, clock, random);
        auto database = sqlite::Database::open({"test.db", spool_vfs}, sqlite::Access::write);
        if (!database) return;
        if (!(*database)->transaction(
                [&] { (*database)->run("CREATE TABLE t (n INTEGER PRIMARY KEY, text TEXT)"); }))
            return;
        if (!(*database)->checkpoint(true) || !disk.sync_dir("")) return;
        for (std::uint64_t n = 1; n < 25; ++n) {
            const auto done = (*database)->transaction([&] {
                sqlite::Statement insert(**database, "INSERT INTO t VALUES (?1, ?2)");
                insert.with(n, std::string(700, 'x')).run();
                (*database)->run("UPDATE t SET text = text || 'y'");
            });
            if (!done) return;
            if (n % 6 == 0) {
                const auto whole = (*database)->checkpoint(false);
                if (!whole) return;
                if (*whole) committed = n;
            }
        }
    };
    std::uint64_t committed = 0;
    fake::SimDisk whole;
    fill(whole, committed);
    ASSERT_EQ(committed, 24U);
    for (std::uint64_t cut = 0; cut < whole.operations(); ++cut) {
        SCOPED_TRACE(cut);
        fake::SimDisk disk;
        committed = 0;
        disk.stop_before(cut);
        fill(disk, committed);
        testing::SeededRandom chance(cut);
        disk.crash(chance);
        testing::FixedClock clock;
        const fake::DiskVfs vfs(spool_vfs, disk, clock, chance);
        auto database = sqlite::Database::open({"test.db", spool_vfs}, sqlite::Access::write);
        ASSERT_TRUE(database) << database.error().text;
        if ((*database)->number("SELECT count(*) FROM sqlite_schema") == 0) {
            EXPECT_EQ(committed, 0U);
            continue;
        }
        const auto rows = (*database)->number("SELECT count(*) FROM t");
        EXPECT_GE(rows, static_cast<std::int64_t>(committed));
        EXPECT_EQ((*database)->number("SELECT max(n) FROM t"), rows);
        EXPECT_EQ((*database)->number(
                      "SELECT count(*) FROM t WHERE length(text) <> 700 + (SELECT count(*) FROM t) - n + 1"),
                  0);
        sqlite::Statement check(**database, "PRAGMA integrity_check");
        ASSERT_TRUE(check.row());
        EXPECT_EQ(check.text(0), "ok");
    }
}

}  // namespace
}  // namespace sternpost::store::engine
