// What the configuration says of the queue.
#pragma once

#include <chrono>
#include <cstddef>
#include <string>

#include "queue/schedule.h"

namespace sternpost::queue {

/// How much of the queue is in memory: what is due, or soon will be. The rest sleeps in the store.
struct WindowLimits {
    std::size_t messages = 5000;      // no more are asked for; new mail may double it
    std::size_t recipients = 50'000;  // of these messages, likewise
    std::size_t octets =
        8UL * 1024 * 1024;             // of bodies that stay with new mail; the rest is read when it goes
    std::size_t per_hop = 1000;        // of one next hop
    std::size_t per_sender = 20;       // of a sender at a next hop: so many always find room
    std::size_t hops = 20'000;         // next hops that are remembered though nothing of theirs is in memory
    std::chrono::seconds horizon{60};  // what waits for longer is let go of
};

/// RFC 3463 statuses of what the queue ends, or reports as delayed, without a reply of a host.
struct Statuses {
    std::string delayed;  // no attempt has given a better one
    std::string expired;  // an administrator gave it up
    std::string deleted;
};

struct Options {
    Schedule schedule;
    Statuses statuses;
    unsigned connections_per_hop = 20;
    unsigned window_start = 2;      // connections to a next hop of which nothing is known
    unsigned window_growth = 1;     // more for each that could be opened
    unsigned window_shrink = 0;     // fewer than are open, when a further one could not
    unsigned max_deliveries = 500;  // connections in all
    std::size_t recipients_per_transaction = 100;
    WindowLimits window;
};

}  // namespace sternpost::queue
