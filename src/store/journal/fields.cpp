#include "store/journal/fields.h"

namespace sternpost::store {

void put_varint(std::string& out, std::uint64_t value) {
    for (; value >= 0x80; value >>= 7U) out += static_cast<char>(0x80U | (value & 0x7FU));
    out += static_cast<char>(value);
}

void put_u32(std::string& out, std::uint32_t value) {
    for (unsigned shift = 0; shift < 32; shift += 8) out += static_cast<char>((value >> shift) & 0xFFU);
}

void put_u64(std::string& out, std::uint64_t value) {
    for (unsigned shift = 0; shift < 64; shift += 8) out += static_cast<char>((value >> shift) & 0xFFU);
}

std::uint32_t get_u32(std::string_view octets, std::size_t offset) {
    std::uint32_t value = 0;
    for (unsigned i = 0; i < 4; ++i)
        value |= std::uint32_t{static_cast<unsigned char>(octets[offset + i])} << (8U * i);
    return value;
}

std::uint64_t get_u64(std::string_view octets, std::size_t offset) {
    std::uint64_t value = 0;
    for (unsigned i = 0; i < 8; ++i)
        value |= std::uint64_t{static_cast<unsigned char>(octets[offset + i])} << (8U * i);
    return value;
}

void FieldWriter::octets(std::uint64_t tag, std::string_view value) {
    put_varint(out_, tag);
    put_varint(out_, value.size());
    out_ += value;
}

void FieldWriter::number(std::uint64_t tag, std::uint64_t value) {
    std::string text;
    for (; value != 0; value >>= 8U) text += static_cast<char>(value & 0xFFU);
    octets(tag, text);
}

void FieldWriter::time(std::uint64_t tag, WallTime value) {
    number(tag, static_cast<std::uint64_t>(value.time_since_epoch().count()));
}

void FieldWriter::some_octets(std::uint64_t tag, std::string_view value) {
    if (!value.empty()) octets(tag, value);
}

void FieldWriter::some_number(std::uint64_t tag, std::uint64_t value) {
    if (value != 0) number(tag, value);
}

std::optional<std::uint64_t> Field::number() const {
    if (octets.size() > 8) return std::nullopt;
    std::uint64_t value = 0;
    for (std::size_t i = 0; i < octets.size(); ++i)
        value |= std::uint64_t{static_cast<unsigned char>(octets[i])} << (8U * i);
    return value;
}

std::optional<WallTime> Field::time() const {
    const auto value = number();
    if (!value) return std::nullopt;
    return WallTime(std::chrono::microseconds(static_cast<std::int64_t>(*value)));
}

std::optional<std::uint64_t> FieldReader::varint() {
    std::uint64_t value = 0;
    for (unsigned i = 0; i < 10 && i < rest_.size(); ++i) {
        const auto octet = static_cast<unsigned char>(rest_[i]);
        if (i == 9 && octet > 1) break;  // beyond 64 bits
        value |= std::uint64_t{octet & 0x7FU} << (7U * i);
        if (octet < 0x80) {
            rest_.remove_prefix(i + 1);
            return value;
        }
    }
    damaged_ = true;
    return std::nullopt;
}

std::optional<Field> FieldReader::next() {
    if (rest_.empty() || damaged_) return std::nullopt;
    const auto tag = varint();
    const auto length = tag ? varint() : std::nullopt;
    if (!length) return std::nullopt;
    if (*length > rest_.size()) {
        damaged_ = true;
        return std::nullopt;
    }
    const Field field{*tag, rest_.substr(0, *length)};
    rest_.remove_prefix(*length);
    return field;
}

}  // namespace sternpost::store
