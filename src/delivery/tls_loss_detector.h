// What is news about an MX host: that it has no TLS though it always had, or that its TLSA records are gone.
// Pure.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "store/alarm_kind.h"
#include "store/policy.h"
#include "store/results.h"

namespace sternpost::delivery {

/// Lives on the control thread. Bounded: beyond 100,000 hosts the memory starts again.
class TlsLossDetector {
  public:
    void restore(const std::vector<store::StoredHost>& hosts);
    /// A session's first outcome; `without_dane`: its host has no TLSA records that DNSSEC secures. An alarm:
    /// tls-gone, dane-gone.
    std::optional<store::NewAlarm> observe(const store::TlsOutcome& outcome, bool without_dane);

  private:
    std::map<std::string, store::StoredHost> hosts_;
};

}  // namespace sternpost::delivery
