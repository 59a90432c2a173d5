// Time, as an argument: wall time for what people and RFCs see, steady time for waiting. Only SystemClock
// asks the machine.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

namespace sternpost {

using WallTime = std::chrono::sys_time<std::chrono::microseconds>;
using SteadyTime = std::chrono::steady_clock::time_point;
using Deadline = SteadyTime;

class Clock {
  public:
    virtual ~Clock() = default;
    virtual WallTime wall() const = 0;
    virtual SteadyTime steady() const = 0;
    /// As steady(), but it goes on while the machine is suspended. Only differences count.
    virtual SteadyTime since_boot() const { return steady(); }
};

class SystemClock final : public Clock {
  public:
    WallTime wall() const override;
    SteadyTime steady() const override;
    SteadyTime since_boot() const override;
};

/// `2026-11-23T16:49:39Z`, for logs and JSON (RFC 3339).
std::string rfc3339(WallTime time);
/// Reads `2026-11-23T16:49:39Z`, and `2026-11-23` as its first second; nothing else.
std::optional<WallTime> parse_rfc3339(std::string_view text);

/// `Mon, 23 Nov 2026 16:49:39 +0000` (RFC 5322 §3.3), always UTC.
std::string rfc5322_date(WallTime time);

/// `4d 03h`, `2h 05m`, `3m 20s`, `1.2s`: a span for people, its two largest units.
std::string human_span(std::chrono::microseconds span);

}  // namespace sternpost
