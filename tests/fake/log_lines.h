// A log that keeps its lines.
#pragma once

#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "util/log.h"

namespace sternpost::fake {

class LogLines final : public Log {
  public:
    void write(Level, std::string_view line) override {
        const std::lock_guard lock(mutex_);
        lines_.emplace_back(line);
    }
    void write_limited(Level, std::string_view key, std::uint64_t per_minute,
                       std::string_view line) override {
        const std::lock_guard lock(mutex_);
        lines_.emplace_back(line);
        limited_.emplace_back(line.substr(0, line.find(' ')),
                              std::string(key) + " " + std::to_string(per_minute));
    }
    bool wants(Level) const override { return true; }
    /// `KEY PER-MINUTE` of the last event `name` that was limited; empty: none was.
    std::string limited(std::string_view name) const {
        const std::lock_guard lock(mutex_);
        for (auto at = limited_.rbegin(); at != limited_.rend(); ++at)
            if (at->first == name) return at->second;
        return {};
    }

    /// The first line that begins with `start`; empty: there is none.
    std::string find(std::string_view start) const {
        const std::lock_guard lock(mutex_);
        for (const auto& line : lines_)
            if (line.starts_with(start)) return line;
        return {};
    }
    std::size_t count(std::string_view start) const {
        const std::lock_guard lock(mutex_);
        std::size_t n = 0;
        for (const auto& line : lines_) n += line.starts_with(start) ? 1U : 0U;
        return n;
    }

  private:
    mutable std::mutex mutex_;
    std::vector<std::string> lines_;
    std::vector<std::pair<std::string, std::string>> limited_;
};

}  // namespace sternpost::fake
