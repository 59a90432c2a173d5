#include "control/mailq.h"

#include <fmt/format.h>

#include <boost/json/value.hpp>
#include <utility>

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

// Whether it is by this, and not by what the last attempt met, that a recipient waits.
bool blocks(const std::string& by) {
    return by == "held" || by == "sender-suspended" || by == "hop-suspended" || by == "results-wait";
}

// One message with its recipients that wait, each after the reason why it does.
std::string message_text(const json::object& message, const std::string& arrived) {
    bool active = false;
    bool waits = false;
    bool held = true;  // each recipient waits for an administrator
    std::string recipients;
    std::string last;  // a reason is said once for the recipients that follow
    for (const auto& one : message.at("recipients").as_array()) {
        const json::object& recipient = one.as_object();
        if (text(recipient, "state") != "queued") continue;
        waits = true;
        active = active || flag(recipient, "active");
        const bool blocked = blocks(text(recipient, "blocked_by"));
        held = held && blocked;
        const std::string reason = text(recipient, blocked ? "blocks" : "reason");
        if (!reason.empty() && reason != last)
            recipients += fmt::format("{:>{}}\n", "(" + printable(reason, 1000) + ")", reasons_end);
        last = reason;
        recipients += fmt::format("{:42}{}\n", "", printable(text(recipient, "path"), 600));
    }
    const char* const state = flag(message, "held") || (held && waits) ? "!" : active ? "*" : "";
    std::string sender = printable(text(message, "reverse_path"), 600);
    if (sender.empty()) sender = "MAILER-DAEMON";
    return fmt::format("{:<11} {:>7} {:>20} {}\n{}\n", text(message, "id") + state, number(message, "size"),
                       arrived, sender, recipients);
}

}  // namespace

std::string MailqText::messages(const json::array& messages) {
    std::string out;
    for (const auto& item : messages) {
        if (!std::exchange(begun_, true))
            out += "-Queue ID-  --Size-- ----Arrival Time---- -Sender/Recipient-------\n";
        const json::object& message = item.as_object();
        out += message_text(message, local_time_(text(message, "arrived")));
    }
    return out;
}

std::string MailqText::end(const json::object& list) {
    std::string out = messages(list.at("messages").as_array());
    const json::object& totals = list.at("totals").as_object();
    const std::uint64_t messages = number(totals, "messages");
    if (messages == 0 && !begun_) return "Mail queue is empty\n";
    if (flag(list, "more")) out += "        (not all of them are shown)\n";
    // Monitors that expect Sendmail look for the total in its words.
    return out + fmt::format("        Total Requests: {}\n-- {} Kbytes in {} Request{}.\n", messages,
                             number(totals, "octets") / 1024, messages, messages == 1 ? "" : "s");
}

}  // namespace sternpost::control
