#include "delivery/attempt.h"

#include <fmt/format.h>

#include <algorithm>

#include "delivery/policy_problem.h"
#include "util/text.h"

namespace sternpost::delivery {
namespace {

constexpr auto site_pause =
    std::chrono::seconds(1);  // ours: how soon a busy site is asked again if nobody says that it has room
// ours: the same of a busy address. Longer, since each look at it costs all look-ups; who leaves it wakes the
// next.
constexpr auto address_pause = std::chrono::minutes(1);
constexpr std::size_t max_reasons = 20;        // ours: hosts and addresses that a record tells of
constexpr std::size_t max_reason_text = 1500;  // ours: octets of the reason that recipients' results repeat
constexpr std::size_t max_outcomes =
    20;  // ours: of sessions and hosts, that one record holds with their policies

// One connection of a site, for as long as this lives.
class SiteVisit {
  public:
    SiteVisit(Sites& sites, const std::string& site) : sites_(&sites), site_(site) {}
    SiteVisit(const SiteVisit&) = delete;
    SiteVisit& operator=(const SiteVisit&) = delete;
    ~SiteVisit() {
        if (sites_ != nullptr) sites_->leave(site_);
    }
    /// The connection lives on without this.
    void hand_over() { sites_ = nullptr; }

  private:
    Sites* sites_;
    std::string site_;
};

std::string endpoint(const DialRequest& request) {
    const std::string name = request.host ? request.host->text() : std::string("literal");
    return name + "[" + request.address.text() + "]:" + std::to_string(request.port);
}

// Since the message was accepted; never negative, whatever the clock did.
std::string age_text(const store::StoredMessage& message, WallTime now) {
    return fmt::format(
        "{:.2f}s",
        std::chrono::duration<double>(std::max(now - message.arrived, WallTime::duration::zero())).count());
}

std::string took_text(SteadyTime began, SteadyTime now) {
    return fmt::format("{:.2f}s", std::chrono::duration<double>(now - began).count());
}

// What a session shows, and why it is in clear where TLS has failed before it.
Observation seen_of(const smtp::Opened& opened, const DialRequest& request) {
    Observation out = delivery::seen_of(opened);
    if (request.tls_failure && !opened.evidence.encrypted) out.starttls_refusal = request.tls_failure;
    return out;
}

// 521 at the greeting or EHLO, and 556: the host takes no mail, from nobody and for nobody (RFC 7504).
bool never_takes_mail(const smtp::Reply& reply) {
    return reply.code == 521 || reply.code == 556;
}

std::string result_text(const Verdict& verdict) {
    return verdict.result_type ? std::string(tlsrpt::name_of(*verdict.result_type)) : "none";
}

std::string policy_text_of(const Requirement& requirement, store::PolicyType type) {
    switch (type) {
        case store::PolicyType::sts:
            return requirement.sts ? requirement.sts->text : std::string();
        case store::PolicyType::tlsa:
            return tls::text_of(requirement.dane.records);
        case store::PolicyType::no_policy_found:
            break;
    }
    return "";
}

}  // namespace

struct Delivery::Attempt {
    Attempt(queue::Lane& l, SteadyTime now)
        : lane(l), began(now), work(l.take()), plan{store::HopName::parse(l.hop()), {}, {}, {}, {}} {}

    queue::Lane& lane;
    SteadyTime began;
    std::optional<queue::Work> work;  // taken, not yet carried
    HopPlan plan;
    Limits limits;
    std::unique_ptr<SiteVisit> visit;
    bool beyond = false;  // the site has all that it may; an idle connection is to be taken over, or to go
    std::optional<SteadyTime> paced;  // no further message before this

