// One lane's work: finds the hosts of a next hop, tries them in order, and carries messages over the session
// that may have them.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <chrono>

#include "delivery/adapt.h"
#include "delivery/connections.h"
#include "delivery/dialer.h"
#include "delivery/limits.h"
#include "delivery/outcome.h"
#include "delivery/plan.h"
#include "delivery/sites.h"
#include "queue/manager.h"
#include "util/runtime.h"
#include "util/tasks.h"

namespace sternpost::delivery {

struct Options {
    PolicyOptions policy;
    std::optional<dns::Address> source_ipv4;
    std::optional<dns::Address> source_ipv6;
    std::size_t addresses_per_attempt = 5;
    std::chrono::seconds attempt_budget{1800};  // up to DATA
    std::chrono::milliseconds idle_time{5000};  // 0: sessions are not kept
    unsigned messages_per_connection = 100;
    unsigned connections_per_site = 20;
    unsigned connections_per_address = 20;       // whatever the names that lead there
    std::vector<DestinationLimit> destinations;  // the administrator's sections
    ConvertEightBit convert_8bit = ConvertEightBit::unsigned_only;
    std::chrono::seconds dead_host_time{60};  // an address that took no connection is left alone for so long
};

/// Told of each session's first finding, and whether its host has no TLSA records that DNSSEC secures: for
/// alarms. Called on the control thread.
using OnSession = std::function<void(const store::TlsOutcome& outcome, bool without_dane)>;

/// Told of a hop whose mail has waited for a connection to a busy site, when there may be one; whether it
/// still wants one. Called on the control thread.
using OnRoom = std::function<bool(const std::string& hop)>;

/// Told of each reply because of which mail did not go, `550 5.7.1 …`: for alarms. Called on the control
/// thread.
using OnRefusal = std::function<void(const std::string& host, const std::string& reply)>;

struct Hooks {
    OnSession on_session;
    OnRoom on_room{};
    OnRefusal on_refusal{};
};

/// What delivery asks; all of it outlives Delivery.
struct Sources {
    dns::Resolver& resolver;
    sts::Lookups& lookups;
    Overrides& overrides;
    Dialer& dialer;
};

/// Lives on the control thread.
class Delivery {
  public:
    Delivery(const Runtime& runtime, Options options, const Sources& sources, Hooks hooks);

    /// Works for the lane until it has nothing more, or the next hop cannot take it.
    asio::awaitable<void> deliver(queue::Lane& lane);
    /// A retry by hand: addresses that took no connection are tried again at once.
    void forget_dead_hosts() { sites_.forget_dead(); }
    /// Says QUIT on connections that carry nothing. After the last lane has ended.
    asio::awaitable<void> stop();
    /// The look-ups and decisions by themselves, for `explain`.
    Planner& planner() { return planner_; }
    Dialer& dialer() { return dialer_; }
    /// How this host would be called.
    DialRequest request_for(const HostPlan& host, dns::Address address) const;

  private:
    struct Attempt;  // what one lane has found out so far
    struct SessionEnd {
        std::string tls;
        std::string status;
        std::string reason;
    };
    enum class Tried { over, next };  // the lane's work is over; the next host is to be tried

    asio::awaitable<void> work(Attempt& attempt);
    asio::awaitable<Tried> try_hosts(Attempt& attempt);
    bool has_tried_enough(Attempt& attempt) const;
    asio::awaitable<Tried> try_host(Attempt& attempt, const Candidate& candidate);
    asio::awaitable<Tried> try_address(Attempt& attempt, const HostPlan& host, dns::Address address);
    bool may_go_in_clear(Attempt& attempt, const HostPlan& host, DialRequest& request,
                         const smtp::Failure& failure);
    asio::awaitable<Tried> try_idle(Attempt& attempt, const HostPlan& host);
    asio::awaitable<Tried> carry(Attempt& attempt, const HostPlan& host, DialRequest request,
                                 std::unique_ptr<Channel> channel, unsigned carried,
                                 std::unique_ptr<SiteVisit> at_address);
    void leave(const IdleConnection& gone);
    asio::awaitable<unsigned> serve(Attempt& attempt, const HostPlan& host, const DialRequest& request,
                                    Channel& channel, unsigned carried);
    asio::awaitable<bool> enter_site(Attempt& attempt);
    void wait_for_room(Attempt& attempt);
    void wait_for_turn(Attempt& attempt);
    void refuse_by_offer(Attempt& attempt, const Requirement& requirement, const DialRequest& request,
                         const smtp::Opened& opened, SteadyTime began);
    std::optional<queue::RecipientResult> refused_here(const queue::Work& work,
                                                       const smtp::Opened& opened) const;
    void note(Attempt& attempt, const Requirement& requirement, const Observation& seen,
              const DialRequest* request, const std::string& helo, const std::string& local_address);
    void log_session(const Attempt& attempt, const Requirement& requirement, const DialRequest& request,
                     const Verdict& verdict, const SessionEnd& end);
    void log_attempt(const queue::Work& work, const queue::RecipientResult& recipient_result,
                     const Requirement& requirement, const DialRequest& request, const smtp::Opened& opened,
                     SteadyTime began);
    void log_deferred(const Attempt& attempt, const queue::HopFailure& hop_failure);
    void log_relaxed(const Attempt& attempt, const Requirement& requirement, const Observation& seen);
    void note_policy_problem(Attempt& attempt);
    asio::awaitable<void> close_idle();

    asio::io_context& context_;
    Options options_;
    Sites sites_;
    LimitTable limits_;
    Rates rates_;
    sts::Lookups& lookups_;
    Overrides& overrides_;
    Planner planner_;
    Dialer& dialer_;
    const Clock& clock_;
    Log& log_;
    OnSession on_session_;
    OnRefusal on_refusal_;
    Connections connections_;
    std::unique_ptr<Wakeup> idle_;  // woken when a connection was put away
    bool stopping_ = false;
    TaskGroup tasks_;
};

}  // namespace sternpost::delivery
