// sternpost(1): the administrator's command. Asks the daemon; what only reads is answered from disk while the
// daemon is down.
#include <dirent.h>
#include <fmt/format.h>
#include <sysexits.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <csignal>
#include <ctime>
#include <functional>
#include <iostream>
#include <map>
#include <optional>

#include "cmd/dkim_verbs.h"
#include "cmd/tell.h"
#include "cmd/tlsrpt_print.h"
#include "cmd/tlsrpt_read.h"
#include "config/file.h"
#include "control/client.h"
#include "control/mailq.h"
#include "control/reasons.h"
#include "control/reports.h"
#include "dkim/keys.h"
#include "dns/organizational.h"
#include "queue/obstacle.h"
#include "queue/suspensions.h"
#include "store/hop.h"
#include "store/sender_scope.h"
#include "store/sqlite/check.h"
#include "store/sqlite/offline.h"
#include "sts/advice.h"
#include "util/file.h"
#include "util/login.h"
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
    tell("{}  {}  {} octets  from {}{}{}\n", text(message, "id"), text(message, "arrived"),
         text(message, "size"), shown_path(text(message, "reverse_path")),
         text(message, "class") == "mail" ? "" : "  " + text(message, "class"),
         flag(message, "held") ? "  HELD" : "");
    for (const auto& item : message.at("recipients").as_array()) {
        const json::object& recipient = item.as_object();
        const std::string state = text(recipient, "state");
        if (state != "queued") continue;
        const std::string by = text(recipient, "blocked_by");
        tell("    to {}  {}\n", shown_path(text(recipient, "path")),
             by == "nothing"                         ? "being delivered"
             : by == "due"                           ? "due now"
             : by == "schedule" || by == "hop-fails" ? "deferred until " + text(recipient, "next_at")
                                                     : "waits: " + text(recipient, "blocks"));
        if (const std::string reason = text(recipient, "reason"); !reason.empty())
            tell("        {} {}\n", text(recipient, "status"), printable(reason, 1000));
    }
}

void print_list(const Answer& answer) {
    const json::object& data = answer.data.as_object();
    const json::array& messages = data.at("messages").as_array();
    for (const auto& message : messages) print_message(message.as_object());
    const json::object& totals = data.at("totals").as_object();
    const json::object& selected = data.at("selected").as_object();
    const auto counts = [](const json::object& of) {
        return fmt::format("{} message(s), {} recipient(s), {} octets", text(of, "messages"),
                           text(of, "recipients"), text(of, "octets"));
    };
    if (text(totals, "messages") == "0")
        tell("The queue is empty.\n");
    else if (text(selected, "messages") == text(totals, "messages"))
        tell("{}\n", counts(totals));
    else
        tell("{} shown{}; in the whole queue: {}\n", counts(selected),
             flag(data, "more") ? ", and more match (--limit)" : "", counts(totals));
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
    tell("    accepted by {}{}{}\n", text(origin, "with"),
         text(origin, "address").empty()
             ? ""
             : " from " + text(origin, "address") + " (" + printable(text(origin, "helo")) + ")",
         text(origin, "uid").empty() ? "" : " from uid " + text(origin, "uid"));
    for (const auto& item : message.at("recipients").as_array()) {
        const json::object& recipient = item.as_object();
        if (text(recipient, "state") == "queued") continue;
        tell("    to {}  {}  {} {}\n", shown_path(text(recipient, "path")), text(recipient, "state"),
             text(recipient, "status"), printable(text(recipient, "reason"), 1000));
    }
}

void print_policy(const json::object& policy) {
    tell("{}  mode {}  id {}\n    fetched {}  expires {}\n", text(policy, "domain"), text(policy, "mode"),
         text(policy, "id"), text(policy, "fetched"), text(policy, "expires"));
    if (const auto* mx = policy.if_contains("mx"); mx != nullptr && mx->is_array())
        for (const auto& pattern : mx->as_array()) tell("    mx {}\n", std::string(pattern.as_string()));
}

