#include "control/mailq.h"

#include <fmt/format.h>

#include <boost/json/array.hpp>
#include <boost/json/value.hpp>

#include "util/text.h"

namespace sternpost::control {
namespace {

namespace json = boost::json;

constexpr std::size_t reasons_end = 76;  // reasons are flush right, as far as this

std::string text(const json::object& object, std::string_view key) {
    const auto* value = object.if_contains(key);
    return value != nullptr && value->is_string() ? std::string(value->as_string()) : std::string();
}

std::uint64_t number(const json::object& object, std::string_view key) {
    const auto* value = object.if_contains(key);
    boost::system::error_code ignored;
    const auto out = value != nullptr ? value->to_number<std::uint64_t>(ignored) : 0;
    return ignored ? 0 : out;
}

bool flag(const json::object& object, std::string_view key) {
    const auto* value = object.if_contains(key);
    return value != nullptr && value->is_bool() && value->as_bool();
}

}  // namespace

std::string mailq_text(const json::object& list,
                       const std::function<std::string(const std::string&)>& local_time) {
    const json::object& totals = list.at("totals").as_object();
    const std::uint64_t messages = number(totals, "messages");
    if (messages == 0) return "Mail queue is empty\n";
    std::string out = "-Queue ID-  --Size-- ----Arrival Time---- -Sender/Recipient-------\n";
    for (const auto& item : list.at("messages").as_array()) {
        const json::object& message = item.as_object();
        bool active = false;
        std::string recipients;
        std::string last;  // a reason is said once for the recipients that follow
        for (const auto& one : message.at("recipients").as_array()) {
            const json::object& recipient = one.as_object();
            if (text(recipient, "state") != "queued") continue;
            active = active || flag(recipient, "active");
            const std::string reason = text(recipient, "reason");
            if (!reason.empty() && reason != last)
                recipients += fmt::format("{:>{}}\n", "(" + printable(reason, 1000) + ")", reasons_end);
            last = reason;
            recipients += fmt::format("{:42}{}\n", "", printable(text(recipient, "path"), 600));
        }
        const char* const state = flag(message, "held") ? "!" : active ? "*" : "";
        std::string sender = printable(text(message, "reverse_path"), 600);
        if (sender.empty()) sender = "MAILER-DAEMON";
        out += fmt::format("{:<11} {:>7} {:>20} {}\n{}\n", text(message, "id") + state,
                           number(message, "size"), local_time(text(message, "arrived")), sender, recipients);
    }
    // Monitors that expect Sendmail look for the total in its words.
    return out + fmt::format("        Total Requests: {}\n-- {} Kbytes in {} Request{}.\n", messages,
                             number(totals, "octets") / 1024, messages, messages == 1 ? "" : "s");
}

}  // namespace sternpost::control
