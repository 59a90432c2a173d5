#include "cmd/offline.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <iostream>
#include <map>

#include "cmd/print.h"
#include "config/file.h"
#include "control/reasons.h"
#include "control/reports.h"
#include "queue/obstacle.h"
#include "queue/suspensions.h"
#include "store/hop_group.h"
#include "store/open.h"
#include "store/sender_scope.h"
#include "util/login.h"
#include "util/text.h"

namespace sternpost::cmd {

using control::ExitCode;

namespace {

constexpr std::size_t max_hops = 1'000'000;  // ours: as good as all; the command ends with its answer

// What is in the way of each recipient, by what is on the disk.
class OfflineObstacles {
  public:
    static store::Result<OfflineObstacles> read(store::Questions& store) {
        OfflineObstacles out;
        store::HopFilter all;
        all.limit = max_hops;
        const auto hops = store.hops(all);
        if (!hops) return fail(hops.error());
        for (const auto& hop : *hops)
            if (hop.state.failures > 0) out.failing_[hop.state.next_hop] = hop.state;
        const auto suspensions = store.suspensions();
        if (!suspensions) return fail(suspensions.error());
        for (const auto& one : *suspensions) out.suspensions_.put(one);
        return out;
    }
    std::vector<queue::Blocked> of(const store::StoredMessage& message, WallTime now) const {
        std::vector<queue::Blocked> out(message.recipients.size());
        for (std::size_t n = 0; n < message.recipients.size(); ++n) {
            if (message.recipients[n].state != store::RecipientState::queued) continue;
            const std::string name = store::hop_of(message, n);
            queue::ObstacleFacts facts;
            facts.now = now;
            facts.running = false;
            facts.of_sender = suspensions_.of_sender(message);
            facts.of_hop = suspensions_.of_hop(name);
            if (const auto hop = failing_.find(name); hop != failing_.end()) facts.hop = &hop->second;
            out[n] = queue::blocked_by(message, n, facts);
        }
        return out;
    }