// The daemon sends long lists in parts, as arrays of an object; what is shown is the list.
void unwrap_list(Answer& answer) {
    for (const char* const key : {"policies", "reports"}) {
        auto* object = answer.data.if_object();
        if (object == nullptr || !object->contains(key) || !object->contains("more")) continue;
        if (flag(*object, "more"))
            std::cerr << "sternpost: these are not all: the others are in the daemon's store, and not in its "
                         "memory\n";
        json::value list = std::move(object->at(key));
        answer.data = std::move(list);
    }
}

void print_policies(const Answer& answer) {
    if (answer.data.is_object()) {
        print_policy(answer.data.as_object());
        return;
    }
    for (const auto& policy : answer.data.as_array()) print_policy(policy.as_object());
    if (answer.data.as_array().empty()) tell("No MTA-STS policy is cached.\n");
}

// Answers that bring their sentences along.
void print_lines(const Answer& answer) {
    const auto* lines = answer.data.is_object() ? answer.data.as_object().if_contains("lines") : nullptr;
    if (lines == nullptr || !lines->is_array()) return;
    for (const auto& line : lines->as_array())
        if (line.is_string()) tell("{}\n", printable(std::string(line.as_string()), 4000));
}

void print_override(const json::object& o) {
    tell("{}  {}  {}{}  by {}, in the {}\n    {}\n", text(o, "scope"), text(o, "level"),
         text(o, "expires").empty() ? "does not expire" : "until " + text(o, "expires"),
         flag(o, "expired") ? " (expired)" : "", printable(text(o, "author")),
         text(o, "from") == "command" ? "running daemon" : text(o, "from"),
         printable(text(o, "reason"), 1000));
}

void print_overrides(const Answer& answer) {
    for (const auto& o : answer.data.as_array()) print_override(o.as_object());
    if (answer.data.as_array().empty()) tell("No override is set.\n");
}

void print_hop(const json::object& hop) {
    tell("next hop {}: {} recipient(s) waiting, {} connection(s)\n", text(hop, "name"),
         text(hop, "recipients"), text(hop, "connections"));
    const std::string by = text(hop, "blocked_by");
    if (by != "nothing" && by != "due" && by != "hop-fails" && by != "daemon-down" && by != "in-line")
        tell("    waits: {}\n", printable(text(hop, "blocks"), 1000));
    if (text(hop, "failures") != "0")
        tell("    failing, next attempt {}: {} {}\n", text(hop, "next_at"), text(hop, "status"),
             printable(text(hop, by == "hop-fails" ? "blocks" : "reason"), 1000));
}

void print_hops(const Answer& answer) {
    for (const auto& hop : answer.data.as_array()) print_hop(hop.as_object());
    if (answer.data.as_array().empty()) tell("Nothing waits.\n");
}

