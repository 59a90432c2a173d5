// What is in the way of a recipient now: the one place that names it, for lists, `why`, `explain` and mailq
// alike. Pure.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "store/admin.h"
#include "store/message.h"
#include "store/results.h"

namespace sternpost::queue {

enum class Obstacle {
    none,              // an attempt is under way
    due,               // nothing: an attempt begins at once
    held,              // an administrator has put the message on hold
    sender_suspended,  // no mail of its sender goes
    hop_suspended,     // no mail goes to its next hop
    results_wait,      // the store cannot keep what becomes of mail, so none is sent
    hop_fails,         // its next hop could not be reached, or met not what is demanded
    in_line,           // other mail goes first: the connections to its next hop, or the memory, are in use
    limit,             // there is no connection for it: a limit of its destination, or of all deliveries
    schedule,          // its own last attempt failed, and the next one has its time
    daemon_down,
};

std::string_view name_of(Obstacle obstacle);
constexpr Obstacle last_of(Obstacle) {
    return Obstacle::daemon_down;
}

struct Blocked {
    Obstacle what = Obstacle::none;
    store::ReasonCode code = store::ReasonCode::none;
    std::string status{};             // RFC 3463; empty: it has none
    std::string text{};               // a sentence; empty with none and due
    std::optional<WallTime> until{};  // when it passes by itself; nullopt: it does not, or no one knows
    std::optional<WallTime> at{};     // of hop_fails: when the next hop failed last
};

/// What is known of a recipient that waits.
struct ObstacleFacts {
    WallTime now{};
    bool running = true;  // the daemon
    bool in_attempt = false;
    bool results_wait = false;
    bool in_line = false;                  // other mail is before it
    bool no_connection = false;            // its next hop is paused by a limit, or all connections are in use
    const store::HopState* hop = nullptr;  // where it fails
    const store::StoredSuspension* of_hop = nullptr;  // that holds for its next hop
    const store::StoredSuspension* of_sender = nullptr;
};

/// Mail for a next hop (store/hop_group.h) that has just come: what is in its way is what is in the next
/// hop's way.
store::StoredMessage mail_for(const std::string& hop);

/// Whether nothing begins until an administrator ends it.
bool is_held_back(Obstacle what);

/// Only for a recipient that is queued.
Blocked blocked_by(const store::StoredMessage& message, std::size_t recipient, const ObstacleFacts& facts);

}  // namespace sternpost::queue
