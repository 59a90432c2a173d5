// The store that keeps a journal and an SQLite index, without its threads: what is asked of it goes into
// four mailboxes, and who empties them pumps it. sqlite/engine does so with threads, the simulator step by
// step.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <shared_mutex>
#include <string>
#include <vector>

#include "store/sqlite/reader.h"
#include "store/sqlite/spool.h"
#include "store/store.h"
#include "util/log.h"

namespace sternpost::store::sqlite {

struct Options {
    std::chrono::seconds submission_memory =
        std::chrono::hours(24 * 7);               // a second accept is refused for so long
    std::uint64_t min_free = 64UL * 1024 * 1024;  // octets on the disk; with less, no mail is accepted
    SpoolOptions spool;                           // the two above count, not their likes in here
    std::chrono::microseconds gather = std::chrono::milliseconds(1);  // at most, for a batch
    std::chrono::milliseconds apply_interval =
        std::chrono::milliseconds(100);  // at most, that the index is behind
    Fatal damaged;  // the index cannot be read, on any thread, perhaps more than once; empty: nothing
    Fatal fatal;    // a sync failed; empty: logs the reason and ends the process
};

/// Where a store is.
struct StorePlace {
    std::shared_ptr<Disk> disk;
    DatabasePlace database;  // of which the disk knows too: a VFS made from it, or its path on the machine's
                             // file system
};

/// Where the engine's work is done. Writer, follower and reader are emptied in order, by one thread each; the
/// pool in any order. They outlive every task in them.
struct EngineMailboxes {
    Mailbox& writer;    // the journal's
    Mailbox& follower;  // the index's, as it is brought up to date
    Mailbox& reader;
    Mailbox& pool;
};

class EngineCore : public Store {
  public:
    /// Told of each batch's new messages, notices too, small bodies attached: on the writing thread, after
    /// the sync and before the replies of the batch.
    using OnAccepted = std::function<void(std::vector<StoredMessage>)>;

    EngineCore(StorePlace place, const Options& options, EngineMailboxes mailboxes, Log& log,
               TrustedClock& clock);
    EngineCore(const EngineCore&) = delete;
    EngineCore& operator=(const EngineCore&) = delete;
    ~EngineCore() override = default;

    /// Opens what is there and recovers it, once and before anything else. Log, clock and random outlive the
    /// engine. Errors: newer_schema, damaged, full, io.
    Result<void> recover(Random& random, OnAccepted on_accepted);
    const Opened& opened() const { return opened_; }
    /// Whether a message of so many octets finds room on the disk, as seen within the last second. Any
    /// thread; what is told yes may be refused with full all the same.
    bool has_room(std::uint64_t octets) const { return spool_->has_room(octets); }

    // ---- the writer's part; on one thread
    /// When pump() has something to do though no task comes.
    SteadyTime wake() const;
    /// That is soon, since somebody waits for the batch that is being gathered: what is posted lazily to the
    /// writer's mailbox may wait for it.
    bool gathering() const { return spool_->writer().has_mail() || spool_->writer().has_others(); }
    /// After tasks of the writer's mailbox have run, or at wake(): writes the batch that is due, has the
    /// index brought up to date and the upkeep done.
    void pump(SteadyTime now);
    /// Nothing is gathered and the index is up to date: pump() has upkeep alone to do.
    bool idle() const { return spool_->writer().idle() && spool_->backlog() == 0; }

    // ---- the end, in this order; what is asked after the first is answered with closed
    /// False: the door is closed already.
    bool close_door();
    /// Writes what came before. After the last task of pool and writer.
    void finish_writing();
    /// Brings the index to its end, and the WAL into the database. After the last task of all, on any thread.
    void close();

    std::unique_ptr<BodySink> new_body(std::uint64_t limit) override;
    void accept(NewMessage message, Reply<Result<MessageId>> reply) override;
    void record(std::vector<DeliveryResult> results, std::vector<NewMessage> notices,
                Reply<Result<void>> reply) override;
    void record_hop(HopState state) override;
    void act(std::vector<Act> acts, Reply<Result<void>> reply) override;
    void read_body(const StoredMessage& message, std::uint64_t offset, std::size_t most,
                   Reply<Result<std::string>> reply) override;
    void due(DueQuestion question, Reply<Result<Due>> reply) override;
    void hops(HopFilter filter, Reply<Result<std::vector<HopLoad>>> reply) override;
    void find(QueueFilter filter, Reply<Result<std::vector<StoredMessage>>> reply) override;
    void totals(Reply<Result<QueueTotals>> reply) override;
    void put_policy(StoredPolicy policy, Reply<Result<void>> reply) override;
    void policies(Reply<Result<std::vector<StoredPolicy>>> reply) override;
    void versions(std::string domain, Reply<Result<std::vector<PolicyVersion>>> reply) override;
    void put_discovery(StoredDiscovery discovery) override;
    void discoveries(Reply<Result<std::vector<StoredDiscovery>>> reply) override;
    void put_override(StoredOverride value, Reply<Result<void>> reply) override;
    void overrides(Reply<Result<std::vector<StoredOverride>>> reply) override;
    void put_suspension(StoredSuspension value, Reply<Result<void>> reply) override;
    void suspensions(Reply<Result<std::vector<StoredSuspension>>> reply) override;
    void put_alarm(StoredAlarm alarm) override;
    void alarms(WallTime since, Reply<Result<std::vector<StoredAlarm>>> reply) override;
    void hosts_seen(Reply<Result<std::vector<StoredHost>>> reply) override;
    void outcomes(OutcomeFilter filter, Reply<Result<std::vector<StoredOutcome>>> reply) override;
    void history(HistoryFilter filter, Reply<Result<History>> reply) override;
    void close_day(std::chrono::sys_days day, Reply<Result<void>> reply) override;
    void put_report(StoredReport report, Reply<Result<void>> reply) override;
    void reports(ReportFilter filter, Reply<Result<std::vector<StoredReport>>> reply) override;
    void reporting(std::chrono::sys_days from, Reply<Result<ReportingState>> reply) override;

  protected:
    Opened opened_;

  private:
    SteadyTime batch_due(SteadyTime since) const;
    void follow();
    void done_following(const JournalPosition& reached, const Upkeep& upkeep);
    void end_if_unsynced(const Error<Errc>& error);
    template <class T>
    void note_damage(const Result<T>& result) const;
    enum class When { at_once, with_the_batch };
    /// Runs `work(reply)` from that mailbox, or answers `reply` with closed.
    template <class T, class Work>
    void submit(Mailbox& where, Reply<Result<T>> reply, Work work, When when = When::at_once);
    template <class T, class Question>
    void ask(Reply<Result<T>> reply, Question question, bool current = false);
    /// Runs `work` from the writer's mailbox; nobody waits for it.
    template <class Work>
    void tell(Work work);

    StorePlace place_;
    Options options_;
    EngineMailboxes mailboxes_;
    Log& log_;
    TrustedClock& clock_;
    std::unique_ptr<Spool> spool_;           // the writer's, but for bodies() and follower()
    std::unique_ptr<Reader> reader_;         // the reader's
    bool following_ = false;                 // the writer's: the follower is at work
    JournalPosition followed_;               // the follower's: the journal's end when it did its upkeep last
    std::optional<SteadyTime> batch_since_;  // the writer's: when the first of what is gathered came
    SteadyTime tick_;                        // the writer's: the next upkeep
    std::shared_mutex closing_;              // shared: somebody is posting; whole: close_door()
    bool closed_ = false;
};

}  // namespace sternpost::store::sqlite