    store::AttemptDetail detail;   // reasons, a failed dialogue, outcomes that no record has yet
    std::string label = "none";    // of the last host's requirement, for logs
    std::string status = "4.4.1";  // of the last reason
    std::string reason_code;
    std::optional<Requirement> held_by;  // that of a host which what is demanded ruled out
    std::string held_code;               // the reason code of that
    std::size_t addresses_tried = 0;
    std::size_t hosts = 0;        // looked at
    std::size_t lacking = 0;      // of these: ruled out by what is demanded, and not for want of an answer
    std::size_t without_tls = 0;  // of these: for want of any TLS
    bool lacks = false;           // the host at hand lacks something
    bool lacks_tls = false;       // at each of its addresses that: any TLS
    std::size_t no_network = 0;   // addresses that could not be reached for want of a network here
    std::size_t never = 0;        // of these: hosts that say that they never take mail (RFC 7504)
    std::size_t refused_us = 0;   // addresses whose greeting, or EHLO reply, turned us away for good
    bool skipped = false;         // an address was left alone, since it took no connection a moment ago
    bool may_pass = false;        // a look-up failed, or an address was left alone: another time it may do
    bool ourselves = false;       // the host at hand is this one
    std::size_t loops = 0;        // addresses whose host called itself by our name
    bool late = false;            // the time of the attempt is over
    std::size_t reasons = 0;      // also those that no record has
    bool served = false;          // a session carried mail
    bool hop_blamed = false;
    bool ipv4_only = false;   // an IPv6 host asked for a PTR record (D-21)
    bool ipv4_known = false;  // the host at hand has an IPv4 address
    std::string blame_status;
    std::string blame_text;

    void reason(std::string text) {
        ++reasons;
        if (detail.hosts.size() < max_reasons) detail.hosts.push_back(std::move(text));
    }
    bool held_by_sts() const {
        // A policy that was fetched for this attempt is as new as can be.
        return held_by && plan.sts && !plan.sts->fresh && !held_by->override_ && held_by->sts &&
               held_by->sts->policy.mode == sts::Mode::enforce;
    }
    /// With another policy. What was seen stays told.
    void begin_again() {
        reason("the MTA-STS policy of " + plan.domain +
               " was fetched anew and is another one now: once more");
        status = "4.4.1";
        reason_code.clear();
        held_by.reset();
        addresses_tried = hosts = lacking = without_tls = no_network = refused_us = never = loops = 0;
        may_pass = ourselves = late = false;
    }
};

Delivery::Delivery(asio::io_context& context, Options options, dns::Resolver& resolver, sts::Lookups& lookups,
                   Overrides& overrides, Dialer& dialer, const Clock& clock, Timer& timer, Random& random,
                   Log& log, OnSession on_session, OnRoom on_room)
    : context_(context),
      options_(std::move(options)),
      sites_(options_.dead_host_time, std::move(on_room)),
      limits_(options_.destinations, options_.connections_per_site, options_.messages_per_connection),
      lookups_(lookups),
      overrides_(overrides),
      planner_(options_.policy, resolver, lookups, overrides, clock, random),
      dialer_(dialer),
      clock_(clock),
      log_(log),
      on_session_(std::move(on_session)),
      idle_(timer.alarm()),
      tasks_(context, log) {
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
    const auto end = [&](queue::HopFate fate) {
        fate.detail = std::move(attempt.detail);
        if (!fate.permanent) log_deferred(attempt, fate);
        if (attempt.work) attempt.lane.put_back(*std::exchange(attempt.work, std::nullopt));
        attempt.lane.failed(fate);
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
        attempt.plan.hop.wish != store::TlsWish::tls_optional) {
        queue::HopFate unknown{
            false, "4.4.3",
            "whether " + attempt.plan.domain + " demands TLS by MTA-STS cannot be found out: " +
                attempt.plan.sts->problem_text + "; the resolver of this relay, or the DNS servers of " +
                attempt.plan.domain + ", must answer; tried again later"};
        unknown.reason_code = "sts-unknown";
        end(std::move(unknown));
        co_return;
    }
    auto tried = co_await try_hosts(attempt);
    if (tried == Tried::next && !attempt.lane.stopping() && attempt.held_by_sts()) {
        // The domain may have mended its policy since it was cached (RFC 8461 §5.1; STS-69).
        auto domain = dns::Domain::parse(attempt.plan.domain);
        auto policy = co_await lookups_.refetch_after_failure(dns::PolicyDomain(std::move(*domain)));
        if (policy.changed) {
            attempt.plan.sts = std::move(policy);
            attempt.begin_again();
            tried = co_await try_hosts(attempt);
        }
    }
    if (tried == Tried::over) co_return;
    if (attempt.lane.stopping()) co_return;  // the work goes back as it was
    end(fate_of(attempt));
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
        if (attempt.ourselves || attempt.lane.stopping() ||
            attempt.addresses_tried >= options_.addresses_per_attempt || is_late(attempt))
            break;
        attempt.lacks = false;
        attempt.lacks_tls = true;
        const auto tried = co_await try_host(attempt, candidate);
        if (tried == Tried::over) co_return Tried::over;
        attempt.lacking += attempt.lacks ? 1U : 0U;
        attempt.without_tls += attempt.lacks && attempt.lacks_tls ? 1U : 0U;
    }
    co_return Tried::next;
}

