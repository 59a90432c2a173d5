// A disk in memory that forgets as real ones do: what is not synced may be lost in any part when the power
// goes.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "store/journal/disk.h"
#include "util/random.h"

namespace sternpost::fake {

/// Keeps of everything the synced and the present state. Folders are not modelled beyond their entries:
/// make_dir() is durable at once.
class SimDisk final : public store::Disk {
  public:
    template <class T>
    using Result = store::Result<T>;

    SimDisk();
    ~SimDisk() override;

    Result<std::unique_ptr<store::DiskFile>> open(std::string_view name, store::OpenMode mode) override;
    Result<void> make_dir(std::string_view name) override;
    Result<void> sync_dir(std::string_view name) override;
    Result<void> rename(std::string_view from, std::string_view to) override;
    Result<void> unlink(std::string_view name) override;
    Result<bool> exists(std::string_view name) override;
    Result<std::vector<std::string>> list(std::string_view dir) override;
    Result<std::uint64_t> free_octets() override;

    // ---- faults
    /// Operations that change something (open that creates, write, truncate, sync, sync_dir, rename, unlink)
    /// so far.
    std::uint64_t operations() const { return operations_; }
    /// The power goes before operation number `n` (from 0): it and all later ones, reads too, fail and change
    /// nothing.
    void stop_before(std::uint64_t n) { stop_before_ = n; }
    bool stopped() const { return operations_ >= stop_before_; }
    /// Every sync from now on fails.
    void fail_syncs(bool fail) { fail_syncs_ = fail; }
    /// Every write from now on fails, and writes nothing.
    void fail_writes(bool fail) { fail_writes_ = fail; }
    /// Room for this many more octets in files.
    void set_room(std::uint64_t octets) { room_ = octets; }
    /// The names of the operations done, newest last: `sync journal/00000001.seg`. Empty unless asked for.
    void trace(std::vector<std::string>* into) { trace_ = into; }

    /// What a machine finds that starts again after the power went: of all that was not synced, `chance`
    /// keeps any subset of 512-octet sectors, of sizes and of directory entries; now and then all of it, or
    /// all of a file. Files opened before are dead.
    void crash(Random& chance);
    /// What a process finds that is started after another one was killed: all that was written. Files opened
    /// before are dead.
    void restart();

    /// A file's octets as they are now; for tests that damage them.
    std::string content(std::string_view name);
    void overwrite(std::string_view name, std::uint64_t offset, std::string_view octets);  // synced

  private:
    class File;
    struct Inode;
    struct EntryChange;
    using Entries = std::map<std::string, std::shared_ptr<Inode>, std::less<>>;

    Result<void> begin(const char* what, std::string_view name);
    Result<void> alive() const;

    std::recursive_mutex mutex_;
    Entries entries_;  // as programs see them
    Entries durable_;  // as they are on the platter
    std::vector<EntryChange> unsynced_;
    std::set<std::string, std::less<>> dirs_;
    std::uint64_t operations_ = 0;
    std::uint64_t stop_before_ = UINT64_MAX;
    std::uint64_t room_ = UINT64_MAX;
    std::uint64_t generation_ = 0;  // counts crashes
    bool fail_syncs_ = false;
    bool fail_writes_ = false;
    std::vector<std::string>* trace_ = nullptr;
};

}  // namespace sternpost::fake
