// What Lookups has in memory of each domain, and how it comes back from the store.
#include <algorithm>
#include <boost/asio/use_awaitable.hpp>

#include "store/ask.h"
#include "sts/lookup.h"
#include "util/crc32c.h"

namespace sternpost::sts {
namespace {

constexpr std::size_t most_not_stored = 10'000;  // ours: domains; beyond it all are forgotten

}  // namespace

std::size_t Lookups::size() const {
    return static_cast<std::size_t>(std::count_if(
        known_.begin(), known_.end(), [](const auto& entry) { return entry.second.cached.has_value(); }));
}

std::vector<dns::PolicyDomain> Lookups::cached(const std::optional<dns::PolicyDomain>& after,
                                               std::size_t most) const {
    std::vector<dns::PolicyDomain> out;
    for (auto at = after ? known_.upper_bound(*after) : known_.begin();
         at != known_.end() && out.size() < most; ++at)
        if (at->second.cached) out.push_back(at->first);
    return out;
}

// Counts what is known of the domain, after it may have changed.
void Lookups::count(const dns::PolicyDomain& domain) {
    const auto at = known_.find(domain);
    if (at == known_.end()) return;
    Known& known = at->second;
    std::size_t octets = sizeof(Domains::value_type) + 64 + domain.text().size() + known.problem_text.size();
    if (known.failed) octets += known.failed->id.size() + known.failed->text.size();
    if (known.cached) {
        const store::StoredPolicy& stored = known.cached->stored;
        octets +=
            stored.domain.size() + stored.id.size() + stored.fingerprint.size() + stored.text.capacity();
    }
    octets_ += octets - known.counted;
    known.counted = octets;
}

void Lookups::forget(Domains::iterator at) {
    if (at->second.cached && at->second.cached->kept) store_has_more_ = true;
    octets_ -= at->second.counted;
    known_.erase(at);
}

// Gives up an eighth at once, so that it is seldom done: first texts that the store has too, then all that is
// known of a domain. What mail must be judged by comes last, and stays where the store does not have it.
void Lookups::make_room() {
    const SteadyTime now = clock_.steady();
    if (octets_ <= options_.memory || now < room_again_) return;
    const std::size_t goal = options_.memory - options_.memory / 8;
    const auto give_up = [&](auto rank_of, auto how) {
        using Candidate = std::tuple<int, std::uint64_t, WallTime, Domains::iterator>;
        std::vector<Candidate> all;
        for (auto at = known_.begin(); at != known_.end(); ++at)
            if (const int rank = flights_.contains(at->first) ? 0 : rank_of(at->second); rank > 0)
                all.emplace_back(rank, at->second.used, at->second.mailed, at);
        std::sort(all.begin(), all.end(), [](const Candidate& a, const Candidate& b) {
            return std::tie(std::get<0>(a), std::get<1>(a), std::get<2>(a)) <
                   std::tie(std::get<0>(b), std::get<1>(b), std::get<2>(b));
        });
        for (const auto& candidate : all) {
            if (octets_ <= goal) return;
            how(std::get<3>(candidate));
        }
    };
    give_up([this](const Known& known) { return is_empty(known) ? 1 : 0; },
            [this](Domains::iterator at) { forget(at); });
    give_up(
        [](const Known& known) {
            if (!known.cached || !known.cached->kept || !known.cached->has_text()) return 0;
            return known.cached->mode == Mode::enforce ? 2 : 1;
        },
        [this](Domains::iterator at) {
            std::string().swap(at->second.cached->stored.text);  // an assignment would keep the octets
            count(at->first);
        });
    give_up(
        [this, now](const Known& known) {
            // For five minutes it binds the next GET (RFC 8461 §3.3).
            if (known.failed && now - known.failed->at < options_.failed_fetch_wait) return 0;
            if (!known.cached) return 2;
            if (known.cached->mode != Mode::enforce || !in_force(*known.cached)) return 1;
            return known.cached->kept ? 3 : 0;
        },
        [this](Domains::iterator at) { forget(at); });
    if (octets_ > options_.memory)
        room_again_ = now + std::chrono::seconds(1);  // it took a look at everything
}

asio::awaitable<store::Result<std::vector<store::PolicyVersion>>> Lookups::versions(
    dns::PolicyDomain domain) {
    auto question = [name = domain.text()](store::Questions& questions) { return questions.versions(name); };
    co_return co_await store::ask(store_, std::move(question));
}

// Puts the text back that was left to the store. False: the store cannot be read, or does not have it yet.
asio::awaitable<bool> Lookups::read_text(dns::PolicyDomain domain, Cached& cached) {
    auto versions = co_await this->versions(std::move(domain));
    if (!versions) co_return false;
    for (auto& version : *versions) {
        if (version.id != cached.stored.id || crc32c(version.text) != cached.check_sum) continue;
        cached.stored.text = std::move(version.text);
        co_return true;
    }
    co_return false;
}

// The policy that the store has for the domain: the version that was served last. Errors: the store's.
asio::awaitable<store::Result<std::optional<Lookups::Cached>>> Lookups::read_policy(
    dns::PolicyDomain domain) {
    const std::string name = domain.text();
    auto versions = co_await this->versions(std::move(domain));
    if (!versions) co_return fail(std::move(versions).error());
    const auto last = std::max_element(versions->begin(), versions->end(), [](const auto& a, const auto& b) {
        return a.last_seen < b.last_seen;
    });
    std::optional<Cached> none;
    if (last == versions->end()) co_return none;
    const auto policy = Policy::parse(last->text);
    if (!policy) {
        Event(log_, Level::warning, "policy")
            .kv("domain", name)
            .kv("event", "unreadable")
            .reason(policy.error().text);
        co_return none;
    }
    store::StoredPolicy stored;
    stored.domain = name;
    stored.id = last->id;
    stored.text = std::move(last->text);
    stored.fetched = last->last_seen;
    stored.checked = last->last_seen;
    stored.expires = last->last_seen + policy->max_age;
    stored.fingerprint = last->fingerprint;
    co_return cached_of(std::move(stored), policy->mode);
}

// Reads back what memory gave up about the domain. False: the store cannot be read, so it is not known
// whether the domain has a policy. The domain is in flight: what comes back stays.
asio::awaitable<bool> Lookups::recall(dns::PolicyDomain domain) {
    if (const auto known = known_.find(domain); known != known_.end() && known->second.cached) {
        Cached& cached = *known->second.cached;
        if (!cached.has_text()) {
            const bool read = co_await read_text(domain, cached);
            if (!read)
                Event(log_, Level::error, "policy")
                    .kv("domain", domain.text())
                    .kv("event", "unreadable")
                    .reason("the store does not give its text; it is fetched again");
        }
        co_return true;
    }
    // Also where nothing was given up: at start, policies of domains that had no mail for months are not
    // read.
    if (not_stored_.contains(domain)) co_return true;
    auto found = co_await read_policy(domain);
    if (!found) co_return false;
    if (!*found) {
        if (not_stored_.size() >= most_not_stored) not_stored_.clear();
        not_stored_.insert(domain);
    } else {
        Known& known = known_[domain];
        known.mailed = std::max(known.mailed, (*found)->stored.fetched);  // until we know better
        known.cached = std::move(*found);
    }
    co_return true;
}

}  // namespace sternpost::sts
