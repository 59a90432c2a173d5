// A daemon that has nothing in memory.
#pragma once

#include "admin/reading.h"

namespace sternpost::fake {

class NothingLive : public admin::Live {
  public:
    bool running() const override { return true; }
    WallTime now() const override { return {}; }
    bool clock_trusted() const override { return true; }
    std::vector<queue::Blocked> blocked_by(const store::StoredMessage& message,
                                           const std::vector<store::HopState>&) const override {
        return std::vector<queue::Blocked>(message.recipients.size());
    }
    std::optional<queue::HopView> hop(const std::string&) const override { return std::nullopt; }
    std::set<std::string> hops_in_use() const override { return {}; }
    std::vector<store::StoredSuspension> suspensions() const override { return {}; }
    std::vector<admin::KnownOverride> overrides() const override { return {}; }
    std::vector<store::StoredOverride> overrides_for(const std::string&) const override { return {}; }
    std::string writes_as(const store::StoredMessage&) const override { return ""; }
    const queue::Schedule& schedule() const override { return schedule_; }
    tlsrpt::Reporter reporter() const override { return {}; }

  private:
    queue::Schedule schedule_;
};

}  // namespace sternpost::fake
