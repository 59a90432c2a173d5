#include "cmd/print.h"

#include <dirent.h>
#include <fmt/format.h>

#include <array>
#include <ctime>
#include <iostream>

#include "cmd/tell.h"
#include "cmd/tlsrpt_print.h"
#include "util/text.h"

namespace sternpost::cmd {
namespace {

std::string shown_path(const std::string& path) {
    return "<" + printable(path) + ">";
}

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

void print_policy(const json::object& policy) {
    tell("{}  mode {}  id {}\n    fetched {}  expires {}\n", text(policy, "domain"), text(policy, "mode"),
         text(policy, "id"), text(policy, "fetched"), text(policy, "expires"));
    if (const auto* mx = policy.if_contains("mx"); mx != nullptr && mx->is_array())
        for (const auto& pattern : mx->as_array()) tell("    mx {}\n", std::string(pattern.as_string()));
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

void print_suspension(const json::object& one) {
    tell("SUSPENDED {} {} since {} by {}: {}\n", text(one, "kind"), printable(text(one, "scope")),
         text(one, "set"), printable(text(one, "author")), printable(text(one, "reason"), 1000));
}

}  // namespace

std::string text(const json::object& object, std::string_view key) {
    const auto* value = object.if_contains(key);
    if (value == nullptr || value->is_null()) return "";
    return value->is_string() ? std::string(value->as_string()) : json::serialize(*value);
}

bool flag(const json::object& object, std::string_view key) {
    const auto* value = object.if_contains(key);
    return value != nullptr && value->is_bool() && value->as_bool();
}

std::string printable_text(const std::string& octets) {
    std::string out;
    for (std::string_view line : split(octets, '\n')) {
        if (line.ends_with('\r')) line.remove_suffix(1);
        out += printable(line, 1000) + "\n";
    }
    return out;
}

// ---- for people

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

std::string local_time(const std::string& rfc3339) {
    std::tm utc{};
    if (::strptime(rfc3339.c_str(), "%Y-%m-%dT%H:%M:%S", &utc) == nullptr) return rfc3339.substr(0, 19);
    const std::time_t at = ::timegm(&utc);
    std::tm local{};
    ::localtime_r(&at, &local);
    std::array<char, 64> out{};
    return {out.data(), std::strftime(out.data(), out.size(), "%a %b %d %H:%M:%S", &local)};
}

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

void print_progress(const json::object& so_far) {
    const std::string reports = text(so_far, "reports");
    if (reports.empty())
        std::cerr << "\r\033[K" << text(so_far, "messages") << " messages so far" << std::flush;
    else
        std::cerr << "\r\033[K" << reports << " of " << text(so_far, "all") << " reports" << std::flush;
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

}  // namespace sternpost::cmd