void print_doctor(const Answer& answer) {
    const json::object& data = answer.data.as_object();
    for (const auto& item : data.at("findings").as_array()) {
        const json::object& one = item.as_object();
        tell("{}: {}\n", text(one, "rule"), printable(text(one, "text"), 1000));
        if (flag(one, "repaired"))
            tell("    repaired: {}\n", text(one, "repair"));
        else if (!text(one, "repair").empty())
            tell("    --repair would do: {}\n", text(one, "repair"));
    }
    tell("{} segment(s) with {} record(s), {} message(s) in the index, {} large bodies{}: {}\n",
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
    tell("SUSPENDED {} {} since {} by {}: {}\n", text(one, "kind"), printable(text(one, "scope")),
         text(one, "set"), printable(text(one, "author")), printable(text(one, "reason"), 1000));
}

void print_suspensions(const Answer& answer) {
    for (const auto& one : answer.data.as_array()) print_suspension(one.as_object());
    if (answer.data.as_array().empty()) tell("Nothing is suspended.\n");
}

void print_status(const Answer& answer) {
    const json::object& data = answer.data.as_object();
    const json::object& queue = data.at("queue").as_object();
    if (!flag(data, "running")) tell("The daemon is down; this is what the disk holds.\n");
    if (flag(data, "running"))
        tell("sternpostd {} at {}, pid {}, since {}\n", text(data, "version"), text(data, "hostname"),
             text(data, "pid"), text(data, "started"));
    tell("queue: {} message(s), {} recipient(s), {} octets{}\n", text(queue, "messages"),
         text(queue, "recipients"), text(queue, "octets"),
         text(queue, "oldest").empty() ? "" : ", oldest of " + text(queue, "oldest"));
    tell("MTA-STS policies cached: {}\n", text(data, "policies"));
    if (const auto* dnssec = data.if_contains("dnssec"); dnssec != nullptr)
        tell("DNSSEC: {}\n", text(dnssec->as_object(), "reason").empty()
                                 ? text(dnssec->as_object(), "state")
                                 : printable(text(dnssec->as_object(), "reason"), 1000));
    if (const auto* trusted = data.if_contains("clock_trusted"); trusted != nullptr && !trusted->as_bool())
        tell(
            "CLOCK NOT TRUSTED: it jumped, or is earlier than queued mail. Nothing will expire. Set the "
            "clock; if it is correct now, restart the daemon.\n");
    if (const auto* reports = data.if_contains("tls_reports"); reports != nullptr)
        print_reporting(reports->as_object());
    if (flag(data, "disk_short"))
        tell(
            "DISK: there is too little free space where state_dir is: mail is refused until there is more\n");
    if (flag(data, "memory_short"))
        tell("MEMORY: the daemon has more than max_memory: mail is refused until it has less\n");
    if (const std::string waiting = text(data, "results_waiting"); !waiting.empty() && waiting != "0")
        tell(
            "STORE: {} result(s) of deliveries cannot be kept: nothing is delivered until they are; the log "
            "says why (results-wait)\n",
            waiting);
    if (const auto* overrides = data.if_contains("overrides"); overrides != nullptr && overrides->is_array())
        for (const auto& item : overrides->as_array())
            if (!flag(item.as_object(), "expired"))
                tell("override \"{}\" for {}{}\n", text(item.as_object(), "level"),
                     text(item.as_object(), "scope"),
                     text(item.as_object(), "expires").empty()
                         ? ""
                         : " until " + text(item.as_object(), "expires"));
    if (const auto* alarms = data.if_contains("alarms"); alarms != nullptr && alarms->is_array())
        for (const auto& item : alarms->as_array())
            tell("ALARM {} {} ({} time(s), last {}): {}\n", text(item.as_object(), "kind"),
                 text(item.as_object(), "subject"), text(item.as_object(), "count"),
                 text(item.as_object(), "last"), printable(text(item.as_object(), "reason"), 1000));
    if (const auto* suspended = data.if_contains("suspended"); suspended != nullptr && suspended->is_array())
        for (const auto& item : suspended->as_array()) print_suspension(item.as_object());
    if (const auto* hops = data.if_contains("next_hops"); hops != nullptr && hops->is_array())
        for (const auto& item : hops->as_array()) print_hop(item.as_object());
}

// ---- from disk, while the daemon is down

// What is in the way of each recipient, by what is on the disk.
class OfflineObstacles {
  public:
    static store::Result<OfflineObstacles> read(store::sqlite::Offline& store) {
        OfflineObstacles out;
        const auto hops = store.hops({});
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

Answer offline_what_if(store::sqlite::Offline& store, const std::string& since, WallTime now) {
    const auto span = config::parse_duration(since.empty() ? "7d" : since);
    if (!span)
        return {
            ExitCode::usage, "--since " + printable(since) + ": wanted is a duration such as 7d or 12h", {}};
    store::OutcomeFilter filter;
    filter.from = std::chrono::floor<std::chrono::days>(now - *span);
    const auto outcomes = store.outcomes(filter);
    if (!outcomes) return {ExitCode::internal, outcomes.error().text, {}};
    store::HopFilter all;
    all.limit = 1'000'000;  // ours: the command ends with its answer
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

Answer offline_why(store::sqlite::Offline& store, const config::Settings& settings, const std::string& id,
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
    if (const std::string sender = text(request, "sender"); !sender.empty()) {
        auto scope = store::parse_sender_scope(sender, util::uid_of_login);
        if (!scope)
            return {ExitCode::usage,
                    "--sender " + printable(sender) + ": allowed is " + std::string(store::sender_forms),
                    {}};
        filter.sender = std::move(*scope);
    }
    filter.reason = text(request, "reason");
    filter.recipient = text(request, "recipient");
    filter.from = text(request, "from");
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
        return {ExitCode::unavailable, "", data};
    }
    store::HopFilter of_hops;
    of_hops.limit = filter.limit;
    if (verb == "queue.hops") {
        const auto all = (*opened)->hops(of_hops);
        if (!all) return trouble(all.error());
        const auto obstacles = OfflineObstacles::read(**opened);
        if (!obstacles) return trouble(obstacles.error());
        json::array list;
        for (const auto& hop : *all) list.push_back(to_json(hop, *obstacles, now));
        return {ExitCode::done, "", list};
    }
    auto found = (*opened)->find(filter);
    if (!found) return trouble(found.error());
    const auto obstacles = OfflineObstacles::read(**opened);
    if (!obstacles) return trouble(obstacles.error());
    if (verb == "queue.show") {
        if (found->empty()) return {ExitCode::no, "no message " + id + " is in the queue", {}};
        return {ExitCode::done, "", control::to_json(found->front(), obstacles->of(found->front(), now))};
    }
    json::array messages;
    store::QueueTotals selected;
    for (const auto& message : *found) {
        messages.push_back(control::to_json(message, obstacles->of(message, now)));
        control::add(selected, message);
    }
    json::object data;
    data["messages"] = std::move(messages);
    data["totals"] = control::to_json(*totals);
    data["selected"] = control::to_json(selected);
    data["more"] = found->size() >= filter.limit;
    return {ExitCode::done, "", data};
}

const std::string sender_help = "what came from: " + std::string(store::sender_forms);
constexpr const char* recipient_help = "what has this in the address of a recipient that waits";
constexpr const char* from_help = "what has this in its reverse-path";
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
    int finish_mailq(const Answer& answer, control::MailqText& mailq, const config::Settings& settings,
                     bool down) const;
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
    bool quiet_ = false;
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
        std::cout << printable_json(json::serialize(answer.data)) << '\n';
    else if (print && !quiet_ &&
             (answer.code == ExitCode::done || (answer.text.empty() && !answer.data.is_null())))
        print(answer);
    if (answer.code != ExitCode::done && !answer.text.empty())
        std::cerr << "sternpost: " << printable_lines(answer.text) << '\n';
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
            if (quiet_) request["quiet"] = true;
            if (mail_) request["mail"] = true;
            for (const auto& [key, value] : texts_)
                if (!value.empty()) request[key] = value;
            const bool shown = !reads && ::isatty(STDERR_FILENO) != 0;
            if (shown) request["progress"] = true;
            if (reads) request["parts"] = true;
            control::MailqText mailq(local_time);
            std::function<void(json::object)> part;
            if (mailq_ && !json_)
                part = [&mailq](const json::object& piece) {
                    if (const auto* messages = piece.if_contains("messages");
                        messages != nullptr && messages->is_array())
                        tell("{}", mailq.messages(messages->as_array()));
                };
            auto answer =
                control::ask(loaded.settings.control_socket, request, patience, print_progress, part);
            if (shown) std::cerr << "\r\033[K" << std::flush;
            const bool down = !answer.has_value();
            if (!answer && reads && !mail_) answer = offline(loaded.settings, request);
            if (!answer)
                answer = Answer{
                    ExitCode::unavailable,
                    "the daemon does not answer at " + loaded.settings.control_socket + ": is it running?",
                    {}};
            unwrap_list(*answer);
            if (!mailq_) return finish(*answer, print);
            return finish_mailq(*answer, mailq, loaded.settings, down);
        };
    });
    return sub;
}

