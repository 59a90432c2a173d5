// What became of every message, attempt by attempt, for `why`: one database file a UTC day under history/, so
// that forgetting is an unlink. Made from the journal; writing a record again does no harm, since rows are
// known by the record's sequence number.
#pragma once

#include <chrono>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "store/journal/disk.h"
#include "store/journal/writer.h"
#include "store/sqlite/database.h"
#include "store/store.h"

namespace sternpost::store::sqlite {

/// Where the day files are: on `disk` under history/, which SQLite knows as `folder` (with a '/' at its end)
/// of `vfs`.
struct HistoryPlace {
    Disk* disk = nullptr;
    std::string folder;
    std::string vfs;

    /// Beside the index.
    static HistoryPlace beside(Disk& disk, const DatabasePlace& index);
};

/// The writing end. One thread.
class HistoryFiles {
  public:
    /// `kept`: how many days are, today among them.
    HistoryFiles(HistoryPlace place, std::chrono::days kept);
    ~HistoryFiles();

    /// Adds what `entries` tell, but nothing of days that would be forgotten at `now`. A message that is
    /// accepted and finished within them takes one row. An error is of the file at hand; what the others were
    /// to hold is written. Errors: full, damaged, newer_schema, io.
    Result<void> apply(std::span<const JournalEntry> entries, WallTime now);
    /// Brings all that was applied to stable storage; files of days before `now`'s are closed. False: a
    /// reader held part of it back.
    Result<bool> checkpoint(WallTime now);
    /// Unlinks the files of days that are no longer kept.
    Result<void> forget(WallTime now);
    int wal_pages() const;
    bool sync_failed() const { return sync_failed_; }

  private:
    struct Day;
    struct Rows;
    Result<Day*> open(std::chrono::sys_days day);
    Result<void> write(std::chrono::sys_days day, const Rows& rows);

    HistoryPlace place_;
    std::chrono::days kept_;
    std::map<std::chrono::sys_days, std::unique_ptr<Day>> open_;
    bool folder_made_ = false;
    bool entries_unsynced_ = false;  // a file's directory entry may be new
    bool sync_failed_ = false;
};

/// What the journal holds beyond the files, for who reads while no daemon runs.
class HistoryOverlay {
  public:
    void add(const JournalEntry& entry);

  private:
    friend class HistoryAnswer;
    std::vector<StoredMessage> messages_;
    std::vector<HistoryEntry> entries_;
};

/// Answers `filter` from the files, and from `beyond` where there is one. Opens what it needs and closes it
/// again. A file that cannot be read is passed over: the others still answer. Any thread.
Result<History> read_history(const HistoryPlace& place, const HistoryFilter& filter,
                             const HistoryOverlay* beyond = nullptr);

}  // namespace sternpost::store::sqlite
