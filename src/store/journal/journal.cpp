#include "store/journal/journal.h"

#include <fmt/format.h>

#include <algorithm>
#include <cassert>
#include <cstring>

#include "store/journal/codec.h"
#include "util/crc32c.h"
#include "util/text.h"

namespace sternpost::store {
namespace {

constexpr std::string_view segment_magic = "SPJRNL\r\n";  // damaged by transfers that touch line ends
constexpr std::uint32_t format_version = 1;
constexpr std::size_t segment_header_octets = 48;
constexpr std::size_t second_copy_at = 2048;  // in another sector than the first

constexpr std::uint32_t record_magic = 0x31525053;  // "SPR1"
constexpr std::size_t record_header_octets = 48;
constexpr std::size_t record_crc_at = 44;
constexpr std::size_t alignment = 8;

constexpr std::size_t window_octets = 1UL << 20U;  // of a segment that is read

constexpr std::string_view spare_suffix = ".spare";
constexpr std::size_t write_ahead_piece = 256UL * 1024;
constexpr std::uint64_t reserve_step = 1UL << 20U;  // ours: room on the disk that is set aside in advance

constexpr std::uint64_t padded(std::uint64_t size) {
    return (size + alignment - 1) / alignment * alignment;
}

// What stands at `offset` may be a record by its magic.
bool has_record_magic(std::string_view octets, std::uint64_t offset) {
    return offset + record_header_octets <= octets.size() && get_u32(octets, offset) == record_magic;
}

// Whether one of them is of this segment. Of others they may be where the file was another segment's.
bool holds_records_of(std::uint64_t segment, std::string_view octets, std::uint64_t offset) {
    for (; offset + record_header_octets <= octets.size(); offset += alignment)
        if (has_record_magic(octets, offset) && get_u64(octets, offset + 16) == segment) return true;
    return false;
}

// Whether records have been written to a segment whose header cannot be read.
bool holds_records(std::string_view segment_octets) {
    for (std::uint64_t offset = records_begin; offset < segment_octets.size(); offset += alignment)
        if (has_record_magic(segment_octets, offset)) return true;
    return false;
}

}  // namespace

std::string encode_segment_header(const SegmentHeader& header) {
    std::string copy(segment_magic);
    put_u32(copy, format_version);
    put_u32(copy, static_cast<std::uint32_t>(records_begin));
    put_u64(copy, header.segment);
    put_u64(copy, header.first_sequence);
    put_u32(copy, header.salt);
    put_u64(copy, 0);  // reserved
    put_u32(copy, crc32c(copy));
    assert(copy.size() == segment_header_octets);
    std::string out = copy;
    out.resize(second_copy_at);
    out += copy;
    out.resize(records_begin);
    return out;
}

std::optional<SegmentHeader> decode_segment_header(std::string_view segment_octets, std::uint64_t segment) {
    // The first copy alone is on the disk where the making of the segment was cut off: nothing is in it.
    if (segment_octets.size() < records_begin) return std::nullopt;
    for (const std::size_t at : {std::size_t{0}, second_copy_at}) {
        if (segment_octets.size() < at + segment_header_octets) continue;
        const auto copy = segment_octets.substr(at, segment_header_octets);
        SegmentHeader header;
        header.segment = get_u64(copy, 16);
        header.first_sequence = get_u64(copy, 24);
        header.salt = get_u32(copy, 32);
        const bool sound =
            copy.starts_with(segment_magic) && get_u32(copy, 8) == format_version &&
            crc32c(copy.substr(0, segment_header_octets - 4)) == get_u32(copy, segment_header_octets - 4);
        if (sound && header.segment == segment) return header;
    }
    return std::nullopt;
}

std::string encode_record(const Record& record, const SegmentHeader& segment, std::uint64_t sequence,
                          std::uint64_t batch_first) {
    const std::string_view body = record.body ? std::string_view(*record.body) : std::string_view();
    std::string out;
    out.reserve(padded(record_header_octets + record.fields.size() + body.size()));
    put_u32(out, record_magic);
    put_u32(out, static_cast<std::uint32_t>(record.type));  // type in the low octet, 24 bits reserved
    put_u32(out, static_cast<std::uint32_t>(record.fields.size()));
    put_u32(out, static_cast<std::uint32_t>(body.size()));
    put_u64(out, segment.segment);
    put_u64(out, sequence);
    put_u64(out, batch_first);
    put_u32(out, crc32c(body, segment.salt));
    assert(out.size() == record_crc_at);
    put_u32(out, crc32c(record.fields, crc32c(out, segment.salt)));
    out += record.fields;
    out += body;
    out.resize(padded(out.size()));
    return out;
}

std::optional<RecordView> decode_record(std::string_view segment_octets, std::uint64_t offset,
                                        const SegmentHeader& segment) {
    if (!has_record_magic(segment_octets, offset)) return std::nullopt;
    const auto rest = segment_octets.substr(offset);
    const std::uint64_t fields_size = get_u32(rest, 8);
    const std::uint64_t body_size = get_u32(rest, 12);
    if (fields_size > max_fields || body_size > max_inline_body) return std::nullopt;
    RecordView view;
    view.type = static_cast<std::uint8_t>(get_u32(rest, 4) & 0xFFU);
    view.sequence = get_u64(rest, 24);
    view.batch_first = get_u64(rest, 32);
    view.place = {segment.segment, offset};
    view.size = padded(record_header_octets + fields_size + body_size);
    if (get_u64(rest, 16) != segment.segment || view.batch_first > view.sequence) return std::nullopt;
    if (rest.size() < record_header_octets + fields_size) return std::nullopt;
    view.fields = rest.substr(record_header_octets, fields_size);
    const auto crc = crc32c(view.fields, crc32c(rest.substr(0, record_crc_at), segment.salt));
    if (crc != get_u32(rest, record_crc_at)) return std::nullopt;
    view.body = rest.substr(record_header_octets + fields_size, body_size);
    view.body_damaged = rest.size() < view.size || crc32c(view.body, segment.salt) != get_u32(rest, 40);
    return view;
}

std::string segment_name(std::uint64_t segment) {
    return fmt::format("journal/{:08}.seg", segment);
}
std::string done_file_name(std::uint64_t segment) {
    return fmt::format("journal/{:08}.done", segment);
}

Result<std::vector<std::uint64_t>> segments(Disk& disk) {
    auto names = disk.list("journal");
    if (!names) return fail(std::move(names).error());
    std::vector<std::uint64_t> out;
    for (const std::string_view name : *names) {
        if (!name.ends_with(".seg")) continue;
        const auto id = decimal(name.substr(0, name.size() - 4));
        if (id && segment_name(*id) == "journal/" + std::string(name)) out.push_back(*id);
    }
    std::sort(out.begin(), out.end());
    return out;
}

Result<std::string> read_all(Disk& disk, std::string_view name) {
    auto file = disk.open(name, OpenMode::read);
    if (!file) return fail(std::move(file).error());
    const auto size = (*file)->size();
    if (!size) return fail(size.error());
    std::string out(*size, '\0');
    const auto got = (*file)->read(0, out);
    if (!got) return fail(got.error());
    out.resize(*got);
    return out;
}

Result<SegmentRecords> SegmentRecords::open(Disk& disk, std::uint64_t segment) {
    auto file = disk.open(segment_name(segment), OpenMode::read);
    if (!file) return fail(std::move(file).error());
    std::string octets(records_begin, '\0');
    const auto got = (*file)->read(0, octets);
    if (!got) return fail(got.error());
    octets.resize(*got);
    const auto header = decode_segment_header(octets, segment);
    if (!header) return fail(Errc::damaged, segment_name(segment) + ": its header is damaged");
    return SegmentRecords(std::move(*file), *header);
}

// So many octets from the next record on are in the window, or all that the file has.
Result<void> SegmentRecords::have(std::uint64_t octets) {
    if (all_ || at_ + octets <= begin_ + window_.size()) return {};
    window_.resize(std::max<std::size_t>(octets, window_octets));
    const auto got = file_->read(at_, window_);
    if (!got) return fail(got.error());
    begin_ = at_;
    all_ = *got < window_.size();
    window_.resize(*got);
    return {};
}

Result<std::optional<RecordView>> SegmentRecords::next() {
    for (;; at_ += alignment) {
        if (auto there = have(record_header_octets); !there) return fail(std::move(there).error());
        const std::uint64_t offset = at_ - begin_;
        if (offset + record_header_octets > window_.size()) return std::optional<RecordView>();
        if (!has_record_magic(window_, offset)) continue;
        const std::uint64_t fields_size = get_u32(window_, offset + 8);
        const std::uint64_t body_size = get_u32(window_, offset + 12);
        if (fields_size > max_fields || body_size > max_inline_body) continue;
        if (auto there = have(padded(record_header_octets + fields_size + body_size)); !there)
            return fail(std::move(there).error());
        auto record = decode_record(window_, at_ - begin_, header_);
        if (!record) continue;
        record->place.offset = at_;
        at_ += record->size;
        return record;
    }
}

Result<std::string> read_record_body(Disk& disk, const Body& body, std::uint64_t offset, std::size_t most) {
    assert(body.place);
    const std::string name = segment_name(body.place->segment);
    auto file = disk.open(name, OpenMode::read);
    if (!file) return fail(std::move(file).error());
    std::string header(record_header_octets, '\0');
    const auto got = (*file)->read(body.place->offset, header);
    if (!got) return fail(got.error());
    const auto unreadable = [&] {
        return fail(Errc::damaged,
                    fmt::format("{}: the message at octet {} is damaged", name, body.place->offset));
    };
    if (*got != header.size() || !has_record_magic(header, 0) || get_u32(header, 12) != body.size ||
        get_u64(header, 16) != body.place->segment || get_u32(header, 8) > max_fields ||
        body.size > max_inline_body)
        return unreadable();
    std::string octets(body.size, '\0');
    const auto body_got =
        (*file)->read(body.place->offset + record_header_octets + get_u32(header, 8), octets);
    if (!body_got) return fail(body_got.error());
    if (*body_got != octets.size() || crc32c(octets) != body.crc) return unreadable();
    if (offset >= octets.size()) return std::string();
    return octets.substr(offset, most);
}

// ---- append

Result<void> Journal::open(const JournalPosition& end) {
    end_ = end;
    const auto names = disk_.list("journal");
    if (!names) return fail(names.error());
    for (const std::string& name : *names)
        if (name.ends_with(spare_suffix)) spares_.push_back("journal/" + name);
    if (end.offset == 0) return {};
    const std::string name = segment_name(end.segment);
    auto file = disk_.open(name, OpenMode::read_write);
    if (!file) return fail(std::move(file).error());
    std::string octets(records_begin, '\0');
    const auto got = (*file)->read(0, octets);
    if (!got) return fail(got.error());
    const auto header = decode_segment_header(octets, end.segment);
    if (!header) return fail(Errc::damaged, name + " has lost its header");
    header_ = *header;
    file_ = std::move(*file);
    return {};
}

tl::unexpected<Error<Errc>> Journal::died(const std::string& reason) {
    dead_ = true;
    fatal_(reason);
    return fail(Errc::closed, reason);
}

// The older records behind the last one go before a next segment is there: from then on all that stands in
// this one counts as acknowledged.
Result<void> Journal::trim() {
    if (!file_ || !over_old_) return {};
    if (auto cut = file_->truncate(end_.offset); !cut) return cut;
    if (const auto synced = file_->sync(); !synced) return died(synced.error().text);
    over_old_ = false;
    return {};
}

// A file that was put by, under the header of the new segment before it has its name. null: there is none.
Result<std::unique_ptr<DiskFile>> Journal::use_spare(const SegmentHeader& header) {
    while (!spares_.empty()) {
        const std::string spare = std::move(spares_.back());
        spares_.pop_back();
        auto file = disk_.open(spare, OpenMode::read_write);
        if (file && (*file)->write(0, encode_segment_header(header))) {
            if (const auto synced = (*file)->sync(); !synced) return died(synced.error().text);
            if (disk_.rename(spare, segment_name(header.segment))) return file;
        }
        [[maybe_unused]] const auto removed = disk_.unlink(spare);
    }
    return std::unique_ptr<DiskFile>();
}

Result<std::unique_ptr<DiskFile>> Journal::make(const SegmentHeader& header) {
    const std::string name = segment_name(header.segment);
    auto file = disk_.open(name, OpenMode::create);
    if (!file) return file;
    const auto emptied = (*file)->truncate(0);  // what an interrupted attempt at it may have left
    const auto written = emptied ? (*file)->write(0, encode_segment_header(header)) : emptied;
    if (!written) {
        file->reset();
        // If even this fails, the file without a sound header is found and removed by the next replay.
        [[maybe_unused]] const auto removed = disk_.unlink(name);
        return fail(written.error());
    }
    if (const auto synced = (*file)->sync(); !synced) return died(synced.error().text);
    return file;
}

// Makes the next segment: it and its directory entry are on stable storage before a record in it can be
// acknowledged.
Result<void> Journal::roll() {
    if (auto trimmed = trim(); !trimmed) return trimmed;
    const SegmentHeader header{end_.segment + 1, end_.sequence, static_cast<std::uint32_t>(random_.bits())};
    auto file = use_spare(header);
    const bool reused = file && *file;
    if (file && !reused) file = make(header);
    if (!file) return fail(std::move(file).error());
    if (const auto synced = disk_.sync_dir("journal"); !synced) return died(synced.error().text);
    file_ = std::move(*file);
    over_old_ = reused;
    reserved_ = 0;
    header_ = header;
    end_ = {header.segment, records_begin, header.first_sequence};
    return {};
}

Result<void> Journal::retire(std::uint64_t segment) {
    const std::string name = segment_name(segment);
    if (spares_.size() >= options_.spare_segments) return disk_.unlink(name);
    std::string spare = name.substr(0, name.rfind('.')) + std::string(spare_suffix);
    if (auto renamed = disk_.rename(name, spare); !renamed) return renamed;
    spares_.push_back(std::move(spare));
    return {};
}

void Journal::write_ahead() {
    const std::string name = "journal/new" + std::string(spare_suffix);
    auto file = disk_.open(name, OpenMode::create);
    if (!file) return;
    const std::string zeros(write_ahead_piece, '\0');
    Result<void> done;
    for (std::uint64_t at = 0; at < options_.segment_octets && done; at += zeros.size())
        done = (*file)->write(
            at, std::string_view(zeros).substr(0, std::min(zeros.size(), options_.segment_octets - at)));
    if (!done) {
        [[maybe_unused]] const auto removed = disk_.unlink(name);
        return;
    }
    if (const auto synced = (*file)->sync(); !synced) {
        [[maybe_unused]] const auto dead = died(synced.error().text);
        return;
    }
    spares_.push_back(name);
}

void Journal::drop_spares() {
    for (const auto& spare : std::exchange(spares_, {})) {
        // One that stays is found at the next start.
        [[maybe_unused]] const auto removed = disk_.unlink(spare);
    }
}

// Takes a batch that could not be written back out of the file: whole records of it must not come to life at
// a replay.
Result<void> Journal::undo(Error<Errc> why) {
    reserved_ = 0;
    if (const auto cut = file_->truncate(end_.offset); !cut)
        return died(cut.error().text + ", after: " + why.text);
    if (const auto synced = file_->sync(); !synced) return died(synced.error().text);
    return fail(std::move(why));
}

Result<std::vector<JournalPlace>> Journal::append(std::span<const Record> records) {
    if (dead_) return fail(Errc::closed, "the journal is closed after a failed sync");
    std::uint64_t size = 0;
    for (const auto& record : records) {
        const std::uint64_t body = record.body ? record.body->size() : 0;
        assert(body <= max_inline_body);
        if (record.fields.size() > max_fields)
            return fail(Errc::too_big, "a record is too large for the journal");
        size += padded(record_header_octets + record.fields.size() + body);
    }
    const bool has_room =
        file_ && (end_.offset + size <= options_.segment_octets || end_.offset == records_begin);
    if (!has_room)
        if (auto rolled = roll(); !rolled) return fail(std::move(rolled).error());

    std::string octets;
    octets.reserve(size);
    std::vector<JournalPlace> places;
    places.reserve(records.size());
    std::uint64_t sequence = end_.sequence;
    for (const auto& record : records) {
        places.push_back({end_.segment, end_.offset + octets.size()});
        octets += encode_record(record, header_, sequence++, end_.sequence);
    }
    if (end_.offset + size > reserved_) {
        const std::uint64_t needed = end_.offset + size;
        reserved_ = std::max(needed, std::min(needed + reserve_step, options_.segment_octets));
        file_->reserve(reserved_);
    }
    if (auto written = file_->write(end_.offset, octets); !written) {
        auto undone = undo(std::move(written).error());
        return fail(std::move(undone).error());
    }
    if (const auto synced = file_->sync(); !synced) return died(synced.error().text);
    end_.offset += octets.size();
    end_.sequence = sequence;
    return places;
}

// ---- replay

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

// What a process wrote that ended before its sync is here as long as the machine lives, and after a sync that
// failed the system takes for written what is not. Whoever reads it acts on it, so it is written once more
// and synced first.
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

// ---- done-files

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
