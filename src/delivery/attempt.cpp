#include "delivery/attempt.h"

#include <algorithm>

#include "delivery/attempt_state.h"
#include "delivery/judgement.h"
#include "delivery/outcome_hop.h"

namespace sternpost::delivery {
namespace {

constexpr auto site_pause =
    std::chrono::seconds(1);  // ours: how soon a busy site is asked again if no one says that it has room
// ours: the same of a busy address. Longer, since each look at it costs all look-ups; who leaves it wakes the
// next.
constexpr auto address_pause = std::chrono::minutes(1);
// What counts as one address: whoever has an IPv6 address has all of its /64.
std::string place_of(const dns::Address& address) {
    return "address " + (address.is_v6() ? dns::Network::around(address, 64).text() : address.text());
}

}  // namespace

Delivery::Delivery(const Runtime& runtime, Options options, const Sources& sources, Hooks hooks)
    : context_(runtime.context),
      options_(std::move(options)),
      sites_(options_.dead_host_time, std::move(hooks.on_room)),
      limits_(options_.destinations, options_.connections_per_site, options_.messages_per_connection),
      lookups_(sources.lookups),
      overrides_(sources.overrides),
      planner_(options_.policy, sources.resolver, lookups_, overrides_, runtime.clock, runtime.random),
      dialer_(sources.dialer),
      clock_(runtime.clock),
      log_(runtime.log),
      on_session_(std::move(hooks.on_session)),
      on_refusal_(std::move(hooks.on_refusal)),
      idle_(runtime.timer.wakeup()),
      tasks_(context_, log_) {
    if (options_.idle_time.count() > 0) tasks_.spawn("idle connections", close_idle());
}

asio::awaitable<void> Delivery::deliver(queue::Lane& lane) {
    Attempt attempt(lane, clock_.steady());
    if (!attempt.work) co_return;  // another lane was quicker
    co_await work(attempt);
    if (attempt.work) lane.put_back(*std::exchange(attempt.work, std::nullopt));
}

// From the look-ups to the end of the last session.
asio::awaitable<void> Delivery::work(Attempt& attempt) {
    // All that waits for the hop waits on; the message whose attempt this was says so under its own queue id.
    const auto end = [&](queue::HopFailure hop_failure) {
        hop_failure.detail = std::move(attempt.findings.detail);
        if (!hop_failure.permanent) log_deferred(attempt, hop_failure);
        if (attempt.work) attempt.lane.put_back(*std::exchange(attempt.work, std::nullopt));
        attempt.lane.failed(hop_failure);
    };
    auto plan = co_await planner_.look_up(attempt.plan.hop);
    if (!plan) {
        end(plan.error());
        co_return;
    }
    attempt.plan = std::move(*plan);
    const bool entered = co_await enter_site(attempt);
    if (!entered) {
        wait_for_room(attempt);
        co_return;
    }
    if (attempt.paced = rates_.take(attempt.limits, clock_.steady()); attempt.paced) {
        wait_for_turn(attempt);
        co_return;
    }
    note_policy_problem(attempt);
    const bool overridden =
        overrides_.in_force(attempt.plan.hop.next_hop, std::nullopt, clock_.wall()).has_value();
    if (attempt.plan.sts && attempt.plan.sts->state == sts::State::unknown && !overridden &&
        attempt.plan.hop.tls_mode != store::TlsMode::tls_optional) {
        end(sts_unknown(attempt.plan));
        co_return;
    }
    auto tried = co_await try_hosts(attempt);
    if (tried == Tried::next && !attempt.lane.stopping() &&
        attempt.findings.held_by_cached_sts(attempt.plan)) {
        // The domain may have mended its policy since it was cached (RFC 8461 §5.1; STS-69).
        auto domain = dns::Domain::parse(attempt.plan.domain);
        auto policy = co_await lookups_.refetch_after_failure(dns::PolicyDomain(std::move(*domain)));
        if (policy.changed) {
            attempt.plan.sts = std::move(policy);
            attempt.findings.policy_changed(attempt.plan.domain);
            tried = co_await try_hosts(attempt);
        }
    }
    if (tried == Tried::over) co_return;
    if (attempt.lane.stopping()) co_return;  // the work goes back as it was
    end(attempt.findings.failure(attempt.plan));
}

void Delivery::wait_for_room(Attempt& attempt) {
    attempt.lane.put_back(*std::exchange(attempt.work, std::nullopt));
    attempt.lane.pause(site_pause);
    sites_.wait(attempt.limits.site, attempt.lane.hop());
}

// The destination has had all the messages that it may have for now.
void Delivery::wait_for_turn(Attempt& attempt) {
    attempt.lane.put_back(*std::exchange(attempt.work, std::nullopt));
    attempt.lane.pause(std::chrono::ceil<std::chrono::milliseconds>(*attempt.paced - clock_.steady()));
}

// Idle connections of the site make room for one that is needed.
asio::awaitable<bool> Delivery::enter_site(Attempt& attempt) {
    std::vector<std::string> names;
    for (const Candidate& candidate : attempt.plan.hosts.candidates) names.push_back(candidate.text());
    std::string set = Sites::name_of(names);
    attempt.limits = limits_.of(attempt.plan.domain, names, std::move(set));
    const Limits& limits = attempt.limits;
    bool entered = sites_.enter(limits.site, limits.connections);
    if (!entered && connections_.has(limits.site)) {
        sites_.enter_beyond(limits.site);
        attempt.beyond = entered = true;
    }
    if (entered) attempt.visit = std::make_unique<SiteVisit>(sites_, limits.site);
    co_return entered;
}

asio::awaitable<Delivery::Tried> Delivery::try_hosts(Attempt& attempt) {
    for (const Candidate& candidate : attempt.plan.hosts.candidates) {
        if (attempt.findings.ourselves() || attempt.lane.stopping() || has_tried_enough(attempt)) break;
        attempt.findings.begin_host();
        const auto tried = co_await try_host(attempt, candidate);
        if (tried == Tried::over) co_return Tried::over;
        attempt.findings.end_host();
    }
    co_return Tried::next;
}

// Look-ups count as well: a domain whose DNS servers are slow must not hold a place for long.
bool Delivery::has_tried_enough(Attempt& attempt) const {
    HopFindings& findings = attempt.findings;
    if (findings.addresses_tried() >= options_.addresses_per_attempt || findings.late()) return true;
    if (clock_.steady() - attempt.began <= options_.attempt_budget) return false;
    findings.ran_out_of_time(options_.attempt_budget, attempt.plan.domain);
    return true;
}

asio::awaitable<Delivery::Tried> Delivery::try_host(Attempt& attempt, const Candidate& candidate) {
    HostPlan host = co_await planner_.look_up(attempt.plan, candidate);
    attempt.label = host.requirement.label();
    const Observation by_name = Observation::of_name();
    note(attempt, host.requirement, by_name, nullptr, {}, {});
    if (!host.verdict.go) {
        attempt.findings.ruled_out(host);
        co_return Tried::next;
    }
    if (host.addresses.ourselves) attempt.findings.is_ourselves();
    if (host.addresses.usable.empty()) {
        attempt.findings.no_address(host);
        co_return Tried::next;
    }
    attempt.ipv4_known = std::any_of(host.addresses.usable.begin(), host.addresses.usable.end(),
                                     [](const dns::Address& a) { return !a.is_v6(); });
    const auto idle = co_await try_idle(attempt, host);
    if (idle == Tried::over) co_return Tried::over;
    for (const dns::Address& address : host.addresses.usable) {
        if (attempt.findings.ourselves() || attempt.lane.stopping() || has_tried_enough(attempt)) break;
        if (attempt.findings.ipv4_only() && address.is_v6()) continue;
        // The last attempt of a message is a real one.
        const std::string* dead = attempt.work->last ? nullptr : sites_.dead(address, clock_.steady());
        if (dead != nullptr) {
            attempt.findings.left_alone(*dead);
            continue;
        }
        attempt.findings.dialled();
        const auto tried = co_await try_address(attempt, host, address);
        if (tried == Tried::over) co_return Tried::over;
    }
    co_return Tried::next;
}

// A connection that another message, of whatever domain, has left open. What it proved is judged again.
asio::awaitable<Delivery::Tried> Delivery::try_idle(Attempt& attempt, const HostPlan& host) {
    const auto fits = [&](const IdleConnection& c) {
        return c.carried < attempt.limits.messages_per_connection &&
               may_share(host.requirement, c.request.tls) &&
               decide(host.requirement, seen_of(c.channel->opened())).go;
    };
    auto idle = connections_.take(host.candidate.host, host.addresses.usable, host.port, fits);
    if (!idle) co_return Tried::next;
    // Its place goes to us, or ours was the one beyond the limit.
    sites_.taken_over(idle->site);
    attempt.beyond = false;
    auto at_address = std::make_unique<SiteVisit>(sites_, idle->place);
    DialRequest request = std::move(idle->request);
    auto channel = std::move(idle->channel);
    const unsigned carried = std::max(idle->carried, 1U);  // not fresh: its host may have left it
    co_return co_await carry(attempt, host, std::move(request), std::move(channel), carried,
                             std::move(at_address));
}

DialRequest Delivery::request_for(const HostPlan& host, dns::Address address) const {
    DialRequest request;
    request.host = host.candidate.host;
    request.address = address;
    request.port = host.port;
    request.source = address.is_v6() ? options_.source_ipv6 : options_.source_ipv4;
    if (host.by_route) request.chooser = dns::Chooser::administrator;
    request.tls = host.requirement.tls_use();
    request.dane = host.requirement.dane_reference();
    // Whether REQUIRETLS is offered shows only later, and is judged then.
    request.may_resume = [requirement = host.requirement](const tls::Evidence& proof) {
        return decide(requirement, Observation::of_session(proof, true)).go;
    };
    return request;
}

asio::awaitable<Delivery::Tried> Delivery::try_address(Attempt& attempt, const HostPlan& host,
                                                       dns::Address address) {
    const Requirement& requirement = host.requirement;
    if (attempt.beyond) {
        // None of the idle ones would do: one of them makes room for a new one.
        auto evicted = connections_.evict(attempt.limits.site);
        if (!evicted) {
            wait_for_room(attempt);
            co_return Tried::over;
        }
        attempt.beyond = false;
        co_await evicted->channel->quit();
        sites_.leave(evicted->place);
        sites_.taken_over(attempt.limits.site);
    }
    DialRequest request = request_for(host, address);
    // Any number of names can lead to one address, and a slow host there would have a connection for each.
    const std::string place = place_of(address);
    // A [[destination]] section that allows more has the last word.
    const unsigned most = attempt.limits.connections > options_.connections_per_site
                              ? std::max(attempt.limits.connections, options_.connections_per_address)
                              : options_.connections_per_address;
    bool entered = sites_.enter(place, most);
    if (!entered) {
        // A connection that carries nothing makes room.
        if (auto evicted = connections_.evict_at(place)) {
            co_await evicted->channel->quit();
            leave(*evicted);
            entered = sites_.enter(place, most);
        }
    }
    if (!entered) {
        if (!attempt.findings.detail.outcomes
                 .empty()) {  // sessions with other hosts, which are to be told of
            attempt.findings.no_connection_free(endpoint(request));
            co_return Tried::next;
        }
        attempt.lane.put_back(*std::exchange(attempt.work, std::nullopt));
        attempt.lane.pause(address_pause);
        sites_.wait(place, attempt.lane.hop());
        co_return Tried::over;
    }
    auto at_address = std::make_unique<SiteVisit>(sites_, place);
    for (;;) {
        auto channel = co_await dialer_.open(request);
        if (attempt.lane.stopping()) {
            if (channel) co_await (*channel)->quit();
            co_return Tried::next;
        }
        if (!channel) {
            if (may_go_in_clear(attempt, host, request, channel.error())) continue;
            co_return Tried::next;
        }
        sites_.took_connection(request.address, clock_.steady());
        const smtp::Opened& opened = (*channel)->opened();
        const Observation seen = seen_of(opened, request);
        const Verdict verdict = decide(requirement, seen);
        // After a handshake that failed the fresh connection in clear is the same host's second chance, and
        // no second session of its policy.
        if (request.tls == requirement.tls_use())
            note(attempt, requirement, seen, &request, opened.offered.greeting_name, opened.local_address);
        if (!verdict.go) {
            log_session(attempt, requirement, request, verdict,
                        {opened.evidence.version, "refused", verdict.sentence});
            attempt.findings.unfit(endpoint(request), host, verdict, opened.evidence.encrypted);
            attempt.findings.detail.dialogue = opened.dialogue;
            auto unwanted = std::move(*channel);
            co_await unwanted->quit();  // RFC 3207 §4.1: QUIT and nothing else
            co_return Tried::next;
        }
        if (verdict.relaxed) log_relaxed(attempt, requirement, seen);
        auto open = std::move(*channel);
        co_return co_await carry(attempt, host, std::move(request), std::move(open), 0,
                                 std::move(at_address));
    }
}

// Notes why no session came about. True: the request is one in clear now, for the same host (RFC 7435).
bool Delivery::may_go_in_clear(Attempt& attempt, const HostPlan& host, DialRequest& request,
                               const smtp::Failure& failure) {
    const Requirement& requirement = host.requirement;
    const Observation seen = Observation::of_failure(failure);
    const Verdict verdict = decide(requirement, seen);
    note(attempt, requirement, seen, &request, failure.helo, failure.local_address);
    log_session(attempt, requirement, request, verdict, {"none", "failed", sentence_of(failure)});
    if (failure.code == smtp::Errc::connect_refused || failure.code == smtp::Errc::connect_timed_out)
        sites_.took_no_connection(request.address, clock_.steady(),
                                  endpoint(request) + ": " + sentence_of(failure));
    attempt.findings.noted(request.host ? request.host->text() : request.address.literal(), failure);
    if (failure.reply && on_refusal_)
        on_refusal_(attempt.findings.detail.mx_host, attempt.findings.detail.diagnostic);
    if (request.tls == smtp::TlsUse::if_offered &&
        after_failed_open(failure, requirement.clear_text_allowed()) == NextStep::clear_text) {
        request.tls = smtp::TlsUse::never;
        request.tls_failure = failure;
        return true;
    }
    attempt.findings.no_session(endpoint(request), host, failure, request.tls);
    return false;
}

// Messages over an open session; then it is put away for others, or closed.
asio::awaitable<Delivery::Tried> Delivery::carry(Attempt& attempt, const HostPlan& host, DialRequest request,
                                                 std::unique_ptr<Channel> channel, unsigned carried,
                                                 std::unique_ptr<SiteVisit> at_address) {
    const bool reused = carried > 0;
    carried = co_await serve(attempt, host, request, *channel, carried);
    const bool keep = options_.idle_time.count() > 0 && channel->reusable() && !attempt.lane.stopping() &&
                      !stopping_ && !attempt.asked_to_wait && !attempt.work &&
                      carried < attempt.limits.messages_per_connection;
    if (keep) {
        IdleConnection idle;
        idle.request = request;
        idle.site = attempt.limits.site;
        idle.place = place_of(request.address);
        at_address->hand_over();
        idle.channel = std::move(channel);
        idle.carried = carried;
        idle.until = clock_.steady() + options_.idle_time;
        connections_.put(std::move(idle));
        attempt.visit->hand_over();
        sites_.room(attempt.limits.site);
        sites_.room(place_of(request.address));
        idle_->wake();
    } else {
        co_await channel->quit();
    }
    if (attempt.work && !attempt.served && (attempt.findings.ipv4_only() || reused) &&
        !attempt.lane.stopping())
        co_return Tried::next;  // the other family, or a fresh connection
    if (attempt.work) attempt.lane.put_back(*std::exchange(attempt.work, std::nullopt));
    if (attempt.asked_to_wait) {
        queue::HopFailure& hop_failure = *attempt.asked_to_wait;
        hop_failure.detail.hosts = std::move(attempt.findings.detail.hosts);
        hop_failure.detail.outcomes = std::move(attempt.findings.detail.outcomes);
        attempt.lane.failed(hop_failure);
    }
    co_return Tried::over;
}

// Until there is no more work, the session is used up or the host has had enough. Returns how many
// transactions it has carried.
asio::awaitable<unsigned> Delivery::serve(Attempt& attempt, const HostPlan& host, const DialRequest& request,
                                          Channel& channel, unsigned carried) {
    const Requirement& requirement = host.requirement;
    attempt.lane.connected();
    bool first = true;
    while (!attempt.lane.stopping()) {
        if (!attempt.work) {
            attempt.work = attempt.lane.take();
            if (!attempt.work) break;
            attempt.paced = rates_.take(attempt.limits, clock_.steady());
            if (attempt.paced) {
                wait_for_turn(attempt);
                break;
            }
        }
        const SteadyTime began = std::exchange(first, false) ? attempt.began : clock_.steady();
        if (refused_here(*attempt.work, channel.opened())) {
            refuse_by_offer(attempt, requirement, request, channel.opened(), began);
            continue;
        }
        auto outcomes = co_await channel.transact(*attempt.work);
        TransactionFacts facts;
        facts.other_family = attempt.ipv4_known && options_.policy.hosts.ipv4;
        facts.reused = carried > 0;
        auto judged = judge({*attempt.work, host, request, channel.opened(), facts}, outcomes,
                            seen_of(channel.opened(), request));
        if (judged.other_family) {
            attempt.findings.wants_ptr(endpoint(request));
            break;
        }
        const bool aborted =
            attempt.lane.stopping() && !channel.reusable() &&
            std::all_of(outcomes.begin(), outcomes.end(), [](const smtp::RecipientOutcome& o) {
                return o.failure && !o.failure->reply && o.failure->stage != smtp::Stage::dot;
            });
        if (judged.reconnect || aborted) break;  // the work goes back as it was
        attempt.served = true;
        for (const auto& recipient_result : judged.recipient_results) {
            const auto& result = recipient_result.result;
            if (!recipient_result.again)
                log_attempt(*attempt.work, recipient_result, requirement, request, channel.opened(), began);
            if (result.state != store::RecipientState::sent && !result.diagnostic.empty() && on_refusal_)
                on_refusal_(result.mx_host, result.diagnostic);
            if (recipient_result.blames_hop && !attempt.asked_to_wait)
                attempt.asked_to_wait = asked_to_wait(endpoint(request), recipient_result.result);
        }
        // What was seen on the way here is told with the first result that is recorded.
        const auto told = std::find_if(judged.recipient_results.begin(), judged.recipient_results.end(),
                                       [](const queue::RecipientResult& f) { return !f.again; });
        if (told != judged.recipient_results.end()) {
            std::string dialogue =
                told->result.state == store::RecipientState::sent ? "" : channel.dialogue();
            told->result.detail = std::exchange(attempt.findings.detail, {});
            if (!dialogue.empty()) told->result.detail.dialogue = std::move(dialogue);
            if (told->result.state == store::RecipientState::sent) told->result.detail.dialogue.clear();
        }
        attempt.lane.finished(*attempt.work, std::move(judged.recipient_results));
        attempt.work.reset();
        ++carried;
        if (attempt.asked_to_wait || !channel.reusable() || carried >= attempt.limits.messages_per_connection)
            break;
    }
    co_return carried;
}

// Each recipient that the host cannot have is refused; without them the others may go.
void Delivery::refuse_by_offer(Attempt& attempt, const Requirement& requirement, const DialRequest& request,
                               const smtp::Opened& opened, SteadyTime began) {
    std::vector<queue::RecipientResult> recipient_results;
    for (const auto n : attempt.work->recipients) {
        queue::Work alone = *attempt.work;
        alone.recipients = {n};
        queue::RecipientResult again;  // without those that the host cannot have, the others may go
        again.again = true;
        queue::RecipientResult recipient_result = refused_here(alone, opened).value_or(std::move(again));
        recipient_result.result.recipient = n;
        recipient_result.result.mx_host = request.host ? request.host->text() : std::string();
        recipient_result.result.mx_address = request.address.text();
        recipient_result.result.tls = opened.evidence.version;
        recipient_result.result.policy = requirement.label();
        if (!recipient_result.again)
            log_attempt(*attempt.work, recipient_result, requirement, request, opened, began);
        recipient_results.push_back(std::move(recipient_result));
    }
    const auto told = std::find_if(recipient_results.begin(), recipient_results.end(),
                                   [](const queue::RecipientResult& f) { return !f.again; });
    if (told != recipient_results.end()) told->result.detail = std::exchange(attempt.findings.detail, {});
    attempt.lane.finished(*attempt.work, std::move(recipient_results));
    attempt.work.reset();
    attempt.served = true;
}

// What the host's offer alone decides: a message that it could not take is not begun.
std::optional<queue::RecipientResult> Delivery::refused_here(const queue::Work& work,
                                                             const smtp::Opened& opened) const {
    const Adaptation adapted = adapt(traits_of(work), opened.offered, options_.convert_8bit);
    if (!adapted.refused()) return std::nullopt;
    return refused_by_offer(adapted);
}

void Delivery::leave(const IdleConnection& gone) {
    sites_.leave(gone.site);
    sites_.leave(gone.place);
}

// Closes what no one has asked for in time.
asio::awaitable<void> Delivery::close_idle() {
    while (!stopping_) {
        while (auto gone = connections_.expired(clock_.steady())) {
            co_await gone->channel->quit();
            leave(*gone);
        }
        if (stopping_) break;
        const auto next = connections_.next_expiry();
        const SteadyTime when = next ? *next : SteadyTime::max();
        co_await idle_->wait(when);
    }
    while (auto gone = connections_.expired(SteadyTime::max())) {
        co_await gone->channel->quit();
        leave(*gone);
    }
}

asio::awaitable<void> Delivery::stop() {
    stopping_ = true;
    idle_->wake();
    co_await tasks_.join();
}

}  // namespace sternpost::delivery
