// The store's engine without its threads, step by step.
#include "store/engine/engine_core.h"

#include <gtest/gtest.h>

#include "fake/disk_vfs.h"
#include "fake/hand_task_queue.h"
#include "fake/sim_disk.h"
#include "store/engine/layout.h"
#include "store/journal/journal.h"
#include "store/sqlite/database.h"
#include "unit/store/store_testing.h"

namespace sternpost::store::engine {
namespace {

using testing::message_to;
constexpr const char* core_vfs = "engine-core-test";
const SteadyTime start{};

class PumpedEngine : public ::testing::Test {
  protected:
    PumpedEngine() : disk_(std::make_shared<fake::SimDisk>()), vfs_(core_vfs, *disk_, clock_, random_) {
        Options options;
        options.fatal = [this](const std::string& why) { died_ = why; };
        const StorePlace place{disk_, {index_name, core_vfs}};
        engine_ = std::make_unique<EngineCore>(
            place, options, EngineTaskQueues{writer_, follower_, reader_, pool_}, log_, trusted_clock_);
        EXPECT_TRUE(engine_->recover(random_, {}));
    }

    std::shared_ptr<fake::SimDisk> disk_;
    testing::NullLog log_;
    testing::FixedClock clock_;
    TrustedClock trusted_clock_{clock_};
    testing::SeededRandom random_{1};
    fake::DiskVfs vfs_;
    fake::HandTaskQueue writer_;
    fake::HandTaskQueue follower_;
    fake::HandTaskQueue reader_;
    fake::HandTaskQueue pool_;
    std::string died_;
    std::unique_ptr<EngineCore> engine_;
};

// Mail that was sent is no mail that is due, though the index has not heard of it.
TEST_F(PumpedEngine, SaysNothingOfWhatIsDueWhileTheIndexCannotFollow) {
    const NewMessage message = message_to(7, {"bob@example.com"}, "x");
    engine_->accept(message, Completion<Result<MessageId>>([](const Result<MessageId>&) {}));
    writer_.run_all();
    engine_->pump(start);
    const auto ask = [&] {
        Result<Due> due;
        DueQuestion question;
        question.now = message.arrived;
        engine_->due(question, Completion<Result<Due>>([&](Result<Due> answer) { due = std::move(answer); }));
        writer_.run_all();
        follower_.run_all();
        reader_.run_all();
        return due;
    };
    ASSERT_EQ(ask().value().messages.size(), 1U);
    auto other = sqlite::Database::open({index_name, core_vfs}, sqlite::Access::write).value();
    other->run("BEGIN IMMEDIATE");
    engine_->record(testing::sent(message), {}, Completion<Result<void>>([](const Result<void>&) {}));
    writer_.run_all();
    engine_->pump(start + std::chrono::milliseconds(1));  // gathers
    engine_->pump(start + std::chrono::milliseconds(3));  // writes
    ASSERT_FALSE(ask());
    EXPECT_EQ(ask().error().code, Errc::busy);
    other->run("COMMIT");
    EXPECT_TRUE(ask().value().messages.empty());
}

TEST_F(PumpedEngine, AnswersAnAcceptWhenItIsPumpedAndNotBefore) {
    bool answered = false;
    engine_->accept(
        message_to(7, {"bob@example.com"}, "x"),
        Completion<Result<MessageId>>([&](const Result<MessageId>& id) { answered = id.has_value(); }));
    writer_.run_all();
    EXPECT_FALSE(answered);
    engine_->pump(start);
    EXPECT_TRUE(answered);
}

TEST_F(PumpedEngine, GathersForTheSessionsInsideDataAndNoLonger) {
    bool answered = false;
    const auto sink = engine_->new_body(1000);
    engine_->accept(
        message_to(7, {"bob@example.com"}, "x"),
        Completion<Result<MessageId>>([&](const Result<MessageId>& id) { answered = id.has_value(); }));
    writer_.run_all();
    engine_->pump(start);
    EXPECT_FALSE(answered);
    EXPECT_EQ(engine_->wake(), start + std::chrono::milliseconds(1));
    engine_->pump(engine_->wake());
    EXPECT_TRUE(answered);
}

TEST_F(PumpedEngine, KeepsSixteenMiBOfBodiesInMemoryOnTheirWayIn) {
    const auto files = [this] { return disk_->list("bodies").value().size(); };
    const std::string half(32'768, 'x');
    std::vector<std::unique_ptr<BodySink>> sinks;
    const auto begin = [&] {
        sinks.push_back(engine_->new_body(1'000'000));
        ASSERT_TRUE(sinks.back()->write(half));
        ASSERT_TRUE(sinks.back()->write("x"));  // from here on it has room for 64 KiB
    };
    for (int n = 0; n < 256; ++n) begin();
    EXPECT_EQ(files(), 0U);
    begin();
    EXPECT_EQ(files(), 1U);
    sinks.erase(sinks.begin(), sinks.begin() + 2);
    begin();
    EXPECT_EQ(files(), 1U) << "there is room again";
}

TEST_F(PumpedEngine, SyncsTwoMiBOfRecordsAtATime) {
    std::size_t answered = 0;
    for (std::uint64_t id = 1; id <= 40; ++id)
        engine_->accept(message_to(id, {"bob@example.com"}, std::string(60'000, 'x')),
                        Completion<Result<MessageId>>(
                            [&](const Result<MessageId>& done) { answered += done ? 1U : 0U; }));
    writer_.run_all();
    engine_->pump(start);
    EXPECT_EQ(answered, 40U);
    auto records = SegmentRecords::open(*disk_, 1);
    ASSERT_TRUE(records);
    std::map<std::uint64_t, std::uint64_t> batches;  // octets, by the first sequence
    for (auto record = records->next(); record && *record; record = records->next())
        batches[(*record)->batch_first] += (*record)->size;
    ASSERT_EQ(batches.size(), 2U);
    EXPECT_LE(batches.begin()->second, 2'097'152U);
    EXPECT_GT(batches.begin()->second, 2'000'000U);
}

TEST_F(PumpedEngine, AQuestionSeesWhatWasAcknowledgedBefore) {
    engine_->accept(message_to(7, {"bob@example.com"}, "x"),
                    Completion<Result<MessageId>>([](const Result<MessageId>&) {}));
    writer_.run_all();
    engine_->pump(start);
    std::size_t found = 0;
    const auto count = [&](Result<Questions*> questions) { found = (*questions)->find({}).value().size(); };
    engine_->ask(Question(count), false);
    writer_.run_all();
    follower_.run_all();
    reader_.run_all();
    EXPECT_EQ(found, 1U);
}

TEST_F(PumpedEngine, BehindAClosedDoorNothingIsAsked) {
    EXPECT_TRUE(engine_->close_door());
    EXPECT_FALSE(engine_->close_door());
    Errc told{};
    engine_->accept(
        message_to(7, {"bob@example.com"}, "x"),
        Completion<Result<MessageId>>([&](const Result<MessageId>& id) { told = id.error().code; }));
    EXPECT_EQ(told, Errc::closed);
    EXPECT_TRUE(writer_.empty());
    engine_->close();
}

}  // namespace
}  // namespace sternpost::store::engine
