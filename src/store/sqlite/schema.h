// The index's tables, and the way to them from every schema since the first.
#pragma once

#include "store/sqlite/database.h"

namespace sternpost::store::sqlite {

constexpr int application_id = 0x53505131;  // "SPQ1": file(1) and we know whose database it is

constexpr int schema_version = 9;  // the newest that this release knows; debian/rules reads it

/// Brings the database to this release's schema. Errors: newer_schema (a later release has made it), damaged
/// (it is not ours). Returns whether something was changed, which a crash can take back until it is
/// checkpointed.
Result<bool> migrate(Database& database, const std::string& name);

/// newer_schema or damaged unless this release or an earlier one has made it. true: there are no tables at
/// all.
Result<bool> check_schema(Database& database, const std::string& name);

}  // namespace sternpost::store::sqlite
