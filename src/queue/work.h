// What the queue, delivery and administration tell each other of mail and of next hops. Values.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "queue/schedule.h"
#include "store/store.h"

namespace sternpost::queue {

using MessagePtr = std::shared_ptr<const store::StoredMessage>;

/// One transaction's worth: a message and those of its recipients that share a next hop and are due.
struct Work {
    MessagePtr message;
    std::vector<std::uint32_t> recipients;  // indices
    Now began;                              // when the attempt that this is part of began
    bool last = false;                      // the message's time is over: should it fail, it is returned
};

/// What an attempt did to one recipient. In `result`, the core fills in at, next_at and tries.
struct RecipientResult {
    store::DeliveryResult result;
    bool again = false;       // not a failure: to be sent in a further transaction at once
    bool blames_hop = false;  // deferred by something that the next hop, not this recipient, must mend
    std::chrono::seconds least_wait{0};  // no sooner than this (a lost reply to the final dot)
};

/// A message that waits for so long that its sender hears of it.
struct Delayed {
    MessagePtr message;
    std::vector<store::DeliveryResult> recipients;  // those that wait, with why
    std::vector<std::uint32_t> held_back;  // of these: nothing is tried until an administrator ends that
    WallTime until;                        // given up after an attempt at or after this
};

/// Why a next hop cannot take mail: all that waits for it waits, or bounces.
struct HopFailure {
    bool permanent = false;  // bounces what is due: no such domain, null MX, a loop
    std::string status;
    std::string text;
    store::ReasonCode reason_code = store::ReasonCode::none;
    store::AttemptDetail detail{};
    bool left_alone =
        false;  // an address was not tried, since it took no connection a moment ago: no last attempt
};

/// A next hop of which something is in memory.
struct HopView {
    std::string name;
    std::size_t ready = 0;
    std::size_t sleeping = 0;
    unsigned lanes = 0;
    unsigned failures = 0;
    std::optional<WallTime> next_at;
    std::string text;
    std::string status{};
    store::ReasonCode reason_code = store::ReasonCode::none;
    bool idle = false;  // nothing of it is in memory but that it failed, which the store knows
};

/// One message that an administrator means, and which of its recipients.
struct Selected {
    MessagePtr message;
    std::vector<std::uint32_t> recipients;  // queued and not in an attempt
    std::size_t active = 0;                 // further ones, which are in an attempt
    bool whole = false;  // nothing but the message was asked for, or all its recipients match
};

}  // namespace sternpost::queue
