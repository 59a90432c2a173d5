#include "store/journal/segment.h"

#include <fmt/format.h>

#include <algorithm>
#include <cassert>

#include "store/journal/fields.h"
#include "util/crc32c.h"
#include "util/text.h"

namespace sternpost::store {
namespace {

constexpr std::string_view segment_magic = "SPJRNL\r\n";  // damaged by transfers that touch line ends
constexpr std::uint32_t format_version = 1;
constexpr std::size_t segment_header_octets = 48;
constexpr std::size_t second_copy_at = 2048;  // in another sector than the first

constexpr std::uint32_t record_magic = 0x31525053;  // "SPR1"
constexpr std::size_t record_crc_at = 44;

constexpr std::size_t window_octets = 1UL << 20U;  // of a segment that is read

}  // namespace

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
    const auto place = place_of(body.ref);
    assert(place);
    const std::string name = segment_name(place->segment);
    auto file = disk.open(name, OpenMode::read);
    if (!file) return fail(std::move(file).error());
    std::string header(record_header_octets, '\0');
    const auto got = (*file)->read(place->offset, header);
    if (!got) return fail(got.error());
    const auto unreadable = [&] {
        return fail(Errc::damaged,
                    fmt::format("{}: the message at octet {} is damaged", name, place->offset));
    };
    if (*got != header.size() || !has_record_magic(header, 0) || get_u32(header, 12) != body.size ||
        get_u64(header, 16) != place->segment || get_u32(header, 8) > max_fields ||
        body.size > max_inline_body)
        return unreadable();
    std::string octets(body.size, '\0');
    const auto body_got = (*file)->read(place->offset + record_header_octets + get_u32(header, 8), octets);
    if (!body_got) return fail(body_got.error());
    if (*body_got != octets.size() || crc32c(octets) != body.crc) return unreadable();
    if (offset >= octets.size()) return std::string();
    return octets.substr(offset, most);
}

}  // namespace sternpost::store
