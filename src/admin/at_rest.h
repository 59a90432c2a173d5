// What is known while no daemon runs: what lies on the disk, and what the configuration says.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "admin/reading.h"
#include "queue/suspensions.h"

namespace sternpost::admin {

class AtRest final : public Live {
  public:
    struct Settings {
        WallTime now{};
        queue::Schedule schedule;
        tlsrpt::Reporter reporter;
        std::vector<store::StoredOverride> overrides;  // of the configuration
    };
    /// Reads what fails and what is suspended.
    static store::Result<AtRest> read(store::Questions& questions, Settings settings);

    bool running() const override { return false; }
    WallTime now() const override { return s_.now; }
    bool clock_trusted() const override { return true; }
    std::vector<queue::Blocked> blocked_by(const store::StoredMessage& message,
                                           const std::vector<store::HopState>&) const override;
    std::optional<queue::HopView> hop(const std::string&) const override { return std::nullopt; }
    std::set<std::string> hops_in_use() const override { return {}; }
    std::vector<store::StoredSuspension> suspensions() const override { return suspensions_.list(); }
    std::vector<KnownOverride> overrides() const override { return overrides_; }
    std::vector<store::StoredOverride> overrides_for(const std::string&) const override { return {}; }
    std::string writes_as(const store::StoredMessage&) const override { return ""; }
    const queue::Schedule& schedule() const override { return s_.schedule; }
    tlsrpt::Reporter reporter() const override { return s_.reporter; }

  private:
    Settings s_;
    std::map<std::string, store::HopState> failing_;
    queue::Suspensions suspensions_;
    std::vector<KnownOverride> overrides_;  // by command, then of the configuration
};

}  // namespace sternpost::admin
