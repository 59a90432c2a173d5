#include "store/sqlite/engine.h"

#include <fmt/format.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <mutex>
#include <optional>

#include "store/sqlite/layout.h"

namespace sternpost::store::sqlite {
namespace {

constexpr std::size_t pool_threads = 2;
constexpr int exit_code = 74;                  // EX_IOERR
constexpr std::chrono::seconds hop_gather(1);  // a next hop's state alone is worth no sync of its own
constexpr std::chrono::seconds idle_tick(1);   // for the free space, when nothing happens

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

bool is_large(const Body& body) {
    return !body.file.empty() || (body.octets && body.octets->size() > max_inline_body);
}

}  // namespace

SqliteStore::SqliteStore(StorePlace place, const Options& options, Log& log, const Clock& clock)
    : place_(std::move(place)), options_(options), log_(log), clock_(clock) {
    options_.spool.submission_memory = options_.submission_memory;
    options_.spool.min_free = options_.min_free;
    if (!options_.fatal)
        options_.fatal = [&log](const std::string& reason) {
            Event(log, Level::error, "store-died")
                .reason(reason + "; what is on disk is unknown until it is read anew");
            std::_Exit(exit_code);
        };
}

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
    SpoolParts parts{*store->place_.disk,   store->place_.database, log, clock, random,
                     store->options_.fatal, std::move(on_accepted)};
    auto spool = Spool::open(std::move(parts), store->options_.spool);
    if (!spool) return fail(std::move(spool).error());
    store->spool_ = std::move(*spool);
    store->opened_ = store->spool_->opened();
    auto reader = Reader::open(store->place_.database);
    if (!reader) return fail(std::move(reader).error());
    store->reader_ = std::move(*reader);
    store->pool_ = std::make_unique<Pool>(pool_threads);
    store->writer_thread_ = std::thread([self = store.get()] { self->run_writer(); });
    store->reader_thread_ = std::thread([self = store.get()] { self->run_reader(); });
    return store;
}

SqliteStore::~SqliteStore() {
    stop();
}

void SqliteStore::stop() {
    {
        const std::unique_lock door(closing_);
        if (closed_) return;
        closed_ = true;
    }
    // In the order in which they hand work on: pool to writer to reader.
    pool_.reset();
    if (writer_thread_.joinable()) {
        to_writer_.post([this] { writer_stops_ = true; });
        writer_thread_.join();
    }
    if (reader_thread_.joinable()) {
        to_reader_.post([this] { reader_stops_ = true; });
        reader_thread_.join();
    }
    reader_.reset();
    if (spool_) spool_->close();  // the last connection, so that the WAL goes whole
}

// When the batch that began at `since` is to be written.
SteadyTime SqliteStore::batch_due(SteadyTime since) const {
    const Writer& writer = spool_->writer();
    if (writer.gathered() >= max_batch) return since;
    if (writer.has_mail()) return spool_->bodies().open_sinks() == 0 ? since : since + options_.gather;
    return since + (writer.has_others() ? std::chrono::microseconds(options_.gather) : hop_gather);
}

void SqliteStore::run_writer() {
    std::optional<SteadyTime> batch_since;
    SteadyTime tick = clock_.steady() + options_.apply_interval;
    while (!writer_stops_) {
        SteadyTime wake = tick;
        if (batch_since) wake = std::min(wake, batch_due(*batch_since));
        auto tasks = to_writer_.take(wake);
        for (auto& task : tasks) task();
        const SteadyTime now = clock_.steady();
        if (!batch_since && !spool_->writer().idle()) batch_since = now;
        if (batch_since && batch_due(*batch_since) <= now) {
            spool_->commit();
            batch_since.reset();
            tick = std::min(tick, now + options_.apply_interval);
        }
        if (now >= tick) {
            spool_->apply();
            spool_->maintain();
            tick = now +
                   (spool_->backlog() == 0 ? std::chrono::milliseconds(idle_tick) : options_.apply_interval);
        }
    }
    spool_->commit();
    spool_->apply();
}

void SqliteStore::run_reader() {
    while (!reader_stops_)
        for (auto& task : to_reader_.take(SteadyTime::max())) task();
}

