// The policy in force for a policy domain: record, cache and fetch brought together (RFC 8461 §3.3, §5.1).
#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/steady_timer.hpp>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <tuple>
#include <vector>

#include "dns/resolver.h"
#include "store/alarms.h"
#include "store/store.h"
#include "sts/fetch.h"
#include "sts/schedule.h"
#include "util/clock.h"
#include "util/log.h"
#include "util/runtime.h"

namespace sternpost::sts {

enum class State {
    none,     // the domain asks for nothing
    policy,   // a valid policy applies (whatever its mode)
    unknown,  // the TXT look-up failed and nothing is cached: no one can say (D-02)
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
    std::size_t memory = 64UL << 20U;             // octets of what is remembered of all domains; ours
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

/// Lives on the control thread. Policies are kept in the store, and in memory as long as there is room: of
/// what was used longest ago first the text is left to the store, and then everything, policies to enforce
/// last. A look-up reads it back. A policy has expired when wall and steady clock both say so: a wall clock
/// that jumps ends none.
class Lookups {
  public:
    Lookups(const Runtime& runtime, LookupOptions options, dns::Resolver& resolver, util::Https& https,
            store::Store& store);

    /// What the store knew at start of the domains that mail went to lately.
    void restore(std::vector<store::StoredDiscovery> discoveries);
    /// Reads the policies of these domains from the store, one after the other, those with the latest mail
    /// first, until memory is full, so that they are refreshed and listed. False: `until` came first; call it
    /// again. Errors: the store's. A look-up does not wait for it: it reads what it needs. Texts that no
    /// longer parse are passed over with a log line.
    asio::awaitable<store::Result<bool>> recall_all(Deadline until);

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

    /// How many policies are cached in memory, expired or not.
    std::size_t size() const;
    /// Their domains in order, at most `most` of them behind `after`.
    std::vector<dns::PolicyDomain> cached(const std::optional<dns::PolicyDomain>& after,
                                          std::size_t most) const;
    /// Whether the store has policies that size() and cached() do not count: there was no room for all, or
    /// recall_all() is not done.
    bool store_has_more() const { return store_has_more_ || !to_recall_.empty(); }
    /// What is cached of one domain, with its text; awaits the store where memory does not hold it. Without a
    /// text: the store cannot be read.
    asio::awaitable<std::optional<CachedView>> view(dns::PolicyDomain domain);
    /// The octets that LookupOptions::memory bounds, about.
    std::size_t memory() const { return octets_; }
    /// How many alarms were raised since the start.
    std::uint64_t alarms() const { return alarms_.raised(); }

  private:
    enum class Why { mail, wish, failure, schedule };
    struct Cached {
        store::StoredPolicy stored;  // its text is empty while only the store has it
        Mode mode;
        std::uint32_t check_sum;  // of the text
        SteadyTime expires;
        bool kept = true;  // the store has it
        bool has_text() const { return !stored.text.empty(); }
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
        std::uint64_t used = 0;   // when a look-up for mail or an administrator was the last to ask
        std::size_t counted = 0;  // in octets_
    };
    using Domains = std::map<dns::PolicyDomain, Known>;
    struct Flight {
        explicit Flight(asio::any_io_executor executor) : landed(std::move(executor), SteadyTime::max()) {}
        asio::steady_timer landed;
        std::optional<Lookup> result;
    };

    asio::awaitable<Lookup> run(dns::PolicyDomain domain, Why why);
    Lookup fetch_failed(const dns::PolicyDomain& domain, const std::string& id, Why why,
                        const Error<Errc>& problem);
    asio::awaitable<Lookup> get(dns::PolicyDomain domain, std::string id, Why why);
    asio::awaitable<Lookup> without_record(dns::PolicyDomain domain);
    asio::awaitable<bool> ever_enforced(dns::PolicyDomain domain);
    asio::awaitable<store::Result<std::vector<store::PolicyVersion>>> versions(dns::PolicyDomain domain);
    asio::awaitable<bool> recall(dns::PolicyDomain domain);
    asio::awaitable<bool> read_text(dns::PolicyDomain domain, Cached& cached);
    asio::awaitable<store::Result<std::optional<Cached>>> read_policy(dns::PolicyDomain domain);
    asio::awaitable<Lookup> single_flight(dns::PolicyDomain domain, Why why);

    const Cached* in_force(const dns::PolicyDomain& domain) const;
    bool in_force(const Cached& cached) const;
    SteadyTime steady_of(WallTime past) const;
    Lookup from_cache(const dns::PolicyDomain& domain) const;
    Lookup with_problem(const dns::PolicyDomain& domain, Errc code, std::string text);
    std::optional<WallTime> refresh_at(const dns::PolicyDomain& domain, const Known& known) const;
    Cached cached_of(store::StoredPolicy stored, Mode mode) const;
    CachedView view_of(const dns::PolicyDomain& domain, const Known& known) const;
    void remember(const dns::PolicyDomain& domain);
    void forget_if_empty(const dns::PolicyDomain& domain);
    bool is_empty(const Known& known) const;
    void count(const dns::PolicyDomain& domain);
    void forget(Domains::iterator at);
    void make_room();

    asio::any_io_executor executor_;
    LookupOptions options_;
    dns::Resolver& resolver_;
    util::Https& https_;
    store::Store& store_;
    const Clock& clock_;
    Log& log_;
    Domains known_;
    std::set<dns::PolicyDomain> not_stored_;  // the store has no policy of theirs: it was asked
    std::vector<std::pair<WallTime, dns::PolicyDomain>> to_recall_;  // by when mail last went there
    std::size_t octets_ = 0;                                         // of known_
    std::uint64_t uses_ = 0;                                         // look-ups so far
    bool store_has_more_ = false;                                    // a policy was given up here
    SteadyTime room_again_{};  // before that make_room() would find no more than it did
    std::map<dns::PolicyDomain, std::shared_ptr<Flight>> flights_;
    store::Alarms alarms_;
};

}  // namespace sternpost::sts
