// TLS outcomes brought together: those of one UTC day that are alike count as one, and so does what they show
// of MX hosts. Pure; the index keeps the sums.
#pragma once

#include <algorithm>
#include <chrono>
#include <compare>
#include <cstdint>
#include <map>
#include <string>

#include "store/admin.h"
#include "store/errc.h"
#include "store/policy.h"
#include "store/results.h"

namespace sternpost::store {

/// What outcomes must have in common to count as one.
struct OutcomeKey {
    std::chrono::sys_days day;  // UTC
    std::string domain;
    std::string policy_text;
    std::string alike;  // codec.h's encode_alike()
    auto operator<=>(const OutcomeKey&) const = default;
};

struct OutcomeCounted {
    std::uint64_t n = 0;
    WallTime last;
};

class OutcomeCounts {
  public:
    /// `closed`: days up to that one count no more.
    explicit OutcomeCounts(std::chrono::sys_days closed = {}) : closed_(closed) {}
    /// What is added from now on counts in the day after `day` or later.
    void close(std::chrono::sys_days day) { closed_ = std::max(closed_, day); }
    std::chrono::sys_days closed() const { return closed_; }
    /// The outcomes of one attempt. Two of one session, for two policies, are one session of its MX host.
    void add(const AttemptDetail& detail);

    const std::map<OutcomeKey, OutcomeCounted>& outcomes() const { return outcomes_; }
    const std::map<std::string, StoredHost>& hosts() const { return hosts_; }

  private:
    std::chrono::sys_days closed_;
    std::map<OutcomeKey, OutcomeCounted> outcomes_;
    std::map<std::string, StoredHost> hosts_;
};

/// `more` on top of what `host` knows already.
void merge(StoredHost& host, const StoredHost& more);

/// How much of an outcome is still told apart when a domain shows too many different ones in a day. Nothing
/// that a report's totals are made of ever goes.
enum class Coarseness { whole, without_addresses, without_hosts };
OutcomeKey coarser(const OutcomeKey& key, Coarseness coarseness);

/// The outcome that `key` stands for. Errors: damaged.
Result<TlsOutcome> outcome_of(const OutcomeKey& key, WallTime last);

}  // namespace sternpost::store
