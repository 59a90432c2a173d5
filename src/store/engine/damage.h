// What becomes of an index that SQLite, or whoever reads its rows, finds damaged: the journal is the truth,
// so the file is put aside and made again.
#pragma once

#include <string>

#include "store/journal/disk.h"
#include "store/sqlite/database.h"

namespace sternpost::store::engine {

/// Whether it is the index that is damaged, and not the journal: reads the whole file, some seconds for a
/// gigabyte.
bool index_is_damaged(const sqlite::DatabasePlace& place);
/// Renames queue.db, its -wal and its -shm to queue.db.damaged…; what was put aside earlier under that name
/// goes. The store must be closed. Errors: io.
Result<void> set_index_aside(Disk& disk);
/// For the log and for people: what happened to the index, and what to do.
std::string index_set_aside_text(const std::string& damage);

}  // namespace sternpost::store::engine
