#include "delivery/explain.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "delivery/advice.h"
#include "store/hop_group.h"
#include "sts/advice.h"
#include "util/text.h"

namespace sternpost::delivery {
namespace {

constexpr std::size_t max_probes = 5;  // ours: hosts that a probe calls

std::string until(WallTime when, WallTime now) {
    return rfc3339(when) + (when > now ? " (in " + human_span(when - now) + ")" : " (past)");
}

// Whether what is said of the hosts rests on a connection.
bool probed(const Explanation& e) {
    return std::any_of(e.hosts.begin(), e.hosts.end(), [](const ExplainedHost& h) { return h.probed; });
}

Outlook outlook_of(const Explanation& e) {
    if (e.trouble) return e.trouble->permanent ? Outlook::no_mail : Outlook::unanswered;
    if (e.plan.sts && e.plan.sts->state == sts::State::unknown) return Outlook::unanswered;
    bool any = false;
    bool answered = !e.hosts.empty();  // and no host has an address
    bool held = false;
    for (const ExplainedHost& host : e.hosts) {
        answered = answered && host.verdict.reason_code == store::ReasonCode::no_address;
        if (host.verdict.go) {
            any = true;
        } else {
            held = held || host.verdict.held;
        }
    }
    if (any && e.queue.suspension) return Outlook::suspended;
    // A session of now says more than those of before.
    const bool waits = e.queue.blocked.what == queue::Obstacle::results_wait;
    if (any && waits) return Outlook::failing;
    if (any && e.queue.failing && e.queue.failing->all() && !probed(e)) return Outlook::failing;
    if (any) return e.unprotected.empty() ? Outlook::protected_ : Outlook::opportunistic;
    if (answered && !e.plan.doubts_dns()) return Outlook::no_mail;  // RFC 5321 §5.1, as delivery has it
    return held ? Outlook::held : Outlook::unanswered;
}

// Of all hosts that what is demanded does not rule out: one that cannot be reached now may be reached by the
// next attempt, and an attacker may see to it that it is the one. A look-up that failed now may succeed then.
void judge_protection(Explanation& e) {
    for (const ExplainedHost& host : e.hosts) {
        const Protection protection = protection_of(host.plan.requirement);
        const bool unknown = protection == Protection::unknown;
        if (protection == Protection::full || (!host.verdict.go && host.verdict.held && !unknown)) continue;
        if (!e.unprotected.empty() && unknown) continue;
        e.unprotected = host.plan.candidate.text() + ": " + std::string(sentence_of(protection));
        e.protection_unknown = unknown;
        if (!unknown) return;
    }
}

// Why no session came about, for advice: what was demanded of the host did not rule it out.
store::ReasonCode code_of(const smtp::Failure& failure) {
    if (failure.code == smtp::Errc::source_unusable) return store::ReasonCode::source_unusable;
    if (failure.code == smtp::Errc::network_unreachable) return store::ReasonCode::network_unreachable;
    if (failure.code == smtp::Errc::reply_negative && failure.reply->permanent())
        return store::ReasonCode::greeting_refused;
    return store::ReasonCode::unreachable;
}

std::string attempts_text(const FailedAttempts& failed) {
    return fmt::format(
        "{} failed{}{}{}",
        failed.attempts > 1 ? fmt::format("the last {} attempts", failed.attempts)
                            : std::string("the last attempt"),
        failed.attempts > 1 && failed.since ? ", since " + rfc3339(*failed.since) : "",
        failed.next_at ? ", and the next one is at " + rfc3339(*failed.next_at) : "",
        failed.delivered ? "; mail was last delivered there at " + rfc3339(*failed.delivered) : "");
}

void tell_last(const FailedAttempts& failed, std::vector<std::string>& out) {
    out.push_back("  the last one" + (failed.last == WallTime{} ? "" : ", at " + rfc3339(failed.last)) +
                  ": " + failed.status + " " + printable(failed.text, 1000));
}

void tell_sts(const Explanation& e, std::vector<std::string>& out) {
    if (!e.plan.sts) {
        out.emplace_back("MTA-STS: not asked for: mail goes to an address or a host that was set here");
        return;
    }
    const sts::Lookup& sts = *e.plan.sts;
    if (!sts.policy) {
        out.push_back(sts.state == sts::State::unknown ? "MTA-STS: unknown: " + sts.problem_text
                      : sts.problem_text.empty()       ? "MTA-STS: " + e.plan.domain + " publishes no policy"
                                                       : "MTA-STS: no policy is to be had and none is "
                                                         "cached, so mail goes as to a domain without one: " +
                                                       sts.problem_text);
        return;
    }
    out.push_back(fmt::format("MTA-STS: mode {}, id {}, mx {}", sts::name_of(sts.policy->mode), sts.id,
                              sts.policy->mx_text()));
    out.push_back(fmt::format("  {}; it holds until {}{}",
                              sts.fresh ? "fetched just now" : "cached, fetched " + rfc3339(sts.fetched),
                              until(sts.expires, e.now),
                              sts.next_refresh ? ", is fetched again at " + rfc3339(*sts.next_refresh) : ""));
    if (!sts.problem_text.empty()) out.push_back("  trouble: " + sts.problem_text);
}

void tell_published(const Explanation& e, std::vector<std::string>& out) {
    if (!e.published) return;
    const PublishedSts& now = *e.published;
    const std::string at =
        "  record at " + now.name + (now.alias.empty() ? "" : ", an alias of " + now.alias) + ": ";
    if (!now.records_problem.empty()) {
        out.push_back(at + "cannot be had: " + now.records_problem);
    } else if (now.records.empty()) {
        out.push_back(at + "none");
    } else {
        for (const auto& record : now.records) out.push_back(at + "\"" + printable(record, 200) + "\"");
    }
    const std::string cached = e.plan.sts && e.plan.sts->policy ? e.plan.sts->text : std::string();
    if (!now.policy_problem.empty()) {
        out.push_back("  policy as published now: cannot be had: " + now.policy_problem);
    } else if (now.policy && cached.empty()) {
        out.push_back("  policy as published now: there is one, and it is not in force yet");
    } else if (now.policy && *now.policy == cached) {
        out.emplace_back("  policy as published now: the same");
    } else if (now.policy) {
        out.emplace_back("  policy as published now (+) and as it is in force (-):");
        for (const auto& line : sts::diff(cached, *now.policy)) out.push_back("    " + printable(line, 200));
    }
}

void tell_dane(const HostPlan& host, std::vector<std::string>& out) {
    const DaneDemand& dane = host.requirement.dane;
    switch (dane.state) {
        case DaneState::absent:
            out.push_back(fmt::format("  DANE: no; its addresses are {}",
                                      host.addresses.secure ? "secured by DNSSEC, and it has no TLSA records"
                                                            : "not secured by DNSSEC"));
            return;
        case DaneState::failed:
            out.push_back("  DANE: the look-up of its TLSA records failed: " + dane.trouble);
            return;
        case DaneState::unusable:
            out.push_back(fmt::format("  DANE: {} TLSA record(s) at {}, none that SMTP can use",
                                      dane.records.size(), dane.policy_domain));
            break;
        case DaneState::usable:
            out.push_back(fmt::format("  DANE: {} TLSA record(s) at {}, {} in use", dane.records.size(),
                                      dane.policy_domain, dane.reference->records.size()));
            break;
    }
    for (const auto& record : dane.records) out.push_back("    " + tls::text_of(record));
}

void tell_probe(const ExplainedHost& host, std::vector<std::string>& out) {
    if (host.failure) {
        out.push_back("  probe of " + host.address.text() + ": " + sentence_of(*host.failure));
        return;
    }
    const tls::Evidence& proof = host.opened->evidence;
    if (!proof.encrypted) {
        out.push_back("  probe of " + host.address.text() + ": it answers, in clear text alone");
        return;
    }
    out.push_back(
        fmt::format("  probe of {}: {}, {}, {}", host.address.text(), proof.version, proof.cipher,
                    host.opened->offered.requiretls ? "offers REQUIRETLS" : "does not offer REQUIRETLS"));
    std::string names;
    for (const auto& name : proof.names) names += (names.empty() ? "" : ", ") + name;
    out.push_back(fmt::format("    certificate for {}, by {}, valid {} to {}",
                              names.empty() ? "no DNS name" : names, proof.issuer, rfc3339(proof.not_before),
                              rfc3339(proof.not_after)));
    out.push_back(fmt::format("    chain: {}; name: {}; SHA-256 {}",
                              proof.chain_error == 0 ? "trusted" : proof.chain_error_name,
                              proof.name_matches ? "matches" : "does not match", proof.fingerprint));
    if (proof.dane)
        out.push_back(proof.dane_matched ? "    TLSA: matches " + proof.dane_match
                                         : "    TLSA: no record matches");
}

void tell_verdict(const Explanation& e, const ExplainedHost& host, std::vector<std::string>& out) {
    const Requirement& r = host.plan.requirement;
    if (r.override_) out.push_back("  in force: " + override_text(*r.override_));
    if (r.route_level) out.push_back("  the route demands: " + std::string(name_of(*r.route_level)));
    if (host.verdict.go) {
        const std::string what = host.verdict.sentence.empty() ? "" : "; though " + host.verdict.sentence;
        out.push_back("  verdict: mail may go" +
                      std::string(host.probed ? ""
                                              : ", as far as can be told without a "
                                                "connection") +
                      " (" + r.label() + ")" + what);
        return;
    }
    if (host.verdict.held) {
        const Advice advice = advice_for(host.verdict.reason_code, e.plan.domain);
        out.push_back("  verdict: no mail: " + host.verdict.sentence + " (" +
                      std::string(name_of(host.verdict.reason_code)) + ")");
        out.push_back("    what would change it: " + advice.unblocks);
        out.push_back("    whose move: " + advice.move);
        return;
    }
    const store::ReasonCode code = host.verdict.reason_code;
    if (code == store::ReasonCode::none) {
        out.emplace_back("  verdict: no mail now");  // what is in the way stands with the host
        return;
    }
    const Advice advice = advice_for(code, e.plan.domain);
    out.push_back(
        std::string("  verdict: no mail now: ") +
        (code == store::ReasonCode::greeting_refused ? "it turns this relay away" : "it cannot be reached") +
        " (" + std::string(name_of(code)) + ")");
    out.push_back("    what would change it: " + advice.unblocks);
    out.push_back("    whose move: " + advice.move);
}

}  // namespace

std::string_view name_of(Outlook outlook) {
    switch (outlook) {
        case Outlook::protected_:
            return "protected";
        case Outlook::opportunistic:
            return "opportunistic";
        case Outlook::held:
            return "held";
        case Outlook::suspended:
            return "suspended";
        case Outlook::failing:
            return "failing";
        case Outlook::no_mail:
            return "no-mail";
        case Outlook::unanswered:
            return "unanswered";
    }
    return "";
}

namespace {

// Counts what failed since mail was last taken.
class Attempts {
  public:
    explicit Attempts(const QueueFacts& facts) {
        for (const auto& entry : facts.history) {
            if (const auto* result = std::get_if<store::DeliveryResult>(&entry.what))
                take(entry.at, *result);
            else if (const auto* hop = std::get_if<store::HopState>(&entry.what))
                if (hop->next_hop == facts.hop && hop->failures > 0) failed(entry.at, hop->status, hop->text);
        }
    }
    FailedAttempts found;

