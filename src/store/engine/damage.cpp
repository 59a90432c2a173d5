#include "store/engine/damage.h"

#include "store/engine/layout.h"

namespace sternpost::store::engine {

Result<void> set_index_aside(Disk& disk) {
    // The log first: a database without it is older, and one with it is the damaged one.
    for (const char* suffix : {"-wal", "-shm", ""}) {
        const std::string from = index_name + std::string(suffix);
        const auto there = disk.exists(from);
        if (!there) return fail(there.error());
        if (!*there) continue;
        if (auto moved = disk.rename(from, std::string(index_name) + ".damaged" + suffix); !moved)
            return moved;
    }
    return disk.sync_dir("");
}

std::string index_set_aside_text(const std::string& damage) {
    return "the index is damaged (" + damage +
           "): it is now queue.db.damaged, and the queue is made again from the journal, on hold. Look at it "
           "with "
           "`sternpost queue list`, then run `sternpost queue release --all`";
}

}  // namespace sternpost::store::engine
