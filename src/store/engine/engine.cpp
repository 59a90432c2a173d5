#include "store/engine/engine.h"

#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include <cerrno>

#include "store/engine/damage.h"
#include "store/engine/layout.h"
#include "store/open.h"
#include "store/sqlite/index_check.h"

namespace sternpost::store::engine {
namespace {

constexpr std::size_t pool_threads = 6;

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

SqliteStore::SqliteStore(StorePlace place, const Options& options, Log& log, TrustedClock& clock)
    : EngineCore(std::move(place), options, {to_writer_, to_follower_, to_reader_, pool_}, log, clock),
      clock_(clock),
      pool_(pool_threads) {}

Result<std::unique_ptr<SqliteStore>> SqliteStore::open(const std::string& state_dir, Options options,
                                                       Log& log, TrustedClock& clock, Random& random,
                                                       Events events) {
    if (::mkdir(state_dir.c_str(), 0700) != 0 && errno != EEXIST)
        return fail(Errc::io, "cannot make " + state_dir + ": " + util::errno_text(errno));
    auto lock = util::lock_file(state_dir + '/' + lock_name);
    if (!lock) {
        if (lock.error().code == util::Errc::busy)
            return fail(Errc::busy, "another sternpostd is running on " + state_dir + "; stop it first");
        return fail(Errc::io, std::move(lock.error().text));
    }
    auto disk = std::make_shared<RealDisk>(state_dir);
    // Made here and not by SQLite, so that no one else may read it; its -wal and -shm follow it.
    if (auto file = disk->open(index_name, OpenMode::create); !file) return fail(std::move(file).error());
    const StorePlace place{disk, {state_dir + '/' + index_name, ""}};
    auto store = open(place, options, log, clock, random, events);
    std::string damage;
    if (!store && store.error().code == Errc::damaged && sqlite::is_damaged(place.database)) {
        damage = store.error().text;
        if (auto aside = set_index_aside(*disk); !aside) return fail(std::move(aside).error());
        if (auto file = disk->open(index_name, OpenMode::create); !file) return fail(std::move(file).error());
        store = open(place, std::move(options), log, clock, random, std::move(events));
    }
    if (!store) return store;
    if (!damage.empty()) (*store)->opened_.warnings.push_back(index_set_aside_text(damage));
    (*store)->lock_ = std::move(*lock);
    (*store)->state_dir_ = state_dir;
    if (const char* why = unfit_file_system(state_dir))
        (*store)->opened_.warnings.push_back(state_dir + " is on " + why);
    return store;
}

Result<std::unique_ptr<SqliteStore>> SqliteStore::open(StorePlace place, Options options, Log& log,
                                                       TrustedClock& clock, Random& random, Events events) {
    std::unique_ptr<SqliteStore> store(new SqliteStore(std::move(place), options, log, clock));
    if (auto done = store->recover(random, std::move(events)); !done) return fail(std::move(done).error());
    store->writer_thread_ = std::thread([self = store.get()] { self->run_writer(); });
    store->follower_thread_ =
        std::thread([self = store.get()] { run(self->to_follower_, self->follower_stops_); });
    store->reader_thread_ = std::thread([self = store.get()] { run(self->to_reader_, self->reader_stops_); });
    return store;
}

SqliteStore::~SqliteStore() {
    stop();
}

std::string SqliteStore::stop() {
    if (!close_door()) return "";
    // In the order in which they hand work on: pool to writer to follower to reader.
    pool_.join();
    const auto end = [](std::thread& thread, BlockingTaskQueue& inbox, bool& stops) {
        if (!thread.joinable()) return;
        inbox.post([&stops] { stops = true; });
        thread.join();
    };
    end(writer_thread_, to_writer_, writer_stops_);
    end(follower_thread_, to_follower_, follower_stops_);
    end(reader_thread_, to_reader_, reader_stops_);
    close();
    if (damage().empty() || state_dir_.empty()) return "";
    RealDisk disk(state_dir_);
    const auto aside = set_index_aside(disk);
    return aside ? index_set_aside_text(damage())
                 : "the damaged index cannot be put aside: " + aside.error().text;
}

void SqliteStore::run_writer() {
    while (!writer_stops_) {
        for (auto& task : to_writer_.take(wake(), gathering())) task();
        pump(clock_.steady());
    }
    finish_writing();
}

void SqliteStore::run(BlockingTaskQueue& inbox, const bool& stops) {
    while (!stops)
        for (auto& task : inbox.take(SteadyTime::max())) task();
}

}  // namespace sternpost::store::engine

namespace sternpost::store {

Result<std::unique_ptr<Store>> open(const OpenOptions& options, Events events, Log& log, TrustedClock& clock,
                                    Random& random) {
    engine::Options embedded;
    embedded.spool.follower.history_days = options.history;
    embedded.spool.write_ahead = true;
    auto opened = engine::SqliteStore::open(options.state_dir, std::move(embedded), log, clock, random,
                                            std::move(events));
    if (!opened) return fail(std::move(opened).error());
    return std::unique_ptr<Store>(std::move(*opened));
}

}  // namespace sternpost::store
