// The writing end of the index: applies what the journal holds, each transaction with the position that it
// reaches.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "store/fair_order.h"
#include "store/journal/segment.h"
#include "store/journal/writer.h"
#include "store/sqlite/database.h"
#include "store/sqlite/outcome_counts.h"

namespace sternpost::store::sqlite {

/// What lives in one segment of the journal.
struct SegmentUse {
    std::uint64_t messages = 0;    // unfinished, with their accept record there
    std::uint64_t recipients = 0;  // unfinished
    std::uint64_t octets = 0;
    MessageId min_message{UINT64_MAX};  // ids of all its accept records but copies, finished ones too
    MessageId max_message;
};

/// One thread.
class Index {
  public:
    /// Opens or makes it. Errors: newer_schema, damaged, full, io.
    static Result<std::unique_ptr<Index>> open(const DatabasePlace& place);
    ~Index();

    /// What the journal held before these tables were made is in them. If not: the queue is new, or the index
    /// was lost.
    bool complete() const { return complete_; }
    /// Empties the queue's tables, for a rebuild from the journal; what was rebuilt is complete when
    /// set_complete() returns.
    Result<void> begin_rebuild();
    Result<void> set_complete();  // on stable storage too
    /// How far the journal is in it.
    const JournalPosition& position() const { return position_; }
    /// How far it will be in it after a crash of the machine: the position at the last whole checkpoint.
    const JournalPosition& durable_position() const { return durable_; }
    MessageId newest() const { return newest_; }
    const std::map<std::uint64_t, SegmentUse>& segments() const { return segments_; }

    /// All of `entries` and the position behind them, in one transaction, or nothing. A message that is
    /// accepted and finished within `entries` touches no table of the queue. Returns the files of bodies that
    /// no message has any more. `held`: messages begin on hold.
    Result<std::vector<std::string>> apply(std::span<const JournalEntry> entries,
                                           const JournalPosition& after, bool held);

    /// How an unfinished message whose accept record is at `place` stands; sets its recipients' next hops to
    /// those of now. nullopt: it is finished, damaged, unreadable, or its record is elsewhere by now.
    std::optional<CopiedState> copied(NewMessage& message, const JournalPlace& place);
    /// Segments that hold a copy of the message's accept record.
    std::vector<std::uint64_t> copied_to(MessageId message);

    /// Files of large bodies that unfinished messages have.
    Result<std::vector<std::string>> body_files();
    /// Marks the messages with this body file as having lost it; returns their queue ids.
    Result<std::vector<MessageId>> mark_damaged(const std::string& file);
    Result<void> forget_submissions(WallTime before);
    Result<void> forget_segment(std::uint64_t segment);
    /// Drops what has had its time: outcomes of days before `now` - `outcome_days`, discoveries, alarms and
    /// hosts that no one has heard of for long, versions beyond the cap, texts that nothing refers to.
    Result<void> forget_old(WallTime now, std::chrono::days outcome_days);

    /// How far the synced history is, as set_history_position() said; stored with the next apply().
    const JournalPosition& history_position() const { return history_; }
    void set_history_position(const JournalPosition& position) {
        history_ = position;
        history_changed_ = true;
    }

    /// As Database::checkpoint(); moves durable_position() when it was whole.
    Result<void> checkpoint(bool whole);
    int wal_pages() const;
    /// A sync failed inside: the process must end.
    bool sync_failed() const;

  private:
    struct Statements;
    class Application;
    explicit Index(std::unique_ptr<Database> database);
    Result<void> load();
    void fold_mail_counts(WallTime now);

    std::unique_ptr<Database> database_;
    std::unique_ptr<Statements> statements_;
    bool complete_ = false;
    JournalPosition position_;
    JournalPosition durable_;
    JournalPosition history_;
    bool history_changed_ = false;
    // Domains that show too many different outcomes today: what is tried first.
    std::map<std::pair<std::chrono::sys_days, std::string>, Coarseness> crowded_;
    FairRanks ranks_;
    MessageId newest_;
    std::chrono::sys_days closed_{};  // the newest day whose TLS outcomes change no more
    std::map<std::uint64_t, SegmentUse> segments_;
};

}  // namespace sternpost::store::sqlite
