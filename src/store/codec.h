// How values become octets: fields of (tag varint, length varint, octets). Unknown tags are skipped, so that
// fields can be added for ever; a tag once given keeps its meaning (doc/formats.md). Reads any octets without
// harm.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "store/records.h"

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

std::string encode(const NewMessage& message);       // without the octets of the body
std::string encode_head(const NewMessage& message);  // without the recipients too
std::string encode(const DeliveryResult& result);
std::string encode(const HopState& state);
std::string encode(const Act& act);
std::string encode(const StoredPolicy& policy);
std::string encode(const StoredDiscovery& discovery);
std::string encode(const StoredOverride& override);
std::string encode(const StoredSuspension& suspension);
std::string encode(const StoredAlarm& alarm);
std::string encode(const ClosedDay& closed);
std::string encode(const StoredReport& report);
/// At most 20 hosts and 4 KiB of dialogue are kept.
enum class WithOutcomes { no, yes };
std::string encode(const AttemptDetail& detail, WithOutcomes outcomes);
/// For history: without outcomes.
std::string encode_for_history(const DeliveryResult& result);
std::string encode_for_history(const HopState& state);
/// For history: recipients, but nothing of the submission and of where the body is.
std::string encode_for_history(const NewMessage& message);
/// What tells outcomes of one day, domain and policy text apart: all but these and the time.
std::string encode_alike(const TlsOutcome& outcome);

// Errors: damaged.
Result<NewMessage> decode_message(
    std::string_view fields);  // an encode_head() gives a message without recipients
Result<DeliveryResult> decode_result(std::string_view fields);
Result<HopState> decode_hop(std::string_view fields);
Result<Act> decode_act(std::string_view fields);
Result<StoredPolicy> decode_policy(std::string_view fields);
Result<StoredDiscovery> decode_discovery(std::string_view fields);
Result<StoredOverride> decode_override(std::string_view fields);
Result<StoredSuspension> decode_suspension(std::string_view fields);
Result<StoredAlarm> decode_alarm(std::string_view fields);
Result<ClosedDay> decode_closed_day(std::string_view fields);
Result<StoredReport> decode_report(std::string_view fields);
Result<AttemptDetail> decode_detail(std::string_view fields);
Result<TlsOutcome> decode_outcome(std::string_view fields);

std::uint64_t notify_bits(const mail::Notify& notify);
mail::Notify notify_of(std::uint64_t bits);

}  // namespace sternpost::store
