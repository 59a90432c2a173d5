// What follows the journal: the index, the history, and the upkeep of both and of the journal's segments. It
// may be behind; what it is handed it keeps until the index has taken it.
#pragma once

#include <set>
#include <span>
#include <vector>

#include "store/engine/repeated_errors.h"
#include "store/journal/body.h"
#include "store/journal/writer.h"
#include "store/sqlite/history.h"
#include "store/sqlite/index.h"
#include "store/trusted_clock.h"

namespace sternpost::store::engine {

struct IndexUpdaterOptions {
    std::chrono::seconds submission_memory = std::chrono::hours(24 * 7);
    int checkpoint_pages = 4000;         // of WAL, then it is moved into the database
    std::size_t idle_segments = 2;       // so many in which nothing lives go together
    std::size_t thin_from = 8;           // more segments than that, and one in which little lives is thinned
    std::chrono::days outcome_days{40};  // how long TLS outcomes are kept
    std::chrono::days history_days{14};  // how long attempts are; 0: no history
    Fatal damaged;                       // the index cannot be written; empty: nothing
};

/// What a IndexUpdater works with; all of it outlives it.
struct IndexUpdaterParts {
    Disk& disk;
    sqlite::DatabasePlace database;
    Bodies& bodies;
    Log& log;
    const TrustedClock& clock;
    Random& random;
    Fatal fatal;
};

/// What the journal has on stable storage and the follower has not been told of: records, and the position
/// behind them.
struct CommittedEntries {
    std::vector<JournalEntry> entries;
    JournalPosition end;
};

/// What is to be done in the journal by who owns it.
struct Upkeep {
    std::vector<std::uint64_t> removable_segments;  // segments that it can do without, oldest first
    std::optional<std::uint64_t> thin;              // one in which little lives: IndexUpdater::copies()
};

/// One thread at a time.
class IndexUpdater {
  public:
    /// `segment_octets`: as JournalOptions.
    IndexUpdater(IndexUpdaterParts parts, const IndexUpdaterOptions& options, std::uint64_t segment_octets)
        : parts_(std::move(parts)),
          options_(options),
          segment_octets_(segment_octets),
          troubles_(parts_.log) {}

    /// Opens index and history, once and before anything else, and brings them to the journal's end; returns
    /// where that is. Errors: newer_schema, damaged, full, io; the text says what to do.
    Result<JournalPosition> recover(Opened& opened);

    /// Brings the index to the end of what was handed over, now or before. Trouble is logged, and the next
    /// call tries again.
    void take(CommittedEntries handed);
    /// All that was handed over is in the index.
    bool current() const { return waiting_.empty() && end_ == index_->position(); }
    /// How far the journal is in the index.
    const JournalPosition& reached() const { return index_->position(); }

    /// Checkpoints and forgets what has had its time. What it asks for is to be done, and gone() called,
    /// before the next call. `quiet`: no record has come since the last one.
    Upkeep maintain(bool quiet);
    /// What lives in the segment, to be written again so that it can go: each message with its copied
    /// state and its small body. Nothing where that is more than an eighth of a segment, or the index is not
    /// current.
    std::vector<Accepted> copies(std::uint64_t segment);
    /// The files of these segments are gone.
    void gone(const std::vector<std::uint64_t>& segments);
    /// Moves the WAL into the database: as much as readers let it, or all of it, waiting for them.
    void checkpoint(bool whole);

    const sqlite::Index& index() const { return *index_; }

  private:
    Result<void> catch_history_up();
    void apply_history(std::span<const JournalEntry> entries);
    Result<void> checkpoint_history();
    Result<void> read_journal(Opened& opened);
    Result<void> reconcile_segments();
    Result<void> reconcile_bodies(Opened& opened);
    Result<void> save_results(std::uint64_t segment);
    std::optional<std::uint64_t> thin_segment() const;
    void forget_old();
    void note(const char* what, const Result<void>& result);

    IndexUpdaterParts parts_;
    IndexUpdaterOptions options_;
    std::uint64_t segment_octets_;
    RepeatedErrors troubles_;
    std::unique_ptr<sqlite::Index> index_;
    std::unique_ptr<sqlite::HistoryFiles> history_;    // null: none is kept
    JournalPosition history_durable_;                  // up to here it is on stable storage
    std::vector<JournalEntry> waiting_;                // what the index has not taken yet
    JournalPosition end_;                              // behind them
    std::set<std::uint64_t> segments_;                 // on disk
    std::map<std::uint64_t, std::uint64_t> not_thin_;  // segments, and how many lived in them when more did
                                                       // than may be copied
    WallTime submissions_forgotten_;
    WallTime old_forgotten_;
};

}  // namespace sternpost::store::engine