// Look-ups count as well: a domain whose DNS servers are slow must not hold a place for long.
bool Delivery::is_late(Attempt& attempt) const {
    if (attempt.late || clock_.steady() - attempt.began <= options_.attempt_budget) return attempt.late;
    attempt.late = attempt.may_pass = true;
    attempt.reason("the " + std::to_string(options_.attempt_budget.count()) +
                   " seconds of one attempt were over before every host of " + attempt.plan.domain +
                   " was looked up and tried");
    return true;
}

asio::awaitable<Delivery::Tried> Delivery::try_host(Attempt& attempt, const Candidate& candidate) {
    ++attempt.hosts;
    HostPlan host = co_await planner_.look_up(attempt.plan, candidate);
    attempt.label = host.requirement.label();
    const Observation by_name = Observation::of_name();
    note(attempt, host.requirement, by_name, nullptr, {}, {});
    if (!host.verdict.go) {
        attempt.reason(candidate.text() + ": " + host.verdict.sentence);
        attempt.reason_code = host.verdict.reason_code;
        const bool unanswered = host.requirement.dane.state == DaneState::failed;
        attempt.status = unanswered ? "4.4.3" : "4.7.5";
        attempt.held_by = std::move(host.requirement);
        attempt.held_code = host.verdict.reason_code;
        attempt.may_pass = attempt.may_pass || unanswered;
        attempt.lacks = !unanswered;
        attempt.lacks_tls = false;
        co_return Tried::next;
    }
    attempt.ourselves = host.addresses.ourselves;  // RFC 5321 §5.1: nor the hosts that are worse than we are
    if (host.addresses.usable.empty()) {
        attempt.reason(candidate.text() + ": " + host.addresses.trouble);
        attempt.status = host.addresses.temporary ? "4.4.3" : "4.4.4";
        attempt.reason_code = host.addresses.temporary ? "addresses-unanswered" : "no-address";
        attempt.may_pass = attempt.may_pass || host.addresses.temporary;
        co_return Tried::next;
    }
    attempt.ipv4_known = std::any_of(host.addresses.usable.begin(), host.addresses.usable.end(),
                                     [](const dns::Address& a) { return !a.is_v6(); });
    const auto idle = co_await try_idle(attempt, host);
    if (idle == Tried::over) co_return Tried::over;
    for (const dns::Address& address : host.addresses.usable) {
        if (attempt.addresses_tried >= options_.addresses_per_attempt || attempt.lane.stopping()) break;
        if (attempt.ipv4_only && address.is_v6()) continue;
        if (attempt.ourselves || is_late(attempt)) break;
        // The last attempt of a message is a real one.
        const std::string* dead = attempt.work->last ? nullptr : sites_.dead(address, clock_.steady());
        if (dead != nullptr) {
            attempt.reason(*dead + " (a moment ago; not tried again yet)");
            attempt.may_pass = attempt.skipped = true;
            continue;
        }
        ++attempt.addresses_tried;
        const auto tried = co_await try_address(attempt, host, address);
        if (tried == Tried::over) co_return Tried::over;
    }
    co_return Tried::next;
}

