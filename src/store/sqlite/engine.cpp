#include "store/sqlite/engine.h"

#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include <cerrno>

#include "store/sqlite/layout.h"

namespace sternpost::store::sqlite {
namespace {

constexpr std::size_t pool_threads = 2;

// Why the folder's file system is no home for a queue, or null.
const char* unfit_file_system(const std::string& path) {
    struct statfs status {};
    if (::statfs(path.c_str(), &status) != 0) return nullptr;
    switch (static_cast<unsigned long>(status.f_type)) {
        case TMPFS_MAGIC:
            return "tmpfs: it forgets all mail when the machine restarts";
        case OVERLAYFS_SUPER_MAGIC:
            return "overlayfs: a container's layer goes with the container, mail in it too; mount a volume "
                   "there";
        case NFS_SUPER_MAGIC:
            return "NFS: locks and syncs cannot be relied on";
        default:
            return nullptr;
    }
}

}  // namespace

SqliteStore::SqliteStore(StorePlace place, const Options& options, Log& log, const Clock& clock)
    : EngineCore(std::move(place), options, {to_writer_, to_reader_, pool_}, log, clock),
      clock_(clock),
      pool_(pool_threads) {}

Result<std::unique_ptr<SqliteStore>> SqliteStore::open(const std::string& state_dir, Options options,
                                                       Log& log, const Clock& clock, Random& random,
                                                       OnAccepted on_accepted) {
    if (::mkdir(state_dir.c_str(), 0700) != 0 && errno != EEXIST)
        return fail(Errc::io, "cannot make " + state_dir + ": " + util::errno_text(errno));
    auto lock = util::lock_file(state_dir + '/' + lock_name);
    if (!lock) {
        if (lock.error().code == util::Errc::busy)
            return fail(Errc::busy, "another sternpostd is running on " + state_dir + "; stop it first");
        return fail(Errc::io, std::move(lock.error().text));
    }
    auto disk = std::make_shared<RealDisk>(state_dir);
    // Made here and not by SQLite, so that nobody else may read it; its -wal and -shm follow it.
    if (auto file = disk->open(index_name, OpenMode::create); !file) return fail(std::move(file).error());
    auto store = open(StorePlace{disk, {state_dir + '/' + index_name, ""}}, std::move(options), log, clock,
                      random, std::move(on_accepted));
    if (!store) return store;
    (*store)->lock_ = std::move(*lock);
    if (const char* why = unfit_file_system(state_dir))
        (*store)->opened_.warnings.push_back(state_dir + " is on " + why);
    return store;
}

Result<std::unique_ptr<SqliteStore>> SqliteStore::open(StorePlace place, Options options, Log& log,
                                                       const Clock& clock, Random& random,
                                                       OnAccepted on_accepted) {
    std::unique_ptr<SqliteStore> store(new SqliteStore(std::move(place), options, log, clock));
    if (auto done = store->recover(random, std::move(on_accepted)); !done)
        return fail(std::move(done).error());
    store->writer_thread_ = std::thread([self = store.get()] { self->run_writer(); });
    store->reader_thread_ = std::thread([self = store.get()] { self->run_reader(); });
    return store;
}

SqliteStore::~SqliteStore() {
    stop();
}

void SqliteStore::stop() {
    if (!close_door()) return;
    // In the order in which they hand work on: pool to writer to reader.
    pool_.join();
    if (writer_thread_.joinable()) {
        to_writer_.post([this] { writer_stops_ = true; });
        writer_thread_.join();
    }
    if (reader_thread_.joinable()) {
        to_reader_.post([this] { reader_stops_ = true; });
        reader_thread_.join();
    }
    close();
}

void SqliteStore::run_writer() {
    while (!writer_stops_) {
        for (auto& task : to_writer_.take(wake(), gathering())) task();
        pump(clock_.steady());
    }
    finish_writing();
}

void SqliteStore::run_reader() {
    while (!reader_stops_)
        for (auto& task : to_reader_.take(SteadyTime::max())) task();
}

}  // namespace sternpost::store::sqlite
