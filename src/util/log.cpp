#include "util/log.h"

#include <fmt/format.h>
#include <unistd.h>

#include <mutex>
#include <utility>

#include "util/clock.h"
#include "util/text.h"

namespace sternpost {
namespace {

constexpr std::size_t max_value = 256;    // ours: one hostile reply must not fill the log
constexpr std::size_t max_reason = 1000;  // ours: our own sentences are longer than a value

constexpr std::size_t max_gathered = 16384;  // ours: a crash may cost a page or two of lines, not more

class DescriptorLog final : public FileLog {
  public:
    DescriptorLog(int descriptor, Level most, bool journald)
        : descriptor_(descriptor), most_(most), journald_(journald) {}
    DescriptorLog(const DescriptorLog&) = delete;
    DescriptorLog& operator=(const DescriptorLog&) = delete;
    ~DescriptorLog() override { flush(); }

    void write(Level level, std::string_view line) override {
        if (!wants(level)) return;
        const std::lock_guard guard(mutex_);
        begin_line(level);
        gathered_ += line;
        gathered_ += '\n';
        if (mailbox_ == nullptr || level <= Level::warning || gathered_.size() >= max_gathered)
            put();
        else if (!std::exchange(promised_, true))
            mailbox_->post([this] { keep_promise(); });
    }
    bool wants(Level level) const override { return level <= most_; }

    void gather(Mailbox* mailbox) override {
        const std::lock_guard guard(mutex_);
        put();
        mailbox_ = mailbox;
    }
    void flush() override {
        const std::lock_guard guard(mutex_);
        put();
    }

  private:
    void begin_line(Level level) {
        static constexpr const char* priority[] = {"<3>", "<4>", "<6>", "<7>"};
        if (journald_) {
            gathered_ += priority[static_cast<std::size_t>(level)];
            return;
        }
        const auto now = std::chrono::floor<std::chrono::seconds>(SystemClock().wall());
        if (now != second_) stamp_ = rfc3339(now) + ' ';
        second_ = now;
        gathered_ += stamp_;
    }
    void keep_promise() {
        const std::lock_guard guard(mutex_);
        promised_ = false;
        put();
    }
    void put() {
        std::string_view left = gathered_;
        while (!left.empty()) {
            const ssize_t put = ::write(descriptor_, left.data(), left.size());
            if (put <= 0) break;  // nobody reads us: there is nowhere to complain
            left.remove_prefix(static_cast<std::size_t>(put));
        }
        gathered_.clear();
    }

    const int descriptor_;
    const Level most_;
    const bool journald_;
    std::mutex mutex_;
    std::string gathered_;
    Mailbox* mailbox_ = nullptr;
    bool promised_ = false;  // a task that writes what is gathered is in the mailbox
    std::chrono::sys_seconds second_{};
    std::string stamp_;  // of that second
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

std::unique_ptr<FileLog> file_log(int descriptor, Level most, bool journald) {
    return std::make_unique<DescriptorLog>(descriptor, most, journald);
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