// A connection that another message, of whatever domain, has left open. What it proved is judged anew.
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
    DialRequest request = std::move(idle->request);
    auto channel = std::move(idle->channel);
    const unsigned carried = std::max(idle->carried, 1U);  // not fresh: its host may have left it
    co_return co_await carry(attempt, host, std::move(request), std::move(channel), carried);
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
        sites_.taken_over(attempt.limits.site);
    }
    DialRequest request = request_for(host, address);
    // Any number of names can lead to one address, and a slow host there would have a connection for each.
    const std::string place = "address " + address.text();
    // A [[destination]] section that allows more has the last word.
    const unsigned most = attempt.limits.connections > options_.connections_per_site
                              ? attempt.limits.connections
                              : options_.connections_per_address;
    if (!sites_.enter(place, most)) {
        if (!attempt.detail.outcomes.empty()) {  // sessions with other hosts, which are to be told of
            attempt.reason(endpoint(request) +
                           ": no connection is free: the address has as many as it may have");
            attempt.may_pass = true;
            co_return Tried::next;
        }
        attempt.lane.put_back(*std::exchange(attempt.work, std::nullopt));
        attempt.lane.pause(address_pause);
        sites_.wait(place, attempt.lane.hop());
        co_return Tried::over;
    }
    const SiteVisit at_address(sites_, place);
    for (;;) {
        auto channel = co_await dialer_.open(request);
        if (attempt.lane.stopping()) {
            if (channel) co_await (*channel)->quit();
            co_return Tried::next;
        }
        if (!channel) {
            const smtp::Failure& failure = channel.error();
            const Observation seen = Observation::of_failure(failure);
            const Verdict verdict = decide(requirement, seen);
            note(attempt, requirement, seen, &request, failure.helo, failure.local_address);
            log_session(attempt, requirement, request, "none", "failed", verdict, sentence_of(failure));
            if (failure.code == smtp::Errc::connect_refused || failure.code == smtp::Errc::connect_timed_out)
                sites_.took_no_connection(request.address, clock_.steady(),
                                          endpoint(request) + ": " + sentence_of(failure));
            if (failure.code == smtp::Errc::network_unreachable) ++attempt.no_network;
            if (failure.code == smtp::Errc::loop) {
                // RFC 5321 §5.1. In clear text the name may be forged: of a host that must prove itself it is
                // no last word.
                attempt.ourselves = true;
                if (request.tls != smtp::TlsUse::required) ++attempt.loops;
            }
            if (failure.code == smtp::Errc::reply_negative && failure.reply->permanent()) {
                ++attempt.refused_us;
                if (never_takes_mail(*failure.reply)) ++attempt.never;
            }
            attempt.detail.mx_host = failure.reply && request.host ? request.host->text() : "";
            attempt.detail.diagnostic = failure.reply ? failure.reply->text() : "";
            attempt.detail.dialogue = failure.dialogue;
            if (request.tls == smtp::TlsUse::if_offered &&
                after_failed_open(failure, requirement.clear_text_allowed()) == NextStep::clear_text) {
                request.tls = smtp::TlsUse::never;
                request.tls_failure = failure;
                continue;
            }
            attempt.reason(endpoint(request) + ": " +
                           (verdict.held ? verdict.sentence : sentence_of(failure)));
            attempt.reason_code = verdict.reason_code;
            if (verdict.held) {
                attempt.lacks = true;
                attempt.lacks_tls = attempt.lacks_tls && !seen.evidence.encrypted;
                attempt.held_by = requirement;
                attempt.held_code = verdict.reason_code;
                attempt.status = "4.7.5";
            } else {
                attempt.status = failure.reply ? status_of(*failure.reply) : "4.4.1";
                if (attempt.status.starts_with('5'))
                    attempt.status[0] = '4';  // D-21: greetings refuse us, not the mail
                attempt.may_pass = true;
            }
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
            log_session(attempt, requirement, request, opened.evidence.version, "refused", verdict,
                        verdict.sentence);
            attempt.lacks = true;
            attempt.lacks_tls = attempt.lacks_tls && !opened.evidence.encrypted;
            attempt.held_by = requirement;
            attempt.held_code = verdict.reason_code;
            attempt.reason(endpoint(request) + ": " + verdict.sentence);
            attempt.reason_code = verdict.reason_code;
            attempt.status = "4.7.5";
            attempt.detail.dialogue = opened.dialogue;
            auto unwanted = std::move(*channel);
            co_await unwanted->quit();  // RFC 3207 §4.1: QUIT and nothing else
            co_return Tried::next;
        }
        if (verdict.relaxed) log_relaxed(attempt, requirement, seen);
        auto open = std::move(*channel);
        co_return co_await carry(attempt, host, std::move(request), std::move(open), 0);
    }
}

