// SQLite on a Disk: an sqlite3_vfs for databases whose connections all live in this process. The simulator's
// way in; a database on the machine's own file system uses SQLite's own VFS, whose locks other processes see.
#pragma once

#include <memory>
#include <string>

#include "store/journal/disk.h"
#include "util/clock.h"
#include "util/random.h"

namespace sternpost::fake {

/// Registered with SQLite under `name` for as long as it lives; `name` must not be in use. Connections that
/// use it end before it does. Any thread. Locks and shared memory are kept in this process alone.
class DiskVfs {
  public:
    DiskVfs(std::string name, store::Disk& disk, const Clock& clock, Random& random);
    ~DiskVfs();
    DiskVfs(const DiskVfs&) = delete;
    DiskVfs& operator=(const DiskVfs&) = delete;

    struct State;

  private:
    std::unique_ptr<State> state_;
};

}  // namespace sternpost::fake
