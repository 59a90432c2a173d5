#include "delivery/attempt.h"

#include <fmt/format.h>

namespace sternpost::delivery {
namespace {

constexpr auto site_pause =
    std::chrono::seconds(1);  // ours: how soon a busy site is asked for a connection again

// One connection of a site, for as long as this lives.
class SiteVisit {
  public:
    SiteVisit(Sites& sites, const std::string& site) : sites_(sites), site_(site) {}
    SiteVisit(const SiteVisit&) = delete;
    SiteVisit& operator=(const SiteVisit&) = delete;
    ~SiteVisit() { sites_.leave(site_); }

  private:
    Sites& sites_;
    const std::string& site_;
};

std::string endpoint(const DialRequest& request) {
    const std::string name = request.host ? request.host->text() : std::string("literal");
    return name + "[" + request.address.text() + "]:" + std::to_string(request.port);
}

}  // namespace

struct Delivery::Attempt {
    Attempt(queue::Lane& l, SteadyTime now) : lane(l), began(now), work(l.take()) {}

    queue::Lane& lane;
    SteadyTime began;
    std::optional<queue::Work> work;   // taken, not yet carried
    std::vector<std::string> reasons;  // one a host that did not do
    std::string status = "4.4.1";      // of the last reason
    std::size_t addresses_tried = 0;
    bool policy_refused = false;  // a host was refused by what is demanded of it
    bool may_pass = false;        // a look-up failed, or an address was left alone: another time it may do
    bool served = false;          // a session carried mail
    bool hop_blamed = false;
    bool ipv4_only = false;   // an IPv6 host asked for a PTR record (D-21)
    bool ipv4_known = false;  // the host at hand has an IPv4 address
    std::string blame_status;
    std::string blame_text;
};

Delivery::Delivery(Options options, dns::Resolver& resolver, sts::Lookups& lookups, Dialer& dialer,
                   const Clock& clock, Random& random, Log& log)
    : options_(std::move(options)),
      sites_(options_.connections_per_site, options_.dead_host_time),
      resolver_(resolver),
      lookups_(lookups),
      dialer_(dialer),
      clock_(clock),
      random_(random),
      log_(log) {}

asio::awaitable<void> Delivery::deliver(queue::Lane& lane) {
    Attempt attempt(lane, clock_.steady());
    if (!attempt.work) co_return;  // another lane was quicker
    Requirement requirement;
    requirement.opportunistic_tls = options_.opportunistic_tls;
    const auto give_back = [&] {
        if (attempt.work) lane.put_back(*std::exchange(attempt.work, std::nullopt));
    };
    // All that waits for the hop waits on; the message whose attempt this was says so under its own queue id.
    const auto end = [&](const queue::HopFate& fate) {
        if (attempt.work && !fate.permanent) log_deferred(*attempt.work, requirement, fate, attempt.began);
        give_back();
        lane.failed(fate);
    };
    auto hosts = co_await find_hosts(options_.hosts, resolver_, random_, lane.hop());
    if (!hosts) {
        end(hosts.error());
        co_return;
    }
    std::vector<std::string> names;
    for (const Candidate& candidate : *hosts) names.push_back(candidate.text());
    const std::string site = Sites::name_of(std::move(names));
    if (!sites_.enter(site)) {
        give_back();
        lane.pause(site_pause);
        co_return;
    }
    const SiteVisit visit(sites_, site);
    if (auto domain = dns::Domain::parse(lane.hop()); domain && hosts->front().host) {
        const dns::PolicyDomain policy_domain(std::move(*domain));
        auto lookup = co_await lookups_.find(policy_domain);
        if (lookup.state == sts::State::unknown) {
            queue::HopFate unknown{false, "4.4.3",
                                   "whether " + lane.hop() + " demands TLS by MTA-STS cannot be found out: " +
                                       lookup.problem_text + "; tried again later"};
            end(unknown);
            co_return;
        }
        if (lookup.policy) {
            StsDemand demand{policy_domain, std::move(*lookup.policy), std::move(lookup.id)};
            requirement.sts = std::move(demand);
        }
    }
    bool ourselves = false;
    for (const Candidate& candidate : *hosts) {
        if (ourselves || lane.stopping() || attempt.addresses_tried >= options_.addresses_per_attempt) break;
        requirement.host = candidate.host;
        const Verdict listed = decide(requirement, Observation::of_name());
        if (!listed.go) {
            attempt.reasons.push_back(candidate.text() + ": " + listed.sentence);
            attempt.status = "4.7.5";
            attempt.policy_refused = true;
            continue;
        }
        Addresses addresses;
        if (candidate.host)
            addresses = co_await find_addresses(options_.hosts, resolver_, *candidate.host);
        else
            addresses.usable = candidate.addresses;
        ourselves = addresses.ourselves;  // RFC 5321 §5.1: nor the hosts that are worse than we are
        if (addresses.usable.empty()) {
            attempt.reasons.push_back(candidate.text() + ": " + addresses.trouble);
            attempt.status = addresses.temporary ? "4.4.3" : "4.4.4";
            attempt.may_pass = attempt.may_pass || addresses.temporary;
            continue;
        }
        attempt.ipv4_known = std::any_of(addresses.usable.begin(), addresses.usable.end(),
                                         [](const dns::Address& a) { return !a.is_v6(); });
        for (const dns::Address& address : addresses.usable) {
            if (attempt.addresses_tried >= options_.addresses_per_attempt || lane.stopping()) break;
            if (attempt.ipv4_only && address.is_v6()) continue;
            if (clock_.steady() - attempt.began > options_.attempt_budget) break;
            if (sites_.is_dead(address, clock_.steady())) {
                attempt.reasons.push_back(
                    candidate.text() + "[" + address.text() +
                    "]: took no connection a short while ago and is left alone for now");
                attempt.may_pass = true;
                continue;
            }
            ++attempt.addresses_tried;
            const bool done = co_await try_address(attempt, requirement, address);
            if (done) co_return;
        }
    }
    if (lane.stopping()) {
        give_back();
        co_return;
    }
    std::string text;
    for (const auto& reason : attempt.reasons) text += (text.empty() ? "" : "; ") + reason;
    queue::HopFate fate{false, attempt.status, text};
    if (attempt.policy_refused && requirement.enforced()) {
        fate.status = "4.7.5";
        fate.text += "; " + whose_move(requirement);
    } else if (ourselves && attempt.addresses_tried == 0) {
        fate = {true, "5.4.6", "the best MX host of " + lane.hop() + " is this host itself: mail would loop"};
    } else if (attempt.addresses_tried == 0 && !attempt.may_pass) {
        // Every look-up answered, and no host has an address (RFC 5321 §5.1; SMTP-28, SMTP-31).
        fate.permanent = true;
        fate.status = "5.4.4";
    }
    end(fate);
}

// True: the lane's work is over, one way or another. False: try the next address.
asio::awaitable<bool> Delivery::try_address(Attempt& attempt, const Requirement& requirement,
                                            dns::Address address) {
    DialRequest request;
    request.host = requirement.host;
    request.address = address;
    request.port = options_.smtp_port;
    request.source = address.is_v6() ? options_.source_ipv6 : options_.source_ipv4;
    request.tls = requirement.enforced()          ? smtp::TlsUse::required
                  : requirement.opportunistic_tls ? smtp::TlsUse::if_offered
                                                  : smtp::TlsUse::never;
    for (;;) {
        auto channel = co_await dialer_.open(request);
        if (attempt.lane.stopping()) {
            if (channel) co_await (*channel)->quit();
            co_return false;
        }
        if (!channel) {
            const smtp::Failure& failure = channel.error();
            const Verdict verdict = decide(requirement, Observation::of_failure(failure));
            Event(log_, Level::info, "session")
                .kv("hop", attempt.lane.hop())
                .raw("mx", endpoint(request))
                .kv("policy", requirement.label())
                .kv("status", "failed")
                .kv("result", verdict.result_type ? tlsrpt::name_of(*verdict.result_type) : "none")
                .reason(sentence_of(failure));
            if (failure.code == smtp::Errc::connect_refused || failure.code == smtp::Errc::connect_timed_out)
                sites_.took_no_connection(request.address, clock_.steady());
            if (request.tls == smtp::TlsUse::if_offered &&
                after_failed_open(failure, requirement.clear_text_allowed()) == NextStep::clear_text) {
                request.tls = smtp::TlsUse::never;
                continue;
            }
            const bool by_policy = !verdict.go && verdict.result_type;
            attempt.policy_refused = attempt.policy_refused || by_policy;
            attempt.reasons.push_back(endpoint(request) + ": " +
                                      (by_policy ? verdict.sentence : sentence_of(failure)));
            attempt.status = by_policy ? "4.7.5" : failure.reply ? status_of(*failure.reply) : "4.4.1";
            if (attempt.status.starts_with('5'))
                attempt.status[0] = '4';  // D-21: greetings refuse us, not the mail
            co_return false;
        }
        const smtp::Opened& opened = (*channel)->opened();
        const Verdict verdict = decide(requirement, Observation::of_session(opened.evidence));
        if (!verdict.go) {
            Event(log_, Level::info, "session")
                .kv("hop", attempt.lane.hop())
                .raw("mx", endpoint(request))
                .kv("tls", opened.evidence.version)
                .kv("policy", requirement.label())
                .kv("status", "refused")
                .kv("result", verdict.result_type ? tlsrpt::name_of(*verdict.result_type) : "none")
                .reason(verdict.sentence);
            attempt.policy_refused = true;
            attempt.reasons.push_back(endpoint(request) + ": " + verdict.sentence);
            attempt.status = "4.7.5";
            co_await (*channel)->quit();  // RFC 3207 §4.1: QUIT and nothing else
            co_return false;
        }
        co_await serve(attempt, requirement, request, **channel);
        if (attempt.ipv4_only && attempt.work && !attempt.served) co_return false;
        if (attempt.work) attempt.lane.put_back(*std::exchange(attempt.work, std::nullopt));
        if (attempt.hop_blamed) {
            const queue::HopFate fate{false, attempt.blame_status,
                                      endpoint(request) + ": " + attempt.blame_text};
            attempt.lane.failed(fate);
        }
        co_return true;
    }
}

// Messages over one open session, until there is no more work, the session is used up or the host has had
// enough.
asio::awaitable<void> Delivery::serve(Attempt& attempt, const Requirement& requirement,
                                      const DialRequest& request, Channel& channel) {
    attempt.lane.connected();
    unsigned carried = 0;
    while (!attempt.lane.stopping()) {
        if (!attempt.work) attempt.work = attempt.lane.take();
        if (!attempt.work && options_.idle_time.count() > 0)
            attempt.work = co_await attempt.lane.wait(clock_.steady() + options_.idle_time);
        if (!attempt.work) break;
        const SteadyTime began = carried == 0 ? attempt.began : clock_.steady();
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
            attempt.lane.finished(*attempt.work, std::move(fates));
            attempt.work.reset();
            continue;
        }
        auto outcomes = co_await channel.transact(*attempt.work);
        bool other_family = false;
        bool reconnect = false;
        auto fates = judge(attempt, *attempt.work, requirement, request, channel.opened(), outcomes,
                           carried > 0, other_family, reconnect);
        if (other_family) {
            attempt.ipv4_only = true;
            attempt.served = carried > 0;
            attempt.reasons.push_back(endpoint(request) +
                                      ": it wants a PTR record for our IPv6 address; trying IPv4");
            break;
        }
        const bool aborted =
            attempt.lane.stopping() && !channel.reusable() &&
            std::all_of(outcomes.begin(), outcomes.end(), [](const smtp::RecipientOutcome& o) {
                return o.failure && !o.failure->reply && o.failure->stage != smtp::Stage::dot;
            });
        if (reconnect || aborted) break;  // the work goes back as it was
        for (const auto& fate : fates) {
            if (!fate.again) log_attempt(*attempt.work, fate, requirement, request, channel.opened(), began);
            if (fate.blames_hop && !attempt.hop_blamed) {
                attempt.hop_blamed = true;
                attempt.blame_status = fate.result.status;
                attempt.blame_text = fate.result.text;
            }
        }
        attempt.lane.finished(*attempt.work, std::move(fates));
        attempt.work.reset();
        ++carried;
        if (attempt.hop_blamed || !channel.reusable() || carried >= options_.messages_per_connection) break;
    }
    co_await channel.quit();
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
                                         const Requirement& requirement, const DialRequest& request,
                                         const smtp::Opened& opened,
                                         const std::vector<smtp::RecipientOutcome>& outcomes, bool reused,
                                         bool& other_family, bool& reconnect) const {
    const Verdict verdict = decide(requirement, Observation::of_session(opened.evidence));
    TransactionFacts facts;
    facts.size_declared = opened.offered.size;
    facts.over_ipv6 = request.address.is_v6();
    facts.other_family = attempt.ipv4_known && options_.hosts.ipv4;
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
        result.tls = opened.evidence.version;
        result.policy = requirement.label();
        if (verdict.result_type) result.result_type = tlsrpt::name_of(*verdict.result_type);
        fates.push_back(std::move(meaning.fate));
    }
    return fates;
}

