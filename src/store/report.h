// TLS outcomes by day, and the TLS reports that are made of them (RFC 8460).
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "store/results.h"
#include "util/clock.h"

namespace sternpost::store {

/// TLS outcomes of one UTC day that are alike in all but their time. outcome.at: of the latest of them.
struct StoredOutcome {
    TlsOutcome outcome;
    std::uint64_t n = 0;
    std::chrono::sys_days day{};  // that it counts in: that of outcome.at, or a later one (ClosedDay)
    bool operator==(const StoredOutcome&) const = default;
};

/// waiting: tried again at next_at; done: every place took it, or those that did not were given up;
/// not_asked: the domain publishes no valid TLSRPT record; given_up: no place took it in time (RFC 8460
/// §5.5).
enum class ReportState : std::uint8_t { waiting = 0, done = 1, not_asked = 2, given_up = 3 };
std::string_view name_of(ReportState state);
enum class PlaceState : std::uint8_t { waiting = 0, accepted = 1, given_up = 2 };
std::string_view name_of(PlaceState state);

/// One of the URIs that a TLSRPT record names, and what became of the report there.
struct ReportPlace {
    std::string uri;
    PlaceState state = PlaceState::waiting;
    WallTime at{};     // of the latest attempt
    std::string text;  // what came of it
    bool operator==(const ReportPlace&) const = default;
};

/// How it stands with a domain's TLS report of a day. What it says is made of the day's outcomes, which
/// change no more.
struct StoredReport {
    std::chrono::sys_days day{};  // UTC
    std::string domain;
    std::string id;  // RFC 8460 §4.4 report-id; empty before it was made
    ReportState state = ReportState::waiting;
    WallTime first_tried{};
    WallTime at{};  // of the latest attempt
    WallTime next_at{};
    std::uint32_t tries = 0;
    std::uint32_t resent = 0;  // how often an administrator had it sent again
    std::string text;          // why it is not done
    std::uint64_t good = 0;    // sessions, of all policies
    std::uint64_t failed = 0;
    std::vector<ReportPlace> places;
    bool operator==(const StoredReport&) const = default;
};

/// The counters of that day and of those before it change no more: what is heard of later counts in the day
/// after.
struct ClosedDay {
    std::chrono::sys_days day{};  // UTC
};

/// How far reporting has come.
struct ReportingState {
    struct Unreported {
        std::chrono::sys_days day;
        std::string domain;
        WallTime next_at{};  // of a report that was tried before
    };
    std::chrono::sys_days closed{};  // the newest day that is; 1970-01-01: none yet
    std::vector<Unreported>
        unreported;  // days and domains with outcomes and without a report that is finished
};

}  // namespace sternpost::store
