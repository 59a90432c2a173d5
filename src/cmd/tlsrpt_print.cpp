#include "cmd/tlsrpt_print.h"

#include <fmt/format.h>

#include <iostream>

#include "cmd/tell.h"
#include "control/reports.h"
#include "util/text.h"

namespace sternpost::cmd {
namespace {

namespace json = boost::json;
using control::Answer;

std::string text(const json::object& object, std::string_view key) {
    const auto* value = object.if_contains(key);
    if (value == nullptr || value->is_null()) return "";
    return value->is_string() ? std::string(value->as_string()) : json::serialize(*value);
}

const json::array& list(const json::object& object, std::string_view key) {
    static const json::array none;
    const auto* value = object.if_contains(key);
    return value != nullptr && value->is_array() ? value->as_array() : none;
}

void print_lines(const json::object& object) {
    for (const auto& line : list(object, "lines"))
        tell("{}\n", printable(std::string(line.as_string()), 1000));
}

void print_places(const json::object& report) {
    for (const auto& item : list(report, "places")) {
        const auto& place = item.as_object();
        tell("    {}  {}{}\n", printable(text(place, "uri"), 300), text(place, "state"),
             text(place, "text").empty() ? "" : ": " + printable(text(place, "text"), 500));
    }
}

void print_head(const json::object& report) {
    tell("{}  {}  {}: {} good, {} failed  {}\n", text(report, "day"), text(report, "domain"),
         text(report, "state"), text(report, "good"), text(report, "failed"), text(report, "id"));
    if (const std::string reason = text(report, "reason"); !reason.empty())
        tell("    {}{}\n", printable(reason, 1000),
             text(report, "next_at").empty() ? "" : "; tried again at " + text(report, "next_at"));
    print_places(report);
}

}  // namespace

void print_preview(const Answer& answer) {
    const auto& preview = answer.data.as_object();
    const std::string why_not = text(preview, "why_not");
    if (!why_not.empty()) tell("This would not be sent: {}.\n", printable(why_not, 1000));
    for (const auto& place : list(preview, "places"))
        tell("To {}\n", printable(std::string(place.as_string()), 300));
    for (const auto& place : list(preview, "passed_over"))
        tell("Not to {}\n", printable(std::string(place.as_string()), 500));
    tell("\n");
    print_lines(preview);
}

void print_reports(const Answer& answer) {
    const auto& reports = answer.data.as_array();
    for (const auto& report : reports) print_head(report.as_object());
    if (reports.empty()) tell("No report was sent.\n");
}

void print_report(const Answer& answer) {
    const auto& report = answer.data.as_object();
    print_head(report);
    if (list(report, "lines").empty()) return;
    tell("\n");
    print_lines(report);
}

void print_sent(const Answer& answer) {
    const auto& sent = answer.data.as_object();
    tell(
        "{}: {} report(s) tried: {} sent, {} wait for a place that did not take them, {} that nobody asks "
        "for\n",
        text(sent, "day"), text(sent, "reports"), text(sent, "done"), text(sent, "waiting"),
        text(sent, "not_asked"));
}

void print_digest(const Answer& answer) {
    const auto& digest = answer.data.as_object();
    const std::string words = control::digest_in_words(digest);
    for (const auto line : split(words, '\n')) tell("{}\n", printable(line, 1000));
    if (const std::string queued = text(digest, "queued"); !queued.empty())
        tell("Mailed to admin_address as {}.\n", queued);
}

void print_reporting(const json::object& status) {
    tell("TLS reports: {}", json::value(status.at("sending")).as_bool() ? "sent"
                            : json::value(status.at("switched_off")).as_bool()
                                ? "not sent (tlsrpt.send is false)"
                                : "not sent yet");
    tell("; {} wait(s)", text(status, "waiting"));
    if (!text(status, "next_at").empty()) tell(", the next is due at {}", text(status, "next_at"));
    if (!text(status, "closed").empty()) tell("; counted up to {}", text(status, "closed"));
    tell("\n");
    for (const auto& one : list(status, "missing"))
        tell("    missing: {}\n", printable(std::string(one.as_string()), 500));
}

}  // namespace sternpost::cmd
