// The administrator's overrides: which one, if any, is in force for a host of a domain at a time. Pure.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "delivery/requirement.h"
#include "store/admin.h"

namespace sternpost::delivery {

/// What an override is for: `example.com`; `.example.com`, the domains under it; `mx:mx1.example.net` and
/// `mx:.example.net`, MX hosts of whatever domain.
struct Scope {
    bool of_mx_host = false;
    bool suffix = false;
    dns::Domain name;

    /// The error says what is allowed.
    static Expected<Scope, dns::Errc> parse(std::string_view text);
    std::string text() const;
    bool covers(const std::string& domain, const std::optional<dns::MxHost>& host) const;
};

/// All overrides, from the configuration and set at run time. Lives on the control thread.
class Overrides {
  public:
    /// Those of the configuration; what was set at run time stays.
    void configure(std::vector<store::StoredOverride> overrides) { configured_ = std::move(overrides); }
    /// Set at run time: takes the place of the one of the same scope; an empty level removes it. True: there
    /// was one.
    bool set(store::StoredOverride change);

    /// The most telling one that is not expired: a domain before a suffix (the longest), any of them before
    /// MX hosts; for one scope what was set at run time before the configuration.
    std::optional<OverrideDemand> in_force(const std::string& domain, const std::optional<dns::MxHost>& host,
                                           WallTime now) const;
    /// All, expired ones too, run time before configuration. `configured`: how many at the end are the
    /// configuration's.
    std::vector<store::StoredOverride> all(std::size_t& configured) const;
    /// Removes what was set at run time and has expired; returns it, so that it is logged and stored once.
    std::vector<store::StoredOverride> take_expired(WallTime now);

  private:
    std::vector<store::StoredOverride> configured_;
    std::vector<store::StoredOverride> set_;
};

}  // namespace sternpost::delivery
