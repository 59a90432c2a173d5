#include "sts/lookup.h"

#include <algorithm>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "sts/changes.h"
#include "util/call.h"
#include "util/crc32c.h"

namespace sternpost::sts {
namespace {

// The time of the last mail is stored no more often than this: it is compared with days.
constexpr auto mailed_grain = std::chrono::hours(12);

}  // namespace

Lookups::Lookups(const Runtime& runtime, LookupOptions options, dns::Resolver& resolver, util::Https& https,
                 store::Store& store)
    : executor_(runtime.context.get_executor()),
      options_(std::move(options)),
      resolver_(resolver),
      https_(https),
      store_(store),
      clock_(runtime.clock),
      log_(runtime.log),
      alarms_(store, runtime.clock, runtime.log) {}

// A stored time on the clock that is never set. What lies in the future, as after a clock that was put back,
// was just now; what lies further back than anything here is compared with, is that far back.
SteadyTime Lookups::steady_of(WallTime past) const {
    const auto farthest = options_.unknown_patience + options_.unknown_memory + std::chrono::hours(1);
    const auto ago =
        std::clamp<std::chrono::microseconds>(clock_.wall() - past, std::chrono::microseconds(0), farthest);
    return clock_.steady() - ago;
}

void Lookups::restore(std::vector<store::StoredDiscovery> discoveries) {
    for (const auto& stored : discoveries) {
        auto name = dns::Domain::parse(stored.domain);
        if (!name) continue;
        const dns::PolicyDomain domain(std::move(*name));
        to_recall_.emplace_back(stored.mailed, domain);
        auto& known = known_[domain];
        known.mailed = std::max(known.mailed, stored.mailed);
        if (stored.unknown_since != WallTime()) {
            known.unknown_since = steady_of(stored.unknown_since);
            known.unknown_since_wall = stored.unknown_since;
        }
        if (!stored.failed_id.empty())
            known.failed = Failed{stored.failed_id, steady_of(stored.failed_at), stored.failed_at,
                                  Errc::fetch, "the last GET, at " + rfc3339(stored.failed_at) + ", failed"};
        count(domain);
        forget_if_empty(domain);
    }
    std::sort(to_recall_.begin(), to_recall_.end());
    make_room();
}

asio::awaitable<store::Result<bool>> Lookups::recall_all(Deadline until) {
    while (!to_recall_.empty() && !store_has_more_) {
        if (clock_.steady() >= until) co_return false;
        const WallTime mailed = to_recall_.back().first;
        const dns::PolicyDomain domain = to_recall_.back().second;
        to_recall_.pop_back();
        auto found = co_await read_policy(domain);
        if (!found) co_return fail(std::move(found).error());
        if (!*found || flights_.contains(domain)) continue;
        Known& known = known_[domain];
        if (known.cached) continue;
        known.mailed = std::max({known.mailed, mailed, (*found)->stored.fetched});
        known.cached = std::move(*found);
        count(domain);
        make_room();
    }
    to_recall_ = {};
    co_return true;
}

Lookups::Cached Lookups::cached_of(store::StoredPolicy stored, Mode mode) const {
    const std::uint32_t check_sum = crc32c(stored.text);
    const SteadyTime expires = clock_.steady() + (stored.expires - clock_.wall());
    return Cached{std::move(stored), mode, check_sum, expires};
}

bool Lookups::in_force(const Cached& cached) const {
    return clock_.wall() < cached.stored.expires || clock_.steady() < cached.expires;
}

const Lookups::Cached* Lookups::in_force(const dns::PolicyDomain& domain) const {
    const auto known = known_.find(domain);
    if (known == known_.end() || !known->second.cached || !in_force(*known->second.cached)) return nullptr;
    return &*known->second.cached;
}

std::optional<WallTime> Lookups::refresh_at(const dns::PolicyDomain& domain, const Known& known) const {
    if (!known.cached || !options_.enabled) return std::nullopt;
    RefreshFacts facts;
    facts.fetched = known.cached->stored.fetched;
    facts.expires = known.cached->stored.expires;
    facts.mailed = known.mailed;
    facts.failures = known.refresh_failures;
    if (known.failed) facts.failed_at = known.failed->wall;
    facts.spread = spread_of(domain.text());
    return next_refresh(options_.refresh, facts, clock_.wall());
}

std::vector<dns::PolicyDomain> Lookups::due() const {
    std::vector<std::pair<WallTime, dns::PolicyDomain>> found;
    for (const auto& [domain, known] : known_)
        if (const auto at = refresh_at(domain, known);
            at && *at <= clock_.wall() && !flights_.contains(domain))
            found.emplace_back(*at, domain);
    std::sort(found.begin(), found.end());
    std::vector<dns::PolicyDomain> out;
    out.reserve(found.size());
    for (auto& [at, domain] : found) out.push_back(std::move(domain));
    return out;
}

Lookup Lookups::from_cache(const dns::PolicyDomain& domain) const {
    Lookup out;
    const Cached* cached = in_force(domain);
    if (cached == nullptr) return out;
    auto policy = Policy::parse(cached->stored.text);
    if (!policy) {  // left to the store, which cannot be read
        if (cached->mode == Mode::enforce) out.state = State::unknown;
        out.problem_text = "the cached policy cannot be read from the store";
        return out;
    }
    out.state = State::policy;
    out.policy = std::move(*policy);
    out.id = cached->stored.id;
    out.text = cached->stored.text;
    out.fetched = cached->stored.fetched;
    out.expires = cached->stored.expires;
    out.next_refresh = refresh_at(domain, known_.at(domain));
    return out;
}

// The cached policy, if any, carries on. One trouble is told once every five minutes, however much mail meets
// it.
Lookup Lookups::with_problem(const dns::PolicyDomain& domain, Errc code, std::string text) {
    Known& known = known_[domain];
    const SteadyTime now = clock_.steady();
    Lookup out = from_cache(domain);
    out.problem_fresh = known.problem != code || now - known.problem_told >= options_.failed_fetch_wait;
    out.problem = code;
    out.problem_text = text;
    if (out.problem_fresh) known.problem_told = now;
    known.problem = code;
    known.problem_text = std::move(text);
    known.problem_at = clock_.wall();
    return out;
}

void Lookups::remember(const dns::PolicyDomain& domain) {
    const Known& known = known_[domain];
    store::StoredDiscovery discovery;
    discovery.domain = domain.text();
    if (known.unknown_since) discovery.unknown_since = known.unknown_since_wall;
    if (known.failed) {
        discovery.failed_id = known.failed->id;
        discovery.failed_at = known.failed->wall;
    }
    discovery.mailed = known.mailed;
    store_.keep(std::move(discovery));
}

// Most domains have no policy: nothing is kept of them.
void Lookups::forget_if_empty(const dns::PolicyDomain& domain) {
    const auto it = known_.find(domain);
    if (it == known_.end()) return;
    const Known& known = it->second;
    if (is_empty(known)) forget(it);
}

bool Lookups::is_empty(const Known& known) const {
    const bool failed = known.failed && clock_.steady() - known.failed->at < options_.failed_fetch_wait;
    const bool told = known.problem && clock_.steady() - known.problem_told < options_.failed_fetch_wait;
    return !known.cached && !failed && !told && !known.unknown_since;
}

// Whether any version of the domain's policy that was ever kept was one to enforce.
asio::awaitable<bool> Lookups::ever_enforced(dns::PolicyDomain domain) {
    if (const auto known = known_.find(domain);
        known != known_.end() && known->second.cached && known->second.cached->mode == Mode::enforce)
        co_return true;
    const auto versions = co_await this->versions(domain);
    if (!versions) co_return true;  // not to be known: the safe side
    co_return std::any_of(versions->begin(), versions->end(), [](const store::PolicyVersion& version) {
        const auto policy = Policy::parse(version.text);
        return policy && policy->mode == Mode::enforce;
    });
}

// The TXT look-up failed and nothing is cached: no one knows, and by D-02 the time that this has lasted
// decides.
asio::awaitable<Lookup> Lookups::without_record(dns::PolicyDomain domain) {
    const bool enforced = co_await ever_enforced(domain);
    Known& known = known_[domain];
    const SteadyTime now = clock_.steady();
    const auto longest = options_.unknown_patience + options_.unknown_memory;
    if (!known.unknown_since || now - *known.unknown_since > longest) {
        known.unknown_since = now;
        known.unknown_since_wall = clock_.wall();
        remember(domain);
    }
    Lookup out;
    if (enforced || now - *known.unknown_since < options_.unknown_patience) out.state = State::unknown;
    co_return out;
}

asio::awaitable<Lookup> Lookups::run(dns::PolicyDomain domain, Why why) {
    const auto record_name = domain.name().under("_mta-sts");
    if (!record_name) co_return Lookup();
    auto answer = co_await resolver_.txt(*record_name);
    std::optional<std::string> id;
    std::optional<Errc> trouble;
    std::string trouble_text;
    if (!answer) {
        trouble = Errc::fetch;
        trouble_text = record_name->text() + " cannot be looked up: " + answer.error().text;
    } else {
        if (const auto known = known_.find(domain); known != known_.end() && known->second.unknown_since) {
            known->second.unknown_since.reset();
            remember(domain);
        }
        auto record = parse_record(answer->records);
        const Cached* cached = in_force(domain);
        if (!record) {
            trouble = record.error().code;
            trouble_text = record_name->text() + ": " + record.error().text;
        } else if (*record) {
            id = (*record)->id;
        } else if (cached != nullptr && cached->mode != Mode::none) {
            trouble = Errc::fetch;
            trouble_text = record_name->text() + " is gone; the cached policy holds until it expires";
            alarms_.raise(store::AlarmKind::policy_vanished, domain.text(),
                          trouble_text + " (" + rfc3339(cached->stored.expires) + ")");
        }
    }
    const Cached* cached = in_force(domain);
    if (!id && cached != nullptr && why != Why::mail) id = cached->stored.id;  // STS-48
    if (!id) {
        // No valid record: nothing is discovered, but what is cached holds until its max_age ends (RFC 8461
        // §3.1).
        Lookup out;
        if (!answer && cached == nullptr) out = co_await without_record(domain);
        if (trouble) {
            const State state = out.state;
            out = with_problem(domain, *trouble, std::move(trouble_text));
            if (state == State::unknown) out.state = state;
        } else {
            out = from_cache(domain);
        }
        co_return out;
    }
    Known& known = known_[domain];
    const SteadyTime now = clock_.steady();
    const bool same_id = cached != nullptr && cached->stored.id == *id;
    if (same_id && why == Why::mail && cached->has_text()) {
        known.cached->stored.checked = clock_.wall();
        if (trouble) co_return with_problem(domain, *trouble, std::move(trouble_text));
        if (known.refresh_failures == 0) known.problem.reset();
        co_return from_cache(domain);
    }
    // D-37: the five minutes after a failed GET bind every GET for that id, those between forced ones only
    // these.
    if (known.failed && known.failed->id == *id && now - known.failed->at < options_.failed_fetch_wait) {
        Lookup out = from_cache(domain);
        out.problem = known.failed->code;
        out.problem_text = known.failed->text + " (tried again five minutes after a failure)";
        co_return out;
    }
    if (why == Why::failure && same_id) {
        if (known.forced && now - *known.forced < options_.forced_fetch_wait) co_return from_cache(domain);
        known.forced = now;
    }
    co_return co_await get(domain, std::move(*id), why);
}

Lookup Lookups::fetch_failed(const dns::PolicyDomain& domain, const std::string& id, Why why,
                             const Error<Errc>& problem) {
    const Cached* cached = in_force(domain);
    Known& known = known_[domain];
    // A policy that says `none` may vanish: that is how MTA-STS is given up (RFC 8461 §8.3).
    const bool quiet = cached != nullptr && cached->mode == Mode::none;
    Event(log_, quiet ? Level::info : Level::warning, "policy")
        .kv("domain", domain.text())
        .kv("event", "fetch-failed")
        .kv("id", id)
        .reason(problem.text + (cached != nullptr ? "; the cached policy holds until it expires"
                                                  : "; mail goes as to a domain without policy"));
    if (cached != nullptr && !quiet) {
        const std::string until = " (" + rfc3339(cached->stored.expires) + ")";
        if (problem.code == Errc::gone)
            alarms_.raise(store::AlarmKind::policy_vanished, domain.text(),
                          problem.text + "; the cached policy holds until it expires" + until);
        else if (why == Why::schedule)
            alarms_.raise(store::AlarmKind::policy_refresh_failing, domain.text(),
                          problem.text + "; the cached policy holds until it expires" + until);
    }
    if (why == Why::schedule) ++known.refresh_failures;
    known.failed = Failed{id, clock_.steady(), clock_.wall(), problem.code, problem.text};
    known.problem.reset();  // a GET was made: this is news
    remember(domain);
    return with_problem(domain, problem.code, problem.text);
}

// Fetches, and what comes of it.
asio::awaitable<Lookup> Lookups::get(dns::PolicyDomain domain, std::string id, Why why) {
    auto fetched = co_await fetch(options_.fetch, resolver_, https_, domain);
    const Cached* cached = in_force(domain);  // time has passed
    Known& known = known_[domain];
    if (!fetched && fetched.error().code == Errc::stopped) {
        Lookup out = from_cache(domain);
        if (out.state == State::none) out.state = State::unknown;
        out.problem = Errc::stopped;
        out.problem_text = std::move(fetched.error().text);
        co_return out;
    }
    if (!fetched) {
        co_return fetch_failed(domain, id, why, fetched.error());
    }
    const WallTime now = clock_.wall();
    const auto max_age = fetched->policy.max_age;
    store::StoredPolicy stored{domain.text(), id,  fetched->text,       now,
                               now + max_age, now, fetched->fingerprint};
    Event(log_, Level::info, "policy")
        .kv("domain", domain.text())
        .kv("event", "fetched")
        .kv("id", id)
        .kv("mode", name_of(fetched->policy.mode))
        .kv("max_age", max_age.count());
    const auto old_policy = Policy::parse(cached == nullptr ? "" : cached->stored.text);
    const bool changed = !old_policy || *old_policy != fetched->policy;
    if (known.cached && known.cached->has_text()) {
        const store::PolicyVersion before{known.cached->stored.id, known.cached->stored.text, "", {}, {}};
        const store::PolicyVersion after{id, fetched->text, "", {}, {}};
        for (const auto& change : changes(before, after))
            alarms_.raise(change.kind, domain.text(), change.text);
    }
    // Durable before it is believed: a crash must not lose what mail has already been judged by (RFC 8461
    // §10.2).
    not_stored_.erase(domain);
    auto put = [this, stored](Completion<store::Result<void>> reply) mutable {
        store_.keep(std::move(stored), std::move(reply));
    };
    const auto kept = co_await call<store::Result<void>>(std::move(put));
    if (!kept)
        Event(log_, Level::error, "policy")
            .kv("domain", domain.text())
            .kv("event", "not-stored")
            .reason(kept.error().text);
    Known& after = known_[domain];
    after.cached = Cached{std::move(stored), fetched->policy.mode, crc32c(fetched->text),
                          clock_.steady() + max_age, kept.has_value()};
    after.refresh_failures = 0;
    after.problem.reset();
    // An administrator's wish counts as the first mail: a discovery that no one has heard of is forgotten.
    const bool first_wish = why == Why::wish && after.mailed == WallTime();
    if (why == Why::mail || why == Why::failure || first_wish) after.mailed = now;
    if (std::exchange(after.failed, std::nullopt) || why != Why::schedule) remember(domain);
    Lookup out = from_cache(domain);
    if (out.state == State::none) {  // a max_age of 0: for this mail it counts all the same
        out.state = State::policy;
        out.policy = std::move(fetched->policy);
        out.id = after.cached->stored.id;
        out.text = after.cached->stored.text;
        out.fetched = after.cached->stored.fetched;
        out.expires = after.cached->stored.expires;
    }
    out.fresh = true;
    out.changed = changed;
    co_return out;
}

asio::awaitable<Lookup> Lookups::single_flight(dns::PolicyDomain domain, Why why) {
    if (!options_.enabled) co_return Lookup();
    for (;;) {
        const auto under_way = flights_.find(domain);
        if (under_way == flights_.end()) break;
        const std::shared_ptr<Flight> flight = under_way->second;
        co_await flight->landed.async_wait(asio::as_tuple(asio::use_awaitable));
        const auto state = co_await asio::this_coro::cancellation_state;
        if (state.cancelled() != asio::cancellation_type::none) {
            Lookup given_up;
            given_up.state = State::unknown;
            given_up.problem_text = "the look-up was given up";
            co_return given_up;
        }
        // What another one has fetched, or failed to, is as good as our own; only the report of it is not
        // ours.
        if (flight->result && (why == Why::mail || flight->result->fresh)) {
            Lookup shared = *flight->result;
            shared.problem_fresh = false;
            co_return shared;
        }
    }
    const auto flight = std::make_shared<Flight>(executor_);
    flights_[domain] = flight;
    struct Landing {
        std::map<dns::PolicyDomain, std::shared_ptr<Flight>>& flights;
        const dns::PolicyDomain& domain;
        Flight& flight;
        ~Landing() {
            flights.erase(domain);
            flight.landed.cancel();
        }
    };
    const Landing landing{flights_, domain, *flight};
    const bool readable = co_await recall(domain);
    Lookup result = co_await run(domain, why);
    if (!readable && result.state == State::none) {
        result.state = State::unknown;
        if (result.problem_text.empty()) result.problem_text = "the policies in the store cannot be read";
    }
    if (const auto known = known_.find(domain); known != known_.end() && why != Why::schedule)
        known->second.used = ++uses_;
    if (const auto known = known_.find(domain); known != known_.end() && why != Why::schedule) {
        const WallTime now = clock_.wall();
        const bool late = now - known->second.mailed >= mailed_grain || now < known->second.mailed;
        if (known->second.cached && why != Why::wish && late) {
            known->second.mailed = now;
            remember(domain);
            result.next_refresh = refresh_at(domain, known->second);
        }
    }
    count(domain);
    forget_if_empty(domain);
    make_room();
    flight->result = result;
    co_return result;
}

CachedView Lookups::view_of(const dns::PolicyDomain& domain, const Known& known) const {
    CachedView out;
    out.stored = known.cached->stored;
    out.in_force = in_force(*known.cached);
    out.mailed = known.mailed;
    out.next_refresh = refresh_at(domain, known);
    out.refresh_failures = known.refresh_failures;
    out.problem = known.problem;
    out.problem_text = known.problem_text;
    out.problem_at = known.problem_at;
    return out;
}

asio::awaitable<std::optional<CachedView>> Lookups::view(dns::PolicyDomain domain) {
    std::optional<CachedView> out;
    if (const auto at = known_.find(domain); at != known_.end() && at->second.cached) {
        out = view_of(domain, at->second);
        Cached copy = *at->second.cached;  // what is only shown does not come back into memory
        if (copy.has_text()) co_return out;
        const bool read = co_await read_text(domain, copy);
        if (read) out->stored.text = std::move(copy.stored.text);
        co_return out;
    }
    auto found = co_await read_policy(domain);
    if (!found || !*found) co_return out;
    Known known;
    known.mailed = (*found)->stored.fetched;
    known.cached = std::move(*found);
    out = view_of(domain, known);
    co_return out;
}

asio::awaitable<Lookup> Lookups::find(dns::PolicyDomain domain) {
    return single_flight(std::move(domain), Why::mail);
}

asio::awaitable<Lookup> Lookups::refresh(dns::PolicyDomain domain) {
    return single_flight(std::move(domain), Why::wish);
}

asio::awaitable<Lookup> Lookups::refetch_after_failure(dns::PolicyDomain domain) {
    return single_flight(std::move(domain), Why::failure);
}

asio::awaitable<Lookup> Lookups::refresh_unasked(dns::PolicyDomain domain) {
    return single_flight(std::move(domain), Why::schedule);
}

}  // namespace sternpost::sts
