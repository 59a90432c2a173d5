#include "fake/disk_vfs.h"

#include <sqlite3.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <map>
#include <mutex>
#include <new>
#include <vector>

namespace sternpost::fake {

using store::Disk;
using store::DiskFile;
using store::Errc;
using store::OpenMode;
using store::Result;

namespace {

// What the connections to one database share: its locks and its WAL index. Guarded by DiskVfs::State::mutex.
struct Shared {
    int shared = 0;         // holders of SHARED or more
    bool reserved = false;  // one of them has RESERVED
    bool pending = false;   // … and waits for the others to go
    bool exclusive = false;
    std::vector<std::unique_ptr<char[]>> regions;   // the WAL index; its address must not move
    std::array<int, SQLITE_SHM_NLOCK> shm_locks{};  // readers; -1: one writer
    int shm_users = 0;
};

// SQLite allocates it and knows its beginning as an sqlite3_file.
struct File {
    sqlite3_file base;
    DiskVfs::State* state;
    DiskFile* disk_file;
    Shared* shared;  // null unless it is a main database
    const char* name;
    bool entry_unsynced;  // a journal that may be new: its first sync is of its directory entry too
    int lock;
    bool uses_shm;
    unsigned shm_shared;  // bits of the locks held
    unsigned shm_exclusive;
};

}  // namespace

struct DiskVfs::State {
    State(std::string vfs_name, Disk& the_disk, const Clock& the_clock, Random& the_random)
        : name(std::move(vfs_name)), disk(the_disk), clock(the_clock), random(the_random) {}

