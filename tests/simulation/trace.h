// What happened, step by step: folded into a hash that tells two runs apart, and shown when someone wants to
// see it. The first invariant that is broken ends the world.
#pragma once

#include <fmt/format.h>

#include <cstdio>
#include <optional>
#include <string>
#include <string_view>

#include "util/clock.h"
#include "util/log.h"

namespace sternpost::simulation {

struct Violation {
    std::string invariant;  // `nothing-lost`, …
    std::string text;
    WallTime at;
};

class Trace {
  public:
    Trace(const Clock& clock, bool shown) : clock_(clock), shown_(shown) {}

    /// One step. `what` and the time go into the hash.
    void step(std::string_view what) {
        ++steps_;
        fold(static_cast<std::uint64_t>(clock_.wall().time_since_epoch().count()));
        for (const char c : what) fold_octet(static_cast<unsigned char>(c));
        if (shown_) show("", what);
    }
    template <class... Args>
    void step(fmt::format_string<Args...> format, Args&&... args) {
        step(std::string_view(fmt::format(format, std::forward<Args>(args)...)));
    }
    /// A number that belongs to the next step.
    void fold(std::uint64_t number) {
        for (unsigned shift = 0; shift < 64; shift += 8) fold_octet((number >> shift) & 0xffU);
    }
    void show(std::string_view prefix, std::string_view line) const {
        const auto wall = std::chrono::floor<std::chrono::milliseconds>(clock_.wall());
        const auto fraction = (wall - std::chrono::floor<std::chrono::seconds>(wall)).count();
        std::fputs(
            fmt::format("{}.{:03} {}{}\n", rfc3339(clock_.wall()).substr(0, 19), fraction, prefix, line)
                .c_str(),
            stdout);
    }
    bool shown() const { return shown_; }

    void violated(std::string invariant, std::string text) {
        if (violation_) return;
        step("VIOLATED {}: {}", invariant, text);
        violation_ = Violation{std::move(invariant), std::move(text), clock_.wall()};
    }
    const std::optional<Violation>& violation() const { return violation_; }
    std::uint64_t hash() const { return hash_; }
    std::uint64_t steps() const { return steps_; }

  private:
    void fold_octet(std::uint64_t octet) { hash_ = (hash_ ^ octet) * 0x100000001b3ULL; }  // FNV-1a

    const Clock& clock_;
    bool shown_;
    std::uint64_t hash_ = 0xcbf29ce484222325ULL;
    std::uint64_t steps_ = 0;
    std::optional<Violation> violation_;
};

/// The daemon's log, shown with the trace.
class TraceLog final : public Log {
  public:
    explicit TraceLog(const Trace& trace) : trace_(trace) {}
    void write(Level, std::string_view line) override { trace_.show("  log: ", line); }
    bool wants(Level level) const override { return trace_.shown() && level <= Level::info; }

  private:
    const Trace& trace_;
};

}  // namespace sternpost::simulation
