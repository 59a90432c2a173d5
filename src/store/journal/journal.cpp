#include "store/journal/journal.h"

#include <fmt/format.h>

#include <algorithm>
#include <cassert>

namespace sternpost::store {
namespace {

constexpr std::string_view spare_suffix = ".spare";
constexpr std::size_t write_ahead_piece = 256UL * 1024;
constexpr std::uint64_t reserve_step = 1UL << 20U;  // ours: room on the disk that is set aside in advance

}  // namespace

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

}  // namespace sternpost::store
