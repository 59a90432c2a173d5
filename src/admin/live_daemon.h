// What a running daemon knows apart from its store.
#pragma once

#include <functional>
#include <utility>

#include "admin/reading.h"
#include "delivery/override.h"
#include "queue/manager.h"
#include "tlsrpt/sender.h"

namespace sternpost::admin {

/// Lives on the control thread. What it is given outlives it.
class LiveDaemon final : public Live {
  public:
    struct Sources {
        const queue::Manager& queue;
        const delivery::Overrides& overrides;
        queue::Schedule schedule;
        std::function<std::string(const store::StoredMessage&)> writes_as;
        std::function<tlsrpt::Reporter()> reporter;
    };
    explicit LiveDaemon(Sources sources) : s_(std::move(sources)) {}

    bool running() const override { return true; }
    WallTime now() const override { return s_.queue.now().wall; }
    bool clock_trusted() const override { return s_.queue.now().trusted; }
    std::vector<queue::Blocked> blocked_by(const store::StoredMessage& message,
                                           const std::vector<store::HopState>& stored) const override {
        return s_.queue.blocked_by(message, stored);
    }
    std::optional<queue::HopView> hop(const std::string& name) const override {
        return s_.queue.core().hops().view(name);
    }
    std::set<std::string> hops_in_use() const override { return s_.queue.core().hops().in_use(); }
    std::vector<store::StoredSuspension> suspensions() const override {
        return s_.queue.core().suspensions().list();
    }
    std::vector<KnownOverride> overrides() const override;
    std::vector<store::StoredOverride> overrides_for(const std::string& next_hop) const override;
    std::string writes_as(const store::StoredMessage& message) const override {
        return s_.writes_as(message);
    }
    const queue::Schedule& schedule() const override { return s_.schedule; }
    tlsrpt::Reporter reporter() const override { return s_.reporter(); }

  private:
    Sources s_;
};

}  // namespace sternpost::admin