void SqliteStore::end_if_unsynced(const Error<Errc>& error) {
    if (error.code == Errc::closed) options_.fatal(error.text);
}

template <class T, class Work>
void SqliteStore::submit(Where where, Reply<Result<T>> reply, Work work) {
    {
        const std::shared_lock door(closing_);
        if (!closed_) {
            Mailbox& mailbox = where == Where::pool ? static_cast<Mailbox&>(*pool_) : to_writer_;
            return mailbox.post(
                [answer = std::move(reply), run = std::move(work)]() mutable { run(std::move(answer)); });
        }
    }
    reply(fail(Errc::closed, "the store is shutting down"));
}

// Questions go by way of the writer, which first brings the index to the journal's end: what was acknowledged
// is in the answer.
template <class T, class Question>
void SqliteStore::ask(Reply<Result<T>> reply, Question question) {
    submit<T>(Where::writer, std::move(reply),
              [this, asked = std::move(question)](Reply<Result<T>> answer) mutable {
                  spool_->apply();
                  to_reader_.post([this, held = std::move(answer), inner = std::move(asked)]() mutable {
                      held(inner(*reader_));
                  });
              });
}

std::unique_ptr<BodySink> SqliteStore::new_body(std::uint64_t limit) {
    return spool_->bodies().make(limit);
}

void SqliteStore::accept(NewMessage message, Reply<Result<MessageId>> reply) {
    if (!is_large(message.body)) {
        submit<MessageId>(Where::writer, std::move(reply),
                          [this, held = std::move(message)](Reply<Result<MessageId>> answer) mutable {
                              spool_->accept(std::move(held), std::move(answer));
                          });
        return;
    }
    auto durable = [this, held = std::move(message)](Reply<Result<MessageId>> answer) mutable {
        if (auto synced = spool_->bodies().make_durable(held.body); !synced) {
            end_if_unsynced(synced.error());
            spool_->bodies().discard(held.body);
            return answer(fail(std::move(synced).error()));
        }
        to_writer_.post([this, ready = std::move(held), last = std::move(answer)]() mutable {
            spool_->accept(std::move(ready), std::move(last));
        });
    };
    submit<MessageId>(Where::pool, std::move(reply), std::move(durable));
}

void SqliteStore::record(std::vector<DeliveryResult> results, std::vector<NewMessage> notices,
                         Reply<Result<void>> reply) {
    const bool large =
        std::any_of(notices.begin(), notices.end(), [](const NewMessage& n) { return is_large(n.body); });
    auto write = [this, kept = std::move(results)](std::vector<NewMessage> ready,
                                                   Reply<Result<void>> answer) mutable {
        spool_->writer().record(std::move(kept), std::move(ready), std::move(answer));
    };
    if (!large) {
        submit<void>(Where::writer, std::move(reply),
                     [run = std::move(write), held = std::move(notices)](Reply<Result<void>> answer) mutable {
                         run(std::move(held), std::move(answer));
                     });
        return;
    }
    auto durable = [this, run = std::move(write),
                    held = std::move(notices)](Reply<Result<void>> answer) mutable {
        for (auto& notice : held) {
            if (!is_large(notice.body)) continue;
            if (auto synced = spool_->bodies().make_durable(notice.body); !synced) {
                end_if_unsynced(synced.error());
                return answer(fail(std::move(synced).error()));
            }
        }
        to_writer_.post([next = std::move(run), ready = std::move(held), last = std::move(answer)]() mutable {
            next(std::move(ready), std::move(last));
        });
    };
    submit<void>(Where::pool, std::move(reply), std::move(durable));
}

template <class Work>
void SqliteStore::tell(Work work) {
    submit<void>(Where::writer, Reply<Result<void>>([](const Result<void>&) {}),
                 [run = std::move(work)](Reply<Result<void>>) mutable { run(); });
}

void SqliteStore::record_hop(HopState state) {
    tell([this, held = std::move(state)] { spool_->writer().record_hop(held); });
}

void SqliteStore::put_discovery(StoredDiscovery discovery) {
    tell([this, held = std::move(discovery)] { spool_->writer().put_discovery(held); });
}

void SqliteStore::put_alarm(StoredAlarm alarm) {
    tell([this, held = std::move(alarm)] { spool_->writer().put_alarm(held); });
}

