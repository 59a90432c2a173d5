// The store that keeps a journal and an SQLite index: a thread that writes, one that answers questions, and a
// small pool for what is slow and touches neither (syncs and reads of bodies).
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <shared_mutex>
#include <string>
#include <thread>
#include <vector>

#include "store/sqlite/reader.h"
#include "store/sqlite/spool.h"
#include "store/store.h"
#include "util/file.h"
#include "util/inbox.h"
#include "util/log.h"
#include "util/pool.h"

namespace sternpost::store::sqlite {

struct Options {
    std::chrono::seconds submission_memory =
        std::chrono::hours(24 * 7);               // a second accept is refused for so long
    std::uint64_t min_free = 64UL * 1024 * 1024;  // octets on the disk; with less, no mail is accepted
    SpoolOptions spool;                           // the two above count, not their likes in here
    std::chrono::microseconds gather = std::chrono::milliseconds(1);  // at most, for a batch
    std::chrono::milliseconds apply_interval =
        std::chrono::milliseconds(100);  // at most, that the index is behind
    Fatal fatal;                         // a sync failed; empty: logs the reason and ends the process
};

/// Where a store is.
struct StorePlace {
    std::shared_ptr<Disk> disk;
    DatabasePlace database;  // of which the disk knows too: a VFS made from it, or its path on the machine's
                             // file system
};

class SqliteStore final : public Store {
  public:
    /// Told of each batch's new messages, notices too, small bodies attached: on the writing thread, after
    /// the sync and before the replies of the batch.
    using OnAccepted = std::function<void(std::vector<StoredMessage>)>;

    /// Opens the store in `state_dir` (made if absent), locks it and recovers. Log, clock and random outlive
    /// the store and are used on its threads. Errors: busy (another daemon has it), newer_schema, damaged,
    /// full, io.
    static Result<std::unique_ptr<SqliteStore>> open(const std::string& state_dir, Options options, Log& log,
                                                     const Clock& clock, Random& random,
                                                     OnAccepted on_accepted);
    /// The same at any place, without a lock.
    static Result<std::unique_ptr<SqliteStore>> open(StorePlace place, Options options, Log& log,
                                                     const Clock& clock, Random& random,
                                                     OnAccepted on_accepted);
    ~SqliteStore() override;  // stop()

    Opened opened() const { return opened_; }
    /// Finishes what was asked for, brings the index up to date, moves the WAL into the database, ends the
    /// threads. What is asked after that is answered with closed.
    void stop();

    std::unique_ptr<BodySink> new_body(std::uint64_t limit) override;
    void accept(NewMessage message, Reply<Result<MessageId>> reply) override;
    void record(std::vector<DeliveryResult> results, std::vector<NewMessage> notices,
                Reply<Result<void>> reply) override;
    void record_hop(HopState state) override;
    void act(std::vector<Act> acts, Reply<Result<void>> reply) override;
    void read_body(const StoredMessage& message, std::uint64_t offset, std::size_t most,
                   Reply<Result<std::string>> reply) override;
    void load(MessageId after, std::size_t limit, Reply<Result<std::vector<StoredMessage>>> reply) override;
    void hops(Reply<Result<std::vector<HopState>>> reply) override;
    void find(QueueFilter filter, Reply<Result<std::vector<StoredMessage>>> reply) override;
    void totals(Reply<Result<QueueTotals>> reply) override;
    void put_policy(StoredPolicy policy, Reply<Result<void>> reply) override;
    void policies(Reply<Result<std::vector<StoredPolicy>>> reply) override;
    void versions(std::string domain, Reply<Result<std::vector<PolicyVersion>>> reply) override;
    void put_discovery(StoredDiscovery discovery) override;
    void discoveries(Reply<Result<std::vector<StoredDiscovery>>> reply) override;
    void put_override(StoredOverride value, Reply<Result<void>> reply) override;
    void overrides(Reply<Result<std::vector<StoredOverride>>> reply) override;
    void put_alarm(StoredAlarm alarm) override;
    void alarms(WallTime since, Reply<Result<std::vector<StoredAlarm>>> reply) override;
    void hosts_seen(Reply<Result<std::vector<StoredHost>>> reply) override;
    void outcomes(OutcomeFilter filter, Reply<Result<std::vector<StoredOutcome>>> reply) override;
    void history(HistoryFilter filter, Reply<Result<History>> reply) override;

  private:
    SqliteStore(StorePlace place, const Options& options, Log& log, const Clock& clock);
    void run_writer();
    void run_reader();
    SteadyTime batch_due(SteadyTime since) const;
    void end_if_unsynced(const Error<Errc>& error);
    enum class Where { writer, pool };
    /// Runs `work(reply)` there, or answers `reply` with closed.
    template <class T, class Work>
    void submit(Where where, Reply<Result<T>> reply, Work work);
    template <class T, class Question>
    void ask(Reply<Result<T>> reply, Question question);
    /// Runs `work` on the writing thread; nobody waits for it.
    template <class Work>
    void tell(Work work);

    StorePlace place_;
    Options options_;
    Log& log_;
    const Clock& clock_;
    util::Fd lock_;
    Opened opened_;
    std::unique_ptr<Spool> spool_;    // on the writing thread, but for its bodies()
    std::unique_ptr<Reader> reader_;  // on the reading thread
    Inbox to_writer_;
    Inbox to_reader_;
    std::unique_ptr<Pool> pool_;
    std::shared_mutex closing_;  // shared: somebody is posting; whole: stop() closes the door
    bool closed_ = false;
    bool writer_stops_ = false;  // on the writing thread
    bool reader_stops_ = false;  // on the reading thread
    std::thread writer_thread_;
    std::thread reader_thread_;
};

}  // namespace sternpost::store::sqlite
