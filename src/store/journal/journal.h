// The writing end of the journal.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "store/journal/segment.h"
#include "util/random.h"

namespace sternpost::store {

/// Called when a sync has failed: what is on disk is unknown, so the process must end. In production it does
/// not return; where it does (tests), whoever called it refuses all that follows.
using Fatal = std::function<void(const std::string& reason)>;

struct JournalOptions {
    std::uint64_t segment_octets =
        16UL * 1024 * 1024;          // a new segment begins when the next batch would pass this
    std::size_t spare_segments = 4;  // files of segments that have gone, kept for those to come
};

/// The writing end. One thread.
class Journal {
  public:
    Journal(Disk& disk, JournalOptions options, Random& random, Fatal fatal)
        : disk_(disk), options_(options), random_(random), fatal_(std::move(fatal)) {}

    /// Goes on at `end`, as replay() found it.
    Result<void> open(const JournalPosition& end);

    /// Writes `records` as one batch and syncs it. When it returns places, all of it is on stable storage,
    /// and the directory entry of a new segment too. full, io: nothing was kept, the journal goes on as if
    /// never asked. closed: a sync failed.
    Result<std::vector<JournalPlace>> append(std::span<const Record> records);

    const JournalPosition& end() const { return end_; }

    /// The file of a segment that is needed no more goes, or is put by for one to come: octets that are
    /// written over old ones cost a sync nothing but themselves. Not yet synced in the directory.
    Result<void> retire(std::uint64_t segment);
    /// Puts a file by that no segment has had yet, written full. None if that cannot be.
    void write_ahead();
    /// What was put by goes.
    void drop_spares();

  private:
    Result<void> roll();
    Result<void> trim();
    Result<std::unique_ptr<DiskFile>> make(const SegmentHeader& header);
    Result<std::unique_ptr<DiskFile>> use_spare(const SegmentHeader& header);
    Result<void> undo(Error<Errc> why);
    tl::unexpected<Error<Errc>> died(const std::string& reason);

    Disk& disk_;
    JournalOptions options_;
    Random& random_;
    Fatal fatal_;
    std::unique_ptr<DiskFile> file_;  // null: the next append makes a segment
    SegmentHeader header_;
    JournalPosition end_;
    std::uint64_t reserved_ = 0;  // up to there the segment has its place on the disk, as far as that goes
    std::vector<std::string> spares_;  // the names of files put by
    bool over_old_ = false;            // the segment's file holds older records behind end_
    bool dead_ = false;
};

}  // namespace sternpost::store
