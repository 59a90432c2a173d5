#include "store/journal/replay.h"

#include <fmt/format.h>

#include <algorithm>
#include <cassert>
#include <cstring>

namespace sternpost::store {
namespace {

// One replay over all segments.
class Replay {
  public:
    Replay(Disk& disk, const JournalPosition& from, bool repair, const RecordSink& sink)
        : disk_(disk), repair_(repair), sink_(sink), at_(from) {}

    Result<Replayed> run();

  private:
    // What follows a segment.
    struct Next {
        bool any = false;  // a later segment is there: all of this one was acknowledged
        std::optional<std::uint64_t> first_sequence;  // of the very next one, where its header is sound
    };
    Result<void> segment(std::uint64_t id, std::string_view octets, const Next& next);
    Result<Next> look_ahead(std::uint64_t id, std::uint64_t next_id, bool last, std::string& octets);
    Result<void> headless(std::uint64_t id, std::string_view octets);
    Result<void> cut_tail(std::string_view octets);
    Result<void> make_durable(std::string_view octets, const SegmentHeader& header);
    bool acknowledged(std::string_view octets, const SegmentHeader& header, const Next& next) const;
    void keep_aside(std::string_view octets, std::uint64_t offset, const std::string& what);
    std::optional<RecordView> find_after(std::string_view octets, std::uint64_t offset,
                                         const SegmentHeader& header, std::uint64_t batch_after) const;

