// Questions to the index, over a connection that cannot change it. Each is one short snapshot.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "store/journal.h"
#include "store/sqlite/database.h"
#include "store/store.h"

namespace sternpost::store::sqlite {

/// One thread at a time. Errors: not_found (there is no database), newer_schema, damaged, busy, io.
class Reader {
  public:
    static Result<std::unique_ptr<Reader>> open(const DatabasePlace& place);
    ~Reader();

    /// The questions that the queue asks while it works, and the first of those that people ask: for a test
    /// that none of them reads whole tables.
    static std::vector<std::string> queries_of_the_queue();

    Result<Due> due(const DueQuestion& question);
    Result<std::vector<StoredMessage>> find(const QueueFilter& filter);  // in id order
    Result<QueueTotals> totals();
    Result<std::vector<HopLoad>> hops(const HopFilter& filter);
    Result<std::vector<StoredPolicy>> policies();
    Result<std::vector<PolicyVersion>> versions(const std::string& domain);  // first seen first
    Result<std::vector<StoredDiscovery>> discoveries();
    Result<std::vector<StoredOverride>> overrides();
    Result<std::vector<StoredSuspension>> suspensions();
    Result<std::vector<StoredAlarm>> alarms(WallTime since);  // the latest first
    Result<std::vector<StoredHost>> hosts_seen();
    Result<std::vector<StoredOutcome>> outcomes(const OutcomeFilter& filter);
    Result<std::vector<StoredReport>> reports(const ReportFilter& filter);  // by day and domain
    Result<ReportingState> reporting(std::chrono::sys_days from);
    /// Where the journal holds the message's accept record, or the latest copy of it; nullopt: it is
    /// finished.
    std::optional<JournalPlace> place_of(MessageId message);
    /// How far the journal is in the index.
    Result<JournalPosition> position();

  private:
    struct Statements;
    explicit Reader(std::unique_ptr<Database> database);
    /// The message of the query's present row. `for_people`: with what its next hops wait for.
    Result<StoredMessage> message(Statement& query, bool for_people);
    Result<HopState> hop_state(Statement& query);
    Result<void> find_by(Statement& query, const QueueFilter& filter, std::vector<StoredMessage>& out);
    bool due_at(std::int64_t hop, const DueQuestion& question, std::size_t room, std::vector<MessageId>& ids,
                std::optional<WallTime>& next);
    template <class Read>
    auto snapshot(Read read) -> decltype(read());

    std::unique_ptr<Database> database_;
    std::unique_ptr<Statements> statements_;
};

}  // namespace sternpost::store::sqlite
