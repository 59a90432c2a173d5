// The store with its threads: one that writes the journal, one that brings the index to its end, one that
// answers questions, and a small pool for what is slow and touches none of them (syncs and reads of bodies).
// What they do is engine_core's.
#pragma once

#include <memory>
#include <string>
#include <thread>

#include "store/sqlite/engine_core.h"
#include "util/file.h"
#include "util/inbox.h"
#include "util/pool.h"

namespace sternpost::store::sqlite {

class SqliteStore final : public EngineCore {
  public:
    /// Opens the store in `state_dir` (made if absent), locks it and recovers. Log, clock and random outlive
    /// the store and are used on its threads. Errors: busy (another daemon has it), newer_schema, damaged,
    /// full, io.
    static Result<std::unique_ptr<SqliteStore>> open(const std::string& state_dir, Options options, Log& log,
                                                     TrustedClock& clock, Random& random,
                                                     OnAccepted on_accepted);
    /// The same at any place, without a lock.
    static Result<std::unique_ptr<SqliteStore>> open(StorePlace place, Options options, Log& log,
                                                     TrustedClock& clock, Random& random,
                                                     OnAccepted on_accepted);
    /// After stop(), where a row of the index could not be read: the next start makes the index again
    /// (damage.h).
    static Result<void> set_index_aside(const std::string& state_dir);
    ~SqliteStore() override;  // stop()

    /// Finishes what was asked for, brings the index up to date, moves the WAL into the database, ends the
    /// threads. What is asked after that is answered with closed.
    void stop();

  private:
    SqliteStore(StorePlace place, const Options& options, Log& log, TrustedClock& clock);
    void run_writer();
    static void run(Inbox& inbox, const bool& stops);

    TrustedClock& clock_;
    util::Fd lock_;
    Inbox to_writer_;
    Inbox to_follower_;
    Inbox to_reader_;
    Pool pool_;
    // Each is its thread's.
    bool writer_stops_ = false;
    bool follower_stops_ = false;
    bool reader_stops_ = false;
    std::thread writer_thread_;
    std::thread follower_thread_;
    std::thread reader_thread_;
};

}  // namespace sternpost::store::sqlite
