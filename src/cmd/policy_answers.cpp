#include "cmd/policy_answers.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <map>

#include "config/file.h"
#include "control/explanation.h"
#include "control/reasons.h"
#include "delivery/explain.h"
#include "delivery/why.h"
#include "store/ask.h"
#include "store/hop_group.h"
#include "sts/advice.h"
#include "tlsrpt/record.h"
#include "util/call.h"
#include "util/text.h"

namespace sternpost::cmd {
namespace {

using control::Answer;
using control::ExitCode;
using control::text_of;
namespace json = boost::json;

constexpr std::array reading{"explain",  "why",         "policy.whatif", "policy.override.list",
                             "sts.diff", "sts.history", "sts.check"};
constexpr std::size_t max_places = 5;    // ours: places for reports that `sts check` looks up
constexpr std::size_t max_waiting = 50;  // ours: messages that `explain` looks at for how their attempts went
constexpr std::array acting{"policy.override.set", "policy.override.remove"};

Answer refusal(std::string text) {
    return {ExitCode::no, std::move(text), {}};
}

Answer with_lines(json::object data, const std::vector<std::string>& lines) {
    data["lines"] = control::to_json(lines);
    return {ExitCode::done, "", std::move(data)};
}

// `example.com`, or the domain of an address.
std::string domain_of(const std::string& text) {
    const auto at = text.rfind('@');
    const std::string domain = at == std::string::npos ? text : text.substr(at + 1);
    if (domain.starts_with('[')) return domain;
    const auto parsed = dns::Domain::parse(domain);
    return parsed ? parsed->text() : "";
}

}  // namespace

bool PolicyAnswers::knows(std::string_view verb) {
    return std::find(reading.begin(), reading.end(), verb) != reading.end() ||
           std::find(acting.begin(), acting.end(), verb) != acting.end();
}

asio::awaitable<Answer> PolicyAnswers::answer(json::object request, control::Caller caller) {
    const std::string verb = text_of(request, "verb");
    std::string domain = text_of(request, "domain");
    if (verb == "explain") co_return co_await explain(std::move(request));
    if (verb == "why") {
        std::string id = text_of(request, "id");
        co_return co_await why(std::move(id));
    }
    if (verb == "policy.whatif") {
        std::string since = text_of(request, "since");
        co_return co_await what_if(std::move(since));
    }
    if (verb == "policy.override.list") co_return list_overrides();
    if (verb == "policy.override.set") co_return co_await set_override(std::move(request), caller);
    if (verb == "policy.override.remove") {
        std::string scope = text_of(request, "scope");
        co_return co_await remove_override(std::move(scope), caller);
    }
    if (verb == "sts.diff") co_return co_await diff(std::move(domain));
    if (verb == "sts.history") co_return co_await history(std::move(domain));
    co_return co_await check(std::move(domain));
}

asio::awaitable<store::Result<void>> PolicyAnswers::load() {
    auto question = [](store::Questions& questions) { return questions.overrides(); };
    auto all = co_await store::ask(s_.store, std::move(question));
    if (!all) co_return fail(std::move(all).error());
    for (auto& one : *all) s_.overrides.set(std::move(one));
    end_expired();
    co_return store::Result<void>();
}

void PolicyAnswers::end_expired() {
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

asio::awaitable<Answer> PolicyAnswers::explain(json::object request) {
    const std::string asked_for = text_of(request, "domain");
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
    const auto* probe = request.if_contains("probe");
    const bool wanted = probe != nullptr && probe->is_bool() && probe->as_bool();
    end_expired();
    auto says = co_await queue_says(domain);
    auto explanation = co_await delivery::explain(s_.delivery, s_.resolver, s_.clock, std::move(domain),
                                                  wanted, std::move(says));
    if (wanted && explanation.published && explanation.plan.sts->policy && !explanation.plan.sts->fresh) {
        auto name = dns::Domain::parse(explanation.plan.domain);
        const auto fetched =
            co_await sts::fetch(s_.fetch, s_.resolver, s_.https, dns::PolicyDomain(std::move(*name)));
        if (fetched)
            explanation.published->policy = fetched->text;
        else
            explanation.published->policy_problem = fetched.error().text;
    }
    Answer out;
    auto data = control::to_json(explanation);
    if (!local.empty()) {
        auto& lines = data["lines"].as_array();
        lines.emplace(lines.begin(), local);
    }
    out.data = std::move(data);
    switch (explanation.outlook) {
        case delivery::Outlook::protected_:
        case delivery::Outlook::opportunistic:
            break;
        case delivery::Outlook::suspended:
        case delivery::Outlook::held:
            out.code = ExitCode::held;
            break;
        case delivery::Outlook::no_mail:
            out.code = ExitCode::no;
            break;
        case delivery::Outlook::failing:
        case delivery::Outlook::unanswered:
            out.code = ExitCode::unanswered;
            break;
    }
    co_return out;
}

// How delivery to the next hop fared so far.
asio::awaitable<delivery::QueueSays> PolicyAnswers::queue_says(std::string hop) {
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
    auto mail = co_await found(std::move(waiting));
    if (mail) facts.waiting = std::move(*mail);
    facts.more_waits = facts.waiting.size() >= max_waiting;
    for (const auto& message : facts.waiting)
        facts.waiting_blocked.push_back(s_.queue.blocked_by(message, hops));
    store::HistoryFilter of_hop;
    of_hop.next_hop = hop;
    auto history_question = [of_hop](store::Questions& questions) { return questions.history(of_hop); };
    auto history = co_await store::ask(s_.store, std::move(history_question));
    if (history) facts.history = delivery::history_of_hop(std::move(*history), hop);
    co_return delivery::QueueSays::of(facts);
}

// Of what is in memory, memory knows better than the store.
asio::awaitable<store::Result<control::HeldByPolicy>> PolicyAnswers::held_by_policy() {
    control::HeldByPolicy out;
    store::HopFilter filter;
    for (bool last = false; !last;) {
        auto question = [filter](store::Questions& questions) { return questions.hops(filter); };
        const auto page = co_await store::ask(s_.store, std::move(question));
        if (!page) co_return fail(page.error());
        for (const auto& load : *page) {
            const auto view = s_.queue.core().hop_view(load.state.next_hop);
            if (!view || view->next_at) out.add(load);
        }
        last = page->size() < filter.limit;
        if (!last) filter.after = store::HopKey{page->back().recipients, page->back().state.next_hop};
    }
    for (auto& hop : out.hops()) {
        auto mail = control::HeldByPolicy::mail_of(hop);
        const auto found = co_await this->found(std::move(mail));
        if (!found) co_return fail(found.error());
        control::HeldByPolicy::name(hop, *found);
    }
    co_return out;
}

asio::awaitable<store::Result<std::vector<store::StoredMessage>>> PolicyAnswers::found(
    store::QueueFilter filter) {
    auto question = [held = std::move(filter)](store::Questions& questions) { return questions.find(held); };
    co_return co_await store::ask(s_.store, std::move(question));
}

asio::awaitable<Answer> PolicyAnswers::why(std::string id) {
    const auto parsed = store::MessageId::parse(id);
    if (!parsed) co_return refusal("\"" + printable(id) + "\" is not a queue id");
    end_expired();
    delivery::WhyFacts facts;
    facts.now = s_.queue.now().wall;
    facts.clock_trusted = s_.queue.now().trusted;
    store::HistoryFilter filter;
    filter.id = id;
    auto question = [filter](store::Questions& questions) { return questions.history(filter); };
    auto history = co_await store::ask(s_.store, std::move(question));
    if (!history) co_return Answer{ExitCode::internal, history.error().text, {}};
    store::QueueFilter wanted;
    wanted.ids.push_back(*parsed);
    const auto found = co_await this->found(std::move(wanted));
    if (!found) co_return Answer{ExitCode::internal, found.error().text, {}};
    if (!found->empty()) {
        facts.message = found->front();
    } else if (!history->messages.empty()) {
        facts.message = history->messages.front();
        facts.in_queue = false;
    } else {
        co_return refusal("no message " + id + " is in the queue, nor in the history that is kept");
    }
    facts.history = std::move(history->entries);
    facts.writes_as = s_.writes_as(facts.message);
    std::vector<std::string> names;
    for (std::size_t n = 0; n < facts.message.recipients.size(); ++n)
        names.push_back(store::hop_of(facts.message, n));
    store::HopFilter of_message;
    of_message.names = std::move(names);
    auto hops_question = [of_message](store::Questions& questions) { return questions.hops(of_message); };
    const auto loads = co_await store::ask(s_.store, std::move(hops_question));
    std::vector<store::HopState> hops;
    if (loads)
        for (const auto& load : *loads) hops.push_back(load.state);
    facts.blocked = s_.queue.blocked_by(facts.message, hops);
    for (std::size_t n = 0; n < facts.message.recipients.size(); ++n) {
        if (const auto o = s_.overrides.in_force(facts.message.recipients[n].address.next_hop, std::nullopt,
                                                 facts.now)) {
            store::StoredOverride one;
            one.scope = o->scope;
            one.level = delivery::name_of(o->level);
            one.reason = o->reason;
            one.author = o->author;
            one.expires = o->expires;
            if (std::find(facts.overrides.begin(), facts.overrides.end(), one) == facts.overrides.end())
                facts.overrides.push_back(std::move(one));
        }
    }
    facts.deadline = facts.message.arrived + s_.schedule.lifetime_of(facts.message.message_class);
    Answer out;
    out.data = control::to_json(facts);
    co_return out;
}

asio::awaitable<Answer> PolicyAnswers::what_if(std::string since) {
    const auto span = config::parse_duration(since.empty() ? "7d" : since);
    if (!span) co_return refusal("--since " + printable(since) + ": wanted is a duration such as 7d or 12h");
    store::OutcomeFilter filter;
    filter.from = std::chrono::floor<std::chrono::days>(s_.clock.wall() - *span);
    auto question = [filter](store::Questions& questions) { return questions.outcomes(filter); };
    const auto outcomes = co_await store::ask(s_.store, std::move(question));
    if (!outcomes) co_return Answer{ExitCode::internal, outcomes.error().text, {}};
    const auto held = co_await held_by_policy();
    if (!held) co_return Answer{ExitCode::internal, held.error().text, {}};
    co_return Answer{ExitCode::done, "", control::what_if(*outcomes, *held, filter.from)};
}

asio::awaitable<Answer> PolicyAnswers::set_override(json::object request, control::Caller caller) {
    store::StoredOverride wanted;
    const auto scope = delivery::Scope::parse(lowered(text_of(request, "scope")));
    if (!scope) co_return refusal(scope.error().text);
    wanted.scope = scope->text();
    wanted.level = text_of(request, "level");
    if (!delivery::level_of(wanted.level))
        co_return refusal("\"" + printable(wanted.level) +
                          "\" is not a level: allowed are none, may, encrypt, verify, dane and sts");
    wanted.reason = text_of(request, "reason");
    if (wanted.reason.empty()) co_return refusal("--reason is needed: why, for those who come after you");
    wanted.author = text_of(request, "author");
    if (wanted.author.empty()) wanted.author = "uid " + std::to_string(caller.uid);
    wanted.set = s_.clock.wall();
    if (const std::string expires = text_of(request, "expires"); !expires.empty()) {
        const auto span = config::parse_duration(expires);
        const auto when = parse_rfc3339(expires);
        if (!span && !when)
            co_return refusal("--expires " + printable(expires) +
                              ": wanted is a time such as 2027-01-31T00:00:00Z, or a duration such as 14d");
        wanted.expires = when ? *when : wanted.set + *span;
        if (wanted.expires <= wanted.set)
            co_return refusal("--expires " + printable(expires) + " is in the past");
    }
    auto put = [this, wanted](Completion<store::Result<void>> reply) {
        s_.store.keep(wanted, std::move(reply));
    };
    const auto kept = co_await call<store::Result<void>>(std::move(put));
    if (!kept) co_return Answer{ExitCode::internal, kept.error().text, {}};
    Event(s_.log, Level::warning, "override")
        .kv("scope", wanted.scope)
        .kv("level", wanted.level)
        .kv("author", wanted.author)
        .kv("expires", wanted.expires == WallTime{} ? "never" : rfc3339(wanted.expires))
        .kv("status", "set")
        .reason(wanted.reason);
    const auto data = control::to_json(wanted, false, s_.clock.wall());
    s_.overrides.set(std::move(wanted));
    co_return Answer{ExitCode::done, "", data};
}

asio::awaitable<Answer> PolicyAnswers::remove_override(std::string scope_text, control::Caller caller) {
    const auto scope = delivery::Scope::parse(lowered(scope_text));
    if (!scope) co_return refusal(scope.error().text);
    store::StoredOverride gone;
    gone.scope = scope->text();
    gone.author = "uid " + std::to_string(caller.uid);
    gone.set = s_.clock.wall();
    auto put = [this, gone](Completion<store::Result<void>> reply) { s_.store.keep(gone, std::move(reply)); };
    const auto kept = co_await call<store::Result<void>>(std::move(put));
    if (!kept) co_return Answer{ExitCode::internal, kept.error().text, {}};
    if (!s_.overrides.set(gone))
        co_return refusal("no override for " + gone.scope +
                          " was set by command; those of the configuration are taken out there");
    Event(s_.log, Level::warning, "override")
        .kv("scope", gone.scope)
        .kv("author", gone.author)
        .kv("status", "removed");
    json::object data;
    data["scope"] = gone.scope;
    co_return Answer{ExitCode::done, "", data};
}

Answer PolicyAnswers::list_overrides() const {
    std::size_t configured = 0;
    const auto all = s_.overrides.all(configured);
    json::array out;
    for (std::size_t i = 0; i < all.size(); ++i)
        out.push_back(control::to_json(all[i], i + configured >= all.size(), s_.clock.wall()));
    return {ExitCode::done, "", out};
}

asio::awaitable<Answer> PolicyAnswers::diff(std::string domain) {
    auto name = dns::Domain::parse(domain);
    if (!name) co_return refusal(name.error().text);
    const dns::PolicyDomain policy_domain(std::move(*name));
    const auto cached = co_await s_.lookups.view(policy_domain);
    const auto fetched = co_await sts::fetch(s_.fetch, s_.resolver, s_.https, policy_domain);
    if (!fetched)
        co_return Answer{
            ExitCode::unanswered, "the published policy cannot be had: " + fetched.error().text, {}};
    json::object data;
    data["domain"] = policy_domain.text();
    data["cached"] = cached ? cached->stored.text : "";
    data["published"] = fetched->text;
    data["same"] = cached && cached->stored.text == fetched->text;
    std::vector<std::string> lines;
    if (!cached) {
        lines.emplace_back("no policy of " + policy_domain.text() + " is cached; published is:");
        lines = sts::diff("", fetched->text);
    } else if (cached->stored.text == fetched->text) {
        lines.push_back("the policy in the cache is the one that " + policy_domain.text() + " publishes");
    } else {
        lines = sts::diff(cached->stored.text, fetched->text);
        lines.insert(lines.begin(), "- cached, fetched " + rfc3339(cached->stored.fetched));
        lines.insert(lines.begin() + 1, "+ published now");
    }
    co_return with_lines(std::move(data), lines);
}

asio::awaitable<Answer> PolicyAnswers::history(std::string domain) {
    auto name = dns::Domain::parse(domain);
    if (!name) co_return refusal(name.error().text);
    const std::string text = name->text();
    auto question = [text](store::Questions& questions) { return questions.versions(text); };
    const auto versions = co_await store::ask(s_.store, std::move(question));
    if (!versions) co_return Answer{ExitCode::internal, versions.error().text, {}};
    if (versions->empty()) co_return refusal("no policy of " + text + " was ever seen");
    co_return control::history_of(text, *versions);
}

// What a domain owner would want to know: all that is published, looked at now and past every cache of
// policies.
// Places that a look-up shows to take nothing.
asio::awaitable<void> PolicyAnswers::check_places(const tlsrpt::Record& record, const std::string& name,
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

asio::awaitable<Answer> PolicyAnswers::check(std::string domain) {
    auto name = dns::Domain::parse(domain);
    if (!name) co_return refusal(name.error().text);
    sts::Published published(*name);
    if (const auto at = name->under("_mta-sts")) {
        const auto answer = co_await s_.resolver.txt(*at);
        if (answer)
            published.records = answer->records;
        else
            published.records_problem = answer.error().text;
    }
    const auto fetched = co_await sts::fetch_text(s_.fetch, s_.resolver, s_.https, dns::PolicyDomain(*name));
    if (fetched) {
        published.policy = fetched->text;
        published.content_type = fetched->content_type;
    } else {
        published.policy_problem = fetched.error().text;
    }
    const auto mx = co_await s_.resolver.mx(*name);
    if (mx) {
        published.mx.emplace();
        for (const auto& record : mx->records) published.mx->push_back(record.exchange);
        if (mx->records.empty()) published.mx->push_back(name->text());
    } else {
        published.mx_problem = mx.error().text;
    }
    if (const auto at = name->under("_smtp._tls")) {
        const auto answer = co_await s_.resolver.txt(*at);
        if (answer) {
            const auto record = tlsrpt::parse_record(answer->records, s_.other_report_ports);
            published.reports_known = true;
            published.reports_usable = record && *record;
            published.report_problems =
                tlsrpt::problems_of(at->text(), answer->records, s_.other_report_ports);
            if (published.reports_usable)
                co_await check_places(**record, at->text(), published.report_problems);
        } else {
            published.reports_problem = answer.error().text;
        }
    }
    const auto findings = sts::lint(published, s_.clock.wall());
    json::object data;
    data["domain"] = name->text();
    json::array list;
    std::vector<std::string> lines;
    bool errors = false;
    for (const auto& finding : findings) {
        json::object one;
        one["severity"] = sts::name_of(finding.severity);
        one["text"] = finding.text;
        list.push_back(std::move(one));
        lines.push_back(std::string(sts::name_of(finding.severity)) + ": " + finding.text);
        errors = errors || finding.severity == sts::Severity::error;
    }
    if (findings.empty())
        lines.push_back(name->text() + ": record, policy and MX records agree; nothing to mend");
    data["findings"] = std::move(list);
    Answer out = with_lines(std::move(data), lines);
    if (errors) out.code = ExitCode::no;
    co_return out;
}

}  // namespace sternpost::cmd