void SqliteStore::act(std::vector<Act> acts, Reply<Result<void>> reply) {
    submit<void>(Where::writer, std::move(reply),
                 [this, held = std::move(acts)](Reply<Result<void>> answer) mutable {
                     spool_->writer().act(held, std::move(answer));
                 });
}

void SqliteStore::put_policy(StoredPolicy policy, Reply<Result<void>> reply) {
    submit<void>(Where::writer, std::move(reply),
                 [this, held = std::move(policy)](Reply<Result<void>> answer) mutable {
                     spool_->writer().put_policy(held, std::move(answer));
                 });
}

void SqliteStore::read_body(const StoredMessage& message, std::uint64_t offset, std::size_t most,
                            Reply<Result<std::string>> reply) {
    submit<std::string>(Where::pool, std::move(reply),
                        [this, body = message.body, offset, most](Reply<Result<std::string>> answer) {
                            answer(store::read_body(*place_.disk, body, offset, most));
                        });
}

void SqliteStore::load(MessageId after, std::size_t limit, Reply<Result<std::vector<StoredMessage>>> reply) {
    ask<std::vector<StoredMessage>>(std::move(reply),
                                    [=](Reader& reader) { return reader.load(after, limit); });
}

void SqliteStore::hops(Reply<Result<std::vector<HopState>>> reply) {
    ask<std::vector<HopState>>(std::move(reply), [](Reader& reader) { return reader.hops(); });
}

void SqliteStore::find(QueueFilter filter, Reply<Result<std::vector<StoredMessage>>> reply) {
    ask<std::vector<StoredMessage>>(std::move(reply),
                                    [held = std::move(filter)](Reader& reader) { return reader.find(held); });
}

void SqliteStore::totals(Reply<Result<QueueTotals>> reply) {
    ask<QueueTotals>(std::move(reply), [](Reader& reader) { return reader.totals(); });
}

void SqliteStore::policies(Reply<Result<std::vector<StoredPolicy>>> reply) {
    ask<std::vector<StoredPolicy>>(std::move(reply), [](Reader& reader) { return reader.policies(); });
}

void SqliteStore::versions(std::string domain, Reply<Result<std::vector<PolicyVersion>>> reply) {
    ask<std::vector<PolicyVersion>>(
        std::move(reply), [held = std::move(domain)](Reader& reader) { return reader.versions(held); });
}

void SqliteStore::discoveries(Reply<Result<std::vector<StoredDiscovery>>> reply) {
    ask<std::vector<StoredDiscovery>>(std::move(reply), [](Reader& reader) { return reader.discoveries(); });
}

void SqliteStore::put_override(StoredOverride value, Reply<Result<void>> reply) {
    submit<void>(Where::writer, std::move(reply),
                 [this, held = std::move(value)](Reply<Result<void>> answer) mutable {
                     spool_->writer().put_override(held, std::move(answer));
                 });
}

void SqliteStore::overrides(Reply<Result<std::vector<StoredOverride>>> reply) {
    ask<std::vector<StoredOverride>>(std::move(reply), [](Reader& reader) { return reader.overrides(); });
}

void SqliteStore::alarms(WallTime since, Reply<Result<std::vector<StoredAlarm>>> reply) {
    ask<std::vector<StoredAlarm>>(std::move(reply), [since](Reader& reader) { return reader.alarms(since); });
}

void SqliteStore::hosts_seen(Reply<Result<std::vector<StoredHost>>> reply) {
    ask<std::vector<StoredHost>>(std::move(reply), [](Reader& reader) { return reader.hosts_seen(); });
}

void SqliteStore::outcomes(OutcomeFilter filter, Reply<Result<std::vector<StoredOutcome>>> reply) {
    ask<std::vector<StoredOutcome>>(
        std::move(reply), [held = std::move(filter)](Reader& reader) { return reader.outcomes(held); });
}

void SqliteStore::history(HistoryFilter filter, Reply<Result<History>> reply) {
    ask<History>(std::move(reply), [place = spool_->history_place(), held = std::move(filter)](Reader&) {
        return read_history(place, held);
    });
}

}  // namespace sternpost::store::sqlite
