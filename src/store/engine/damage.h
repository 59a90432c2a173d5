// What becomes of an index that SQLite, or whoever reads its rows, finds damaged: the journal is the truth,
// so the file is put aside and made again.
#pragma once

#include <string>

#include "store/journal/disk.h"

namespace sternpost::store::engine {

/// Renames queue.db, its -wal and its -shm to queue.db.damaged…; what was put aside earlier under that name
/// goes. The store must be closed. Errors: io.
Result<void> set_index_aside(Disk& disk);
/// For the log and for people: what happened to the index, and what to do.
std::string index_set_aside_text(const std::string& damage);

}  // namespace sternpost::store::engine