// Messages over an open session; then it is put away for others, or closed.
asio::awaitable<Delivery::Tried> Delivery::carry(Attempt& attempt, const HostPlan& host, DialRequest request,
                                                 std::unique_ptr<Channel> channel, unsigned carried) {
    const bool reused = carried > 0;
    carried = co_await serve(attempt, host, request, *channel, carried);
    const bool keep = options_.idle_time.count() > 0 && channel->reusable() && !attempt.lane.stopping() &&
                      !stopping_ && !attempt.hop_blamed && !attempt.work &&
                      carried < attempt.limits.messages_per_connection;
    if (keep) {
        IdleConnection idle;
        idle.request = request;
        idle.site = attempt.limits.site;
        idle.channel = std::move(channel);
        idle.carried = carried;
        idle.until = clock_.steady() + options_.idle_time;
        connections_.put(std::move(idle));
        attempt.visit->hand_over();
        sites_.room(attempt.limits.site);
        idle_->ring();
    } else {
        co_await channel->quit();
    }
    if (attempt.work && !attempt.served && (attempt.ipv4_only || reused) && !attempt.lane.stopping())
        co_return Tried::next;  // the other family, or a fresh connection
    if (attempt.work) attempt.lane.put_back(*std::exchange(attempt.work, std::nullopt));
    if (attempt.hop_blamed) {
        queue::HopFate fate{false, attempt.blame_status, endpoint(request) + ": " + attempt.blame_text};
        fate.reason_code = "host-asks-to-wait";
        fate.detail = std::move(attempt.detail);
        attempt.lane.failed(fate);
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
            std::vector<queue::Fate> fates;
            for (const auto n : attempt.work->recipients) {
                queue::Work alone = *attempt.work;
                alone.recipients = {n};
                queue::Fate again;  // without those that the host cannot have, the others may go
                again.again = true;
                queue::Fate fate = refused_here(alone, channel.opened()).value_or(std::move(again));
                fate.result.recipient = n;
                if (!fate.again)
                    log_attempt(*attempt.work, fate, requirement, request, channel.opened(), began);
                fates.push_back(std::move(fate));
            }
            const auto told =
                std::find_if(fates.begin(), fates.end(), [](const queue::Fate& f) { return !f.again; });
            if (told != fates.end()) told->result.detail = std::exchange(attempt.detail, {});
            attempt.lane.finished(*attempt.work, std::move(fates));
            attempt.work.reset();
            attempt.served = true;
            continue;
        }
        auto outcomes = co_await channel.transact(*attempt.work);
        bool other_family = false;
        bool reconnect = false;
        auto fates = judge(attempt, *attempt.work, host, request, channel, outcomes, carried > 0,
                           other_family, reconnect);
        if (other_family) {
            attempt.ipv4_only = true;
            attempt.reason(endpoint(request) + ": it wants a PTR record for our IPv6 address; trying IPv4");
            break;
        }
        const bool aborted =
            attempt.lane.stopping() && !channel.reusable() &&
            std::all_of(outcomes.begin(), outcomes.end(), [](const smtp::RecipientOutcome& o) {
                return o.failure && !o.failure->reply && o.failure->stage != smtp::Stage::dot;
            });
        if (reconnect || aborted) break;  // the work goes back as it was
        attempt.served = true;
        for (const auto& fate : fates) {
            if (!fate.again) log_attempt(*attempt.work, fate, requirement, request, channel.opened(), began);
            if (fate.blames_hop && !attempt.hop_blamed) {
                attempt.hop_blamed = true;
                attempt.blame_status = fate.result.status;
                attempt.blame_text = fate.result.text;
            }
        }
        // What was seen on the way here is told with the first result that is recorded.
        const auto told =
            std::find_if(fates.begin(), fates.end(), [](const queue::Fate& f) { return !f.again; });
        if (told != fates.end()) {
            std::string dialogue =
                told->result.state == store::RecipientState::sent ? "" : channel.dialogue();
            told->result.detail = std::exchange(attempt.detail, {});
            if (!dialogue.empty()) told->result.detail.dialogue = std::move(dialogue);
            if (told->result.state == store::RecipientState::sent) told->result.detail.dialogue.clear();
        }
        attempt.lane.finished(*attempt.work, std::move(fates));
        attempt.work.reset();
        ++carried;
        if (attempt.hop_blamed || !channel.reusable() || carried >= attempt.limits.messages_per_connection)
            break;
    }
    co_return carried;
}

// What the host's offer alone decides: a message that it could not take is not begun.
std::optional<queue::Fate> Delivery::refused_here(const queue::Work& work, const smtp::Opened& opened) const {
    const Adaptation adapted = adapt(traits_of(work), opened.offered, options_.convert_8bit);
    if (!adapted.refused()) return std::nullopt;
    queue::Fate fate;
    fate.result.state = store::RecipientState::bounced;
    fate.result.status = adapted.status;
    fate.result.text = adapted.text;
    return fate;
}

