// Names inside the state directory that the engine shares with who reads it (journal/, bodies/ and damaged/:
// journal.h, body.h).
#pragma once

namespace sternpost::store::engine {

constexpr const char* index_name = "queue.db";
constexpr const char* lock_name = "lock";

}  // namespace sternpost::store::engine
