// What was done with messages and next hops.
#pragma once

#include <cstdint>
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

/// What is remembered of messages, those that are gone too.
struct History {
    std::vector<StoredMessage> messages;  // oldest first; each recipient as its last entry left it
    std::vector<HistoryEntry> entries;    // in time order
};

}  // namespace sternpost::store
