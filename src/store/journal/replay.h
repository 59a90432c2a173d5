// What the journal's files say when they are read again: the segments in order, and the done-files.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "store/journal/journal.h"

namespace sternpost::store {

struct Replayed {
    JournalPosition end;  // where Journal::open() goes on
    std::vector<std::string> warnings;
};

/// Calls `sink` for every record from `from` on, in order; `after` is the position behind it. With `repair`,
/// a torn tail is cut off and octets that were acknowledged but cannot be read are copied to damaged/;
/// without, nothing is changed. An error of `sink` ends it.
using RecordSink = std::function<Result<void>(const RecordView& record, const JournalPosition& after)>;
Result<Replayed> replay(Disk& disk, const JournalPosition& from, bool repair, const RecordSink& sink);

struct DoneRecord {
    RecordType type = RecordType::result;
    std::uint64_t sequence = 0;  // that it had in its own segment
    std::string fields;
};

/// Adds `records` to the done-file of `segment`; on stable storage when it returns. Adding one twice does no
/// harm: readers tell by the sequence number. `fatal` as above.
Result<void> append_done(Disk& disk, std::uint64_t segment, std::span<const DoneRecord> records,
                         Random& random, const Fatal& fatal);
/// What the done-file of `segment` holds; nothing where there is none.
Result<std::vector<DoneRecord>> read_done(Disk& disk, std::uint64_t segment);

}  // namespace sternpost::store
