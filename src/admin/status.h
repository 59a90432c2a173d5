// `status`: how the daemon and its queue are.
#pragma once

#include <boost/describe/class.hpp>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "admin/alarms.h"
#include "admin/policies.h"
#include "admin/queue.h"
#include "admin/reports.h"

namespace sternpost::admin {

struct DnssecRow {
    std::string state;
    std::string reason;
};
BOOST_DESCRIBE_STRUCT(DnssecRow, (), (state, reason))

/// What has no value is not known while the daemon is down.
struct Status {
    std::optional<std::string> version;
    bool running = false;
    std::optional<std::string> hostname;
    std::optional<std::int64_t> pid;
    std::optional<WallTime> started;
    Totals queue;
    std::optional<std::uint64_t> in_memory;  // messages
    std::optional<std::vector<HopRow>> next_hops;
    std::optional<std::vector<SuspensionRow>> suspended;
    std::uint64_t policies = 0;  // that are cached
    std::optional<DnssecRow> dnssec;
    std::optional<ReportingRow> tls_reports;
    std::optional<bool> clock_trusted;
    std::optional<bool> memory_short;
    std::optional<bool> disk_short;
    std::optional<std::uint64_t> results_waiting;
    std::optional<std::vector<OverrideRow>> overrides;
    std::optional<std::vector<AlarmRow>> alarms;
};
BOOST_DESCRIBE_STRUCT(Status, (),
                      (version, running, hostname, pid, started, queue, in_memory, next_hops, suspended,
                       policies, dnssec, tls_reports, clock_trusted, memory_short, disk_short,
                       results_waiting, overrides, alarms))

class StatusAtRest : public ReadingVerb {
  public:
    using Value = Status;

    store::Result<void> read(store::Questions& questions) {
        const auto totals = questions.totals();
        if (!totals) return fail(totals.error());
        status_.queue = totals_of(*totals);
        if (const auto policies = questions.policies()) status_.policies = policies->size();
        return {};
    }
    Answer<Value> answer(const Live&) { return {std::move(status_), ExitCode::unavailable}; }

  private:
    Status status_;
};

}  // namespace sternpost::admin
