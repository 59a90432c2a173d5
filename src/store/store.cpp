#include "store/store.h"

#include <algorithm>

#include "store/sender_scope.h"
#include "util/text.h"

namespace sternpost::store {

namespace {

bool has_part(const std::string& text, const std::string& part) {
    return part.empty() || lowered(text).find(lowered(part)) != std::string::npos;
}

}  // namespace

bool waits_for(const StoredRecipient& recipient, std::string_view reason) {
    return reason.empty() || recipient.status == reason || name_of(recipient.reason_code) == reason ||
           lowered(recipient.text).find(lowered(reason)) != std::string::npos;
}

bool matches(const QueueFilter& filter, const StoredRecipient& recipient) {
    return recipient.state == RecipientState::queued && waits_for(recipient, filter.reason) &&
           (filter.domain.empty() || iequals(recipient.address.next_hop, filter.domain)) &&
           has_part(recipient.address.recipient.path.text(), filter.recipient);
}

bool matches(const QueueFilter& filter, const StoredMessage& message) {
    if (message.id <= filter.after || message.id > filter.until) return false;
    if (!filter.ids.empty() &&
        std::find(filter.ids.begin(), filter.ids.end(), message.id) == filter.ids.end())
        return false;
    if (filter.unwarned && message.warned) return false;
    if (filter.held && !message.held) return false;
    if (filter.arrived_before && message.arrived >= *filter.arrived_before) return false;
    if (filter.larger > 0 && message.body.size <= filter.larger) return false;
    if (!filter.sender.empty() && !is_sender(message, filter.sender)) return false;
    if (!has_part(message.envelope.reverse_path.text(), filter.from)) return false;
    return std::any_of(message.recipients.begin(), message.recipients.end(),
                       [&](const StoredRecipient& r) { return matches(filter, r); });
}

void cut_to(const QueueFilter& filter, std::vector<StoredMessage>& messages) {
    std::size_t recipients = 0;
    std::size_t n = 0;
    while (n < messages.size() && n < filter.limit && recipients < filter.recipients)
        recipients += messages[n++].recipients.size();
    messages.erase(messages.begin() + static_cast<std::ptrdiff_t>(n), messages.end());
}

bool has_name(const StoredMessage& message, const HistoryFilter& filter) {
    bool found = filter.name.empty();
    for_each_name(message, [&](NameOf what, std::string_view name) {
        found = found || ((!filter.name_of || filter.name_of == what) && iequals(name, filter.name));
    });
    return found;
}

bool matches(const ReportFilter& filter, const StoredReport& report) {
    return report.day >= filter.from && report.day <= filter.to &&
           (filter.domain.empty() || report.domain == filter.domain) &&
           (filter.id.empty() || report.id == filter.id) &&
           !(filter.asked_for && report.state == ReportState::not_asked);
}

}  // namespace sternpost::store
