// The journal: append-only segment files whose synced records are the truth about all mail. Record format,
// append, replay, done-files. What the fields of a record mean is codec.h's business; what the octets look
// like, doc/formats.md's.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "store/journal/disk.h"
#include "store/kept.h"
#include "store/records.h"
#include "util/random.h"

namespace sternpost::store {

constexpr std::size_t max_inline_body = 64UL * 1024;  // larger ones have a file of their own
constexpr std::size_t max_batch = 2UL * 1024 * 1024;  // what one sync earns; one request alone may be larger
constexpr std::size_t max_fields = 64UL * 1024 * 1024;  // a longer record cannot be right
constexpr std::uint64_t records_begin = 4096;           // in a segment, after the two copies of its header

/// One record on its way into the journal.
struct Record {
    RecordType type = RecordType::accept;
    std::string fields;
    std::shared_ptr<const std::string> body;  // null: none
};

/// Where the next record goes, or is expected. offset 0: in a segment that is yet to be made, behind
/// `segment`.
struct JournalPosition {
    std::uint64_t segment = 0;
    std::uint64_t offset = 0;
    std::uint64_t sequence = 1;
    auto operator<=>(const JournalPosition&) const = default;
};

struct SegmentHeader {
    std::uint64_t segment = 0;
    std::uint64_t first_sequence = 0;  // of the first record in it
    std::uint32_t salt =
        0;  // begins every CRC in the segment, so that octets of a message can never pass for a record
};

/// A record found in a segment; views into the segment's octets.
struct RecordView {
    std::uint8_t type = 0;  // a RecordType, or of a later release
    std::uint64_t sequence = 0;
    std::uint64_t batch_first = 0;
    JournalPlace place;
    std::uint64_t size = 0;  // with header and padding
    std::string_view fields;
    std::string_view body;
    bool body_damaged = false;  // its CRC does not match; the fields are sound
};

// ---- octets
std::string encode_segment_header(const SegmentHeader& header);  // `records_begin` octets, two copies in it
std::optional<SegmentHeader> decode_segment_header(std::string_view segment_octets, std::uint64_t segment);
std::string encode_record(const Record& record, const SegmentHeader& segment, std::uint64_t sequence,
                          std::uint64_t batch_first);
/// The record at `offset`: nullopt unless header and fields are whole and of this segment.
std::optional<RecordView> decode_record(std::string_view segment_octets, std::uint64_t offset,
                                        const SegmentHeader& segment);

std::string segment_name(std::uint64_t segment);    // journal/00000001.seg
std::string done_file_name(std::uint64_t segment);  // journal/00000001.done
/// Ids of the segments that are there, ascending.
Result<std::vector<std::uint64_t>> segments(Disk& disk);
/// The whole file.
Result<std::string> read_all(Disk& disk, std::string_view name);

/// The records of one segment, in order; what cannot be read is passed over. Holds 1 MiB of it in memory, or
/// the longest record. One thread.
class SegmentRecords {
  public:
    /// Errors: damaged (its header), not_found, io.
    static Result<SegmentRecords> open(Disk& disk, std::uint64_t segment);
    /// The next one, valid until the next call; nullopt: that was all. Errors: io.
    Result<std::optional<RecordView>> next();

  private:
    SegmentRecords(std::unique_ptr<DiskFile> file, const SegmentHeader& header)
        : file_(std::move(file)), header_(header) {}
    Result<void> have(std::uint64_t octets);

    std::unique_ptr<DiskFile> file_;
    SegmentHeader header_;
    std::string window_;
    std::uint64_t begin_ = records_begin;  // of the window, in the file
    std::uint64_t at_ = records_begin;     // of the next record, in the file
    bool all_ = false;                     // the file ends with the window
};

/// A small body from its accept record: `most` octets from `offset`. Errors: damaged, not_found, io. Any
/// thread.
Result<std::string> read_record_body(Disk& disk, const Body& body, std::uint64_t offset, std::size_t most);

// ---- append
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

// ---- replay
struct Replayed {
    JournalPosition end;  // where Journal::open() goes on
    std::vector<std::string> warnings;
};

/// Calls `sink` for every record from `from` on, in order; `after` is the position behind it. With `repair`,
/// a torn tail is cut off and octets that were acknowledged but cannot be read are copied to damaged/;
/// without, nothing is changed. An error of `sink` ends it.
using RecordSink = std::function<Result<void>(const RecordView& record, const JournalPosition& after)>;
Result<Replayed> replay(Disk& disk, const JournalPosition& from, bool repair, const RecordSink& sink);

// ---- done-files
struct DoneRecord {
    RecordType type = RecordType::result;
    std::uint64_t sequence = 0;  // that it had in its own segment
    std::string fields;
};

/// Adds `records` to the done-file of `segment`; on stable storage when it returns. Adding one twice does no
/// harm: readers tell by the sequence number. `fatal` as above.
Result<void> append_done(Disk& disk, std::uint64_t segment, std::span<const DoneRecord> records,
                         Random& random, const Fatal& fatal);
/// What the done-file of `segment` holds; nothing where there is none.
Result<std::vector<DoneRecord>> read_done(Disk& disk, std::uint64_t segment);

}  // namespace sternpost::store
