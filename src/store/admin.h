// What administrators have done, and what they should look at.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "store/message.h"
#include "util/clock.h"

namespace sternpost::store {

/// warned: its sender was told that it is delayed; the others are an administrator's. retry: what waits is
/// due, and its next hops are blocked no more.
enum class ActKind : std::uint8_t { remove = 1, hold = 2, release = 3, retry = 4, warned = 5, reroute = 6 };
/// What was done to the message, such as `put on hold`.
std::string_view name_of(ActKind kind);

/// What was done to a message, apart from delivering it.
struct Act {
    ActKind kind = ActKind::retry;
    MessageId message;
    WallTime at;
    std::string who;     // user name or uid; empty: the daemon itself
    std::string from{};  // reroute: of recipients that wait for this next hop; empty: for any
    std::string to{};    // reroute: the next hop that they wait for now
};

/// An administrator's override (delivery/overrides decides what it means).
struct StoredOverride {
    std::string scope;   // `example.com`, `.example.com` (the domain's sub-domains too), `mx:mx1.example.net`
    std::string level;   // none, may, encrypt, verify, dane, sts; empty: the override is removed
    std::string reason;  // why, in the administrator's words
    std::string author;
    WallTime set{};
    WallTime expires{};  // the epoch: never
    bool operator==(const StoredOverride&) const = default;
};

enum class SuspensionKind : std::uint8_t { next_hop = 0, sender = 1 };

/// No attempt begins for what an administrator has suspended: a next hop (`example.com`, `.example.com`:
/// those under it), or a sender (as is_sender() takes it).
struct StoredSuspension {
    SuspensionKind kind = SuspensionKind::next_hop;
    std::string scope;
    std::string reason;
    std::string author;
    WallTime set{};
    bool ended = false;  // it is no more
    bool operator==(const StoredSuspension&) const = default;
};

/// Something an administrator should look at. Those of one kind and subject are merged: the first time and
/// the latest time and text stay, counts add up. One without `last` is no new alarm: it sets what of `acked`,
/// `muted_until` and `mailed` it has.
struct StoredAlarm {
    std::string kind;     // the name of an AlarmKind
    std::string subject;  // the domain or host
    std::string text;     // the sentence
    WallTime first{};
    WallTime last{};
    std::uint64_t count = 0;
    WallTime acked{};  // an administrator knows of it
    std::string acked_by{};
    WallTime muted_until{};  // no one is to be told of it
    WallTime mailed{};       // an administrator was told of it by mail

    /// No administrator has said since that it is known.
    bool open() const { return last > acked; }
    bool muted(WallTime now) const { return now < muted_until; }
    bool operator==(const StoredAlarm&) const = default;
};

}  // namespace sternpost::store
