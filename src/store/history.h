// What was done with messages and next hops.
#pragma once

#include <cstdint>
#include <string_view>
#include <variant>
#include <vector>

#include "store/admin.h"
#include "store/message.h"
#include "store/results.h"
#include "util/clock.h"

namespace sternpost::store {

/// One entry of a message's or a next hop's history. The details hold no outcomes: those are counted.
struct HistoryEntry {
    WallTime at;
    std::uint64_t sequence = 0;  // of its record in the journal
    std::variant<DeliveryResult, HopState, Act> what;
};

/// What a message can be found by.
enum class NameOf : std::uint8_t { recipient = 1, sender = 2, message_id = 3 };

inline std::string_view without_brackets(std::string_view message_id) {
    return message_id.starts_with('<') && message_id.ends_with('>')
               ? message_id.substr(1, message_id.size() - 2)
               : message_id;
}
inline const mail::ForwardPath& path_of(const QueuedRecipient& recipient) {
    return recipient.recipient.path;
}
inline const mail::ForwardPath& path_of(const StoredRecipient& recipient) {
    return path_of(recipient.address);
}

/// Calls `take(what, name)` for the address of each recipient, the reverse-path where it is one, and the
/// Message-ID without its brackets. Names are the same in any case.
template <class Message, class Take>
void for_each_name(const Message& message, Take take) {
    for (const auto& recipient : message.recipients) take(NameOf::recipient, path_of(recipient).text());
    const auto& envelope = message.envelope;
    if (!envelope.reverse_path.is_null()) take(NameOf::sender, envelope.reverse_path.text());
    if (const auto id = without_brackets(envelope.message_id); !id.empty()) take(NameOf::message_id, id);
}

/// What is remembered of messages, those that are gone too.
struct History {
    std::vector<StoredMessage> messages;  // oldest first; each recipient as its last entry left it
    std::vector<HistoryEntry> entries;    // in time order
};

}  // namespace sternpost::store
