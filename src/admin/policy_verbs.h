// What the daemon answers about policy after asking the world, and what administrators set: explain, policy
// override set and remove, sts diff and check. Brings the facts together; what they mean is delivery's and
// sts's business.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <functional>
#include <string>
#include <vector>

#include "admin/explanation.h"
#include "admin/policies.h"
#include "delivery/explain.h"
#include "queue/manager.h"
#include "store/store.h"
#include "sts/advice.h"
#include "sts/fetch.h"
#include "sts/lookup.h"
#include "tlsrpt/record.h"
#include "util/https.h"

namespace sternpost::admin {

namespace asio = boost::asio;

/// What the answers are made of. All outlive PolicyVerbs.
struct PolicySources {
    delivery::Delivery& delivery;
    delivery::Overrides& overrides;
    dns::Resolver& resolver;
    sts::Lookups& lookups;
    util::Https& https;
    store::Store& store;
    queue::Manager& queue;
    const Clock& clock;
    Log& log;
    sts::FetchOptions fetch;
    std::function<mail::Result<mail::ForwardPath>(const std::string&)>
        resolve_local;                // a name without a domain
    bool other_report_ports = false;  // reports are sent to https: at another port than 443
};

/// Lives on the control thread.
class PolicyVerbs {
  public:
    explicit PolicyVerbs(PolicySources sources) : s_(std::move(sources)) {}

    /// The overrides that were set at run time, from the store. Once, at start.
    asio::awaitable<store::Result<void>> load();
    /// Overrides whose time is over end: a log line each, and they are forgotten on disk.
    void end_expired();

    asio::awaitable<Answer<ExplainAnswer>> explain(ExplainRequest request);
    asio::awaitable<Answer<OverrideRow>> set_override(OverrideRequest request, Caller caller);
    asio::awaitable<Answer<ScopeValue>> remove_override(ScopeValue request, Caller caller);
    /// How the published policy differs from the cached one.
    asio::awaitable<Answer<DiffAnswer>> diff(DomainRequest request);
    /// What a domain owner should mend in record and policy: all that is published, past every cache of
    /// policies.
    asio::awaitable<Answer<CheckAnswer>> check(DomainRequest request);

  private:
    asio::awaitable<delivery::QueueSays> queue_says(std::string hop);
    asio::awaitable<delivery::QueueFacts> facts_of(std::string hop);
    asio::awaitable<sts::Published> published_by(dns::Domain domain);
    asio::awaitable<void> look_at_reports(dns::Domain domain, sts::Published& published);
    asio::awaitable<void> check_places(const tlsrpt::Record& record, const std::string& name,
                                       std::vector<std::string>& problems);

    PolicySources s_;
};

}  // namespace sternpost::admin
