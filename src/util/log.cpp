#include "util/log.h"

#include <fmt/format.h>
#include <unistd.h>

#include "util/clock.h"
#include "util/text.h"

namespace sternpost {
namespace {

constexpr std::size_t max_value = 256;    // ours: one hostile reply must not fill the log
constexpr std::size_t max_reason = 1000;  // ours: our own sentences are longer than a value

class StderrLog final : public Log {
  public:
    StderrLog(Level most, bool journald) : most_(most), journald_(journald) {}

    void write(Level level, std::string_view line) override {
        if (!wants(level)) return;
        static constexpr const char* priority[] = {"<3>", "<4>", "<6>", "<7>"};
        std::string out = journald_ ? std::string(priority[static_cast<std::size_t>(level)])
                                    : rfc3339(SystemClock().wall()) + ' ';
        out += line;
        out += '\n';
        const char* at = out.data();
        std::size_t left = out.size();
        while (left > 0) {
            const ssize_t put = ::write(STDERR_FILENO, at, left);
            if (put <= 0) return;  // nobody reads us: there is nowhere to complain
            at += put;
            left -= static_cast<std::size_t>(put);
        }
    }
    bool wants(Level level) const override { return level <= most_; }

  private:
    Level most_;
    bool journald_;
};

bool plain(std::string_view value) {
    if (value.empty()) return false;
    for (const char c : value)
        if (c == ' ' || c == '"' || c == '=' || static_cast<unsigned char>(c) < 0x20 || c == 0x7f)
            return false;
    return true;
}

std::string quoted(std::string_view value, std::size_t most) {
    std::string out = "\"";
    for (const char c : printable(value, most)) {
        if (c == '"') out += '\\';
        out += c;
    }
    return out + '"';
}

}  // namespace

std::unique_ptr<Log> stderr_log(Level most, bool journald) {
    return std::make_unique<StderrLog>(most, journald);
}

Event::Event(Log& log, Level level, std::string_view name)
    : log_(log), level_(level), line_(name), wanted_(log.wants(level)) {}

Event::~Event() {
    if (wanted_) log_.write(level_, line_);
}

Event& Event::kv(std::string_view key, std::string_view value) {
    if (wanted_) raw(key, plain(value) ? printable(value, max_value) : quoted(value, max_value));
    return *this;
}

Event& Event::raw(std::string_view key, std::string_view value) {
    if (wanted_) line_.append(" ").append(key).append("=").append(value);
    return *this;
}

Event& Event::reason(std::string_view text) {
    if (wanted_) raw("reason", quoted(text, max_reason));
    return *this;
}

}  // namespace sternpost
