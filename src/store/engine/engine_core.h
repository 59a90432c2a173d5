// The store that keeps a journal and an SQLite index, without its threads: what is asked of it goes into
// four task queues, and who empties them pumps it. engine/engine does so with threads, the simulator step by
// step.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <shared_mutex>
#include <string>
#include <vector>

#include "store/engine/journaled_store.h"
#include "store/sqlite/reader.h"
#include "store/store.h"
#include "util/log.h"

namespace sternpost::store::engine {

struct Options {
    std::chrono::seconds submission_memory =
        std::chrono::hours(24 * 7);               // a second accept is refused for so long
    std::uint64_t min_free = 64UL * 1024 * 1024;  // octets on the disk; with less, no mail is accepted
    JournaledStoreOptions spool;                  // the two above count, not their likes in here
    std::chrono::microseconds gather = std::chrono::milliseconds(1);  // at most, for a batch
    std::chrono::milliseconds apply_interval =
        std::chrono::milliseconds(100);  // at most, that the index is behind
    Fatal fatal;                         // a sync failed; empty: logs the reason and ends the process
};

/// Where a store is.
struct StorePlace {
    std::shared_ptr<Disk> disk;
    sqlite::DatabasePlace database;  // of which the disk knows too: a VFS made from it, or its path on the
                                     // machine's file system
};

/// Where the engine's work is done. Writer, follower and reader are emptied in order, by one thread each; the
/// pool in any order. They outlive every task in them.
struct EngineTaskQueues {
    TaskQueue& writer;    // the journal's
    TaskQueue& follower;  // the index's, as it is brought up to date
    TaskQueue& reader;
    TaskQueue& pool;
};

class EngineCore : public Store {
  public:
    EngineCore(StorePlace place, const Options& options, EngineTaskQueues task_queues, Log& log,
               TrustedClock& clock);
    EngineCore(const EngineCore&) = delete;
    EngineCore& operator=(const EngineCore&) = delete;
    ~EngineCore() override = default;

    /// Opens what is there and recovers it, once and before anything else. Log, clock and random outlive the
    /// engine. Errors: newer_schema, damaged, full, io.
    Result<void> recover(Random& random, Events events);

    // ---- the writer's part; on one thread
    /// When pump() has something to do though no task comes.
    SteadyTime wake() const;
    /// That is soon, since someone waits for the batch that is being gathered: what is posted lazily to the
    /// writer's task queue may wait for it.
    bool gathering() const { return spool_->writer().has_mail() || spool_->writer().has_others(); }
    /// After tasks of the writer's task queue have run, or at wake(): writes the batch that is due, has the
    /// index brought up to date and the upkeep done.
    void pump(SteadyTime now);
    /// Nothing is gathered and the index is up to date: pump() has upkeep alone to do.
    bool idle() const { return spool_->writer().idle() && spool_->backlog() == 0; }

    // ---- the end, in this order; what is asked after the first is answered with closed
    /// Closes the door; the rest is up to whoever empties the task queues.
    std::string stop() override {
        close_door();
        return "";
    }
    /// False: the door is closed already.
    bool close_door();
    /// Writes what came before. After the last task of pool and writer.
    void finish_writing();
    /// Brings the index to its end, and the WAL into the database. After the last task of all, on any thread.
    void close();

    const Opened& opened() const override { return opened_; }
    Identity identity() const override { return {}; }
    SteadyTime lease() const override { return SteadyTime::max(); }
    bool steward() const override { return true; }
    bool has_room(std::uint64_t octets) const override { return spool_->has_room(octets); }

    std::unique_ptr<BodySink> new_body(std::uint64_t limit) override;
    void accept(NewMessage message, Completion<Result<MessageId>> reply) override;
    void record(std::vector<DeliveryResult> results, std::vector<NewMessage> notices,
                Completion<Result<void>> reply) override;
    void act(std::vector<Act> acts, Completion<Result<void>> reply) override;
    void read_body(const StoredMessage& message, std::uint64_t offset, std::size_t most,
                   Completion<Result<std::string>> reply) override;
    void due(DueQuestion question, Completion<Result<Due>> reply) override;
    void ask(Question question, bool current) override;
    using Store::keep;
    void keep(Kept kept, Completion<Result<void>> reply) override;

  protected:
    Opened opened_;
    /// Why the index could not be read, the first time; empty: it could. After close_door().
    const std::string& damage() const { return damage_; }

  private:
    void note_damage(const std::string& why);
    SteadyTime batch_due(SteadyTime since) const;
    void follow();
    void done_following(const JournalPosition& reached, const Upkeep& upkeep);
    void end_if_unsynced(const Error<Errc>& error);
    enum class When { at_once, with_the_batch };
    /// Runs `work(reply)` from that task queue, or answers `reply` with closed.
    template <class T, class Work>
    void submit(TaskQueue& where, Completion<Result<T>> reply, Work work, When when = When::at_once);

    StorePlace place_;
    Options options_;
    EngineTaskQueues task_queues_;
    Log& log_;
    TrustedClock& clock_;
    std::unique_ptr<JournaledStore> spool_;   // the writer's, but for bodies() and follower()
    std::unique_ptr<sqlite::Reader> reader_;  // the reader's
    bool following_ = false;                  // the writer's: the follower is at work
    JournalPosition followed_;                // the follower's: the journal's end when it did its upkeep last
    std::optional<SteadyTime> batch_since_;   // the writer's: when the first of what is gathered came
    SteadyTime tick_;                         // the writer's: the next upkeep
    std::shared_mutex closing_;               // shared: someone is posting; whole: close_door()
    bool closed_ = false;
    Events events_;
    std::mutex noting_;
    std::string damage_;
};

}  // namespace sternpost::store::engine
