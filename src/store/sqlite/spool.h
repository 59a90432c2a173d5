// Journal, bodies and index as one store on one thread: recovery, batches, applying, checkpoints, removal of
// segments. A core: who runs it says when; the engine pumps it, and tests stop the world between any two of
// its disk operations.
#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "store/body.h"
#include "store/journal.h"
#include "store/sqlite/history.h"
#include "store/sqlite/index.h"
#include "store/writer.h"
#include "util/log.h"

namespace sternpost::store::sqlite {

struct SpoolOptions {
    JournalOptions journal;
    std::chrono::seconds submission_memory = std::chrono::hours(24 * 7);
    std::size_t body_memory = 16UL * 1024 * 1024;  // of bodies on their way in
    std::uint64_t min_free = 64UL * 1024 * 1024;   // below that no mail is accepted; results still are
    std::size_t max_backlog = 50'000;              // journal entries that the index may be behind
    int checkpoint_pages = 4000;                   // of WAL, then it is moved into the database
    bool checkpoint_elsewhere = false;   // somebody else does the long part of it, see wal_is_long()
    std::size_t idle_segments = 2;       // so many in which nothing lives go together
    bool write_ahead = false;            // a new spool begins with a spare file for its journal
    std::chrono::days outcome_days{40};  // how long TLS outcomes are kept
    std::chrono::days history_days{14};  // how long attempts are; 0: no history
};

/// What a Spool works with; all of it outlives the Spool.
struct SpoolParts {
    Disk& disk;
    DatabasePlace database;
    Log& log;
    const Clock& clock;
    Random& random;
    Fatal fatal;
    Writer::OnAccepted on_accepted;
};

/// One thread; bodies() from any.
class Spool {
  public:
    /// Recovers what is there. Errors: newer_schema, damaged, full, io; the text says what to do.
    static Result<std::unique_ptr<Spool>> open(SpoolParts parts, const SpoolOptions& options);

    const Opened& opened() const { return opened_; }
    Bodies& bodies() { return bodies_; }
    Writer& writer() { return writer_; }  // but mail comes in by accept()

    /// Refused with full when disk or index have no room for more mail.
    void accept(NewMessage message, Reply<Result<MessageId>> reply);

    /// Syncs and answers what the writer has gathered.
    void commit();
    /// Brings the index to the journal's end. Trouble is logged and the next call tries again.
    void apply();
    /// Checkpoints, removes segments and looks at the free space, where it is time for one of them.
    void maintain();
    /// With checkpoint_elsewhere: most of the WAL is to be moved into the database by another connection, on
    /// another thread (Database::checkpoint()), and lightened() called then. What came in the meantime is
    /// left to maintain(): mail that waits for its 250 waits for that alone.
    bool wal_is_long() const;
    void lightened() { lightened_ = true; }
    /// commit(), apply(), and the whole WAL into the database.
    void close();
    /// Where read_history() finds what apply() has written.
    HistoryPlace history_place() const { return HistoryPlace::beside(parts_.disk, parts_.database); }

    /// All that was committed is in the index.
    bool applied() const { return pending_.empty() && journal_.end() == index_->position(); }
    /// What was committed and is not in the index yet.
    std::size_t backlog() const { return pending_.size(); }
    const Index& index() const { return *index_; }

  private:
    Spool(SpoolParts parts, const SpoolOptions& options);
    Result<void> recover();
    Result<void> read_journal();
    Result<void> catch_history_up();
    void apply_history(std::span<const JournalEntry> entries);
    Result<void> checkpoint_history();
    void forget_old();
    Result<void> reconcile_bodies();
    Result<void> reconcile_segments();
    std::optional<MessageId> known(const SubmissionId& id);
    void checkpoint();
    Result<void> remove(std::uint64_t segment);
    Result<void> reclaim(const std::vector<std::uint64_t>& idle);
    Result<void> save_results(std::uint64_t segment);
    void look_at_space();
    void check_syncs();
    /// Logs `trouble` once, until it is nullopt again.
    void note(const char* what, const Result<void>& result);

    SpoolParts parts_;
    SpoolOptions options_;
    Opened opened_;
    Bodies bodies_;
    Journal journal_;
    Writer writer_;
    std::unique_ptr<Index> index_;
    std::unique_ptr<HistoryFiles> history_;  // null: none is kept
    JournalPosition history_durable_;        // up to here it is on stable storage
    std::vector<JournalEntry> pending_;
    std::map<SubmissionId, MessageId> pending_submissions_;
    std::set<std::uint64_t> segments_;  // on disk
    std::map<std::string, std::string> troubles_;
    JournalPosition maintained_;  // the journal's end when maintain() looked last
    WallTime submissions_forgotten_;
    WallTime old_forgotten_;
    std::chrono::microseconds steps_{};  // wall time less steady time, at the start
    bool short_of_space_ = false;
    bool lightened_ = false;
};

}  // namespace sternpost::store::sqlite