    std::string name;
    Disk& disk;
    const Clock& clock;
    Random& random;
    std::mutex mutex;  // SQLite calls from the thread of each connection
    std::map<std::string, Shared> shared;
    sqlite3_vfs vfs{};
};

namespace {

File& file_of(sqlite3_file* file) {
    return *reinterpret_cast<File*>(file);
}
DiskVfs::State& state_of(sqlite3_vfs* vfs) {
    return *static_cast<DiskVfs::State*>(vfs->pAppData);
}

template <class Value>
int code_of(const Result<Value>& result, int otherwise) {
    if (result) return SQLITE_OK;
    return result.error().code == Errc::full ? SQLITE_FULL : otherwise;
}

int close_file(sqlite3_file* file) {
    delete file_of(file).disk_file;
    return SQLITE_OK;
}

int read_file(sqlite3_file* file, void* into, int size, sqlite3_int64 offset) {
    const std::span<char> octets(static_cast<char*>(into), static_cast<std::size_t>(size));
    const auto got = file_of(file).disk_file->read(static_cast<std::uint64_t>(offset), octets);
    if (!got) return SQLITE_IOERR_READ;
    if (*got == octets.size()) return SQLITE_OK;
    std::memset(octets.data() + *got, 0, octets.size() - *got);  // as sqlite3_io_methods demands
    return SQLITE_IOERR_SHORT_READ;
}

int write_file(sqlite3_file* file, const void* from, int size, sqlite3_int64 offset) {
    const std::string_view octets(static_cast<const char*>(from), static_cast<std::size_t>(size));
    return code_of(file_of(file).disk_file->write(static_cast<std::uint64_t>(offset), octets),
                   SQLITE_IOERR_WRITE);
}

int truncate_file(sqlite3_file* file, sqlite3_int64 size) {
    return code_of(file_of(file).disk_file->truncate(static_cast<std::uint64_t>(size)),
                   SQLITE_IOERR_TRUNCATE);
}

std::string_view parent_of(std::string_view name) {
    const auto slash = name.rfind('/');
    return slash == std::string_view::npos ? std::string_view() : name.substr(0, slash);
}

int sync_file(sqlite3_file* base, int) {
    File& file = file_of(base);
    if (const auto synced = file.disk_file->sync(); !synced) return SQLITE_IOERR_FSYNC;
    if (!file.entry_unsynced) return SQLITE_OK;
    if (const auto synced = file.state->disk.sync_dir(parent_of(file.name)); !synced)
        return SQLITE_IOERR_DIR_FSYNC;
    file.entry_unsynced = false;
    return SQLITE_OK;
}

int file_size(sqlite3_file* file, sqlite3_int64* size) {
    const auto got = file_of(file).disk_file->size();
    if (!got) return SQLITE_IOERR_FSTAT;
    *size = static_cast<sqlite3_int64>(*got);
    return SQLITE_OK;
}

int lock_file(sqlite3_file* base, int wanted) {
    File& file = file_of(base);
    if (file.shared == nullptr || file.lock >= wanted) return SQLITE_OK;
    const std::lock_guard guard(file.state->mutex);
    Shared& shared = *file.shared;
    if (wanted == SQLITE_LOCK_SHARED) {
        if (shared.exclusive || shared.pending) return SQLITE_BUSY;
        ++shared.shared;
    } else if (wanted == SQLITE_LOCK_RESERVED) {
        if (shared.reserved) return SQLITE_BUSY;
        shared.reserved = true;
    } else {  // EXCLUSIVE
        if (shared.reserved && file.lock < SQLITE_LOCK_RESERVED) return SQLITE_BUSY;
        shared.reserved = true;
        shared.pending = true;
        if (shared.shared > 1) {
            file.lock = SQLITE_LOCK_PENDING;
            return SQLITE_BUSY;
        }
        shared.exclusive = true;
    }
    file.lock = wanted;
    return SQLITE_OK;
}

int unlock_file(sqlite3_file* base, int wanted) {
    File& file = file_of(base);
    if (file.shared == nullptr || file.lock <= wanted) return SQLITE_OK;
    const std::lock_guard guard(file.state->mutex);
    Shared& shared = *file.shared;
    if (file.lock >= SQLITE_LOCK_RESERVED) shared.reserved = shared.pending = shared.exclusive = false;
    if (wanted == SQLITE_LOCK_NONE) --shared.shared;
    file.lock = wanted;
    return SQLITE_OK;
}

int check_reserved(sqlite3_file* base, int* out) {
    File& file = file_of(base);
    *out = 0;
    if (file.shared == nullptr) return SQLITE_OK;
    const std::lock_guard guard(file.state->mutex);
    *out = file.shared->reserved ? 1 : 0;
    return SQLITE_OK;
}

int file_control(sqlite3_file*, int, void*) {
    return SQLITE_NOTFOUND;
}
int sector_size(sqlite3_file*) {
    return 512;
}
// A sector that is not written is not changed: what a torn write leaves is old or new, 512 octets at a time.
int characteristics(sqlite3_file*) {
    return SQLITE_IOCAP_POWERSAFE_OVERWRITE;
}

int shm_map(sqlite3_file* base, int region, int size, int extend, void volatile** out) {
    File& file = file_of(base);
    const std::lock_guard guard(file.state->mutex);
    Shared& shared = *file.shared;
    if (!file.uses_shm) {
        file.uses_shm = true;
        ++shared.shm_users;
    }
    const auto index = static_cast<std::size_t>(region);
    *out = nullptr;
    if (index >= shared.regions.size() && extend == 0) return SQLITE_OK;
    while (shared.regions.size() <= index)
        shared.regions.push_back(std::make_unique<char[]>(static_cast<std::size_t>(size)));
    *out = shared.regions[index].get();
    return SQLITE_OK;
}

int shm_lock(sqlite3_file* base, int first, int count, int flags) {
    File& file = file_of(base);
    const std::lock_guard guard(file.state->mutex);
    auto& locks = file.shared->shm_locks;
    for (int i = first; i < first + count; ++i) {  // can all be had?
        const unsigned bit = 1U << static_cast<unsigned>(i);
        const int held = locks.at(static_cast<std::size_t>(i));
        if ((flags & SQLITE_SHM_UNLOCK) != 0) continue;
        const bool mine = ((flags & SQLITE_SHM_SHARED) != 0 ? file.shm_shared : file.shm_exclusive) & bit;
        if (mine) continue;
        if ((flags & SQLITE_SHM_SHARED) != 0 ? held < 0 : held != 0) return SQLITE_BUSY;
    }
    for (int i = first; i < first + count; ++i) {
        const unsigned bit = 1U << static_cast<unsigned>(i);
        int& held = locks.at(static_cast<std::size_t>(i));
        const bool shared = (flags & SQLITE_SHM_SHARED) != 0;
        unsigned& mine = shared ? file.shm_shared : file.shm_exclusive;
        const bool has = (mine & bit) != 0;
        if ((flags & SQLITE_SHM_UNLOCK) != 0) {
            if (!has) continue;
            mine &= ~bit;
            held = shared ? held - 1 : 0;
        } else if (!has) {
            mine |= bit;
            held = shared ? held + 1 : -1;
        }
    }
    return SQLITE_OK;
}

void shm_barrier(sqlite3_file* base) {
    const std::lock_guard guard(file_of(base).state->mutex);
}

int shm_unmap(sqlite3_file* base, int) {
    File& file = file_of(base);
    const std::lock_guard guard(file.state->mutex);
    if (!file.uses_shm) return SQLITE_OK;
    file.uses_shm = false;
    // As when the last process goes: the next user makes the index again from the WAL.
    if (--file.shared->shm_users == 0) file.shared->regions.clear();
    return SQLITE_OK;
}

constexpr sqlite3_io_methods io_methods = {
    2,  // with shared memory, without mmap
    close_file, read_file,   write_file,     truncate_file, sync_file,   file_size,
    lock_file,  unlock_file, check_reserved, file_control,  sector_size, characteristics,
    shm_map,    shm_lock,    shm_barrier,    shm_unmap,     nullptr,     nullptr,
};

int open_file(sqlite3_vfs* vfs, sqlite3_filename name, sqlite3_file* base, int flags, int* out_flags) {
    File& file = *new (base) File{};              // the memory is SQLite's
    if (name == nullptr) return SQLITE_CANTOPEN;  // temporary files: temp_store is memory
    DiskVfs::State& state = state_of(vfs);
    const OpenMode mode = (flags & SQLITE_OPEN_CREATE) != 0      ? OpenMode::create
                          : (flags & SQLITE_OPEN_READWRITE) != 0 ? OpenMode::read_write
                                                                 : OpenMode::read;
    auto opened = state.disk.open(name, mode);
    if (!opened) return code_of(opened, SQLITE_CANTOPEN);
    file.base.pMethods = &io_methods;
    file.state = &state;
    file.disk_file = opened->release();
    file.name = name;  // SQLite keeps it until the file is closed
    file.entry_unsynced =
        (flags & SQLITE_OPEN_CREATE) != 0 &&
        (flags & (SQLITE_OPEN_MAIN_JOURNAL | SQLITE_OPEN_SUPER_JOURNAL | SQLITE_OPEN_WAL)) != 0;
    if ((flags & SQLITE_OPEN_MAIN_DB) != 0) {
        const std::lock_guard guard(state.mutex);
        file.shared = &state.shared[name];
    }
    if (out_flags != nullptr) *out_flags = flags;
    return SQLITE_OK;
}

int delete_file(sqlite3_vfs* vfs, const char* name, int sync_dir) {
    Disk& disk = state_of(vfs).disk;
    if (const auto removed = disk.unlink(name); !removed)
        return removed.error().code == Errc::not_found ? SQLITE_IOERR_DELETE_NOENT : SQLITE_IOERR_DELETE;
    if (sync_dir == 0) return SQLITE_OK;
    return code_of(disk.sync_dir(parent_of(name)), SQLITE_IOERR_DIR_FSYNC);
}

int access_file(sqlite3_vfs* vfs, const char* name, int, int* out) {
    const auto exists = state_of(vfs).disk.exists(name);
    *out = exists && *exists ? 1 : 0;
    return exists ? SQLITE_OK : SQLITE_IOERR_ACCESS;
}

int full_pathname(sqlite3_vfs*, const char* name, int size, char* out) {
    const std::size_t length = std::strlen(name);
    if (length + 1 > static_cast<std::size_t>(size)) return SQLITE_CANTOPEN;
    std::memcpy(out, name, length + 1);
    return SQLITE_OK;
}

int randomness(sqlite3_vfs* vfs, int size, char* out) {
    state_of(vfs).random.fill(std::as_writable_bytes(std::span(out, static_cast<std::size_t>(size))));
    return size;
}

int do_not_wait(sqlite3_vfs*, int microseconds) {
    return microseconds;
}  // who waits for a lock asks again at once

int current_time(sqlite3_vfs* vfs, sqlite3_int64* out) {
    constexpr sqlite3_int64 unix_epoch =
        210866760000000;  // in milliseconds since noon of 24 November 4714 BC
    *out = unix_epoch + std::chrono::duration_cast<std::chrono::milliseconds>(
                            state_of(vfs).clock.wall().time_since_epoch())
                            .count();
    return SQLITE_OK;
}

int last_error(sqlite3_vfs*, int, char*) {
    return 0;
}

}  // namespace

DiskVfs::DiskVfs(std::string name, Disk& disk, const Clock& clock, Random& random)
    : state_(std::make_unique<State>(std::move(name), disk, clock, random)) {
    sqlite3_vfs& vfs = state_->vfs;
    vfs.iVersion = 2;
    vfs.szOsFile = sizeof(File);
    vfs.mxPathname = 512;
    vfs.zName = state_->name.c_str();
    vfs.pAppData = state_.get();
    vfs.xOpen = open_file;
    vfs.xDelete = delete_file;
    vfs.xAccess = access_file;
    vfs.xFullPathname = full_pathname;
    vfs.xRandomness = randomness;
    vfs.xSleep = do_not_wait;
    vfs.xGetLastError = last_error;
    vfs.xCurrentTimeInt64 = current_time;
    sqlite3_vfs_register(&vfs, 0);
}

DiskVfs::~DiskVfs() {
    sqlite3_vfs_unregister(&state_->vfs);
}

}  // namespace sternpost::fake
