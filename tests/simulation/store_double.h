// A store that passes everything on to another one: what spies and faulty stores override.
#pragma once

#include "store/store.h"

namespace sternpost::simulation {

class StoreDouble : public store::Store {
  public:
    template <class T>
    using Answer = Reply<store::Result<T>>;

    explicit StoreDouble(store::Store& real) : real_(real) {}

    std::unique_ptr<store::BodySink> new_body(std::uint64_t limit) override { return real_.new_body(limit); }
    void accept(store::NewMessage message, Answer<store::MessageId> reply) override {
        real_.accept(std::move(message), std::move(reply));
    }
    void record(std::vector<store::DeliveryResult> results, std::vector<store::NewMessage> notices,
                Answer<void> reply) override {
        real_.record(std::move(results), std::move(notices), std::move(reply));
    }
    void record_hop(store::HopState state) override { real_.record_hop(std::move(state)); }
    void act(std::vector<store::Act> acts, Answer<void> reply) override {
        real_.act(std::move(acts), std::move(reply));
    }
    void read_body(const store::StoredMessage& message, std::uint64_t offset, std::size_t most,
                   Answer<std::string> reply) override {
        real_.read_body(message, offset, most, std::move(reply));
    }
    void due(store::DueQuestion question, Answer<store::Due> reply) override {
        real_.due(std::move(question), std::move(reply));
    }
    void hops(store::HopFilter filter, Answer<std::vector<store::HopLoad>> reply) override {
        real_.hops(std::move(filter), std::move(reply));
    }
    void find(store::QueueFilter filter, Answer<std::vector<store::StoredMessage>> reply) override {
        real_.find(std::move(filter), std::move(reply));
    }
    void totals(Answer<store::QueueTotals> reply) override { real_.totals(std::move(reply)); }
    void put_policy(store::StoredPolicy policy, Answer<void> reply) override {
        real_.put_policy(std::move(policy), std::move(reply));
    }
    void policies(Answer<std::vector<store::StoredPolicy>> reply) override {
        real_.policies(std::move(reply));
    }
    void versions(std::string domain, Answer<std::vector<store::PolicyVersion>> reply) override {
        real_.versions(std::move(domain), std::move(reply));
    }
    void put_discovery(store::StoredDiscovery discovery) override {
        real_.put_discovery(std::move(discovery));
    }
    void discoveries(Answer<std::vector<store::StoredDiscovery>> reply) override {
        real_.discoveries(std::move(reply));
    }
    void put_override(store::StoredOverride value, Answer<void> reply) override {
        real_.put_override(std::move(value), std::move(reply));
    }
    void overrides(Answer<std::vector<store::StoredOverride>> reply) override {
        real_.overrides(std::move(reply));
    }
    void put_suspension(store::StoredSuspension value, Answer<void> reply) override {
        real_.put_suspension(std::move(value), std::move(reply));
    }
    void close_day(std::chrono::sys_days day, Answer<void> reply) override {
        real_.close_day(day, std::move(reply));
    }
    void put_report(store::StoredReport report, Answer<void> reply) override {
        real_.put_report(std::move(report), std::move(reply));
    }
    void reports(store::ReportFilter filter, Answer<std::vector<store::StoredReport>> reply) override {
        real_.reports(std::move(filter), std::move(reply));
    }
    void reporting(std::chrono::sys_days from, Answer<store::ReportingState> reply) override {
        real_.reporting(from, std::move(reply));
    }
    void suspensions(Answer<std::vector<store::StoredSuspension>> reply) override {
        real_.suspensions(std::move(reply));
    }
    void put_alarm(store::StoredAlarm alarm) override { real_.put_alarm(std::move(alarm)); }
    void alarms(WallTime since, Answer<std::vector<store::StoredAlarm>> reply) override {
        real_.alarms(since, std::move(reply));
    }
    void hosts_seen(Answer<std::vector<store::StoredHost>> reply) override {
        real_.hosts_seen(std::move(reply));
    }
    void outcomes(store::OutcomeFilter filter, Answer<std::vector<store::StoredOutcome>> reply) override {
        real_.outcomes(std::move(filter), std::move(reply));
    }
    void history(store::HistoryFilter filter, Answer<store::History> reply) override {
        real_.history(std::move(filter), std::move(reply));
    }

  protected:
    store::Store& real() { return real_; }

  private:
    store::Store& real_;
};

}  // namespace sternpost::simulation
