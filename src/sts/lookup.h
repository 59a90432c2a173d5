// The policy in force for a policy domain: record, cache and fetch brought together (RFC 8461 §3.3, §5.1).
#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/steady_timer.hpp>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "dns/resolver.h"
#include "store/alarms.h"
#include "store/store.h"
#include "sts/fetch.h"
#include "sts/schedule.h"
#include "util/clock.h"
#include "util/log.h"

namespace sternpost::sts {

enum class State {
    none,     // the domain asks for nothing
    policy,   // a valid policy applies (whatever its mode)
    unknown,  // the TXT look-up failed and nothing is cached: nobody can say (D-02)
};

/// What a look-up found.
struct Lookup {
    State state = State::none;
    std::optional<Policy> policy;
    std::string id;
    std::string text;  // the policy, as served
    WallTime fetched{};
    WallTime expires{};
    std::optional<WallTime> next_refresh;  // when it is fetched again unasked
    bool fresh = false;                    // fetched by this look-up
    bool changed = false;                  // fetched, and not the policy that was in force before
    std::optional<Errc> problem;  // what went wrong on the way, also where a cached policy carried on
    std::string problem_text;     // for people
    bool problem_fresh =
        false;  // found by this look-up, and not told by another one before: to be reported (D-40)
};

struct LookupOptions {
    bool enabled = true;
    FetchOptions fetch;
    RefreshOptions refresh;
    std::chrono::seconds failed_fetch_wait{300};  // RFC 8461 §3.3: per id
    std::chrono::seconds forced_fetch_wait{300};  // between GETs that enforcement failures force
    std::chrono::seconds unknown_patience{1800};  // D-02
    std::chrono::seconds unknown_memory{86400};   // D-02
};

/// What is cached of a domain, for people.
struct CachedView {
    store::StoredPolicy stored;
    bool in_force = false;
    WallTime mailed{};
    std::optional<WallTime> next_refresh;
    unsigned refresh_failures = 0;  // in a row
    std::optional<Errc> problem;    // of the last look-up or refresh, if it had one
    std::string problem_text;
    WallTime problem_at{};
};

/// Lives on the control thread. Policies are kept in the store; here they are in memory, loaded once. A
/// policy has expired when wall and steady clock both say so: a wall clock that jumps ends none.
class Lookups {
  public:
    Lookups(asio::any_io_executor executor, LookupOptions options, dns::Resolver& resolver,
            util::Https& https, store::Store& store, const Clock& clock, Log& log);

    /// Puts in what the store held at start. Texts that no longer parse are dropped with a log line.
    void restore(std::vector<store::StoredPolicy> policies,
                 std::vector<store::StoredDiscovery> discoveries = {});

    /// The policy in force for `domain` now; refetched when the record's id changes (RFC 8461 §3.3, §5.1).
    /// Awaits DNS and HTTPS, the fetch's timeout at most. Never stops mail: trouble is in Lookup::problem.
    asio::awaitable<Lookup> find(dns::PolicyDomain domain);
    /// Fetches whatever the record's id says (an administrator's wish; STS-27's five minutes still bind a
    /// failed id).
    asio::awaitable<Lookup> refresh(dns::PolicyDomain domain);
    /// Mail could not go because of the policy: looks for a new id, and fetches also without one, at most
    /// every five minutes (RFC 8461 §5.1). Lookup::changed: the mail may be tried again at once.
    asio::awaitable<Lookup> refetch_after_failure(dns::PolicyDomain domain);
    /// The background's refresh of a policy that is in force, whatever the TXT record says (RFC 8461 §10.2).
    asio::awaitable<Lookup> refresh_unasked(dns::PolicyDomain domain);

    /// Domains whose refresh is due, the longest overdue first.
    std::vector<dns::PolicyDomain> due() const;
    const RefreshOptions& refresh_options() const { return options_.refresh; }

    /// What is cached, expired or not, by domain.
    std::vector<store::StoredPolicy> cached() const;
    std::vector<CachedView> view() const;
    std::optional<CachedView> view(const dns::PolicyDomain& domain) const;
    /// How many alarms were raised since the start.
    std::uint64_t alarms() const { return alarms_.raised(); }

  private:
    enum class Why { mail, wish, failure, schedule };
    struct Cached {
        store::StoredPolicy stored;
        Policy policy;
        SteadyTime expires;
    };
    struct Failed {  // the last GET that failed
        std::string id;
        SteadyTime at;
        WallTime wall;
        Errc code;
        std::string text;
    };
    struct Known {  // of one domain
        std::optional<Cached> cached;
        std::optional<Failed> failed;
        std::optional<SteadyTime> unknown_since;
        WallTime unknown_since_wall{};
        WallTime mailed{};
        std::optional<SteadyTime> forced;  // when a GET was last forced by a failure
        unsigned refresh_failures = 0;
        std::optional<Errc> problem;
        std::string problem_text;
        WallTime problem_at{};
        SteadyTime problem_told{};
    };
    struct Flight {
        explicit Flight(asio::any_io_executor executor) : landed(std::move(executor), SteadyTime::max()) {}
        asio::steady_timer landed;
        std::optional<Lookup> result;
    };

    asio::awaitable<Lookup> run(dns::PolicyDomain domain, Why why);
    asio::awaitable<Lookup> get(dns::PolicyDomain domain, std::string id, Why why);
    asio::awaitable<Lookup> without_record(dns::PolicyDomain domain);
    asio::awaitable<bool> ever_enforced(dns::PolicyDomain domain);
    asio::awaitable<Lookup> single_flight(dns::PolicyDomain domain, Why why);

    const Cached* in_force(const dns::PolicyDomain& domain) const;
    bool in_force(const Cached& cached) const;
    SteadyTime steady_of(WallTime past) const;
    Lookup from_cache(const dns::PolicyDomain& domain) const;
    Lookup with_problem(const dns::PolicyDomain& domain, Errc code, std::string text);
    std::optional<WallTime> refresh_at(const dns::PolicyDomain& domain, const Known& known) const;
    CachedView view_of(const dns::PolicyDomain& domain, const Known& known) const;
    void remember(const dns::PolicyDomain& domain);
    void forget_if_empty(const dns::PolicyDomain& domain);

    asio::any_io_executor executor_;
    LookupOptions options_;
    dns::Resolver& resolver_;
    util::Https& https_;
    store::Store& store_;
    const Clock& clock_;
    Log& log_;
    std::map<dns::PolicyDomain, Known> known_;
    std::map<dns::PolicyDomain, std::shared_ptr<Flight>> flights_;
    store::Alarms alarms_;
};

}  // namespace sternpost::sts
