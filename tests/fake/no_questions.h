// The questions of a store that holds nothing: what a test of some of them overrides.
#pragma once

#include "store/questions.h"

namespace sternpost::fake {

class NoQuestions : public store::Questions {
  public:
    store::Result<std::vector<store::StoredMessage>> find(const store::QueueFilter&) override { return {}; }
    store::Result<store::QueueTotals> totals() override { return store::QueueTotals{}; }
    store::Result<std::vector<store::HopLoad>> hops(const store::HopFilter&) override { return {}; }
    store::Result<std::vector<store::StoredPolicy>> policies() override { return {}; }
    store::Result<std::vector<store::PolicyVersion>> versions(const std::string&) override { return {}; }
    store::Result<void> each_kept(store::RecordType, const std::function<void(store::Kept)>&) override {
        return {};
    }
    store::Result<std::vector<store::StoredHost>> hosts_seen() override { return {}; }
    store::Result<std::vector<store::StoredOutcome>> outcomes(const store::OutcomeFilter&) override {
        return {};
    }
    store::Result<store::History> history(const store::HistoryFilter&) override { return store::History{}; }
    store::Result<std::vector<store::MailCount>> mail_counts(const store::MailCountFilter&) override {
        return {};
    }
    store::Result<std::vector<store::StoredReport>> reports(const store::ReportFilter&) override {
        return {};
    }
    store::Result<store::ReportingState> reporting(std::chrono::sys_days) override {
        return store::ReportingState{};
    }
};

}  // namespace sternpost::fake
