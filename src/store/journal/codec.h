// How values become the octets of records, and back. Reads any octets without harm.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "store/errc.h"
#include "store/journal/accepted.h"
#include "store/journal/described.h"

namespace sternpost::store {

std::string encode(const Accepted& accepted);        // without the octets of the body
std::string encode(const NewMessage& message);       // as one that was just accepted
std::string encode_head(const NewMessage& message);  // without the recipients too
/// For history: recipients, but nothing of the submission and of where the body is.
std::string encode_for_history(const NewMessage& message);
/// Errors: damaged. An encode_head() gives a message without recipients.
Result<Accepted> decode_accepted(std::string_view fields);
Result<NewMessage> decode_message(std::string_view fields);  // likewise, without what had become of it

/// nullopt: no kind of what is kept has this type. Errors: damaged.
Result<std::optional<Kept>> decode_kept(RecordType type, std::string_view fields);

/// What tells outcomes of one day, domain and policy text apart: all but these and the time.
std::string encode_alike(const TlsOutcome& outcome);

std::uint64_t notify_bits(const mail::Notify& notify);
mail::Notify notify_of(std::uint64_t bits);

}  // namespace sternpost::store