std::vector<queue::Fate> Delivery::judge(const Attempt& attempt, const queue::Work& work,
                                         const HostPlan& host, const DialRequest& request,
                                         const Channel& channel,
                                         const std::vector<smtp::RecipientOutcome>& outcomes, bool reused,
                                         bool& other_family, bool& reconnect) const {
    const smtp::Opened& opened = channel.opened();
    const Verdict verdict = decide(host.requirement, seen_of(opened, request));
    TransactionFacts facts;
    facts.over_ipv6 = request.address.is_v6();
    facts.other_family = attempt.ipv4_known && options_.policy.hosts.ipv4;
    facts.reused = reused;
    for (const auto& outcome : outcomes)
        facts.any_accepted = facts.any_accepted || !outcome.failure ||
                             outcome.failure->stage == smtp::Stage::dot ||
                             outcome.failure->stage == smtp::Stage::body;
    std::vector<queue::Fate> fates;
    for (std::size_t i = 0; i < outcomes.size(); ++i) {
        const auto n = work.recipients[i];
        facts.lost_replies = work.message->recipients[n].text.starts_with("possibly-delivered")
                                 ? work.message->recipients[n].tries
                                 : 0;
        Meaning meaning = meaning_of(outcomes[i], facts);
        // The other family only if no recipient was served: else this transaction has its results.
        other_family = other_family || (meaning.other_family && !facts.any_accepted);
        if (meaning.other_family && facts.any_accepted)
            meaning.fate.result.state = store::RecipientState::bounced;
        reconnect = reconnect || meaning.reconnect;
        store::DeliveryResult& result = meaning.fate.result;
        result.recipient = n;
        result.mx_host = request.host ? request.host->text() : std::string();
        result.mx_address = request.address.text();
        result.relayed = result.state == store::RecipientState::sent && !opened.offered.dsn;
        result.tls = opened.evidence.version;
        result.policy = host.requirement.label();
        if (verdict.result_type) result.result_type = tlsrpt::name_of(*verdict.result_type);
        // What was lacking of TLS did not stop the mail: of a refusal it says nothing.
        if (result.state == store::RecipientState::sent) result.reason_code = verdict.reason_code;
        fates.push_back(std::move(meaning.fate));
    }
    return fates;
}

// Keeps what a host showed of its TLS, for reports, `why` and what-if (RFC 8460 §4; D-14).
void Delivery::note(Attempt& attempt, const Requirement& requirement, const Observation& seen,
                    const DialRequest* request, const std::string& helo, const std::string& local_address) {
    if (attempt.work && attempt.work->message->message_class == store::MessageClass::report)
        return;  // reports are not counted (RFC 8460 §3; RPT-13)
    bool first = true;
    for (const Finding& finding : findings(requirement, seen)) {
        if (attempt.detail.outcomes.size() >= max_outcomes) return;
        store::TlsOutcome outcome;
        outcome.at = clock_.wall();
        outcome.domain = requirement.domain;
        outcome.policy_type = finding.policy;
        const bool tlsa =
            finding.policy == store::PolicyType::tlsa && !requirement.dane.policy_domain.empty();
        outcome.policy_domain = tlsa ? requirement.dane.policy_domain : requirement.domain;
        outcome.policy_text = policy_text_of(requirement, finding.policy);
        if (finding.policy == store::PolicyType::sts && requirement.sts)
            outcome.mode = sts::name_of(requirement.sts->policy.mode);
        outcome.count = finding.count;
        if (finding.result_type) outcome.result_type = tlsrpt::name_of(*finding.result_type);
        outcome.reason_code = finding.reason_code;
        if (finding.reason_code == "handshake-failed" && seen.failure)
            outcome.reason_code += ": " + printable(seen.failure->text, 150);  // the TLS library's reason
        if (requirement.host) outcome.mx_host = requirement.host->text();
        if (request != nullptr) {
            outcome.helo = helo;
            outcome.local_address = local_address;
            outcome.remote_address = request->address.text();
            outcome.tls = seen.evidence.version;
        }
        outcome.if_enforced = if_enforced(requirement, seen);
        // Of a session that two policies apply to, DANE's finding comes first.
        if (std::exchange(first, false) && on_session_ && request != nullptr)
            on_session_(outcome, requirement.dane.state == DaneState::absent);
        attempt.detail.outcomes.push_back(std::move(outcome));
    }
}