    Disk& disk_;
    bool repair_;
    const RecordSink& sink_;
    JournalPosition at_;
    std::vector<std::string> warnings_;
};

// The first whole record behind `offset` whose sequence number is still to come, and whose batch begins
// behind `batch_after`.
std::optional<RecordView> Replay::find_after(std::string_view octets, std::uint64_t offset,
                                             const SegmentHeader& header, std::uint64_t batch_after) const {
    for (offset += alignment; offset + record_header_octets <= octets.size(); offset += alignment) {
        if (!has_record_magic(octets, offset)) continue;
        const auto record = decode_record(octets, offset, header);
        if (record && record->sequence > at_.sequence && record->batch_first > batch_after) return record;
    }
    return std::nullopt;
}

void Replay::keep_aside(std::string_view octets, std::uint64_t offset, const std::string& what) {
    const std::string name = fmt::format("damaged/{:08}-{}.octets", at_.segment, offset);
    std::string warning = fmt::format("{}: {} octets at {} were acknowledged and cannot be read: {}",
                                      segment_name(at_.segment), octets.size(), offset, what);
    if (repair_) {
        const auto keep = [&]() -> Result<void> {
            auto file = disk_.open(name, OpenMode::create);
            if (!file) return fail(std::move(file).error());
            if (auto cut = (*file)->truncate(0); !cut) return cut;
            if (auto put = (*file)->write(0, octets); !put) return put;
            if (auto synced = (*file)->sync(); !synced) return synced;
            return disk_.sync_dir("damaged");
        };
        // The octets stay in the segment as well, so a copy that fails loses nothing yet.
        if (const auto kept = keep())
            warning += "; they are kept in " + name;
        else
            warning += "; " + kept.error().text;
    }
    warnings_.push_back(std::move(warning));
}

// A segment without a sound header: its creation was cut off, or both copies are damaged.
Result<void> Replay::headless(std::uint64_t id, std::string_view octets) {
    const std::string name = segment_name(id);
    if (holds_records(octets) || id == at_.segment) {
        at_ = {id, 0, at_.sequence};
        keep_aside(octets, 0, "the segment's header is damaged");
        return {};
    }
    if (!repair_) return {};
    if (auto removed = disk_.unlink(name); !removed) return removed;
    return disk_.sync_dir("journal");
}

Result<void> Replay::cut_tail(std::string_view octets) {
    if (at_.offset >= octets.size()) return {};
    if (holds_records_of(at_.segment, octets, at_.offset))
        warnings_.push_back(
            fmt::format("{}: dropped what was written at {} when the machine stopped and never acknowledged",
                        segment_name(at_.segment), at_.offset));
    if (!repair_) return {};
    // Cut off for good: records in it would have the numbers, and perhaps the places, of those written from
    // here on.
    auto file = disk_.open(segment_name(at_.segment), OpenMode::read_write);
    if (!file) return fail(std::move(file).error());
    if (auto cut = (*file)->truncate(at_.offset); !cut) return cut;
    return (*file)->sync();
}

// A process may have ended before its sync: what it wrote can be read only until the machine stops. After a
// sync that failed, the system may believe that data is on the disk when it is not. The caller acts on what
// it reads, so it is written again and synced first.
Result<void> Replay::make_durable(std::string_view octets, const SegmentHeader& header) {
    std::uint64_t end = at_.offset;
    for (std::uint64_t sequence = at_.sequence;; ++sequence) {
        const auto record = decode_record(octets, end, header);
        if (!record || record->sequence != sequence) break;
        end += record->size;
    }
    auto file = disk_.open(segment_name(at_.segment), OpenMode::read_write);
    if (!file) return fail(std::move(file).error());
    auto written = (*file)->write(0, octets.substr(0, records_begin));
    if (written) written = (*file)->write(at_.offset, octets.substr(at_.offset, end - at_.offset));
    if (!written && written.error().code != Errc::full) return written;
    return (*file)->sync();
}

// Whether what stands at at_, and is not sound, was once.
bool Replay::acknowledged(std::string_view octets, const SegmentHeader& header, const Next& next) const {
    if (next.first_sequence && *next.first_sequence > at_.sequence) return true;
    if (next.any && !next.first_sequence)
        return octets.find_first_not_of('\0', at_.offset) != std::string_view::npos;
    return find_after(octets, at_.offset, header, at_.sequence).has_value();
}

Result<void> Replay::segment(std::uint64_t id, std::string_view octets, const Next& next_segment) {
    const auto header = decode_segment_header(octets, id);
    if (!header) return headless(id, octets);
    if (at_.segment != id || at_.offset == 0) {
        // Between segments that are not neighbours, others have been removed when nothing lived in them.
        if (at_.segment + 1 == id && at_.segment != 0 && header->first_sequence > at_.sequence)
            warnings_.push_back(fmt::format("{}: begins with record {}, but {} was expected",
                                            segment_name(id), header->first_sequence, at_.sequence));
        at_ = {id, records_begin, header->first_sequence};
    }
    if (at_.offset > octets.size()) {  // the index knows more than the file holds
        warnings_.push_back(fmt::format("{}: ends at octet {}, but the index has read it up to {}",
                                        segment_name(id), octets.size(), at_.offset));
        at_.offset = 0;
        return {};
    }
    if (repair_ && !next_segment.any)
        if (auto durable = make_durable(octets, *header); !durable) return durable;
    for (;;) {
        const auto record = decode_record(octets, at_.offset, *header);
        const bool expected = record && record->sequence == at_.sequence;
        if (expected && !record->body_damaged) {
            const JournalPosition after{id, at_.offset + record->size, at_.sequence + 1};
            if (auto taken = sink_(*record, after); !taken) return taken;
            at_ = after;
            continue;
        }
        // Nothing sound here. A later batch, or a later segment, is written only after this one was synced.
        if (!acknowledged(octets, *header, next_segment))
            return next_segment.any ? Result<void>{} : cut_tail(octets);
        if (expected) {
            const JournalPosition after{id, at_.offset + record->size, at_.sequence + 1};
            keep_aside(octets.substr(at_.offset, record->size), at_.offset, "a message has lost its text");
            if (auto taken = sink_(*record, after); !taken) return taken;
            at_ = after;
            continue;
        }
        const auto next = find_after(octets, at_.offset, *header, 0);
        const std::uint64_t resume = next ? next->place.offset : octets.size();
        const std::uint64_t sequence = next ? next->sequence : next_segment.first_sequence.value_or(0);
        keep_aside(octets.substr(at_.offset, resume - at_.offset), at_.offset,
                   sequence > at_.sequence
                       ? fmt::format("records {} to {} are lost", at_.sequence, sequence - 1)
                       : fmt::format("the records from {} on are lost", at_.sequence));
        at_ = {id, resume, std::max(sequence, at_.sequence)};
        if (!next) return {};
    }
}

// Reads the segment behind `id` into `octets`, and what its being there says about `id`.
Result<Replay::Next> Replay::look_ahead(std::uint64_t id, std::uint64_t next_id, bool last,
                                        std::string& octets) {
    auto read = read_all(disk_, segment_name(next_id));
    if (!read) return fail(std::move(read).error());
    octets = std::move(*read);
    Next next;
    const auto header = decode_segment_header(octets, next_id);
    if (header && next_id == id + 1) next.first_sequence = header->first_sequence;
    next.any = header || !last || holds_records(octets);  // one whose creation was cut short proves nothing
    return next;
}

Result<Replayed> Replay::run() {
    auto ids = segments(disk_);
    if (!ids) return fail(std::move(ids).error());
    std::erase_if(
        *ids, [&](std::uint64_t id) { return id < at_.segment || (id == at_.segment && at_.offset == 0); });
    if (at_.segment != 0 && at_.offset != 0 && (ids->empty() || ids->front() != at_.segment)) {
        warnings_.push_back(
            fmt::format("{} is missing, though the index has not read all of it", segment_name(at_.segment)));
        at_.offset = 0;
    }
    std::string octets;
    std::string following;
    for (std::size_t i = 0; i < ids->size(); ++i) {
        if (i == 0) {
            auto first = read_all(disk_, segment_name((*ids)[0]));
            if (!first) return fail(std::move(first).error());
            octets = std::move(*first);
        }
        Result<Next> next;
        if (i + 1 < ids->size()) next = look_ahead((*ids)[i], (*ids)[i + 1], i + 2 == ids->size(), following);
        if (!next) return fail(std::move(next).error());
        if (auto done = segment((*ids)[i], octets, *next); !done) return fail(std::move(done).error());
        octets = std::move(following);
        following.clear();
    }
    return Replayed{at_, std::move(warnings_)};
}

}  // namespace

Result<Replayed> replay(Disk& disk, const JournalPosition& from, bool repair, const RecordSink& sink) {
    return Replay(disk, from, repair, sink).run();
}

namespace {

struct DoneFile {
    std::optional<SegmentHeader> header;
    std::vector<DoneRecord> records;
    std::uint64_t end = records_begin;  // behind the last whole record
};

Result<DoneFile> scan_done(Disk& disk, std::uint64_t segment) {
    DoneFile out;
    auto octets = read_all(disk, done_file_name(segment));
    if (!octets && octets.error().code == Errc::not_found) return out;
    if (!octets) return fail(std::move(octets).error());
    out.header = decode_segment_header(*octets, segment);
    if (!out.header) return out;
    for (std::uint64_t offset = records_begin; offset < octets->size();) {
        const auto record = decode_record(*octets, offset, *out.header);
        if (!record) {
            offset += alignment;  // a torn end, or damage that what follows survives
            continue;
        }
        out.records.push_back(
            {static_cast<RecordType>(record->type), record->sequence, std::string(record->fields)});
        offset += record->size;
        out.end = offset;
    }
    return out;
}

}  // namespace

Result<void> append_done(Disk& disk, std::uint64_t segment, std::span<const DoneRecord> records,
                         Random& random, const Fatal& fatal) {
    auto known = scan_done(disk, segment);
    if (!known) return fail(std::move(known).error());
    auto file = disk.open(done_file_name(segment), OpenMode::create);
    if (!file) return fail(std::move(file).error());
    SegmentHeader header;
    std::string octets;
    std::uint64_t offset = known->end;
    if (known->header) {
        header = *known->header;
    } else {
        header = {segment, 0, static_cast<std::uint32_t>(random.bits())};
        octets = encode_segment_header(header);
        offset = 0;
    }
    for (const auto& record : records)
        octets +=
            encode_record({record.type, record.fields, nullptr}, header, record.sequence, record.sequence);
    if (auto cut = (*file)->truncate(offset); !cut) return cut;
    if (auto written = (*file)->write(offset, octets); !written) return written;
    auto synced = (*file)->sync();
    if (synced) synced = disk.sync_dir("journal");
    if (!synced) fatal(synced.error().text);
    return synced;
}

Result<std::vector<DoneRecord>> read_done(Disk& disk, std::uint64_t segment) {
    auto known = scan_done(disk, segment);
    if (!known) return fail(std::move(known).error());
    return std::move(known->records);
}

}  // namespace sternpost::store
