#include "admin/policy_verbs.h"

#include <algorithm>

#include "admin/run.h"
#include "store/ask.h"
#include "sts/advice.h"
#include "util/text.h"

namespace sternpost::admin {
namespace {

constexpr std::size_t max_places = 5;    // ours: places for reports that `sts check` looks up
constexpr std::size_t max_waiting = 50;  // ours: messages that `explain` looks at for how their attempts went

// `example.com`, or the domain of an address.
std::string domain_of(const std::string& text) {
    const auto at = text.rfind('@');
    const std::string domain = at == std::string::npos ? text : text.substr(at + 1);
    if (domain.starts_with('[')) return domain;
    const auto parsed = dns::Domain::parse(domain);
    return parsed ? parsed->text() : "";
}

// An override as it is asked for; the error is for people.
Expected<store::StoredOverride, ExitCode> override_of(const OverrideRequest& request, const Caller& caller,
                                                      WallTime now) {
    store::StoredOverride out;
    const auto scope = delivery::Scope::parse(lowered(request.scope));
    if (!scope) return fail(ExitCode::no, scope.error().text);
    out.scope = scope->text();
    out.level = request.level;
    if (!delivery::level_of(out.level))
        return fail(ExitCode::no,
                    "\"" + printable(out.level) +
                        "\" is not a level: allowed are none, may, encrypt, verify, dane and sts");
    out.reason = request.reason;
    if (out.reason.empty())
        return fail(ExitCode::no, "--reason is needed: why, for those who come after you");
    out.author = request.author.empty() ? caller.name() : request.author;
    out.set = now;
    if (request.expires.empty()) return out;
    const auto span = parse_duration(request.expires);
    const auto when = parse_rfc3339(request.expires);
    if (!span && !when)
        return fail(ExitCode::no,
                    "--expires " + printable(request.expires) +
                        ": wanted is a time such as 2027-01-31T00:00:00Z, or a duration such as 14d");
    out.expires = when ? *when : now + *span;
    if (out.expires <= now)
        return fail(ExitCode::no, "--expires " + printable(request.expires) + " is in the past");
    return out;
}

CheckAnswer findings_of(const sts::Published& published, const std::string& domain, WallTime now,
                        bool& errors) {
    CheckAnswer out{domain, {}, {}};
    for (const auto& finding : sts::lint(published, now)) {
        const std::string severity(sts::name_of(finding.severity));
        out.findings.push_back({severity, finding.text});
        out.lines.push_back(severity + ": " + finding.text);
        errors = errors || finding.severity == sts::Severity::error;
    }
    if (out.findings.empty())
        out.lines.push_back(domain + ": record, policy and MX records agree; nothing to mend");
    return out;
}

}  // namespace

// ---- overrides

asio::awaitable<store::Result<void>> PolicyVerbs::load() {
    auto question = [](store::Questions& questions) { return questions.all<store::StoredOverride>(); };
    auto all = co_await store::ask(s_.store, std::move(question));
    if (!all) co_return fail(std::move(all).error());
    for (auto& one : *all) s_.overrides.set(std::move(one));
    end_expired();
    co_return store::Result<void>();
}

void PolicyVerbs::end_expired() {
    for (store::StoredOverride& gone : s_.overrides.take_expired(s_.clock.wall())) {
        Event(s_.log, Level::info, "override")
            .kv("scope", gone.scope)
            .kv("level", gone.level)
            .kv("status", "expired")
            .reason(gone.reason);
        gone.level.clear();
        s_.store.keep(std::move(gone), [](const store::Result<void>&) {});
    }
}

asio::awaitable<Answer<OverrideRow>> PolicyVerbs::set_override(OverrideRequest request, Caller caller) {
    auto wanted = override_of(request, caller, s_.clock.wall());
    if (!wanted) co_return Refusal{wanted.error().code, wanted.error().text};
    const auto kept = co_await keep(s_.store, *wanted);
    if (!kept) co_return kept.error();
    Event(s_.log, Level::warning, "override")
        .kv("scope", wanted->scope)
        .kv("level", wanted->level)
        .kv("author", wanted->author)
        .kv("expires", wanted->expires == WallTime{} ? "never" : rfc3339(wanted->expires))
        .kv("status", "set")
        .reason(wanted->reason);
    s_.overrides.set(*wanted);
    const KnownOverride known{std::move(*wanted), false};
    co_return row_of(known, s_.clock.wall());
}

asio::awaitable<Answer<ScopeValue>> PolicyVerbs::remove_override(ScopeValue request, Caller caller) {
    const auto scope = delivery::Scope::parse(lowered(request.scope));
    if (!scope) co_return refusal(scope.error().text);
    store::StoredOverride gone;
    gone.scope = scope->text();
    gone.author = caller.name();
    gone.set = s_.clock.wall();
    const auto kept = co_await keep(s_.store, gone);
    if (!kept) co_return kept.error();
    if (!s_.overrides.set(gone))
        co_return refusal("no override for " + gone.scope +
                          " was set by command; those of the configuration are taken out there");
    Event(s_.log, Level::warning, "override")
        .kv("scope", gone.scope)
        .kv("author", gone.author)
        .kv("status", "removed");
    co_return ScopeValue{gone.scope};
}

// ---- explain

asio::awaitable<Answer<ExplainAnswer>> PolicyVerbs::explain(ExplainRequest request) {
    const std::string asked_for = lowered(request.domain);
    std::string domain = domain_of(asked_for);
    std::string local;  // a name of this host, and where its mail goes
    const bool bare = asked_for.find_first_of("@.[") == std::string::npos;
    const bool address = bare || asked_for.find('@') != std::string::npos;
    if (!asked_for.empty() && (bare || !domain.empty())) {
        const auto path = s_.resolve_local(address ? asked_for : "postmaster@" + asked_for);
        if (!path) co_return refusal(path.error().text);
        if (bare || path->mailbox().host() != domain) {
            domain = path->mailbox().host();
            local = printable(asked_for) + ": a name of this host, whose mail goes to <" +
                    printable(path->text()) + ">";
        }
    }
    if (domain.empty())
        co_return refusal("\"" + printable(asked_for) + "\" is neither a domain nor an address");
    end_expired();
    auto says = co_await queue_says(domain);
    auto explanation = co_await delivery::explain(s_.delivery, s_.resolver, s_.clock, std::move(domain),
                                                  request.probe, std::move(says));
    if (request.probe && explanation.published && explanation.plan.sts->policy &&
        !explanation.plan.sts->fresh) {
        auto name = dns::Domain::parse(explanation.plan.domain);
        const auto fetched =
            co_await sts::fetch(s_.fetch, s_.resolver, s_.https, dns::PolicyDomain(std::move(*name)));
        if (fetched)
            explanation.published->policy = fetched->text;
        else
            explanation.published->policy_problem = fetched.error().text;
    }
    auto out = answer_of(explanation);
    if (!local.empty()) out.value->lines.insert(out.value->lines.begin(), local);
    co_return out;
}

// How delivery to the next hop fared so far.
asio::awaitable<delivery::QueueSays> PolicyVerbs::queue_says(std::string hop) {
    const auto facts = co_await facts_of(std::move(hop));
    co_return delivery::QueueSays::of(facts);
}

asio::awaitable<delivery::QueueFacts> PolicyVerbs::facts_of(std::string hop) {
    delivery::QueueFacts facts;
    facts.hop = hop;
    if (const auto* suspension = s_.queue.core().suspensions().of_hop(hop)) facts.suspension = *suspension;
    store::HopFilter of_hops;
    of_hops.names.push_back(hop);
    auto hops_question = [of_hops](store::Questions& questions) { return questions.hops(of_hops); };
    const auto loads = co_await store::ask(s_.store, std::move(hops_question));
    std::vector<store::HopState> hops;
    if (loads)
        for (const auto& load : *loads) hops.push_back(load.state);
    if (const auto blocked = s_.queue.blocked_by(queue::mail_for(hop), hops); !blocked.empty())
        facts.blocked = blocked.front();
    store::QueueFilter waiting;
    waiting.domain = hop;
    waiting.limit = max_waiting;
    auto mail_question = [waiting](store::Questions& questions) { return questions.find(waiting); };
    auto mail = co_await store::ask(s_.store, std::move(mail_question));
    if (mail) facts.waiting = std::move(*mail);
    facts.more_waits = facts.waiting.size() >= max_waiting;
    for (const auto& message : facts.waiting)
        facts.waiting_blocked.push_back(s_.queue.blocked_by(message, hops));
    store::HistoryFilter of_hop;
    of_hop.next_hop = hop;
    auto history_question = [of_hop](store::Questions& questions) { return questions.history(of_hop); };
    auto history = co_await store::ask(s_.store, std::move(history_question));
    if (history) facts.history = delivery::history_of_hop(std::move(*history), hop);
    co_return facts;
}

// ---- what a domain publishes

asio::awaitable<Answer<DiffAnswer>> PolicyVerbs::diff(DomainRequest request) {
    auto name = dns::Domain::parse(lowered(request.domain));
    if (!name) co_return refusal(name.error().text);
    const dns::PolicyDomain policy_domain(std::move(*name));
    const auto cached = co_await s_.lookups.view(policy_domain);
    const auto fetched = co_await sts::fetch(s_.fetch, s_.resolver, s_.https, policy_domain);
    if (!fetched)
        co_return Refusal{ExitCode::unanswered,
                          "the published policy cannot be fetched: " + fetched.error().text};
    DiffAnswer out;
    out.domain = policy_domain.text();
    out.cached = cached ? cached->stored.text : "";
    out.published = fetched->text;
    out.same = cached && cached->stored.text == fetched->text;
    if (!cached) {
        out.lines = sts::diff("", fetched->text);
        out.lines.insert(out.lines.begin(), "no policy of " + out.domain + " is cached; published is:");
    } else if (out.same) {
        out.lines.push_back("the policy in the cache is the one that " + out.domain + " publishes");
    } else {
        out.lines = sts::diff(out.cached, out.published);
        out.lines.insert(out.lines.begin(), "- cached, fetched " + rfc3339(cached->stored.fetched));
        out.lines.insert(out.lines.begin() + 1, "+ published now");
    }
    co_return out;
}

// Places that a look-up shows to take nothing.
asio::awaitable<void> PolicyVerbs::check_places(const tlsrpt::Record& record, const std::string& name,
                                                std::vector<std::string>& problems) {
    std::size_t looked_up = 0;
    for (const auto& to : record.destinations) {
        const auto* mailbox = std::get_if<mail::Mailbox>(&to.place);
        if (mailbox == nullptr || ++looked_up > max_places) continue;
        const auto mx = co_await s_.resolver.mx(mailbox->domain());
        if (!mx) continue;
        const bool null_mx = mx->records.size() == 1 && mx->records.front().exchange.empty();
        if (mx->existence == dns::Existence::no_name || null_mx)
            problems.push_back(name + ": " + printable(to.uri, 120) + ": " + mailbox->host() +
                               (null_mx ? " takes no mail (null MX)" : " does not exist in the DNS"));
    }
}

// The TLSRPT record.
asio::awaitable<void> PolicyVerbs::look_at_reports(dns::Domain domain, sts::Published& published) {
    const auto at = domain.under("_smtp._tls");
    if (!at) co_return;
    const auto answer = co_await s_.resolver.txt(*at);
    if (!answer) {
        published.reports_problem = answer.error().text;
        co_return;
    }
    const auto record = tlsrpt::parse_record(answer->records, s_.other_report_ports);
    published.reports_known = true;
    published.reports_usable = record && *record;
    published.report_problems = tlsrpt::problems_of(at->text(), answer->records, s_.other_report_ports);
    if (published.reports_usable) co_await check_places(**record, at->text(), published.report_problems);
}

asio::awaitable<sts::Published> PolicyVerbs::published_by(dns::Domain domain) {
    sts::Published published(domain);
    if (const auto at = domain.under("_mta-sts")) {
        const auto answer = co_await s_.resolver.txt(*at);
        if (answer)
            published.records = answer->records;
        else
            published.records_problem = answer.error().text;
    }
    const auto fetched = co_await sts::fetch_text(s_.fetch, s_.resolver, s_.https, dns::PolicyDomain(domain));
    if (fetched) {
        published.policy = fetched->text;
        published.content_type = fetched->content_type;
    } else {
        published.policy_problem = fetched.error().text;
    }
    const auto mx = co_await s_.resolver.mx(domain);
    if (mx) {
        published.mx.emplace();
        for (const auto& record : mx->records) published.mx->push_back(record.exchange);
        if (mx->records.empty()) published.mx->push_back(domain.text());
    } else {
        published.mx_problem = mx.error().text;
    }
    co_await look_at_reports(std::move(domain), published);
    co_return published;
}

asio::awaitable<Answer<CheckAnswer>> PolicyVerbs::check(DomainRequest request) {
    const auto name = dns::Domain::parse(lowered(request.domain));
    if (!name) co_return refusal(name.error().text);
    const auto published = co_await published_by(*name);
    bool errors = false;
    auto found = findings_of(published, name->text(), s_.clock.wall(), errors);
    co_return Answer<CheckAnswer>(std::move(found), errors ? ExitCode::no : ExitCode::done);
}

}  // namespace sternpost::admin