  private:
    std::map<std::string, store::HopState> failing_;
    queue::Suspensions suspensions_;
};

json::object to_json(const store::HopLoad& hop, const OfflineObstacles& obstacles, WallTime now) {
    const auto& state = hop.state;
    control::HopRow row{state.next_hop, hop.recipients, 0, state.failures, {}, state.status, state.text, {}};
    if (state.failures > 0) row.next_at = state.next_at;
    const auto blocked = obstacles.of(queue::mail_for(state.next_hop), now);
    if (!blocked.empty()) row.blocked = blocked.front();
    return control::to_json(row);
}

Answer offline_what_if(store::Questions& store, const std::string& since, WallTime now) {
    const auto span = config::parse_duration(since.empty() ? "7d" : since);
    if (!span)
        return {
            ExitCode::usage, "--since " + printable(since) + ": wanted is a duration such as 7d or 12h", {}};
    store::OutcomeFilter filter;
    filter.from = std::chrono::floor<std::chrono::days>(now - *span);
    const auto outcomes = store.outcomes(filter);
    if (!outcomes) return {ExitCode::internal, outcomes.error().text, {}};
    store::HopFilter all;
    all.limit = max_hops;
    const auto hops = store.hops(all);
    if (!hops) return {ExitCode::internal, hops.error().text, {}};
    control::HeldByPolicy held;
    for (const auto& load : *hops) held.add(load);
    for (auto& hop : held.hops()) {
        const auto found = store.find(control::HeldByPolicy::mail_of(hop));
        if (!found) return {ExitCode::internal, found.error().text, {}};
        control::HeldByPolicy::name(hop, *found);
    }
    return {ExitCode::done, "", control::what_if(*outcomes, held, filter.from)};
}

Answer offline_why(store::Questions& store, const config::Settings& settings, const std::string& id,
                   WallTime now) {
    store::HistoryFilter of_message;
    of_message.id = id;
    store::QueueFilter in_queue;
    if (const auto parsed = store::MessageId::parse(id)) in_queue.ids.push_back(*parsed);
    if (in_queue.ids.empty()) return {ExitCode::no, "\"" + printable(id) + "\" is not a queue id", {}};
    auto history = store.history(of_message);
    const auto found = store.find(in_queue);
    const auto obstacles = OfflineObstacles::read(store);
    if (!history || !found || !obstacles)
        return {ExitCode::internal,
                !history ? history.error().text
                : !found ? found.error().text
                         : obstacles.error().text,
                {}};
    delivery::WhyFacts facts;
    facts.now = now;
    facts.running = false;
    if (!found->empty()) {
        facts.message = found->front();
        facts.blocked = obstacles->of(facts.message, now);
    } else if (!history->messages.empty()) {
        facts.message = history->messages.front();
        facts.in_queue = false;
    } else {
        return {ExitCode::no, "no message " + id + " is in the queue, nor in the history that is kept", {}};
    }
    facts.history = std::move(history->entries);
    switch (facts.message.message_class) {
        case store::MessageClass::mail:
            facts.deadline = facts.message.arrived + settings.lifetime;
            break;
        case store::MessageClass::notice:
            facts.deadline = facts.message.arrived + settings.notice_lifetime;
            break;
        case store::MessageClass::report:
            facts.deadline = facts.message.arrived + settings.tlsrpt_retry_for;
            break;
    }
    return {ExitCode::done, "", control::to_json(facts)};
}

Answer offline_tlsrpt(store::Questions& store, const config::Settings& settings, const json::object& request,
                      WallTime now) {
    const std::string verb = text(request, "verb");
    const auto today = std::chrono::floor<std::chrono::days>(now);
    const bool whole = verb == "tlsrpt.list" || verb == "tlsrpt.show";
    const auto day = control::day_of(text(request, "day"), now,
                                     verb == "tlsrpt.digest" ? today - std::chrono::days(1) : today);
    if (!day)
        return {ExitCode::usage,
                "--day " + printable(text(request, "day")) +
                    ": wanted is a UTC day such as 2026-11-26, or yesterday",
                {}};
    store::ReportFilter filter;
    if (!whole || !text(request, "day").empty()) filter.from = filter.to = *day;
    if (whole) filter.domain = text(request, "domain");
    filter.id = text(request, "id");
    filter.asked_for = verb == "tlsrpt.list" && !flag(request, "all");
    const auto reports = store.reports(filter);
    if (!reports) return {ExitCode::internal, reports.error().text, {}};
    if (verb == "tlsrpt.list") {
        json::array out;
        for (const auto& report : *reports) out.push_back(control::to_json(report));
        return {ExitCode::done, "", out};
    }
    store::OutcomeFilter of_day{*day, *day, {}};
    if (verb == "tlsrpt.show") {
        if (filter.id.empty() || reports->empty())
            return {ExitCode::no, "no report has the id " + printable(filter.id), {}};
        of_day = {reports->front().day, reports->front().day, reports->front().domain};
    }
    if (verb == "tlsrpt.preview") of_day.domain = text(request, "domain");
    const auto outcomes = store.outcomes(of_day);
    if (!outcomes) return {ExitCode::internal, outcomes.error().text, {}};
    if (verb == "tlsrpt.digest") return {ExitCode::done, "", control::digest(*day, *outcomes, *reports)};
    json::object out;
    if (verb == "tlsrpt.show") out = control::to_json(reports->front());
    if (outcomes->empty() && verb == "tlsrpt.preview")
        return {ExitCode::no,
                "no session with a host of " + printable(of_day.domain) + " was counted on that day",
                {}};
    tlsrpt::Reporter by;
    by.organization = settings.tlsrpt_organization;
    by.contact = settings.tlsrpt_contact;
    by.submitter = lowered(by.contact.substr(std::min(by.contact.find('@'), by.contact.size() - 1) + 1));
    by.node = config::effective_hostname(settings);
    const auto report = tlsrpt::make_report(by, of_day.domain, of_day.from, *outcomes);
    for (auto& entry : control::to_json(report)) out[entry.key()] = entry.value();
    if (verb == "tlsrpt.preview") {
        out["places"] = json::array();
        out["passed_over"] = json::array();
        out["why_not"] = "the daemon is down: who asks for it is not known";
    }
    return {ExitCode::done, "", out};
}

// What an answer is made of.
struct Context {
    store::Questions& store;
    const config::Settings& settings;
    const json::object& request;
    WallTime now;

