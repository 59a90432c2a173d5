#include "sts/lookup.h"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "util/call.h"

namespace sternpost::sts {

Lookups::Lookups(asio::any_io_executor executor, LookupOptions options, dns::Resolver& resolver,
                 util::Https& https, store::Store& store, const Clock& clock, Log& log)
    : executor_(std::move(executor)),
      options_(std::move(options)),
      resolver_(resolver),
      https_(https),
      store_(store),
      clock_(clock),
      log_(log) {}

void Lookups::restore(std::vector<store::StoredPolicy> policies) {
    for (auto& stored : policies) {
        auto domain = dns::Domain::parse(stored.domain);
        auto policy = Policy::parse(stored.text);
        if (!domain || !policy) {
            Event(log_, Level::warning, "policy")
                .kv("domain", stored.domain)
                .kv("event", "unreadable")
                .reason(!domain ? domain.error().text : policy.error().text);
            continue;
        }
        Cached cached{std::move(stored), std::move(*policy)};
        cache_.insert_or_assign(dns::PolicyDomain(std::move(*domain)), std::move(cached));
    }
}

const Lookups::Cached* Lookups::in_force(const dns::PolicyDomain& domain) const {
    const auto known = cache_.find(domain);
    return known != cache_.end() && clock_.wall() < known->second.stored.expires ? &known->second : nullptr;
}

Lookup Lookups::from_cache(const Cached* cached) const {
    Lookup out;
    if (cached == nullptr) return out;
    out.state = State::policy;
    out.policy = cached->policy;
    out.id = cached->stored.id;
    out.expires = cached->stored.expires;
    return out;
}

// The TXT look-up failed. A cached policy goes on; without one nobody knows, and by D-02 the time that has
// lasted decides.
Lookup Lookups::without_record(const dns::PolicyDomain& domain, const Cached* cached, std::string trouble) {
    Lookup out = from_cache(cached);
    out.problem = Errc::fetch;
    out.problem_text = "_mta-sts." + domain.text() + " cannot be looked up: " + trouble;
    if (cached != nullptr) return out;
    const auto now = clock_.steady();
    const auto [since, first] = unknown_since_.try_emplace(domain, now);
    if (!first && now - since->second > options_.unknown_patience + options_.unknown_memory)
        since->second = now;
    const auto known = cache_.find(domain);
    const bool ever_enforced = known != cache_.end() && known->second.policy.mode == Mode::enforce;
    if (ever_enforced || now - since->second < options_.unknown_patience) out.state = State::unknown;
    return out;
}

asio::awaitable<Lookup> Lookups::run(dns::PolicyDomain domain, bool force) {
    const auto record_name = domain.name().under("_mta-sts");
    if (!record_name) co_return Lookup();
    auto answer = co_await resolver_.txt(*record_name);
    const Cached* cached = in_force(domain);
    if (!answer) co_return without_record(domain, cached, answer.error().text);
    unknown_since_.erase(domain);
    auto record = parse_record(answer->records);
    if (!record || !*record) {
        // No valid record: nothing is discovered, but what is cached holds until its max_age ends (RFC 8461
        // §3.1).
        Lookup out = from_cache(cached);
        if (!record) {
            out.problem = record.error().code;
            out.problem_text = "_mta-sts." + domain.text() + ": " + record.error().text;
        } else if (cached != nullptr && cached->policy.mode != Mode::none) {
            out.problem = Errc::fetch;
            out.problem_text =
                "_mta-sts." + domain.text() + " is gone; the cached policy holds until it expires";
        }
        co_return out;
    }
    const std::string id = (*record)->id;
    if (cached != nullptr && cached->stored.id == id && !force) co_return from_cache(cached);
    if (const auto failed = failed_.find(domain);
        failed != failed_.end() && failed->second.id == id &&
        clock_.steady() - failed->second.at < options_.failed_fetch_wait) {
        Lookup out = from_cache(cached);
        out.problem = failed->second.code;
        out.problem_text = failed->second.text + " (tried again five minutes after a failure)";
        co_return out;
    }
    auto fetched = co_await fetch(options_.fetch, resolver_, https_, domain);
    cached = in_force(domain);  // time has passed, and another command may have changed the cache
    if (!fetched) {
        Event(log_, Level::warning, "policy")
            .kv("domain", domain.text())
            .kv("event", "fetch-failed")
            .kv("id", id)
            .reason(fetched.error().text + (cached != nullptr ? "; the cached policy holds until it expires"
                                                              : "; mail goes as to a domain without policy"));
        Failed failure{id, clock_.steady(), fetched.error().code, fetched.error().text};
        failed_.insert_or_assign(domain, std::move(failure));
        Lookup out = from_cache(cached);
        out.problem = fetched.error().code;
        out.problem_text = std::move(fetched.error().text);
        co_return out;
    }
    failed_.erase(domain);
    const WallTime now = clock_.wall();
    Cached fresh{
        {domain.text(), id, fetched->text, now, now + fetched->policy.max_age, now, fetched->fingerprint},
        fetched->policy};
    Event(log_, Level::info, "policy")
        .kv("domain", domain.text())
        .kv("event", "fetched")
        .kv("id", id)
        .kv("mode", name_of(fresh.policy.mode))
        .kv("max_age", fresh.policy.max_age.count());
    // Durable before it is believed: a crash must not lose what mail has already been judged by (RFC 8461
    // §10.2).
    auto put = [this, stored = fresh.stored](Reply<store::Result<void>> reply) mutable {
        store_.put_policy(std::move(stored), std::move(reply));
    };
    const auto kept = co_await call<store::Result<void>>(std::move(put));
    if (!kept)
        Event(log_, Level::error, "policy")
            .kv("domain", domain.text())
            .kv("event", "not-stored")
            .reason(kept.error().text);
    Lookup out = from_cache(&fresh);
    out.fresh = true;
    cache_.insert_or_assign(domain, std::move(fresh));
    co_return out;
}

asio::awaitable<Lookup> Lookups::single_flight(dns::PolicyDomain domain, bool force) {
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
        if (flight->result && !force) co_return *flight->result;
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
    Lookup result = co_await run(domain, force);
    flight->result = result;
    co_return result;
}

std::vector<store::StoredPolicy> Lookups::cached() const {
    std::vector<store::StoredPolicy> out;
    for (const auto& [domain, cached] : cache_) out.push_back(cached.stored);
    return out;
}

asio::awaitable<Lookup> Lookups::find(dns::PolicyDomain domain) {
    return single_flight(std::move(domain), false);
}

asio::awaitable<Lookup> Lookups::refresh(dns::PolicyDomain domain) {
    return single_flight(std::move(domain), true);
}

}  // namespace sternpost::sts
