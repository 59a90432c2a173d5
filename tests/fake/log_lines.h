// A log that keeps its lines.
#pragma once

#include <mutex>
#include <string>
#include <vector>

#include "util/log.h"

namespace sternpost::fake {

class LogLines final : public Log {
  public:
    void write(Level, std::string_view line) override {
        const std::lock_guard lock(mutex_);
        lines_.emplace_back(line);
    }
    bool wants(Level) const override { return true; }

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
};

}  // namespace sternpost::fake