// A policy that could not be had, for the domain's report: told once, whatever mail waits for it (D-40;
// MAP-11 … MAP-13).
void Delivery::note_policy_problem(Attempt& attempt) {
    const auto& sts = attempt.plan.sts;
    if (!sts || !sts->problem || !sts->problem_fresh) return;
    const auto type = result_type_of(*sts->problem);
    if (!type) return;
    store::TlsOutcome outcome;
    outcome.at = clock_.wall();
    outcome.domain = outcome.policy_domain = attempt.plan.domain;
    outcome.policy_type = store::PolicyType::sts;
    outcome.count = store::OutcomeCount::detail;
    if (sts->policy) {
        outcome.policy_text = sts->text;
        outcome.mode = sts::name_of(sts->policy->mode);
    }
    outcome.result_type = tlsrpt::name_of(*type);
    outcome.reason_code = printable(sts->problem_text, 200) + (sts->policy ? ";cached-policy-used" : "");
    attempt.detail.outcomes.push_back(std::move(outcome));
}

// What it means that no host would do.
queue::HopFate Delivery::fate_of(const Attempt& attempt) const {
    std::string text;
    std::size_t told = 0;
    for (const auto& reason : attempt.detail.hosts) {
        if (told > 0 && text.size() + reason.size() > max_reason_text) break;
        text += (text.empty() ? "" : "; ") + reason;
        ++told;
    }
    if (attempt.reasons > told) text += "; and " + std::to_string(attempt.reasons - told) + " more";
    if (attempt.plan.hosts.left_out > 0)
        text += "; " + std::to_string(attempt.plan.hosts.left_out) +
                " further MX hosts are beyond the number that is used";
    queue::HopFate fate{false, attempt.status, text};
    fate.reason_code = attempt.reason_code;
    const std::string& domain = attempt.plan.domain;
    if (attempt.held_by) {
        fate.reason_code = attempt.held_code;  // another host that was away is not what to mend first
        const std::string move = whose_move(*attempt.held_by);
        if (!move.empty()) fate.text += "; " + move;
        if (attempt.held_by->requiretls) {
            // RFC 8689 §4.2.1. A host that was not reached might have had what is demanded (D-19).
            const bool all = attempt.lacking >= attempt.hosts && !attempt.may_pass &&
                             attempt.hosts == attempt.plan.hosts.candidates.size();
            const bool no_tls = attempt.without_tls == attempt.lacking;
            fate.permanent = all;
            fate.status = std::string(all ? "5" : "4") + (no_tls ? ".7.10" : ".7.30");
            return fate;
        }
        fate.status = attempt.lacking > 0 ? "4.7.5" : attempt.status;
        return fate;
    }
    const bool loop_at_best = attempt.loops > 0 && attempt.hosts == 1;
    if (attempt.ourselves && (attempt.addresses_tried == attempt.loops || loop_at_best)) {
        fate.permanent = true;
        fate.status = "5.4.6";
        if (attempt.loops == 0)
            fate.text =
                (attempt.plan.hosts.candidates.front().host ? "the best MX host of " + domain : domain) +
                " is this host itself: mail would loop";
        fate.reason_code = "loop";
        return attempt.plan.doubts_dns() ? doubted(attempt.plan, std::move(fate)) : fate;
    }
    if (attempt.addresses_tried == 0 && !attempt.may_pass && attempt.plan.hosts.left_out == 0) {
        // Every look-up answered, and no host has an address (RFC 5321 §5.1; SMTP-28, SMTP-31).
        fate.permanent = true;
        fate.status = "5.4.4";
        return attempt.plan.doubts_dns() ? doubted(attempt.plan, std::move(fate)) : fate;
    }
    if (attempt.no_network > 0 && attempt.no_network == attempt.addresses_tried) {
        fate.status = "4.4.1";
        fate.reason_code = "network-unreachable";
        fate.text += "; nothing is known against " + domain +
                     ": this machine has no way to any of its hosts; its administrator must mend the network";
    } else if (attempt.never > 0 && attempt.never == attempt.addresses_tried && !attempt.skipped &&
               attempt.hosts == attempt.plan.hosts.candidates.size()) {
        fate.permanent = true;
        fate.status = "5.3.2";
        fate.reason_code = "takes-no-mail";
        fate.text += "; every MX host of " + domain +
                     " says that it never takes mail (RFC 7504): the administrator of " + domain +
                     " must name hosts that do";
        return attempt.plan.doubts_dns() ? doubted(attempt.plan, std::move(fate)) : fate;
    } else if (attempt.refused_us > 0 && attempt.refused_us == attempt.addresses_tried) {
        fate.reason_code = "greeting-refused";
        fate.text += "; every host of " + domain +
                     " turns this relay away before any mail is offered, as block lists make them do; the "
                     "administrator of this relay must find out why (the replies above say where to ask)";
    }
    return fate;
}

