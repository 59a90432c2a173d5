// Why a message is where it is: its attempts as a tree of reasons, what blocks it now, when the next attempt
// is, what would unblock it and whose move that is. Pure: facts in, sentences out.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "queue/obstacle.h"
#include "store/admin.h"
#include "store/history.h"
#include "store/message.h"

namespace sternpost::delivery {

struct WhyFacts {
    WallTime now{};
    bool clock_trusted = true;     // queue/schedule: else nothing expires
    bool running = true;           // the daemon
    store::StoredMessage message;  // as it is in the queue, or as it was
    bool in_queue = true;
    std::vector<queue::Blocked> blocked;  // per recipient, while it is in the queue
    std::vector<store::HistoryEntry>
        history;          // of the message and of its hops while it waited, in time order
    WallTime deadline{};  // when its lifetime ends
    std::vector<store::StoredOverride> overrides;  // in force for its domains
    std::string writes_as;                         // delivery/write_rule; empty: nothing to say
};

/// The answer about one recipient.
struct WhyRecipient {
    std::string path;
    std::string state;  // queued, sent, bounced, deleted
    std::string status;
    store::ReasonCode reason_code = store::ReasonCode::none;
    std::string blocks;               // what blocks now, a sentence; empty: nothing
    std::optional<WallTime> next_at;  // of the next attempt
    std::string unblocks;
    std::string move;
    bool under_way = false;  // an attempt
};

std::vector<WhyRecipient> recipients_of(const WhyFacts& facts);
std::vector<std::string> lines_of(const WhyFacts& facts);

}  // namespace sternpost::delivery
