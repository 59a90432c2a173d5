// Journal, bodies and index as one store, without threads: what writes, and the IndexUpdater, which may be on
// a thread of its own. A core: who runs it says when; the engine pumps both, and tests stop the world between
// any two of its disk operations.
#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "store/engine/index_updater.h"
#include "store/engine/repeated_errors.h"
#include "store/journal/body.h"
#include "store/journal/journal.h"
#include "store/journal/writer.h"
#include "store/sqlite/submissions.h"
#include "store/trusted_clock.h"
#include "util/log.h"

namespace sternpost::store::engine {

struct JournaledStoreOptions {
    JournalOptions journal;
    IndexUpdaterOptions follower;
    std::size_t body_memory = 16UL * 1024 * 1024;  // of bodies on their way in
    std::uint64_t min_free = 64UL * 1024 * 1024;   // below that no mail is accepted; results still are
    std::size_t max_backlog = 50'000;              // journal entries that the index may be behind
    bool write_ahead = false;                      // a new spool begins with a spare file for its journal
};

/// What a JournaledStore works with; all of it outlives the JournaledStore.
struct JournaledStoreParts {
    Disk& disk;
    sqlite::DatabasePlace database;
    Log& log;
    TrustedClock& clock;  // learns how old the newest mail is
    Random& random;
    Fatal fatal;
    Writer::OnAccepted on_accepted;
};

/// One thread; but bodies() and has_room() are for any, and follower() may be used on another one, if
/// apply(), maintain() and close() are not called then.
class JournaledStore {
  public:
    /// Recovers what is there. Errors: newer_schema, damaged, full, io; the text says what to do.
    static Result<std::unique_ptr<JournaledStore>> open(JournaledStoreParts parts,
                                                        const JournaledStoreOptions& options);
    ~JournaledStore();

    const Opened& opened() const { return opened_; }
    Bodies& bodies() { return bodies_; }
    Writer& writer() { return writer_; }  // but mail comes in by accept() and record()

    /// Refused with full when disk or index have no room for more mail. What has a time of arrival that is
    /// not trusted is kept with one that is (TrustedClock): its age must not come of a clock that was wrong.
    void accept(NewMessage message, Completion<Result<MessageId>> reply);
    /// Results, and the notices that they call for, which have a time of arrival likewise.
    void record(std::vector<DeliveryResult> results, std::vector<NewMessage> notices,
                Completion<Result<void>> reply);
    /// Syncs and answers what the writer has gathered.
    void commit();
    /// Whether a message of so many octets would be accepted, as far as look_at_space() has seen.
    bool has_room(std::uint64_t octets) const { return room_ > 0 && octets <= room_; }
    /// Sees whether the disk has room for mail.
    void look_at_space();

    // ---- what follows, and how the two hear of each other
    IndexUpdater& follower() { return follower_; }
    /// What was committed since the last call, for IndexUpdater::take().
    CommittedEntries hand_over();
    /// How far the follower says that it is.
    void followed(const JournalPosition& position);
    /// Journal entries that the index is known to lack.
    std::uint64_t backlog() const { return journal_.end().sequence - followed_.sequence; }
    /// Lets the files of segments go that IndexUpdater::maintain() named. Returns those that went, for its
    /// gone().
    std::vector<std::uint64_t> retire(const std::vector<std::uint64_t>& segments);

    /// Thinning: from begin_copy() on it is noted which messages change, and copy() writes those of
    /// IndexUpdater::copies() again that have not. What was committed before begin_copy() must have been
    /// handed to the follower before it is asked.
    void begin_copy() { changed_.emplace(); }
    void copy(std::vector<Accepted> copies);

    // ---- both on one thread
    /// Brings the index to the journal's end.
    void apply();
    /// What is to be done from time to time, where it is time for it.
    void maintain();
    /// commit(), apply(), and the whole WAL into the database.
    void close();
    /// Where read_history() finds what the follower has written.
    sqlite::HistoryPlace history_place() const {
        return sqlite::HistoryPlace::beside(parts_.disk, parts_.database);
    }

  private:
    struct Unfollowed {
        MessageId message;
        std::uint64_t sequence = 0;
    };
    JournaledStore(JournaledStoreParts parts, const JournaledStoreOptions& options);
    Result<void> recover();
    std::optional<MessageId> known(const SubmissionId& id);

    JournaledStoreParts parts_;
    JournaledStoreOptions options_;
    Opened opened_;
    Bodies bodies_;
    Journal journal_;
    Writer writer_;
    IndexUpdater follower_;
    RepeatedErrors troubles_;
    std::unique_ptr<sqlite::Submissions> submissions_;
    std::vector<JournalEntry> pending_;              // committed, and not handed over yet
    std::map<SubmissionId, Unfollowed> unfollowed_;  // of what may not be in the index yet
    JournalPosition followed_;
    std::optional<std::set<MessageId>> changed_;  // since begin_copy()
    JournalPosition maintained_;                  // the journal's end when maintain() looked last
    bool short_of_space_ = false;
    std::atomic<std::uint64_t> room_ = UINT64_MAX;  // octets of mail; 0: none is accepted
};

}  // namespace sternpost::store::engine
