// Octets of a record: fields of (tag varint, length varint, octets). Unknown tags are skipped, so that fields
// can be added for ever; a tag once given keeps its meaning (doc/formats.md). Reads any octets without harm.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "util/clock.h"

namespace sternpost::store {

void put_varint(std::string& out, std::uint64_t value);  // LEB128: seven bits an octet, low ones first
void put_u32(std::string& out, std::uint32_t value);     // little-endian, as all that follow
void put_u64(std::string& out, std::uint64_t value);
std::uint32_t get_u32(std::string_view octets, std::size_t offset);  // the octets must be there
std::uint64_t get_u64(std::string_view octets, std::size_t offset);

class FieldWriter {
  public:
    void octets(std::uint64_t tag, std::string_view value);
    /// Little-endian without high zero octets: 0 has none.
    void number(std::uint64_t tag, std::uint64_t value);
    void time(std::uint64_t tag, WallTime value);
    /// The same, but nothing is written for an empty text or 0: what the reader takes an absent field for.
    void some_octets(std::uint64_t tag, std::string_view value);
    void some_number(std::uint64_t tag, std::uint64_t value);

    std::string take() { return std::move(out_); }

  private:
    std::string out_;
};

struct Field {
    std::uint64_t tag = 0;
    std::string_view octets;

    std::optional<std::uint64_t> number() const;  // nullopt: more than 8 octets
    std::optional<WallTime> time() const;
};

class FieldReader {
  public:
    explicit FieldReader(std::string_view octets) : rest_(octets) {}
    /// The next field; nullopt at the end and where the octets are no field: damaged() tells which.
    std::optional<Field> next();
    bool damaged() const { return damaged_; }

  private:
    std::optional<std::uint64_t> varint();
    std::string_view rest_;
    bool damaged_ = false;
};

}  // namespace sternpost::store
