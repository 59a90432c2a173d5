// What an administrator should hear of before anyone asks: alarms about this relay itself. Pure.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "store/alarm_kind.h"
#include "util/clock.h"

namespace sternpost::admin {

/// How things are, at one moment.
struct WatchedFacts {
    WallTime now{};
    std::uint64_t messages = 0;         // in the queue
    std::optional<WallTime> oldest;     // when the oldest of them was accepted
    bool disk_short = false;            // mail is refused
    std::optional<double> free_octets;  // of the file system of state_dir, a part of 1
    std::optional<double> free_inodes;  // likewise
    bool memory_short = false;
    bool clock_trusted = true;
    std::uint64_t results_waiting = 0;
    std::uint64_t log_lines_lost = 0;  // since the start
    struct Certificate {
        std::string file;
        std::string trouble;  // empty: none
    };
    std::optional<Certificate> certificate;    // the listener's, where one is configured
    std::vector<std::string> sources_missing;  // source addresses that no interface has
};

struct WatchLimits {
    std::chrono::seconds old_mail = std::chrono::hours(24);  // 0: never
    std::uint64_t queue_growth = 1000;  // messages more than an hour ago, and twice as many
    double least_free = 0.05;           // ours: of octets, and of inodes
};

/// Remembers what it has said. Each alarm is raised when it begins, and once a day while it lasts.
class Watch {
  public:
    explicit Watch(const WatchLimits& limits) : limits_(limits) {}
    /// Once a minute.
    std::vector<store::NewAlarm> look(const WatchedFacts& facts);

  private:
    using Key = std::pair<store::AlarmKind, std::string>;
    struct Sample {
        WallTime at;
        std::uint64_t messages;
    };
    std::uint64_t an_hour_ago(const WatchedFacts& facts);
    std::vector<store::NewAlarm> now(const WatchedFacts& facts);

    WatchLimits limits_;
    std::map<Key, WallTime> raised_;
    std::deque<Sample> samples_;
    std::uint64_t lines_lost_ = 0;
};

}  // namespace sternpost::admin
