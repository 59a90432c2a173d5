// The policy in force for a policy domain: record, cache and fetch brought together (RFC 8461 §3.3, §5.1).
#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/steady_timer.hpp>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "dns/resolver.h"
#include "store/store.h"
#include "sts/fetch.h"
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
    WallTime expires{};
    bool fresh = false;           // fetched by this look-up
    std::optional<Errc> problem;  // what went wrong on the way, also where a cached policy carried on
    std::string problem_text;     // for people
};

struct LookupOptions {
    bool enabled = true;
    FetchOptions fetch;
    std::chrono::seconds failed_fetch_wait{300};  // RFC 8461 §3.3: per id
    std::chrono::seconds unknown_patience{1800};  // D-02
    std::chrono::seconds unknown_memory{86400};   // D-02
};

/// Lives on the control thread. Policies are kept in the store; here they are in memory, loaded once.
class Lookups {
  public:
    Lookups(asio::any_io_executor executor, LookupOptions options, dns::Resolver& resolver,
            util::Https& https, store::Store& store, const Clock& clock, Log& log);

    /// Puts in what the store held at start. Texts that no longer parse are dropped with a log line.
    void restore(std::vector<store::StoredPolicy> policies);

    /// The policy in force for `domain` now; refetched when the record's id changes (RFC 8461 §3.3, §5.1).
    /// Awaits DNS and HTTPS, the fetch's timeout at most. Never stops mail: trouble is in Lookup::problem.
    asio::awaitable<Lookup> find(dns::PolicyDomain domain);
    /// Fetches whatever the record's id says (an administrator's wish; STS-27's five minutes still bind a
    /// failed id).
    asio::awaitable<Lookup> refresh(dns::PolicyDomain domain);
    /// What is cached, expired or not, by domain.
    std::vector<store::StoredPolicy> cached() const;

  private:
    struct Cached {
        store::StoredPolicy stored;
        Policy policy;
    };
    struct Failed {  // the last GET that failed
        std::string id;
        SteadyTime at;
        Errc code;
        std::string text;
    };
    struct Flight {
        explicit Flight(asio::any_io_executor executor) : landed(std::move(executor), SteadyTime::max()) {}
        asio::steady_timer landed;
        std::optional<Lookup> result;
    };

    asio::awaitable<Lookup> run(dns::PolicyDomain domain, bool force);
    asio::awaitable<Lookup> single_flight(dns::PolicyDomain domain, bool force);
    const Cached* in_force(const dns::PolicyDomain& domain) const;
    Lookup from_cache(const Cached* cached) const;
    Lookup without_record(const dns::PolicyDomain& domain, const Cached* cached, std::string trouble);

    asio::any_io_executor executor_;
    LookupOptions options_;
    dns::Resolver& resolver_;
    util::Https& https_;
    store::Store& store_;
    const Clock& clock_;
    Log& log_;
    std::map<dns::PolicyDomain, Cached> cache_;
    std::map<dns::PolicyDomain, Failed> failed_;
    std::map<dns::PolicyDomain, SteadyTime> unknown_since_;
    std::map<dns::PolicyDomain, std::shared_ptr<Flight>> flights_;
};

}  // namespace sternpost::sts
