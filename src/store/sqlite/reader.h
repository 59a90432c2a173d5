// Questions to the index, over a connection that cannot change it. Each is one short snapshot.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "store/journal/segment.h"
#include "store/sqlite/database.h"
#include "store/sqlite/history.h"
#include "store/store.h"

namespace sternpost::store::sqlite {

/// One thread at a time. Errors: not_found (there is no database), newer_schema, damaged, busy, io.
class Reader final : public Questions {
  public:
    /// Without a place for the history there is none.
    static Result<std::unique_ptr<Reader>> open(const DatabasePlace& place,
                                                std::optional<HistoryPlace> history = std::nullopt);
    ~Reader() override;

    Result<Due> due(const DueQuestion& question);
    Result<std::vector<StoredMessage>> find(const QueueFilter& filter) override;
    Result<QueueTotals> totals() override;
    Result<std::vector<HopLoad>> hops(const HopFilter& filter) override;
    Result<std::vector<StoredPolicy>> policies() override;
    Result<std::vector<PolicyVersion>> versions(const std::string& domain) override;
    Result<void> each_kept(RecordType type, const std::function<void(Kept)>& take) override;
    Result<std::vector<StoredHost>> hosts_seen() override;
    Result<std::vector<StoredOutcome>> outcomes(const OutcomeFilter& filter) override;
    Result<std::vector<StoredReport>> reports(const ReportFilter& filter) override;
    Result<ReportingState> reporting(std::chrono::sys_days from) override;
    Result<History> history(const HistoryFilter& filter) override;
    Result<std::vector<MailCount>> mail_counts(const MailCountFilter& filter) override;
    /// What could not be read in an answer since the last call, since the index is damaged. The history has
    /// files of its own.
    std::optional<std::string> take_damage() { return std::exchange(damage_, std::nullopt); }
    /// Where the journal holds the message's accept record, or the latest copy of it; nullopt: it is
    /// finished.
    std::optional<JournalPlace> place_of(MessageId message);
    /// How far the journal is in the index.
    Result<JournalPosition> position();

  private:
    struct Statements;
    Reader(std::unique_ptr<Database> database, std::optional<HistoryPlace> history);
    /// The message of the query's present row. `for_people`: with what its next hops wait for.
    Result<StoredMessage> message(Statement& query, bool for_people);
    Result<HopState> hop_state(Statement& query);
    Result<void> find_by(Statement& query, const QueueFilter& filter, std::vector<StoredMessage>& out);
    bool due_at(std::int64_t hop, const DueQuestion& question, std::size_t room, std::vector<MessageId>& ids,
                std::optional<WallTime>& next);
    template <class Read>
    auto snapshot(Read read) -> decltype(read());

    std::unique_ptr<Database> database_;
    std::optional<HistoryPlace> history_;
    std::optional<std::string> damage_;
    std::unique_ptr<Statements> statements_;
};

}  // namespace sternpost::store::sqlite
