// How TLS reports look in JSON: one that would go out, those that went out, the day for the administrator.
// Each has `lines` for people where there is more to read than a table.
#pragma once

#include <boost/json.hpp>
#include <string>
#include <vector>

#include "control/protocol.h"
#include "store/report.h"
#include "tlsrpt/record.h"
#include "tlsrpt/report.h"

namespace sternpost::control {

/// With `report`, the JSON of RFC 8460 as it travels.
json::object to_json(const tlsrpt::Report& report);
json::object to_json(const store::StoredReport& report);
json::array places_of(const tlsrpt::Record& record);

/// All partners of a day, failing ones first; also those that publish no address (`reports`: what is known of
/// their reports).
json::object digest(std::chrono::sys_days day, const std::vector<store::StoredOutcome>& outcomes,
                    const std::vector<store::StoredReport>& reports);
/// The same as a mail's text: lines that end with LF.
std::string digest_in_words(const json::object& digest);

/// `2026-11-26`, `today` or `yesterday`; empty: `otherwise`. nullopt: none of these.
std::optional<std::chrono::sys_days> day_of(std::string_view text, WallTime now,
                                            std::chrono::sys_days otherwise);
std::string day_text(std::chrono::sys_days day);

}  // namespace sternpost::control
