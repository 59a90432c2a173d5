// sternpost(1): the administrator's command. Asks the daemon; what only reads is answered from disk while the
// daemon is down.
#include <dirent.h>
#include <fmt/format.h>
#include <sysexits.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <array>
#include <csignal>
#include <ctime>
#include <functional>
#include <iostream>
#include <map>
#include <optional>

#include "cmd/dkim_verbs.h"
#include "cmd/tlsrpt_print.h"
#include "cmd/tlsrpt_read.h"
#include "config/file.h"
#include "control/client.h"
#include "control/mailq.h"
#include "control/reasons.h"
#include "control/reports.h"
#include "store/hop.h"
#include "store/sqlite/check.h"
#include "store/sqlite/offline.h"
#include "sts/advice.h"
#include "util/file.h"
#include "util/text.h"

namespace {

using namespace sternpost;
using namespace sternpost::cmd;
using control::Answer;
using control::ExitCode;
namespace json = boost::json;

constexpr const char* default_config = "/etc/sternpost/sternpost.toml";
constexpr auto patience = std::chrono::seconds(90);  // a policy fetch may take a minute

std::string text(const json::object& object, std::string_view key) {
    const auto* value = object.if_contains(key);
    if (value == nullptr || value->is_null()) return "";
    return value->is_string() ? std::string(value->as_string()) : json::serialize(*value);
}

bool flag(const json::object& object, std::string_view key) {
    const auto* value = object.if_contains(key);
    return value != nullptr && value->is_bool() && value->as_bool();
}

std::string shown_path(const std::string& path) {
    return "<" + printable(path) + ">";
}

// A policy's text: its line ends stay, nothing in it may steer the terminal.
std::string printable_text(const std::string& octets) {
    std::string out;
    for (std::string_view line : split(octets, '\n')) {
        if (line.ends_with('\r')) line.remove_suffix(1);
        out += printable(line, 1000) + "\n";
    }
    return out;
}

// ---- for people

void print_message(const json::object& message) {
    fmt::print("{}  {}  {} octets  from {}{}{}\n", text(message, "id"), text(message, "arrived"),
               text(message, "size"), shown_path(text(message, "reverse_path")),
               text(message, "class") == "mail" ? "" : "  " + text(message, "class"),
               flag(message, "held") ? "  HELD" : "");
    for (const auto& item : message.at("recipients").as_array()) {
        const json::object& recipient = item.as_object();
        const std::string state = text(recipient, "state");
        if (state != "queued") continue;
        const bool active = flag(recipient, "active");
        fmt::print("    to {}  {}\n", shown_path(text(recipient, "path")),
                   active ? "being delivered" : "deferred until " + text(recipient, "next_at"));
        if (const std::string reason = text(recipient, "reason"); !reason.empty())
            fmt::print("        {} {}\n", text(recipient, "status"), printable(reason, 1000));
    }
}

void print_list(const Answer& answer) {
    const json::object& data = answer.data.as_object();
    const json::array& messages = data.at("messages").as_array();
    for (const auto& message : messages) print_message(message.as_object());
    const json::object& totals = data.at("totals").as_object();
    if (text(totals, "messages") == "0")
        fmt::print("The queue is empty.\n");
    else
        fmt::print("{} message(s), {} recipient(s), {} octets{}\n", text(totals, "messages"),
                   text(totals, "recipients"), text(totals, "octets"),
                   std::to_string(messages.size()) == text(totals, "messages")
                       ? ""
                       : fmt::format("; {} shown", messages.size()));
}

// As ctime(3) has it, without the year.
std::string local_time(const std::string& rfc3339) {
    std::tm utc{};
    if (::strptime(rfc3339.c_str(), "%Y-%m-%dT%H:%M:%S", &utc) == nullptr) return rfc3339.substr(0, 19);
    const std::time_t at = ::timegm(&utc);
    std::tm local{};
    ::localtime_r(&at, &local);
    std::array<char, 64> out{};
    return {out.data(), std::strftime(out.data(), out.size(), "%a %b %d %H:%M:%S", &local)};
}

void print_mailq(const Answer& answer) {
    fmt::print("{}", control::mailq_text(answer.data.as_object(), local_time));
}

// How many records wait in the maildrop; nullopt: this user may not look.
std::optional<std::size_t> in_maildrop(const std::string& folder) {
    const auto list = ::opendir(folder.c_str());
    if (list == nullptr) return std::nullopt;
    std::size_t count = 0;
    while (const dirent* entry = ::readdir(list)) {
        const std::string_view name = entry->d_name;
        if (!name.starts_with('.') && !name.starts_with("tmp-") && name != "refused") ++count;
    }
    ::closedir(list);
    return count;
}

void print_show(const Answer& answer) {
    const json::object& message = answer.data.as_object();
    print_message(message);
    const json::object& origin = message.at("origin").as_object();
    fmt::print("    accepted by {}{}{}\n", text(origin, "with"),
               text(origin, "address").empty()
                   ? ""
                   : " from " + text(origin, "address") + " (" + printable(text(origin, "helo")) + ")",
               text(origin, "uid").empty() ? "" : " from uid " + text(origin, "uid"));
    for (const auto& item : message.at("recipients").as_array()) {
        const json::object& recipient = item.as_object();
        if (text(recipient, "state") == "queued") continue;
        fmt::print("    to {}  {}  {} {}\n", shown_path(text(recipient, "path")), text(recipient, "state"),
                   text(recipient, "status"), printable(text(recipient, "reason"), 1000));
    }
}

void print_policy(const json::object& policy) {
    fmt::print("{}  mode {}  id {}\n    fetched {}  expires {}\n", text(policy, "domain"),
               text(policy, "mode"), text(policy, "id"), text(policy, "fetched"), text(policy, "expires"));
    if (const auto* mx = policy.if_contains("mx"); mx != nullptr && mx->is_array())
        for (const auto& pattern : mx->as_array())
            fmt::print("    mx {}\n", std::string(pattern.as_string()));
}

void print_policies(const Answer& answer) {
    if (answer.data.is_object()) {
        print_policy(answer.data.as_object());
        return;
    }
    for (const auto& policy : answer.data.as_array()) print_policy(policy.as_object());
    if (answer.data.as_array().empty()) fmt::print("No MTA-STS policy is cached.\n");
}

// Answers that bring their sentences along.
void print_lines(const Answer& answer) {
    const auto* lines = answer.data.is_object() ? answer.data.as_object().if_contains("lines") : nullptr;
    if (lines == nullptr || !lines->is_array()) return;
    for (const auto& line : lines->as_array())
        if (line.is_string()) fmt::print("{}\n", printable(std::string(line.as_string()), 4000));
}

void print_override(const json::object& o) {
    fmt::print("{}  {}  {}{}  by {}, in the {}\n    {}\n", text(o, "scope"), text(o, "level"),
               text(o, "expires").empty() ? "does not expire" : "until " + text(o, "expires"),
               flag(o, "expired") ? " (over)" : "", printable(text(o, "author")),
               text(o, "from") == "command" ? "running daemon" : text(o, "from"),
               printable(text(o, "reason"), 1000));
}

void print_overrides(const Answer& answer) {
    for (const auto& o : answer.data.as_array()) print_override(o.as_object());
    if (answer.data.as_array().empty()) fmt::print("No override is set.\n");
}

void print_hop(const json::object& hop) {
    fmt::print("next hop {}: {} recipient(s) waiting, {} connection(s)\n", text(hop, "name"),
               text(hop, "recipients"), text(hop, "connections"));
    if (flag(hop, "suspended"))
        fmt::print("    {}\n", printable(text(hop, "reason"), 1000));
    else if (text(hop, "failures") != "0")
        fmt::print("    failing, next attempt {}: {}\n", text(hop, "next_at"),
                   printable(text(hop, "reason"), 1000));
}

void print_hops(const Answer& answer) {
    for (const auto& hop : answer.data.as_array()) print_hop(hop.as_object());
    if (answer.data.as_array().empty()) fmt::print("Nothing waits.\n");
}

void print_doctor(const Answer& answer) {
    const json::object& data = answer.data.as_object();
    for (const auto& item : data.at("findings").as_array()) {
        const json::object& one = item.as_object();
        fmt::print("{}: {}\n", text(one, "rule"), printable(text(one, "text"), 1000));
        if (flag(one, "repaired"))
            fmt::print("    repaired: {}\n", text(one, "repair"));
        else if (!text(one, "repair").empty())
            fmt::print("    --repair would do: {}\n", text(one, "repair"));
    }
    fmt::print("{} segment(s) with {} record(s), {} message(s) in the index, {} large bodies{}: {}\n",
               text(data, "segments"), text(data, "records"), text(data, "messages"), text(data, "bodies"),
               flag(data, "daemon_runs") ? ", while the daemon runs" : "",
               data.at("findings").as_array().empty()
                   ? "all is well"
                   : fmt::format("{} finding(s)", data.at("findings").as_array().size()));
}

// Overwrites itself on a terminal.
void print_progress(const json::object& so_far) {
    const std::string reports = text(so_far, "reports");
    if (reports.empty())
        std::cerr << "\r\033[K" << text(so_far, "messages") << " messages so far" << std::flush;
    else
        std::cerr << "\r\033[K" << reports << " of " << text(so_far, "all") << " reports" << std::flush;
}

void print_suspension(const json::object& one) {
    fmt::print("SUSPENDED {} {} since {} by {}: {}\n", text(one, "kind"), printable(text(one, "scope")),
               text(one, "set"), printable(text(one, "author")), printable(text(one, "reason"), 1000));
}

void print_suspensions(const Answer& answer) {
    for (const auto& one : answer.data.as_array()) print_suspension(one.as_object());
    if (answer.data.as_array().empty()) fmt::print("Nothing is suspended.\n");
}

void print_status(const Answer& answer) {
    const json::object& data = answer.data.as_object();
    const json::object& queue = data.at("queue").as_object();
    if (!flag(data, "running")) fmt::print("The daemon is down; this is what the disk holds.\n");
    if (flag(data, "running"))
        fmt::print("sternpostd {} at {}, pid {}, since {}\n", text(data, "version"), text(data, "hostname"),
                   text(data, "pid"), text(data, "started"));
    fmt::print("queue: {} message(s), {} recipient(s), {} octets{}\n", text(queue, "messages"),
               text(queue, "recipients"), text(queue, "octets"),
               text(queue, "oldest").empty() ? "" : ", oldest of " + text(queue, "oldest"));
    fmt::print("MTA-STS policies cached: {}\n", text(data, "policies"));
    if (const auto* dnssec = data.if_contains("dnssec"); dnssec != nullptr)
        fmt::print("DNSSEC: {}\n", text(dnssec->as_object(), "reason").empty()
                                       ? text(dnssec->as_object(), "state")
                                       : printable(text(dnssec->as_object(), "reason"), 1000));
    if (const auto* trusted = data.if_contains("clock_trusted"); trusted != nullptr && !trusted->as_bool())
        fmt::print(
            "CLOCK: it has leapt, or is behind the mail in the queue: nothing expires until it is set right "
            "again or, if "
            "it is right now, the daemon is restarted\n");
    if (const auto* reports = data.if_contains("tls_reports"); reports != nullptr)
        print_reporting(reports->as_object());
    if (flag(data, "memory_short"))
        fmt::print("MEMORY: the daemon has more than max_memory: mail is refused until it has less\n");
    if (const std::string waiting = text(data, "results_waiting"); !waiting.empty() && waiting != "0")
        fmt::print(
            "STORE: {} result(s) of deliveries cannot be kept: nothing is delivered until they are; the log "
            "says why (results-wait)\n",
            waiting);
    if (const auto* overrides = data.if_contains("overrides"); overrides != nullptr && overrides->is_array())
        for (const auto& item : overrides->as_array())
            if (!flag(item.as_object(), "expired"))
                fmt::print("override \"{}\" for {}{}\n", text(item.as_object(), "level"),
                           text(item.as_object(), "scope"),
                           text(item.as_object(), "expires").empty()
                               ? ""
                               : " until " + text(item.as_object(), "expires"));
    if (const auto* alarms = data.if_contains("alarms"); alarms != nullptr && alarms->is_array())
        for (const auto& item : alarms->as_array())
            fmt::print("ALARM {} {} ({} time(s), last {}): {}\n", text(item.as_object(), "kind"),
                       text(item.as_object(), "subject"), text(item.as_object(), "count"),
                       text(item.as_object(), "last"), printable(text(item.as_object(), "reason"), 1000));
    if (const auto* suspended = data.if_contains("suspended"); suspended != nullptr && suspended->is_array())
        for (const auto& item : suspended->as_array()) print_suspension(item.as_object());
    if (const auto* hops = data.if_contains("next_hops"); hops != nullptr && hops->is_array())
        for (const auto& item : hops->as_array()) print_hop(item.as_object());
}

// ---- from disk, while the daemon is down

// What a failing next hop says of those that wait for it, as the daemon shows it.
void join_hops(std::vector<store::StoredMessage>& messages, const std::vector<store::HopLoad>& hops) {
    std::map<std::string, const store::HopState*> failing;
    for (const auto& hop : hops)
        if (hop.state.failures > 0) failing[hop.state.next_hop] = &hop.state;
    for (auto& message : messages) {
        for (auto& recipient : message.recipients) {
            const auto n = static_cast<std::size_t>(&recipient - message.recipients.data());
            const auto hop = failing.find(store::hop_of(message, n));
            if (recipient.state != store::RecipientState::queued || hop == failing.end()) continue;
            if (hop->second->next_at < recipient.next_at) continue;
            recipient.next_at = hop->second->next_at;
            recipient.status = hop->second->status;
            recipient.text = hop->second->text;
        }
    }
}

std::vector<delivery::BlockedHop> blocked(const std::vector<store::HopLoad>& hops) {
    std::vector<delivery::BlockedHop> out;
    for (const auto& [hop, recipients, due] : hops) {
        if (hop.failures == 0) continue;
        delivery::BlockedHop one;
        one.name = hop.next_hop;
        one.next_at = hop.next_at;
        one.status = hop.status;
        one.text = hop.text;
        one.reason_code = hop.reason_code;
        out.push_back(std::move(one));
    }
    return out;
}

json::object to_json(const store::HopLoad& hop) {
    json::object out;
    out["name"] = hop.state.next_hop;
    out["recipients"] = hop.recipients;
    out["connections"] = 0;
    out["failures"] = hop.state.failures;
    if (hop.state.failures > 0) out["next_at"] = rfc3339(hop.state.next_at);
    out["suspended"] = false;
    out["status"] = hop.state.status;
    out["reason"] = hop.state.text;
    return out;
}

Answer offline_what_if(store::sqlite::Offline& store, const std::string& since, WallTime now) {
    const auto span = config::parse_duration(since.empty() ? "7d" : since);
    if (!span)
        return {
            ExitCode::usage, "--since " + printable(since) + ": wanted is a duration such as 7d or 12h", {}};
    store::OutcomeFilter filter;
    filter.from = std::chrono::floor<std::chrono::days>(now - *span);
    const auto outcomes = store.outcomes(filter);
    const auto hops = store.hops({});
    const auto messages = store.find({});
    if (!outcomes || !hops || !messages)
        return {ExitCode::internal,
                !outcomes ? outcomes.error().text
                : !hops   ? hops.error().text
                          : messages.error().text,
                {}};
    control::Waiting waiting;
    for (const auto& message : *messages) control::add_waiting(waiting, message);
    return {ExitCode::done, "", control::what_if(*outcomes, blocked(*hops), waiting, filter.from)};
}

Answer offline_why(store::sqlite::Offline& store, const config::Settings& settings, const std::string& id,
                   WallTime now) {
    store::HistoryFilter of_message;
    of_message.id = id;
    store::QueueFilter in_queue;
    if (const auto parsed = store::MessageId::parse(id)) in_queue.ids.push_back(*parsed);
    if (in_queue.ids.empty()) return {ExitCode::no, "\"" + printable(id) + "\" is not a queue id", {}};
    auto history = store.history(of_message);
    const auto found = store.find(in_queue);
    const auto hops = store.hops({});
    if (!history || !found || !hops)
        return {ExitCode::internal,
                !history ? history.error().text
                : !found ? found.error().text
                         : hops.error().text,
                {}};
    delivery::WhyFacts facts;
    facts.now = now;
    facts.running = false;
    if (!found->empty()) {
        facts.message = found->front();
    } else if (!history->messages.empty()) {
        facts.message = history->messages.front();
        facts.in_queue = false;
    } else {
        return {ExitCode::no, "no message " + id + " is in the queue, nor in the history that is kept", {}};
    }
    facts.hops = blocked(*hops);
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

Answer offline_tlsrpt(store::sqlite::Offline& store, const config::Settings& settings,
                      const json::object& request, WallTime now) {
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

Answer offline(const config::Settings& settings, const json::object& request) {
    const std::string verb = text(request, "verb");
    if (verb == "explain" || verb == "sts.diff" || verb == "sts.check")
        return {ExitCode::unavailable,
                "the daemon does not answer, and " + verb + " needs it: is it running?",
                {}};
    auto opened = store::sqlite::Offline::open(settings.state_dir);
    Answer out;
    const auto trouble = [&](const auto& error) {
        out.code = error.code == store::Errc::not_found ? ExitCode::no
                   : error.code == store::Errc::io      ? ExitCode::not_permitted
                                                        : ExitCode::internal;
        out.text = "the daemon does not answer, and on disk: " + error.text;
        return out;
    };
    if (!opened) return trouble(opened.error());
    if (verb == "sts.show" || verb == "sts.list") {
        const auto policies = (*opened)->policies();
        if (!policies) return trouble(policies.error());
        json::array all;
        for (const auto& policy : *policies) {
            if (policy.domain == text(request, "domain"))
                return {ExitCode::done, "", control::to_json(policy, true)};
            all.push_back(control::to_json(policy, false));
        }
        if (verb == "sts.show")
            return {ExitCode::no, "no MTA-STS policy of " + text(request, "domain") + " is cached", {}};
        return {ExitCode::done, "", all};
    }
    const WallTime now = SystemClock().wall();
    if (verb == "tlsrpt.status")
        return {ExitCode::unavailable, "the daemon does not answer: no report is sent while it is down", {}};
    if (verb.starts_with("tlsrpt.")) return offline_tlsrpt(**opened, settings, request, now);
    if (verb == "policy.override.list") {
        const auto all = (*opened)->overrides();
        if (!all) return trouble(all.error());
        json::array list;
        for (const auto& o : *all) list.push_back(control::to_json(o, false, now));
        for (const auto& o : settings.overrides) list.push_back(control::to_json(o, true, now));
        return {ExitCode::done, "", list};
    }
    if (verb == "sts.history") {
        const auto versions = (*opened)->versions(text(request, "domain"));
        if (!versions) return trouble(versions.error());
        if (versions->empty())
            return {ExitCode::no, "no policy of " + text(request, "domain") + " was ever seen", {}};
        return control::history_of(text(request, "domain"), *versions);
    }
    if (verb == "policy.whatif") return offline_what_if(**opened, text(request, "since"), now);
    if (verb == "why") return offline_why(**opened, settings, text(request, "id"), now);
    if (verb == "queue.suspended") {
        const auto all = (*opened)->suspensions();
        if (!all) return trouble(all.error());
        json::array list;
        for (const auto& one : *all) list.push_back(control::to_json(one));
        return {ExitCode::done, "", list};
    }
    store::QueueFilter filter;
    const std::string id = text(request, "id");
    if (const auto parsed = store::MessageId::parse(id)) filter.ids.push_back(*parsed);
    if (verb == "queue.show" && filter.ids.empty())
        return {ExitCode::no, "no message " + printable(id) + " is in the queue", {}};
    filter.domain = text(request, "domain");
    filter.sender = text(request, "sender");
    filter.reason = text(request, "reason");
    if (const auto* limit = request.if_contains("limit"); limit != nullptr && limit->is_int64())
        filter.limit = static_cast<std::size_t>(limit->as_int64());
    const auto totals = (*opened)->totals();
    if (!totals) return trouble(totals.error());
    if (verb == "status") {
        const auto policies = (*opened)->policies();
        json::object data;
        data["running"] = false;
        data["queue"] = control::to_json(*totals);
        data["policies"] = policies ? policies->size() : 0;
        return {ExitCode::done, "", data};
    }
    store::HopFilter of_hops;
    of_hops.limit = filter.limit;
    if (verb == "queue.hops") {
        const auto all = (*opened)->hops(of_hops);
        if (!all) return trouble(all.error());
        json::array list;
        for (const auto& hop : *all) list.push_back(to_json(hop));
        return {ExitCode::done, "", list};
    }
    auto found = (*opened)->find(filter);
    if (!found) return trouble(found.error());
    const auto hops = (*opened)->hops(of_hops);
    if (!hops) return trouble(hops.error());
    join_hops(*found, *hops);
    if (verb == "queue.show") {
        if (found->empty()) return {ExitCode::no, "no message " + id + " is in the queue", {}};
        return {ExitCode::done, "", control::to_json(found->front(), {})};
    }
    json::array messages;
    for (const auto& message : *found) messages.push_back(control::to_json(message, {}));
    json::object data;
    data["messages"] = std::move(messages);
    data["totals"] = control::to_json(*totals);
    return {ExitCode::done, "", data};
}

constexpr const char* sender_help =
    "from this reverse-path, '<>', all of a @domain, of a client's address, or of a user: 'uid 1000'";
constexpr const char* reason_help = "what waits for this: a part of the reason, its code or its status";

class Command {
  public:
    int run(int argc, char** argv);

  private:
    using Print = std::function<void(const Answer&)>;
    CLI::App* verb(CLI::App* parent, const std::string& name, const std::string& help, json::object request,
                   bool reads, Print print);
    void add_queue();
    CLI::App* deed_verb(CLI::App* queue, const std::string& name, const std::string& done,
                        const std::string& help);
    void suspend_verb(CLI::App* queue, const std::string& name, const std::string& help);
    void add_sts();
    void add_config();
    void add_policy();
    void add_tlsrpt();
    int publish() const;
    int doctor(bool repair) const;
    int finish(const Answer& answer, const Print& print) const;
    int finish_mailq(const Answer& answer, const config::Settings& settings, bool down) const;
    int check_config() const;
    int show_config() const;
    config::Loaded load() const;

    CLI::App app_{"Sternpost, a sending mail transfer agent: the administrator's command."};
    std::string config_path_;
    bool json_ = false;
    std::string id_;
    std::vector<std::string> ids_;
    std::string domain_;
    std::int64_t limit_ = 1000;
    bool all_ = false;
    bool mailq_ = false;
    bool mail_ = false;
    bool probe_ = false;
    std::map<std::string, std::string> texts_;  // further options, by the request's key
    std::vector<std::string> mx_;
    std::function<int()> chosen_;
    cmd::DkimVerbs dkim_;
};

config::Loaded Command::load() const {
    const bool there = ::access(default_config, F_OK) == 0;
    return config::read_file(config_path_.empty() && there ? default_config : config_path_);
}

int Command::finish(const Answer& answer, const Print& print) const {
    if (json_ && !answer.data.is_null())
        std::cout << json::serialize(answer.data) << '\n';
    else if (print && (answer.code == ExitCode::done || (answer.text.empty() && !answer.data.is_null())))
        print(answer);
    if (answer.code != ExitCode::done && !answer.text.empty())
        std::cerr << "sternpost: " << answer.text << '\n';
    return static_cast<int>(answer.code);
}

CLI::App* Command::verb(CLI::App* parent, const std::string& name, const std::string& help,
                        json::object request, bool reads, Print print) {
    CLI::App* sub = parent->add_subcommand(name, help);
    if (reads) sub->add_flag("--json", json_, "the answer as JSON");
    sub->callback([this, request = std::move(request), reads, print = std::move(print)] {
        chosen_ = [this, request, reads, print]() mutable {
            const auto loaded = load();
            if (!loaded.errors.empty()) {
                for (const auto& error : loaded.errors) std::cerr << error << '\n';
                return static_cast<int>(ExitCode::no);
            }
            if (!id_.empty()) request["id"] = id_;
            if (!domain_.empty()) request["domain"] = lowered(domain_);
            if (!ids_.empty()) request["ids"] = json::value_from(ids_);
            request["limit"] = limit_;
            if (probe_) request["probe"] = true;
            if (all_) request["all"] = true;
            if (mail_) request["mail"] = true;
            for (const auto& [key, value] : texts_)
                if (!value.empty()) request[key] = value;
            const bool shown = !reads && ::isatty(STDERR_FILENO) != 0;
            if (shown) request["progress"] = true;
            auto answer = control::ask(loaded.settings.control_socket, request, patience, print_progress);
            if (shown) std::cerr << "\r\033[K" << std::flush;
            const bool down = !answer.has_value();
            if (!answer && reads && !mail_) answer = offline(loaded.settings, request);
            if (!answer)
                answer = Answer{
                    ExitCode::unavailable,
                    "the daemon does not answer at " + loaded.settings.control_socket + ": is it running?",
                    {}};
            if (!mailq_) return finish(*answer, print);
            return finish_mailq(*answer, loaded.settings, down);
        };
    });
    return sub;
}

// Monitors take a list on standard output for the state of a system that works: what is wrong goes to
// standard error, and to the exit code.
int Command::finish_mailq(const Answer& answer, const config::Settings& settings, bool down) const {
    const int code = finish(answer, print_mailq);
    const auto waiting = in_maildrop(settings.maildrop_dir);
    if (waiting && *waiting > 0)
        std::cerr << "mailq: " << *waiting << " message(s) wait in the maildrop, " << settings.maildrop_dir
                  << ", for the daemon to take them\n";
    if (!down) return code;
    std::cerr << "mailq: the mail system is down: sternpostd does not answer at " << settings.control_socket
              << '\n';
    return code == static_cast<int>(ExitCode::done) ? EX_UNAVAILABLE : code;
}

void Command::add_queue() {
    auto* queue = app_.add_subcommand("queue", "the messages that wait")->require_subcommand(1);
    auto* list =
        verb(queue, "list", "what is in the queue, and why", {{"verb", "queue.list"}}, true, print_list);
    list->add_option("--domain", domain_, "only messages for this next hop");
    list->add_option("--sender", texts_["sender"], sender_help);
    list->add_option("--reason", texts_["reason"], reason_help);
    list->add_option("--limit", limit_, "at most so many messages")
        ->check(CLI::Range(1, 10000000))
        ->capture_default_str();
    list->add_flag("--mailq", mailq_, "in the layout of Postfix's postqueue -p, as mailq prints it");
    auto* show = verb(queue, "show", "one message", {{"verb", "queue.show"}}, true, print_show);
    show->add_option("ID", id_, "its queue id")->required();
    deed_verb(queue, "retry", "due now",
              "try again now, whatever the schedule says; forgets dead hosts and negative DNS answers");
    deed_verb(queue, "hold", "on hold", "no attempt begins until they are released");
    deed_verb(queue, "release", "released", "ends a hold");
    deed_verb(queue, "expire", "given up", "bounces now what would bounce when its time is over");
    deed_verb(queue, "delete", "deleted", "out of the queue for good; nobody is told");
    auto* reroute =
        deed_verb(queue, "reroute", "rerouted", "waits for another next hop from now on, and is due");
    reroute->add_option("--to", texts_["to"], "the domain whose MX hosts get it, or an address, [192.0.2.1]")
        ->required();
    auto* hops = verb(queue, "hops", "the next hops that mail waits for, the longest lines first",
                      {{"verb", "queue.hops"}}, true, print_hops);
    hops->add_option("--limit", limit_, "at most so many")
        ->check(CLI::Range(1, 10000000))
        ->capture_default_str();
    verb(queue, "suspended", "what is suspended", {{"verb", "queue.suspended"}}, true, print_suspensions);
    suspend_verb(queue, "suspend",
                 "no attempt begins for a next hop, or for a sender's mail, until it is resumed");
    suspend_verb(queue, "resume", "ends a suspension; a sender's mail is released");
}

void Command::suspend_verb(CLI::App* queue, const std::string& name, const std::string& help) {
    const auto told = [name](const Answer& answer) {
        const auto& data = answer.data.as_object();
        fmt::print("{}: {} {}", name == "suspend" ? "suspended" : "resumed", text(data, "kind"),
                   printable(text(data, "scope")));
        if (text(data, "kind") == "sender")
            fmt::print(", {} message(s) {}", text(data, "messages"),
                       name == "suspend" ? "put on hold" : "released");
        fmt::print("\n");
    };
    auto* sub = verb(queue, name, help, {{"verb", "queue." + name}}, false, told);
    sub->add_flag("--json", json_, "the answer as JSON");
    auto* domain = sub->add_option("--domain", domain_, "a next hop; .example.com: those under it");
    auto* sender = sub->add_option("--sender", texts_["sender"], sender_help);
    domain->excludes(sender);
    if (name == "suspend")
        sub->add_option("--reason", texts_["reason"], "why, for those who come after you")->required();
    sub->parse_complete_callback([this, name] {
        if (domain_.empty() && texts_["sender"].empty())
            throw CLI::ValidationError("queue " + name, "says what is meant: --domain or --sender");
    });
}

// What an administrator does to chosen messages.
CLI::App* Command::deed_verb(CLI::App* queue, const std::string& name, const std::string& done,
                             const std::string& help) {
    const auto count = [done](const Answer& answer) {
        const auto& data = answer.data.as_object();
        fmt::print("{}: {} message(s), {} recipient(s)", done, text(data, "messages"),
                   text(data, "recipients"));
        if (text(data, "active") != "0")
            fmt::print("; {} more are in an attempt, which ends as it ends", text(data, "active"));
        fmt::print("\n");
    };
    auto* deed = verb(queue, name, help, {{"verb", "queue." + name}}, false, count);
    deed->add_flag("--json", json_, "the answer as JSON");
    auto* ids = deed->add_option("ID", ids_, "queue ids");
    auto* domain = deed->add_option("--domain", domain_, "what waits for this next hop");
    auto* sender = deed->add_option("--sender", texts_["sender"], sender_help);
    auto* reason = deed->add_option("--reason", texts_["reason"], reason_help);
    auto* all = deed->add_flag("--all", all_, "everything");
    for (auto* one : {domain, sender, reason, all}) ids->excludes(one);
    for (auto* one : {domain, sender, reason}) all->excludes(one);
    deed->parse_complete_callback([this, name] {
        if (ids_.empty() && domain_.empty() && texts_["sender"].empty() && texts_["reason"].empty() && !all_)
            throw CLI::ValidationError(
                "queue " + name, "says what is meant: queue ids, --domain, --sender, --reason or --all");
    });
    return deed;
}

int Command::doctor(bool repair) const {
    const auto loaded = load();
    if (!loaded.errors.empty()) {
        for (const auto& error : loaded.errors) std::cerr << error << '\n';
        return static_cast<int>(ExitCode::no);
    }
    const auto wait = [] { ::usleep(500'000); };  // the index is at most 100 ms behind
    const auto report = store::sqlite::check_spool(loaded.settings.state_dir, repair, wait);
    Answer answer;
    if (!report) {
        answer.code = report.error().code == store::Errc::io          ? ExitCode::not_permitted
                      : report.error().code == store::Errc::busy      ? ExitCode::unavailable
                      : report.error().code == store::Errc::not_found ? ExitCode::no
                                                                      : ExitCode::internal;
        answer.text = report.error().text;
        return finish(answer, nullptr);
    }
    json::object data;
    data["daemon_runs"] = report->daemon_runs;
    data["segments"] = report->segments;
    data["records"] = report->records;
    data["messages"] = report->messages;
    data["bodies"] = report->bodies;
    json::array findings;
    bool wrong = false;
    for (const auto& finding : report->findings) {
        json::object one;
        one["rule"] = finding.rule;
        one["text"] = finding.text;
        one["repair"] = finding.repair;
        one["repaired"] = finding.repaired;
        findings.push_back(std::move(one));
        wrong = wrong || !finding.repaired;
    }
    data["findings"] = std::move(findings);
    answer.data = std::move(data);
    answer.code = wrong ? ExitCode::no : ExitCode::done;
    return finish(answer, print_doctor);
}

void Command::add_sts() {
    auto* sts = app_.add_subcommand("sts", "MTA-STS policies")->require_subcommand(1);
    auto* show = verb(sts, "show", "the cached policy of a domain", {{"verb", "sts.show"}}, true,
                      [](const Answer& answer) {
                          print_policies(answer);
                          fmt::print("\n{}", printable_text(text(answer.data.as_object(), "text")));
                      });
    show->add_option("DOMAIN", domain_, "the policy domain")->required();
    verb(sts, "list", "all cached policies", {{"verb", "sts.list"}}, true, print_policies);
    auto* refresh = verb(sts, "refresh", "fetch a policy now", {{"verb", "sts.refresh"}}, false,
                         [](const Answer& answer) {
                             const json::object& data = answer.data.as_object();
                             fmt::print("{}: fetched, mode {}, id {}\n", text(data, "domain"),
                                        text(data, "mode"), text(data, "id"));
                         });
    refresh->add_option("DOMAIN", domain_, "the policy domain")->required();
    auto* differs = verb(sts, "diff", "how the published policy differs from the cached one",
                         {{"verb", "sts.diff"}}, true, print_lines);
    differs->add_option("DOMAIN", domain_, "the policy domain")->required();
    auto* history = verb(sts, "history", "the versions of a policy that were ever served",
                         {{"verb", "sts.history"}}, true, print_lines);
    history->add_option("DOMAIN", domain_, "the policy domain")->required();
    auto* check = verb(sts, "check", "what a domain owner should mend in record and policy",
                       {{"verb", "sts.check"}}, true, print_lines);
    check->add_option("DOMAIN", domain_, "the policy domain")->required();
    auto* publish = sts->add_subcommand("publish", "what a domain owner must publish, ready to paste");
    publish->add_option("DOMAIN", domain_, "the policy domain")->required();
    publish->add_option("--mx", mx_, "an MX host, or *.example.net; once for each")->required();
    publish->add_option("--mode", texts_["mode"], "testing, enforce or none")
        ->check(CLI::IsMember({"testing", "enforce", "none"}));
    publish->add_option("--max_age", texts_["max_age"], "how long senders keep the policy, such as 7d");
    publish->add_option("--id", texts_["policy_id"], "the policy's id; else made from the time");
    publish->add_option("--rua", texts_["rua"], "where TLS reports go: mailto:tls@example.com or https://…");
    publish->add_flag("--json", json_, "as JSON");
    publish->callback([this] { chosen_ = [this] { return this->publish(); }; });
}

// What a domain owner must publish: needs no daemon and asks nobody.
int Command::publish() const {
    const auto at = [&](const char* key) {
        const auto found = texts_.find(key);
        return found == texts_.end() ? std::string() : found->second;
    };
    auto domain = dns::Domain::parse(domain_);
    if (!domain) {
        std::cerr << "sternpost: " << domain.error().text << '\n';
        return static_cast<int>(ExitCode::usage);
    }
    sts::PublicationPlan plan(std::move(*domain));
    plan.mx = mx_;
    const std::string mode = at("mode");
    plan.mode = mode == "enforce" ? sts::Mode::enforce
                : mode == "none"  ? sts::Mode::none
                                  : sts::Mode::testing;
    plan.rua = at("rua");
    plan.id = at("policy_id");
    if (plan.id.empty())
        for (const char c : rfc3339(SystemClock().wall()))
            if (c >= '0' && c <= '9') plan.id += c;
    if (const auto span = config::parse_duration(at("max_age")))
        plan.max_age = std::chrono::duration_cast<std::chrono::seconds>(*span);
    const auto texts = sts::publication(plan);
    if (!texts) {
        std::cerr << "sternpost: " << texts.error().text << '\n';
        return static_cast<int>(ExitCode::usage);
    }
    if (json_) {
        json::object out;
        out["record"] = texts->record;
        out["policy_url"] = texts->policy_url;
        out["policy"] = texts->policy;
        out["report_record"] = texts->report_record;
        out["steps"] = control::to_json(texts->steps);
        std::cout << json::serialize(out) << '\n';
        return 0;
    }
    fmt::print("In the zone of {}:\n\n{}\n", domain_, texts->record);
    if (!texts->report_record.empty()) fmt::print("{}\n", texts->report_record);
    fmt::print("\nAt {}:\n\n{}\nSteps:\n", texts->policy_url, printable_text(texts->policy));
    std::size_t number = 0;
    for (const auto& step : texts->steps) fmt::print("{}. {}\n", ++number, step);
    return 0;
}

void Command::add_policy() {
    auto* explain = verb(&app_, "explain", "everything that mail to a domain goes by now, and why",
                         {{"verb", "explain"}}, true, print_lines);
    explain->add_option("DOMAIN", domain_, "a domain, or an address in it")->required();
    explain->add_flag("--probe", probe_, "connect to its MX hosts and show what they offer");
    auto* why = verb(&app_, "why", "why a message is where it is, and whose move it is", {{"verb", "why"}},
                     true, print_lines);
    why->add_option("ID", id_, "its queue id; also of a message that is gone")->required();

    auto* policy =
        app_.add_subcommand("policy", "overrides of what domains demand, and what-if")->require_subcommand(1);
    auto* what_if = verb(policy, "whatif", "which sessions would have failed under an enforced policy",
                         {{"verb", "policy.whatif"}}, true, print_lines);
    what_if->add_option("--since", texts_["since"], "how far back, such as 7d");
    auto* overrides = policy->add_subcommand("override", "exceptions from policies")->require_subcommand(1);
    auto* set = verb(overrides, "set", "set an exception, now and without a restart",
                     {{"verb", "policy.override.set"}}, false,
                     [](const Answer& answer) { print_override(answer.data.as_object()); });
    set->add_option("SCOPE", texts_["scope"],
                    "example.com, .example.com, mx:mx1.example.net or mx:.example.net")
        ->required();
    set->add_option("LEVEL", texts_["level"], "none, may, encrypt, verify, dane or sts")->required();
    set->add_option("--reason", texts_["reason"], "why, for those who come after you")->required();
    set->add_option("--author", texts_["author"], "who says so; else your user id");
    set->add_option("--expires", texts_["expires"], "when it ends: 14d, or 2027-01-31T00:00:00Z");
    verb(overrides, "list", "all exceptions", {{"verb", "policy.override.list"}}, true, print_overrides);
    auto* remove = verb(
        overrides, "remove", "take an exception back", {{"verb", "policy.override.remove"}}, false,
        [](const Answer& answer) { fmt::print("removed: {}\n", text(answer.data.as_object(), "scope")); });
    remove->add_option("SCOPE", texts_["scope"], "as it was set")->required();
}

void Command::add_tlsrpt() {
    auto* tlsrpt = app_.add_subcommand("tlsrpt", "TLS reports (RFC 8460)")->require_subcommand(1);
    const auto day_option = [this](CLI::App* sub, const std::string& usual) {
        sub->add_option("--day", texts_["day"], "a UTC day such as 2026-11-26, today or yesterday; " + usual);
    };
    auto* preview = verb(tlsrpt, "preview", "the report that a domain would get, of what is counted by now",
                         {{"verb", "tlsrpt.preview"}}, true, print_preview);
    preview->add_option("DOMAIN", domain_, "the domain that mail goes to")->required();
    day_option(preview, "else today");
    auto* list = verb(tlsrpt, "list", "which reports were sent, and how it stands with them",
                      {{"verb", "tlsrpt.list"}}, true, print_reports);
    list->add_option("DOMAIN", domain_, "only those for this domain");
    day_option(list, "else all that are kept");
    list->add_flag("--all", all_, "with those that nobody asked for");
    auto* show = verb(tlsrpt, "show", "one report: where it went, and what it says",
                      {{"verb", "tlsrpt.show"}}, true, print_report);
    show->add_option("ID", id_, "its report-id")->required();
    auto* send =
        verb(tlsrpt, "send", "sends now what is due later", {{"verb", "tlsrpt.send"}}, false, print_sent);
    send->add_flag("--json", json_, "the answer as JSON");
    send->add_option("DOMAIN", domain_, "only the report for this domain");
    day_option(send, "else yesterday");
    auto* resend = verb(tlsrpt, "resend", "sends a report once more, to all its places",
                        {{"verb", "tlsrpt.resend"}}, false, print_report);
    resend->add_flag("--json", json_, "the answer as JSON");
    resend->add_option("ID", id_, "its report-id")->required();
    verb(tlsrpt, "status", "whether reports are sent, and what is missing", {{"verb", "tlsrpt.status"}}, true,
         [](const Answer& answer) { print_reporting(answer.data.as_object()); });
    auto* read = tlsrpt->add_subcommand("read", "sums reports that others have sent about domains of yours");
    read->add_option("FILE", ids_, "mails, mbox files, JSON, gzip; - is standard input")->required();
    read->add_flag("--json", json_, "the answer as JSON");
    read->callback([this] { chosen_ = [this] { return finish(read_reports(ids_), print_read); }; });
    auto* digest = verb(tlsrpt, "digest", "a day's TLS with all partners, failing ones first",
                        {{"verb", "tlsrpt.digest"}}, true, print_digest);
    day_option(digest, "else yesterday");
    digest->add_flag("--mail", mail_, "mails it to admin_address");
}

int Command::check_config() const {
    auto loaded = load();
    if (const auto roots = util::read_file(loaded.settings.ca_file, 64UL << 20U);
        loaded.errors.empty() && !roots)
        loaded.errors.push_back("tls.ca_file: " + roots.error().text +
                                "; without it the daemon does not start");
    for (const auto& error : loaded.errors) std::cerr << error << '\n';
    for (const auto& warning : loaded.warnings) std::cerr << "warning: " << warning << '\n';
    if (!loaded.errors.empty()) {
        std::cerr << "sternpost: " << loaded.errors.size() << " error(s)\n";
        return static_cast<int>(ExitCode::no);
    }
    fmt::print("The configuration is in order{}.\n",
               loaded.warnings.empty() ? "" : ", with the warnings above");
    return static_cast<int>(ExitCode::done);
}

int Command::show_config() const {
    const auto loaded = load();
    if (!loaded.errors.empty()) return check_config();
    if (json_) {
        json::object out;
        for (const auto& option : config::options())
            out[option.name] =
                json::parse(config::value_text(option, loaded.settings));  // TOML's values are JSON's here
        json::array clients;
        for (const auto& client : loaded.settings.clients) {
            json::object one;
            one["network"] = client.network.text();
            one["role"] = client.role == config::ClientRole::relay ? "relay" : "originate";
            clients.push_back(std::move(one));
        }
        out["client"] = std::move(clients);
        std::cout << json::serialize(out) << '\n';
        return 0;
    }
    std::string section;
    for (const auto& option : config::options()) {
        const auto dot = option.name.find('.');
        const std::string here(dot == std::string_view::npos ? "" : option.name.substr(0, dot));
        if (here != section) fmt::print("\n[{}]\n", here);
        section = here;
        fmt::print("{} = {}\n", option.name.substr(dot == std::string_view::npos ? 0 : dot + 1),
                   config::value_text(option, loaded.settings));
    }
    for (const auto& client : loaded.settings.clients)
        fmt::print("\n[[client]]\nnetwork = \"{}\"\nrole = \"{}\"\n", client.network.text(),
                   client.role == config::ClientRole::relay ? "relay" : "originate");
    return 0;
}

void Command::add_config() {
    auto* group = app_.add_subcommand("config", "the configuration")->require_subcommand(1);
    group->add_subcommand("check", "whether the configuration is in order")->callback([this] {
        chosen_ = [this] { return check_config(); };
    });
    auto* show = group->add_subcommand("show", "every option with the value in force");
    show->add_flag("--json", json_, "as JSON");
    show->callback([this] { chosen_ = [this] { return show_config(); }; });
}

int Command::run(int argc, char** argv) {
    app_.add_option("--config", config_path_, std::string("the configuration; default ") + default_config)
        ->envname("STERNPOST_CONFIG");  // reaches us through mailq too
    app_.set_version_flag("--version", "sternpost " STERNPOST_VERSION);
    app_.require_subcommand(1);
    verb(&app_, "status", "how the daemon and its queue are", {{"verb", "status"}}, true, print_status);
    add_queue();
    CLI::App* look = app_.add_subcommand("doctor", "looks over what is kept on the disk, and mends it");
    bool spool = false;
    bool repair = false;
    look->add_flag("--spool", spool, "whether journal, bodies, index and history say the same")->required();
    look->add_flag("--repair", repair, "mends what can be mended; the daemon must be down");
    look->add_flag("--json", json_, "the answer as JSON");
    look->callback([this, &repair] { chosen_ = [this, &repair] { return this->doctor(repair); }; });
    add_sts();
    add_policy();
    add_tlsrpt();
    dkim_.add(
        app_, [this] { return load(); }, [this](std::function<int()> run) { chosen_ = std::move(run); });
    add_config();
    try {
        app_.parse(argc, argv);
    } catch (const CLI::ParseError& e) {
        return app_.exit(e) == 0 ? 0 : static_cast<int>(ExitCode::usage);
    }
    return chosen_();
}

}  // namespace

int main(int argc, char** argv) {
    std::signal(SIGPIPE, SIG_IGN);
    try {
        return Command().run(argc, argv);
    } catch (const std::exception& e) {
        std::cerr << "sternpost: " << e.what() << '\n';
        return static_cast<int>(ExitCode::internal);
    }
}