void Delivery::log_attempt(const queue::Work& work, const queue::Fate& fate, const Requirement& requirement,
                           const DialRequest& request, const smtp::Opened& opened, SteadyTime began) {
    const auto& result = fate.result;
    const std::string_view status = result.state == store::RecipientState::sent      ? "sent"
                                    : result.state == store::RecipientState::bounced ? "bounced"
                                                                                     : "deferred";
    const auto delay = std::chrono::duration<double>(clock_.steady() - began).count();
    Event event(log_, Level::info, "attempt");
    event.kv("qid", work.message->id.text())
        .raw("to", "<" + work.message->recipients[result.recipient].address.recipient.path.text() + ">")
        .raw("mx", endpoint(request))
        .kv("tls", opened.evidence.encrypted ? opened.evidence.version : "none")
        .kv("policy", requirement.label());
    if (!result.result_type.empty()) event.kv("result", result.result_type);
    event.raw("delay", fmt::format("{:.2f}s", delay))
        .kv("status", status)
        .kv("dsn", result.status)
        .reason(result.text);
}

void Delivery::log_deferred(const queue::Work& work, const Requirement& requirement,
                            const queue::HopFate& fate, SteadyTime began) {
    const auto delay = std::chrono::duration<double>(clock_.steady() - began).count();
    for (const auto n : work.recipients)
        Event(log_, Level::info, "attempt")
            .kv("qid", work.message->id.text())
            .raw("to", "<" + work.message->recipients[n].address.recipient.path.text() + ">")
            .kv("mx", "none")
            .kv("tls", "none")
            .kv("policy", requirement.label())
            .raw("delay", fmt::format("{:.2f}s", delay))
            .kv("status", "deferred")
            .kv("dsn", fate.status)
            .reason(fate.text);
}

}  // namespace sternpost::delivery
