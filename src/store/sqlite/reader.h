// Questions to the index, over a connection that cannot change it. Each is one short snapshot.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "store/journal.h"
#include "store/sqlite/database.h"
#include "store/store.h"

namespace sternpost::store::sqlite {

/// Whether `find` with this filter would name the message (`limit` aside).
bool matches(const QueueFilter& filter, const StoredMessage& message);

/// One thread at a time. Errors: not_found (there is no database), newer_schema, damaged, busy, io.
class Reader {
  public:
    static Result<std::unique_ptr<Reader>> open(const DatabasePlace& place);
    ~Reader();

    Result<std::vector<StoredMessage>> load(MessageId after, std::size_t limit);
    Result<std::vector<StoredMessage>> find(const QueueFilter& filter);  // oldest first
    Result<QueueTotals> totals();
    Result<std::vector<HopState>> hops();  // those with failures, or a time before which they are not tried
    Result<std::vector<StoredPolicy>> policies();
    Result<std::vector<PolicyVersion>> versions(const std::string& domain);  // first seen first
    Result<std::vector<StoredDiscovery>> discoveries();
    Result<std::vector<StoredOverride>> overrides();
    Result<std::vector<StoredAlarm>> alarms(WallTime since);  // the latest first
    Result<std::vector<StoredHost>> hosts_seen();
    Result<std::vector<StoredOutcome>> outcomes(const OutcomeFilter& filter);
    /// How far the journal is in the index.
    Result<JournalPosition> position();

  private:
    struct Statements;
    explicit Reader(std::unique_ptr<Database> database);
    Result<std::vector<StoredMessage>> messages(Statement& query);
    template <class Read>
    auto snapshot(Read read) -> decltype(read());

    std::unique_ptr<Database> database_;
    std::unique_ptr<Statements> statements_;
};

}  // namespace sternpost::store::sqlite