    std::string verb() const { return text(request, "verb"); }
    std::string domain() const { return text(request, "domain"); }
};

Answer trouble(const Error<store::Errc>& error) {
    Answer out;
    out.code = error.code == store::Errc::not_found ? ExitCode::no
               : error.code == store::Errc::io      ? ExitCode::not_permitted
                                                    : ExitCode::internal;
    out.text = "the daemon does not answer, and on disk: " + error.text;
    return out;
}

template <class Value, class ToJson>
Answer list_of(const store::Result<std::vector<Value>>& all, ToJson to_json) {
    if (!all) return trouble(all.error());
    json::array list;
    for (const auto& one : *all) list.push_back(to_json(one));
    return {ExitCode::done, "", std::move(list)};
}

Answer policies(const Context& context) {
    const auto all = context.store.policies();
    if (!all) return trouble(all.error());
    if (context.verb() == "sts.list")
        return list_of(all, [](const auto& policy) { return control::to_json(policy, false); });
    for (const auto& policy : *all)
        if (policy.domain == context.domain()) return {ExitCode::done, "", control::to_json(policy, true)};
    return {ExitCode::no, "no MTA-STS policy of " + context.domain() + " is cached", {}};
}

Answer overrides(const Context& context) {
    auto answer = list_of(context.store.overrides(),
                          [&](const auto& o) { return control::to_json(o, false, context.now); });
    if (answer.code == ExitCode::done)
        for (const auto& o : context.settings.overrides)
            answer.data.as_array().push_back(control::to_json(o, true, context.now));
    return answer;
}

Answer versions(const Context& context) {
    const auto versions = context.store.versions(context.domain());
    if (!versions) return trouble(versions.error());
    if (versions->empty()) return {ExitCode::no, "no policy of " + context.domain() + " was ever seen", {}};
    return control::history_of(context.domain(), *versions);
}

Answer status(const Context& context) {
    const auto totals = context.store.totals();
    if (!totals) return trouble(totals.error());
    const auto policies = context.store.policies();
    json::object data;
    data["running"] = false;
    data["queue"] = control::to_json(*totals);
    data["policies"] = policies ? policies->size() : 0;
    return {ExitCode::unavailable, "", data};
}

std::size_t limit_of(const Context& context, std::size_t otherwise) {
    const auto* limit = context.request.if_contains("limit");
    return limit != nullptr && limit->is_int64() ? static_cast<std::size_t>(limit->as_int64()) : otherwise;
}

Answer hops(const Context& context) {
    store::HopFilter filter;
    filter.limit = limit_of(context, filter.limit);
    const auto obstacles = OfflineObstacles::read(context.store);
    if (!obstacles) return trouble(obstacles.error());
    return list_of(context.store.hops(filter),
                   [&](const auto& hop) { return to_json(hop, *obstacles, context.now); });
}

Answer show(const Context& context) {
    const std::string id = text(context.request, "id");
    store::QueueFilter filter;
    if (const auto parsed = store::MessageId::parse(id)) filter.ids.push_back(*parsed);
    if (filter.ids.empty()) return {ExitCode::no, "no message " + printable(id) + " is in the queue", {}};
    const auto found = context.store.find(filter);
    if (!found) return trouble(found.error());
    const auto obstacles = OfflineObstacles::read(context.store);
    if (!obstacles) return trouble(obstacles.error());
    if (found->empty()) return {ExitCode::no, "no message " + id + " is in the queue", {}};
    return {ExitCode::done, "", control::to_json(found->front(), obstacles->of(found->front(), context.now))};
}

Answer list(const Context& context) {
    store::QueueFilter filter;
    filter.domain = context.domain();
    if (const std::string sender = text(context.request, "sender"); !sender.empty()) {
        auto scope = store::parse_sender_scope(sender, util::uid_of_login);
        if (!scope)
            return {ExitCode::usage,
                    "--sender " + printable(sender) + ": allowed is " + std::string(store::sender_forms),
                    {}};
        filter.sender = std::move(*scope);
    }
    filter.reason = text(context.request, "reason");
    filter.recipient = text(context.request, "recipient");
    filter.from = text(context.request, "from");
    filter.limit = limit_of(context, filter.limit);
    const auto totals = context.store.totals();
    if (!totals) return trouble(totals.error());
    const auto found = context.store.find(filter);
    if (!found) return trouble(found.error());
    const auto obstacles = OfflineObstacles::read(context.store);
    if (!obstacles) return trouble(obstacles.error());
    json::array messages;
    store::QueueTotals selected;
    for (const auto& message : *found) {
        messages.push_back(control::to_json(message, obstacles->of(message, context.now)));
        control::add(selected, message);
    }
    json::object data;
    data["messages"] = std::move(messages);
    data["totals"] = control::to_json(*totals);
    data["selected"] = control::to_json(selected);
    data["more"] = found->size() >= filter.limit;
    return {ExitCode::done, "", data};
}

Answer suspensions(const Context& context) {
    return list_of(context.store.suspensions(), [](const auto& one) { return control::to_json(one); });
}

Answer what_if(const Context& context) {
    return offline_what_if(context.store, text(context.request, "since"), context.now);
}

Answer why(const Context& context) {
    return offline_why(context.store, context.settings, text(context.request, "id"), context.now);
}

Answer reports(const Context& context) {
    return offline_tlsrpt(context.store, context.settings, context.request, context.now);
}

struct Verb {
    std::string_view name;
    Answer (*answer)(const Context&);
};
constexpr std::array verbs{
    Verb{"status", status},
    Verb{"queue.list", list},
    Verb{"queue.show", show},
    Verb{"queue.hops", hops},
    Verb{"queue.suspended", suspensions},
    Verb{"why", why},
    Verb{"sts.list", policies},
    Verb{"sts.show", policies},
    Verb{"sts.history", versions},
    Verb{"policy.override.list", overrides},
    Verb{"policy.whatif", what_if},
    Verb{"tlsrpt.list", reports},
    Verb{"tlsrpt.show", reports},
    Verb{"tlsrpt.digest", reports},
    Verb{"tlsrpt.preview", reports},
};

}  // namespace

Answer offline(const config::Settings& settings, const json::object& request) {
    const std::string verb = text(request, "verb");
    if (verb == "tlsrpt.status")
        return {ExitCode::unavailable, "the daemon does not answer: no report is sent while it is down", {}};
    const auto known =
        std::find_if(verbs.begin(), verbs.end(), [&](const Verb& one) { return one.name == verb; });
    if (known == verbs.end())
        return {ExitCode::unavailable,
                "the daemon does not answer, and " + verb + " needs it: is it running?",
                {}};
    const auto opened = store::open_at_rest(settings.state_dir);
    if (!opened) return trouble(opened.error());
    for (const auto& warning : (*opened)->warnings()) std::cerr << "sternpost: " << warning << '\n';
    return known->answer({**opened, settings, request, SystemClock().wall()});
}

}  // namespace sternpost::cmd
