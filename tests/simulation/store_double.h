// A store, and questions, that pass everything on to others: what spies and faulty stores override.
#pragma once

#include "store/store.h"

namespace sternpost::simulation {

class StoreDouble : public store::Store {
  public:
    template <class T>
    using Answer = Completion<store::Result<T>>;

    explicit StoreDouble(store::Store& real) : real_(real) {}

    const store::Opened& opened() const override { return real_.opened(); }
    store::Identity identity() const override { return real_.identity(); }
    SteadyTime lease() const override { return real_.lease(); }
    bool steward() const override { return real_.steward(); }
    bool has_room(std::uint64_t octets) const override { return real_.has_room(octets); }
    std::string stop() override { return real_.stop(); }

    std::unique_ptr<store::BodySink> new_body(std::uint64_t limit) override { return real_.new_body(limit); }
    void accept(store::NewMessage message, Answer<store::MessageId> reply) override {
        real_.accept(std::move(message), std::move(reply));
    }
    void record(std::vector<store::DeliveryResult> results, std::vector<store::NewMessage> notices,
                Answer<void> reply) override {
        real_.record(std::move(results), std::move(notices), std::move(reply));
    }
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
    using store::Store::keep;
    void keep(store::Kept kept, Answer<void> reply) override {
        real_.keep(std::move(kept), std::move(reply));
    }
    void ask(store::Question question, bool current) override { real_.ask(std::move(question), current); }

  protected:
    store::Store& real() { return real_; }

  private:
    store::Store& real_;
};

class QuestionsDouble : public store::Questions {
  public:
    explicit QuestionsDouble(store::Questions& real) : real_(real) {}

    store::Result<std::vector<store::StoredMessage>> find(const store::QueueFilter& filter) override {
        return real_.find(filter);
    }
    store::Result<store::QueueTotals> totals() override { return real_.totals(); }
    store::Result<std::vector<store::HopLoad>> hops(const store::HopFilter& filter) override {
        return real_.hops(filter);
    }
    store::Result<std::vector<store::StoredPolicy>> policies() override { return real_.policies(); }
    store::Result<std::vector<store::PolicyVersion>> versions(const std::string& domain) override {
        return real_.versions(domain);
    }
    store::Result<void> each_kept(store::RecordType type,
                                  const std::function<void(store::Kept)>& take) override {
        return real_.each_kept(type, take);
    }
    store::Result<std::vector<store::StoredHost>> hosts_seen() override { return real_.hosts_seen(); }
    store::Result<std::vector<store::MailCount>> mail_counts(const store::MailCountFilter& filter) override {
        return real_.mail_counts(filter);
    }
    store::Result<std::vector<store::StoredOutcome>> outcomes(const store::OutcomeFilter& filter) override {
        return real_.outcomes(filter);
    }
    store::Result<store::History> history(const store::HistoryFilter& filter) override {
        return real_.history(filter);
    }
    store::Result<std::vector<store::StoredReport>> reports(const store::ReportFilter& filter) override {
        return real_.reports(filter);
    }
    store::Result<store::ReportingState> reporting(std::chrono::sys_days from) override {
        return real_.reporting(from);
    }

  private:
    store::Questions& real_;
};

}  // namespace sternpost::simulation
