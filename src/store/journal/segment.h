// The octets of a segment: its header and its records (doc/formats.md).
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "store/errc.h"
#include "store/journal/accepted.h"
#include "store/journal/disk.h"
#include "store/kept.h"

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

constexpr std::size_t record_header_octets = 48;
constexpr std::size_t alignment = 8;  // of each record

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

/// Octets that a record of `size` takes.
constexpr std::uint64_t padded(std::uint64_t size) {
    return (size + alignment - 1) / alignment * alignment;
}
/// What stands at `offset` may be a record by its magic.
bool has_record_magic(std::string_view octets, std::uint64_t offset);
/// Whether one from `offset` on is of this segment. Of others they may be where the file was another
/// segment's.
bool holds_records_of(std::uint64_t segment, std::string_view octets, std::uint64_t offset);
/// Whether records have been written to a segment whose header cannot be read.
bool holds_records(std::string_view segment_octets);

}  // namespace sternpost::store
