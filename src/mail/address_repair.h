// The repair of address lists (RFC 5322 §3.4). They are read leniently and written back with every token that
// needs nothing as it was. Pure.
#pragma once

#include <string>
#include <string_view>

#include "mail/repair.h"

namespace sternpost::mail {

/// `value`: of a field, unfolded and UTF-8. `domain`: for addresses without one; empty: they stay.
std::string repaired_addresses(std::string_view value, std::string_view domain, Repairs& repairs);

}  // namespace sternpost::mail
