// The store with its threads: one that writes the journal, one that brings the index to its end, one that
// answers questions, and a small pool for what is slow and touches none of them (syncs and reads of bodies).
// What they do is engine_core's.
#pragma once

#include <memory>
#include <string>
#include <thread>

#include "store/engine/engine_core.h"
#include "util/blocking_task_queue.h"
#include "util/file.h"
#include "util/pool.h"

namespace sternpost::store::engine {

class SqliteStore final : public EngineCore {
  public:
    /// Opens the store in `state_dir` (made if absent), locks it and recovers. Log, clock and random outlive
    /// the store and are used on its threads. Errors: busy (another daemon has it), newer_schema, damaged,
    /// full, io.
    static Result<std::unique_ptr<SqliteStore>> open(const std::string& state_dir, Options options, Log& log,
                                                     TrustedClock& clock, Random& random, Events events);
    /// The same at any place, without a lock.
    static Result<std::unique_ptr<SqliteStore>> open(StorePlace place, Options options, Log& log,
                                                     TrustedClock& clock, Random& random, Events events);
    ~SqliteStore() override;  // stop()

    /// Brings the index up to date, moves the WAL into the database and ends the threads. An index that could
    /// not be read is put aside, so that the next start makes it again (damage.h).
    std::string stop() override;

  private:
    SqliteStore(StorePlace place, const Options& options, Log& log, TrustedClock& clock);
    void run_writer();
    static void run(BlockingTaskQueue& inbox, const bool& stops);

    TrustedClock& clock_;
    util::Fd lock_;
    std::string state_dir_;  // empty: the store was opened at a place of its own
    BlockingTaskQueue to_writer_;
    BlockingTaskQueue to_follower_;
    BlockingTaskQueue to_reader_;
    Pool pool_;
    // Each is its thread's.
    bool writer_stops_ = false;
    bool follower_stops_ = false;
    bool reader_stops_ = false;
    std::thread writer_thread_;
    std::thread follower_thread_;
    std::thread reader_thread_;
};

}  // namespace sternpost::store::engine