void Delivery::log_session(const Attempt& attempt, const Requirement& requirement, const DialRequest& request,
                           std::string_view tls, std::string_view status, const Verdict& verdict,
                           const std::string& reason) {
    Event(log_, Level::info, "session")
        .kv("hop", attempt.lane.hop())
        .raw("mx", endpoint(request))
        .kv("tls", tls.empty() ? "none" : tls)
        .kv("policy", requirement.label())
        .kv("status", status)
        .kv("result", result_text(verdict))
        .kv("code", verdict.reason_code)
        .reason(verdict.held && verdict.sentence != reason ? verdict.sentence + ": " + reason : reason);
}

void Delivery::log_relaxed(const Attempt& attempt, const Requirement& requirement, const Observation& seen) {
    Requirement strict = requirement;
    strict.override_.reset();
    strict.tls_optional = false;
    const Verdict without = decide(strict, seen);
    Event(log_, Level::warning, "relaxed")
        .kv("hop", attempt.lane.hop())
        .kv("mx", requirement.host ? requirement.host->text() : "literal")
        .kv("policy", strict.label())
        .kv("code", without.reason_code)
        .reason(requirement.override_
                    ? "mail goes though " + without.sentence + ", by " + override_text(*requirement.override_)
                    : "mail goes though " + without.sentence +
                          ", since its sender set \"TLS-Required: No\" (RFC 8689)");
}

void Delivery::log_attempt(const queue::Work& work, const queue::Fate& fate, const Requirement& requirement,
                           const DialRequest& request, const smtp::Opened& opened, SteadyTime began) {
    const auto& result = fate.result;
    const std::string_view status = result.state == store::RecipientState::sent      ? "sent"
                                    : result.state == store::RecipientState::bounced ? "bounced"
                                                                                     : "deferred";
    Event event(log_, Level::info, "attempt");
    event.kv("qid", work.message->id.text())
        .address("to", work.message->recipients[result.recipient].address.recipient.path.text())
        .raw("mx", endpoint(request))
        .kv("tls", opened.evidence.encrypted ? opened.evidence.version : "none")
        .kv("policy", requirement.label());
    if (!result.result_type.empty()) event.kv("result", result.result_type);
    event.raw("delay", age_text(*work.message, clock_.wall()))
        .raw("took", took_text(began, clock_.steady()))
        .kv("status", status)
        .kv("dsn", result.status)
        .reason(result.text);
}

void Delivery::log_deferred(const Attempt& attempt, const queue::HopFate& fate) {
    if (!attempt.work) return;
    for (const auto n : attempt.work->recipients)
        Event(log_, Level::info, "attempt")
            .kv("qid", attempt.work->message->id.text())
            .address("to", attempt.work->message->recipients[n].address.recipient.path.text())
            .kv("mx", "none")
            .kv("tls", "none")
            .kv("policy", attempt.label)
            .raw("delay", age_text(*attempt.work->message, clock_.wall()))
            .raw("took", took_text(attempt.began, clock_.steady()))
            .kv("status", "deferred")
            .kv("dsn", fate.status)
            .reason(fate.text);
}

// Closes what nobody has asked for in time.
asio::awaitable<void> Delivery::close_idle() {
    while (!stopping_) {
        while (auto gone = connections_.expired(clock_.steady())) {
            co_await gone->channel->quit();
            sites_.leave(gone->site);
        }
        if (stopping_) break;
        const auto next = connections_.next_expiry();
        const SteadyTime when = next ? *next : SteadyTime::max();
        co_await idle_->wait(when);
    }
    while (auto gone = connections_.expired(SteadyTime::max())) {
        co_await gone->channel->quit();
        sites_.leave(gone->site);
    }
}

asio::awaitable<void> Delivery::stop() {
    stopping_ = true;
    idle_->ring();
    co_await tasks_.join();
}

}  // namespace sternpost::delivery
