#include "admin/mail_log.h"

#include <algorithm>
#include <map>

#include "util/text.h"

namespace sternpost::admin {
namespace {

constexpr std::uint64_t most_logged_messages = 10'000;  // ours: memory holds one answer
constexpr std::size_t most_logged_entries = 100'000;    // ours: likewise

LoggedMessage logged(const store::StoredMessage& message) {
    LoggedMessage out;
    out.id = message.id.text();
    out.arrived = message.arrived;
    out.size = message.body.size;
    out.class_ = name_of(message.message_class);
    out.reverse_path = message.envelope.reverse_path.text();
    out.message_id = message.envelope.message_id;
    out.origin = {message.origin.address, message.origin.helo, message.origin.with, message.origin.uid};
    for (const auto& r : message.recipients)
        out.recipients.push_back(
            {r.address.recipient.path.text(), r.address.next_hop, r.state, r.tries, r.status, r.text});
    return out;
}

std::optional<store::MessageId> message_of_entry(const store::HistoryEntry& entry) {
    if (const auto* result = std::get_if<store::DeliveryResult>(&entry.what)) return result->message;
    if (const auto* act = std::get_if<store::Act>(&entry.what)) return act->message;
    return std::nullopt;
}

}  // namespace

MailLog::MailLog(const Request& request, const Caller& caller, Paging) : what_(request.what) {
    filter_.from = request.from;
    filter_.limit =
        std::min(request.limit, most_logged_messages) + 1;  // one more tells whether there are others
    filter_.entry_limit = most_logged_entries;
    if (request.as == "recipient") filter_.name_of = store::NameOf::recipient;
    if (request.as == "sender") filter_.name_of = store::NameOf::sender;
    if (!request.as.empty() && !filter_.name_of) {
        refused_ =
            misused("an address is looked for as recipient or sender, not as " + printable(request.as));
        return;
    }
    const std::string_view name = store::without_brackets(what_);
    if (name.find('@') != std::string_view::npos || name.size() != what_.size()) {
        filter_.name = name;
    } else if (store::MessageId::parse(what_)) {
        filter_.id = what_;
    } else if (!what_.empty()) {
        filter_.next_hop = next_hop_of(what_);
        if (filter_.next_hop.empty())
            refused_ = refusal("\"" + printable(what_) +
                               "\" is neither an address, nor a Message-ID, a domain or a queue id");
    }
    if (!caller.admin && filter_.id.empty())
        refused_ = Refusal{ExitCode::not_permitted,
                           "everybody's mail is for root and for members of the administrators' group; what "
                           "became of one message is found by its queue id"};
}

store::Result<void> MailLog::read(store::Questions& questions) {
    auto history = questions.history(filter_);
    if (!history) return fail(std::move(history).error());
    auto& messages = history->messages;
    const std::size_t most = filter_.limit - 1;
    answer_.more = messages.size() > most;
    if (answer_.more) messages.erase(messages.begin(), messages.end() - static_cast<std::ptrdiff_t>(most));
    std::map<store::MessageId, std::size_t> places;
    for (const auto& message : messages) {
        places[message.id] = answer_.messages.size();
        answer_.messages.push_back(logged(message));
    }
    for (const auto& entry : history->entries) {
        const auto id = message_of_entry(entry);
        const auto place = id ? places.find(*id) : places.end();
        if (place != places.end()) answer_.messages[place->second].attempts.push_back(row_of(entry));
    }
    return {};
}

Answer<LogAnswer> MailLog::answer(const Live&) {
    if (answer_.messages.empty())
        return {std::move(answer_), ExitCode::no,
                what_.empty() ? "no mail is in the history that is kept"
                              : "nothing about " + printable(what_) + " is in the history that is kept"};
    return std::move(answer_);
}

}  // namespace sternpost::admin