// Monitors take a list on standard output for the state of a system that works: what is wrong goes to
// standard error, and to the exit code.
int Command::finish_mailq(const Answer& answer, control::MailqText& mailq, const config::Settings& settings,
                          bool down) const {
    const int code =
        finish(answer, [&mailq](const Answer& list) { tell("{}", mailq.end(list.data.as_object())); });
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
    list->add_option("--recipient", texts_["recipient"], recipient_help);
    list->add_option("--from", texts_["from"], from_help);
    list->add_option("--limit", limit_, "at most so many messages")
        ->check(CLI::Range(1, 10000000))
        ->capture_default_str();
    list->add_flag("--mailq", mailq_, "in the layout of Postfix's postqueue -p, as mailq prints it");
    auto* show = verb(queue, "show", "one message", {{"verb", "queue.show"}}, true, print_show);
    show->add_option("ID", id_, "its queue id")->required();
    auto* retry =
        deed_verb(queue, "retry", "due now",
                  "try again now, whatever the schedule says; forgets dead hosts and negative DNS answers");
    retry->add_flag("--quiet", quiet_,
                    "say nothing of what was done; if nothing matches, that is no failure");
    deed_verb(queue, "hold", "on hold", "no attempt begins until they are released");
    deed_verb(queue, "release", "released", "ends a hold");
    deed_verb(queue, "expire", "given up", "bounces now what would bounce when its time is over");
    deed_verb(queue, "delete", "deleted", "out of the queue for good; nobody is told");
    auto* reroute =
        deed_verb(queue, "reroute", "rerouted", "waits for another next hop from now on, as new mail does");
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
        tell("{}: {} {}", name == "suspend" ? "suspended" : "resumed", text(data, "kind"),
             printable(text(data, "scope")));
        const bool on = name == "suspend";
        if (text(data, "kind") == "sender")
            tell(": {} message(s) {}{}\n", text(data, "messages"), on ? "put on hold" : "released",
                 on ? ", and so is what comes from it later" : "");
        else
            tell(": {} recipient(s) {}\n", text(data, "recipients"),
                 on ? "wait until it is resumed" : "may be tried again");
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
        const bool waits_on = done == "due now" && text(data, "suspended") != "0" &&
                              text(data, "suspended") == text(data, "recipients");
        tell("{}: {} message(s), {} recipient(s)", waits_on ? "looked at" : done, text(data, "messages"),
             text(data, "recipients"));
        if (text(data, "active") != "0")
            tell("; {} more are in an attempt, which ends as it ends", text(data, "active"));
        tell("\n");
        if (const auto stays = text(data, "sender_suspended"); !stays.empty() && stays != "0")
            tell(
                "left alone: {} message(s) of suspended senders (\"sternpost queue resume --sender\" ends "
                "that)\n",
                stays);
        if (flag(data, "results_wait") && (done == "due now" || done == "released"))
            tell(
                "nothing is sent now: what became of earlier mail cannot be kept on the disk (\"sternpost "
                "status\")\n");
        if (text(data, "held") != "0")
            tell("left alone: {} message(s) on hold (\"sternpost queue release\" ends that)\n",
                 text(data, "held"));
        if (done == "due now" && text(data, "suspended") != "0")
            tell("{} wait on: their next hop is suspended (\"sternpost queue resume\" ends that)\n",
                 waits_on ? "all of the recipients" : text(data, "suspended") + " of the recipients");
    };
    auto* deed = verb(queue, name, help, {{"verb", "queue." + name}}, false, count);
    deed->add_flag("--json", json_, "the answer as JSON");
    auto* ids = deed->add_option("ID", ids_, "queue ids");
    auto* domain = deed->add_option("--domain", domain_, "what waits for this next hop");
    auto* sender = deed->add_option("--sender", texts_["sender"], sender_help);
    auto* reason = deed->add_option("--reason", texts_["reason"], reason_help);
    auto* to = deed->add_option("--recipient", texts_["recipient"], recipient_help);
    auto* from = deed->add_option("--from", texts_["from"], from_help);
    auto* all = deed->add_flag("--all", all_, "everything");
    for (auto* one : {domain, sender, reason, to, from, all}) ids->excludes(one);
    for (auto* one : {domain, sender, reason, to, from}) all->excludes(one);
    deed->parse_complete_callback([this, name] {
        if (ids_.empty() && domain_.empty() && texts_["sender"].empty() && texts_["reason"].empty() &&
            texts_["recipient"].empty() && texts_["from"].empty() && !all_)
            throw CLI::ValidationError(
                "queue " + name,
                "says what is meant: queue ids, --domain, --sender, --reason, --recipient, --from or --all");
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
                          tell("\n{}", printable_text(text(answer.data.as_object(), "text")));
                      });
    show->add_option("DOMAIN", domain_, "the policy domain")->required();
    verb(sts, "list", "all cached policies", {{"verb", "sts.list"}}, true, print_policies);
    auto* refresh = verb(
        sts, "refresh", "fetch a policy now", {{"verb", "sts.refresh"}}, false, [](const Answer& answer) {
            const json::object& data = answer.data.as_object();
            tell("{}: fetched, mode {}, id {}\n", text(data, "domain"), text(data, "mode"), text(data, "id"));
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
        std::cout << printable_json(json::serialize(out)) << '\n';
        return 0;
    }
    tell("In the zone of {}:\n\n{}\n", domain_, texts->record);
    if (!texts->report_record.empty()) tell("{}\n", texts->report_record);
    tell("\nAt {}:\n\n{}\nSteps:\n", texts->policy_url, printable_text(texts->policy));
    std::size_t number = 0;
    for (const auto& step : texts->steps) tell("{}. {}\n", ++number, step);
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
    auto* remove =
        verb(overrides, "remove", "take an exception back", {{"verb", "policy.override.remove"}}, false,
             [](const Answer& answer) { tell("removed: {}\n", text(answer.data.as_object(), "scope")); });
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

// What is allowed and may not be what its administrator wants.
std::vector<std::string> config_warnings(const config::Settings& settings) {
    std::vector<std::string> out;
    std::vector<std::string> organizations;
    for (const auto& key : dkim::KeyFolder(config::dkim_folder(settings)).read().keys) {
        if (key.state != dkim::State::active || key.reports_only) continue;
        const std::string one = dns::organizational_domain(key.signer.domain);
        if (std::find(organizations.begin(), organizations.end(), one) == organizations.end())
            organizations.push_back(one);
    }
    if (organizations.size() <= 1 || settings.dkim_sign == "off") return out;
    const std::string whose =
        fmt::format("there are DKIM keys of several organizations ({})", fmt::join(organizations, ", "));
    for (const auto& client : settings.clients)
        if (client.role == config::ClientRole::originate && client.domains.empty())
            out.push_back(whose + ": mail of the client " + client.network.text() +
                          " is not signed until its section says domains = [\"…\"]");
    if (std::none_of(settings.sender_domains.begin(), settings.sender_domains.end(),
                     [](const auto& one) { return !one.user.empty(); }))
        out.push_back(
            whose +
            ": mail of users of this machine is not signed until a [[sender]] section lists their domains");
    return out;
}

int Command::check_config() const {
    auto loaded = load();
    if (const auto roots = util::read_file(loaded.settings.ca_file, 64UL << 20U);
        loaded.errors.empty() && !roots)
        loaded.errors.push_back("tls.ca_file: " + roots.error().text +
                                "; without it the daemon does not start");
    if (loaded.errors.empty())
        for (auto& warning : config_warnings(loaded.settings)) loaded.warnings.push_back(std::move(warning));
    for (const auto& error : loaded.errors) std::cerr << error << '\n';
    for (const auto& warning : loaded.warnings) std::cerr << "warning: " << warning << '\n';
    if (!loaded.errors.empty()) {
        std::cerr << "sternpost: " << loaded.errors.size() << " error(s)\n";
        return static_cast<int>(ExitCode::no);
    }
    tell("The configuration is in order{}.\n", loaded.warnings.empty() ? "" : ", with the warnings above");
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
        std::cout << printable_json(json::serialize(out)) << '\n';
        return 0;
    }
    std::string section;
    for (const auto& option : config::options()) {
        const auto dot = option.name.find('.');
        const std::string here(dot == std::string_view::npos ? "" : option.name.substr(0, dot));
        if (here != section) tell("\n[{}]\n", here);
        section = here;
        tell("{} = {}\n", option.name.substr(dot == std::string_view::npos ? 0 : dot + 1),
             config::value_text(option, loaded.settings));
    }
    for (const auto& client : loaded.settings.clients)
        tell("\n[[client]]\nnetwork = \"{}\"\nrole = \"{}\"\n", client.network.text(),
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
