// The queue as it stands on disk while no daemon runs: the index, and on top of it in memory what the journal
// holds beyond it. For the administrator's command; changes nothing.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "store/journal/writer.h"
#include "store/open.h"
#include "store/sqlite/history.h"
#include "store/sqlite/mail_tally.h"
#include "store/sqlite/outcome_counts.h"
#include "store/sqlite/reader.h"

namespace sternpost::store::engine {

/// One thread at a time. The answers are those that a daemon started now would give.
class Offline final : public StoreAtRest {
  public:
    /// Errors: not_found (no queue there), newer_schema, damaged, io (as: not the owner and not root).
    static Result<std::unique_ptr<Offline>> open(const std::string& state_dir);

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
    const std::vector<std::string>& warnings() const override { return warnings_; }

  private:
    // A message that the journal speaks of beyond the index.
    struct Touched {
        std::optional<StoredMessage> before;  // as in the index
        std::optional<StoredMessage> after;   // nullopt: finished
    };

    Offline(std::unique_ptr<Disk> disk, sqlite::DatabasePlace place, std::unique_ptr<sqlite::Reader> reader);
    Result<void> overlay();
    Result<void> take(JournalEntry entry);
    Result<Touched*> touch(MessageId id);

    std::unique_ptr<Disk> disk_;
    sqlite::DatabasePlace place_;
    std::unique_ptr<sqlite::Reader> reader_;  // null: the index is lost, the journal alone speaks
    std::map<MessageId, Touched> touched_;
    std::map<std::string, HopState> hops_;
    std::map<std::string, StoredPolicy> policies_;
    std::map<std::string, std::vector<PolicyVersion>> versions_;
    std::map<RecordType, std::vector<Kept>> kept_;  // what is Keyed, as it came
    std::map<std::pair<std::chrono::sys_days, std::string>, StoredReport> reports_;  // by day and domain
    OutcomeCounts tally_;
    MailTally mail_;
    sqlite::HistoryOverlay history_;
    std::vector<std::string> warnings_;
};

}  // namespace sternpost::store::engine
