#include "admin/mailq.h"

#include <fmt/format.h>

#include <utility>

#include "util/text.h"

namespace sternpost::admin {
namespace {

constexpr std::size_t reasons_end = 76;  // reasons are flush right, as far as this

// Whether it is by this, and not by what the last attempt met, that a recipient waits.
bool blocks(std::optional<queue::Obstacle> by) {
    return by && (queue::is_held_back(*by) || *by == queue::Obstacle::results_wait);
}

// One message with its recipients that wait, each after the reason why it does.
std::string message_text(const MessageRow& message, const std::string& arrived) {
    bool active = false;
    bool waits = false;
    bool held = true;  // each recipient waits for an administrator
    std::string recipients;
    std::string last;  // a reason is said once for the recipients that follow
    for (const auto& recipient : message.recipients) {
        if (recipient.state != store::RecipientState::queued) continue;
        waits = true;
        active = active || recipient.active;
        const bool blocked = blocks(recipient.blocked_by);
        held = held && blocked;
        const std::string reason = blocked ? recipient.blocks.value_or("") : recipient.reason;
        if (!reason.empty() && reason != last)
            recipients += fmt::format("{:>{}}\n", "(" + printable(reason, 1000) + ")", reasons_end);
        last = reason;
        recipients += fmt::format("{:42}{}\n", "", printable(recipient.path, 600));
    }
    const char* const state = message.held || (held && waits) ? "!" : active ? "*" : "";
    std::string sender = printable(message.reverse_path, 600);
    if (sender.empty()) sender = "MAILER-DAEMON";
    return fmt::format("{:<11} {:>7} {:>20} {}\n{}\n", message.id + state, message.size, arrived, sender,
                       recipients);
}

}  // namespace

std::string MailqText::messages(const std::vector<MessageRow>& messages) {
    std::string out;
    for (const auto& message : messages) {
        if (!std::exchange(begun_, true))
            out += "-Queue ID-  --Size-- ----Arrival Time---- -Sender/Recipient-------\n";
        out += message_text(message, local_time_(message.arrived));
    }
    return out;
}

std::string MailqText::end(const Listing& list) {
    std::string out = messages(list.messages);
    const std::uint64_t count = list.totals.messages;
    if (count == 0 && !begun_) return "Mail queue is empty\n";
    if (list.more) out += "        (not all of them are shown)\n";
    // Monitors that expect Sendmail look for the total in its words.
    return out + fmt::format("        Total Requests: {}\n-- {} Kbytes in {} Request{}.\n", count,
                             list.totals.octets / 1024, count, count == 1 ? "" : "s");
}

}  // namespace sternpost::admin
