// The daemon's answers about policy and reasons: explain, why, policy …, sts diff, history, check. Brings the
// facts together; what they mean is delivery's and sts's business.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <optional>
#include <string>

#include "control/protocol.h"
#include "control/reasons.h"
#include "control/server.h"
#include "delivery/explain.h"
#include "delivery/why.h"
#include "queue/manager.h"
#include "store/store.h"
#include "sts/fetch.h"
#include "sts/lookup.h"
#include "tlsrpt/record.h"
#include "util/https.h"

namespace sternpost::cmd {

/// What the answers are made of. All outlive PolicyAnswers.
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
    queue::Schedule schedule;
    std::function<mail::Result<mail::ForwardPath>(const std::string&)>
        resolve_local;  // a name without a domain
    std::function<std::string(const store::StoredMessage&)> writes_as;
    bool other_report_ports = false;  // reports are sent to https: at another port than 443
};

/// Lives on the control thread.
class PolicyAnswers {
  public:
    explicit PolicyAnswers(PolicySources sources) : s_(std::move(sources)) {}

    static bool knows(std::string_view verb);
    asio::awaitable<control::Answer> answer(control::json::object request, control::Caller caller);

    /// The overrides that were set at run time, from the store. Once, at start.
    asio::awaitable<store::Result<void>> load();
    /// Overrides whose time is over end: a log line each, and they are forgotten on disk.
    void end_expired();
    control::Answer list_overrides() const;

  private:
    asio::awaitable<control::Answer> explain(control::json::object request);
    asio::awaitable<delivery::QueueSays> queue_says(std::string hop);
    asio::awaitable<void> check_places(const tlsrpt::Record& record, const std::string& name,
                                       std::vector<std::string>& problems);
    asio::awaitable<control::Answer> why(std::string id);
    asio::awaitable<control::Answer> what_if(std::string since);
    asio::awaitable<control::Answer> set_override(control::json::object request, control::Caller caller);
    asio::awaitable<control::Answer> remove_override(std::string scope, control::Caller caller);
    asio::awaitable<control::Answer> diff(std::string domain);
    asio::awaitable<control::Answer> history(std::string domain);
    asio::awaitable<control::Answer> check(std::string domain);
    asio::awaitable<store::Result<control::HeldByPolicy>> held_by_policy();
    asio::awaitable<store::Result<std::vector<store::StoredMessage>>> found(store::QueueFilter filter);

    PolicySources s_;
};

}  // namespace sternpost::cmd