  private:
    void take(WallTime at, const store::DeliveryResult& result) {
        // An attempt in which the host took the mail for some has not failed, whatever it said of the others.
        if (result.state == store::RecipientState::queued && found.delivered != at)
            failed(at, result.status, result.text);
        if (result.state != store::RecipientState::sent) return;
        found = {};
        found.delivered = at;
    }
    void failed(WallTime at, const std::string& status, const std::string& text) {
        found.of_mailboxes = (found.attempts == 0 || found.of_mailboxes) && status.starts_with("4.2.");
        ++found.attempts;
        if (!found.since) found.since = at;
        found.last = at;
        found.status = status;
        found.text = text;
    }
};

}  // namespace

std::vector<store::HistoryEntry> history_of_hop(store::History history, const std::string& hop) {
    std::map<store::MessageId, const store::StoredMessage*> messages;
    for (const auto& message : history.messages) messages.emplace(message.id, &message);
    const store::TlsMode tls_mode = store::HopGroup::parse(hop).tls_mode;
    std::erase_if(history.entries, [&](const store::HistoryEntry& entry) {
        const auto* result = std::get_if<store::DeliveryResult>(&entry.what);
        if (result == nullptr) return false;
        // What it waits for now need not be what it waited for then.
        const auto known = messages.find(result->message);
        return known != messages.end() && store::tls_mode_of(*known->second) != tls_mode;
    });
    return std::move(history.entries);
}

QueueSays QueueSays::of(const QueueFacts& facts) {
    QueueSays out;
    out.blocked = facts.blocked;
    out.suspension = facts.suspension;
    FailedAttempts found = Attempts(facts).found;
    bool fails = false;
    if (facts.blocked.what == queue::Obstacle::hop_fails) {
        fails = found.of_hop = true;
        found.status = facts.blocked.status;
        found.text = facts.blocked.text;
        found.next_at = facts.blocked.until;
        if (facts.blocked.at) found.last = *facts.blocked.at;
    }
    // Mail that has been tried and waits: the history may not know of its last attempt yet.
    for (std::size_t m = 0; m < facts.waiting.size(); ++m)
        for (std::size_t n = 0; n < facts.waiting[m].recipients.size(); ++n) {
            const store::StoredRecipient& r = facts.waiting[m].recipients[n];
            const queue::Blocked& blocked = facts.waiting_blocked[m][n];
            if (r.state != store::RecipientState::queued || r.status.empty() ||
                store::hop_of(facts.waiting[m], n) != facts.hop)
                continue;
            // It failed, and since then other mail was taken there: its next attempt may well succeed.
            if (found.attempts == 0 && found.delivered) continue;
            fails = true;
            if (found.attempts == 0) {
                found.attempts = std::max<std::size_t>(r.tries, 1);
                found.status = r.status;
                found.text = r.text;
                found.of_mailboxes = r.status.starts_with("4.2.");
            }
            if (blocked.until && (!found.next_at || *blocked.until < *found.next_at))
                found.next_at = blocked.until;
        }
    // What failed may stand behind so many others that it was not looked at.
    fails = fails || (facts.more_waits && found.attempts > 0);
    found.attempts = std::max<std::size_t>(found.attempts, 1);
    if (fails && !(found.status.empty() && found.text.empty())) out.failing = std::move(found);
    return out;
}

namespace {

constexpr std::size_t max_records = 10;  // ours: TXT records that are shown

// The record of the domain whose policy was looked up (RFC 8461 §3.1).
asio::awaitable<std::optional<PublishedSts>> published_record(dns::Resolver& resolver, const HopPlan& plan) {
    auto domain = dns::Domain::parse(plan.domain);
    if (!plan.sts || !domain) co_return std::nullopt;
    auto name = domain->under("_mta-sts");
    if (!name) co_return std::nullopt;
    PublishedSts out;
    out.name = name->text();
    const auto answer = co_await resolver.txt(std::move(*name));
    if (!answer) {
        out.records_problem = answer.error().text;
        co_return out;
    }
    if (answer->canonical != out.name) out.alias = answer->canonical;
    out.records = answer->records;
    out.records.resize(std::min(out.records.size(), max_records));
    co_return out;
}

}  // namespace

asio::awaitable<Explanation> explain(Delivery& delivery, dns::Resolver& resolver, const Clock& clock,
                                     std::string domain, bool probe, QueueSays queue) {
    Explanation out;
    out.domain = domain;
    out.queue = std::move(queue);
    out.now = clock.wall();
    out.resolver_trusted = resolver.trusted();
    store::HopGroup hop;
    hop.next_hop = std::move(domain);
    out.plan.hop = hop;
    out.plan.domain = hop.next_hop;
    auto plan = co_await delivery.planner().look_up(std::move(hop));
    if (!plan) {
        out.trouble = std::move(plan.error());
        out.outlook = outlook_of(out);
        co_return out;
    }
    out.plan = std::move(*plan);
    auto published = co_await published_record(resolver, out.plan);
    out.published = std::move(published);
    std::size_t probes = 0;
    for (const Candidate& candidate : out.plan.hosts.candidates) {
        HostPlan planned = co_await delivery.planner().look_up(out.plan, candidate);
        ExplainedHost host;
        host.plan = std::move(planned);
        host.verdict = host.plan.verdict;
        if (host.verdict.go && host.plan.addresses.usable.empty()) {
            host.verdict.go = false;
            host.verdict.sentence = host.plan.addresses.trouble;
            if (!host.plan.addresses.ourselves)
                host.verdict.reason_code = host.plan.addresses.temporary
                                               ? store::ReasonCode::addresses_unanswered
                                               : store::ReasonCode::no_address;
        }
        if (probe && host.verdict.go && ++probes <= max_probes) {
            host.probed = true;
            host.address = host.plan.addresses.usable.front();
            DialRequest request = delivery.request_for(host.plan, host.address);
            request.may_resume = nullptr;  // what it shows today is asked for
            auto channel = co_await delivery.dialer().open(std::move(request));
            if (channel) {
                host.opened = (*channel)->opened();
                host.verdict = decide(host.plan.requirement, seen_of(*host.opened));
                auto open = std::move(*channel);
                co_await open->quit();
            } else {
                host.failure = std::move(channel.error());
                host.verdict = decide(host.plan.requirement, Observation::of_failure(*host.failure));
                if (host.verdict.reason_code == store::ReasonCode::unreachable)
                    host.verdict.reason_code = code_of(*host.failure);
            }
        }
        out.hosts.push_back(std::move(host));
    }
    judge_protection(out);
    out.outlook = outlook_of(out);
    co_return out;
}

std::vector<std::string> lines_of(const Explanation& e) {
    std::vector<std::string> out;
    const std::string goes = e.domain + (probed(e) ? ": mail can go"
                                                   : ": mail can go, as far as can be told without a "
                                                     "connection (--probe makes one)");
    switch (e.outlook) {
        case Outlook::protected_:
            out.push_back(goes + ", and no attacker on the path can read it or redirect it: it is protected");
            break;
        case Outlook::opportunistic:
            out.push_back(goes + (e.protection_unknown
                                      ? ", but whether it is protected cannot be told now"
                                      : ", but an attacker on the way can read it or lead it elsewhere"));
            out.push_back("  " + e.unprotected);
            break;
        case Outlook::suspended:
            out.push_back(e.domain + ": mail waits: the next hop is suspended by " +
                          e.queue.suspension->author + " since " + rfc3339(e.queue.suspension->set) + ": " +
                          e.queue.suspension->reason);
            break;
        case Outlook::failing:
            if (e.queue.blocked.what == queue::Obstacle::results_wait) {
                out.push_back(e.domain + ": mail waits: " + e.queue.blocked.text);
                break;
            }
            out.push_back(e.domain + ": mail waits: " + attempts_text(*e.queue.failing));
            tell_last(*e.queue.failing, out);
            break;
        case Outlook::held:
            out.push_back(e.domain + ": mail is held back: no MX host meets what is demanded of it");
            break;
        case Outlook::no_mail:
            out.push_back(e.domain + ": takes no mail: " +
                          (e.trouble ? e.trouble->text : "none of its MX hosts has an address"));
            if (e.trouble) return out;
            break;
        case Outlook::unanswered:
            if (e.trouble)
                out.push_back(e.domain + ": cannot be told now: " + e.trouble->text);
            else if (e.plan.sts && e.plan.sts->state == sts::State::unknown)
                out.push_back(e.domain +
                              ": cannot be told now: whether it demands TLS by MTA-STS is unknown");
            else
                out.push_back(e.domain + ": mail waits: no MX host takes any from here now");
            if (e.trouble) return out;
            break;
    }
    if (e.queue.failing && e.outlook != Outlook::failing) {
        out.push_back("attempts: " + attempts_text(*e.queue.failing));
        tell_last(*e.queue.failing, out);
    }
    if (e.plan.route)
        out.push_back("route: " + e.plan.route->pattern + " to " + e.plan.route->to_text() +
                      (e.plan.route->level ? ", level " + std::string(name_of(*e.plan.route->level)) : ""));
    out.push_back(
        fmt::format("MX records: {}{}", e.plan.hosts.implicit ? "none, the domain is its own host; " : "",
                    e.plan.hosts.secure  ? "secured by DNSSEC"
                    : e.resolver_trusted ? "not secured by DNSSEC"
                                         : "not secured, since the resolver's word on DNSSEC is not taken "
                                           "here (dns.trust_ad)"));
    tell_sts(e, out);
    tell_published(e, out);
    for (const ExplainedHost& host : e.hosts) {
        std::string addresses;
        for (const auto& address : host.plan.addresses.usable)
            addresses += (addresses.empty() ? " " : ", ") + address.text();
        out.push_back(fmt::format(
            "MX host {} {}:{}", host.plan.candidate.preference, host.plan.candidate.text(),
            addresses.empty() ? " " + (host.plan.addresses.trouble.empty() ? std::string("not looked up")
                                                                           : host.plan.addresses.trouble)
                              : addresses));
        if (!host.plan.addresses.usable.empty()) tell_dane(host.plan, out);
        if (host.probed) tell_probe(host, out);
        tell_verdict(e, host, out);
    }
    return out;
}

}  // namespace sternpost::delivery
