#include "util/log.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <climits>
#include <map>
#include <mutex>
#include <utility>

#include "util/clock.h"
#include "util/file.h"
#include "util/text.h"

namespace sternpost {
namespace {

constexpr std::size_t max_value = 256;    // ours: one hostile reply must not fill the log
constexpr std::size_t max_address = 520;  // RFC 5321 §4.5.3.1.3 and beyond: a path is never cut here
constexpr std::size_t max_reason = 1000;  // ours: our own sentences are longer than a value

constexpr std::size_t max_gathered = 16384;  // ours: a crash may cost a page or two of lines, not more

constexpr std::size_t max_waiting = 262'144;  // ours: for a reader that has stopped; more is lost and counted
constexpr std::size_t max_keys = 1000;  // ours: of limited lines; what is beyond shares one key per event
constexpr auto last_patience = std::chrono::seconds(1);  // ours: at the end, for a reader that is slow
constexpr auto limit_window = std::chrono::minutes(1);

// The descriptor to write to without ever waiting: a file description of our own where there can be one,
// since O_NONBLOCK on a shared one would reach whoever else has it (a shell, for example). A socket has
// MSG_DONTWAIT for each call.
class Sink {
  public:
    explicit Sink(int descriptor) : descriptor_(descriptor) {
        struct stat status {};
        if (::fstat(descriptor, &status) != 0) return;
        socket_ = S_ISSOCK(status.st_mode);
        if (!S_ISFIFO(status.st_mode) && !S_ISCHR(status.st_mode)) return;
        const std::string path = fmt::format("/proc/self/fd/{}", descriptor);
        own_ = util::Fd(::open(path.c_str(), O_WRONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY));
        if (own_.get() >= 0) descriptor_ = own_.get();
        ask_first_ = own_.get() < 0;
    }
    // As ::write, but EAGAIN where it would wait.
    ssize_t write(std::string_view octets) const {
        if (socket_) return ::send(descriptor_, octets.data(), octets.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
        if (ask_first_) {
            pollfd ready{descriptor_, POLLOUT, 0};
            if (::poll(&ready, 1, 0) == 0) {
                errno = EAGAIN;
                return -1;
            }
            octets = octets.substr(0, PIPE_BUF);  // a pipe that is ready takes as much at once (pipe(7))
        }
        return ::write(descriptor_, octets.data(), octets.size());
    }

    // Until it may take more, for a moment.
    void wait() const {
        pollfd ready{descriptor_, POLLOUT, 0};
        ::poll(&ready, 1, 20);
    }

  private:
    int descriptor_;
    util::Fd own_;
    bool socket_ = false;
    bool ask_first_ = false;
};

class DescriptorLog final : public FileLog {
  public:
    DescriptorLog(int descriptor, Level most, bool journald)
        : sink_(descriptor), most_(most), journald_(journald) {}
    DescriptorLog(const DescriptorLog&) = delete;
    DescriptorLog& operator=(const DescriptorLog&) = delete;
    ~DescriptorLog() override {
        const std::lock_guard guard(mutex_);
        end_windows(SteadyTime::max());
        say_what_is_lost();  // there is no further line that would
        const SteadyTime end = SystemClock().steady() + last_patience;
        for (put(); !waiting_.empty() && SystemClock().steady() < end; put()) sink_.wait();
    }

    void write(Level level, std::string_view line) override {
        if (!wants(level)) return;
        const std::lock_guard guard(mutex_);
        end_windows();
        add(level, line, {});
        send(level);
    }
    void write_limited(Level level, std::string_view key, std::uint64_t per_minute,
                       std::string_view line) override {
        if (!wants(level)) return;
        const std::lock_guard guard(mutex_);
        end_windows();
        const std::string_view name = line.substr(0, line.find(' '));
        std::string full = fmt::format("{} {}", name, key);
        if (windows_.size() >= max_keys && !windows_.contains(full)) full = name;
        const SteadyTime now = SystemClock().steady();
        const auto [at, fresh] = windows_.try_emplace(std::move(full));
        Window& window = at->second;
        if (fresh) window.ends = now + limit_window;
        first_end_ = std::min(first_end_, window.ends);
        if (window.written < per_minute) {
            ++window.written;
            add(level, line, {});
            return send(level);
        }
        ++window.held;
        window.level = level;
        window.last = line;
    }
    bool wants(Level level) const override { return level <= most_; }

    void gather(TaskQueue* task_queue) override {
        const std::lock_guard guard(mutex_);
        put();
        task_queue_ = task_queue;
    }
    std::uint64_t lines_lost() const override { return lost_in_all_; }
    void flush() override {
        const std::lock_guard guard(mutex_);
        end_windows();
        put();
    }

  private:
    struct Window {
        SteadyTime ends;
        std::uint64_t written = 0;
        std::uint64_t held = 0;
        Level level = Level::info;
        std::string last;
    };

    // The rest of what follows holds mutex_.
    void add(Level level, std::string_view line, std::string_view more) {
        if (waiting_.size() + line.size() > max_waiting) {
            lose(1);
            return;
        }
        say_what_is_lost();
        begin_line(level);
        waiting_ += line;
        waiting_ += more;
        waiting_ += '\n';
    }
    void lose(std::uint64_t lines) {
        lost_ += lines;
        lost_in_all_ += lines;
    }
    void say_what_is_lost() {
        if (lost_ == 0) return;
        begin_line(Level::warning);
        waiting_ += fmt::format(
            "log-lost lines={} reason=\"whoever reads the log did not keep up, and these lines are lost\"\n",
            std::exchange(lost_, 0));
    }
    void send(Level level) {
        if (task_queue_ == nullptr || level <= Level::warning || waiting_.size() >= max_gathered)
            put();
        else if (!std::exchange(promised_, true))
            task_queue_->post([this] { keep_promise(); });
    }
    void begin_line(Level level) {
        static constexpr const char* priority[] = {"<3>", "<4>", "<6>", "<7>"};
        if (journald_) {
            waiting_ += priority[static_cast<std::size_t>(level)];
            return;
        }
        const auto now = std::chrono::floor<std::chrono::seconds>(SystemClock().wall());
        if (now != second_) stamp_ = rfc3339(now) + ' ';
        second_ = now;
        waiting_ += stamp_;
    }
    void keep_promise() {
        const std::lock_guard guard(mutex_);
        promised_ = false;
        put();
    }
    void end_windows() {
        if (windows_.empty()) return;
        const SteadyTime now = SystemClock().steady();
        if (now >= first_end_) end_windows(now);
    }
    void end_windows(SteadyTime now) {
        first_end_ = SteadyTime::max();
        for (auto at = windows_.begin(); at != windows_.end();) {
            if (at->second.ends > now) {
                first_end_ = std::min(first_end_, at->second.ends);
                ++at;
                continue;
            }
            if (at->second.held > 0)
                add(at->second.level, at->second.last, fmt::format(" count={}", at->second.held));
            at = windows_.erase(at);
        }
    }
    void put() {
        std::string_view left = waiting_;
        while (!left.empty()) {
            const ssize_t put = sink_.write(left);
            if (put < 0 && errno == EINTR) continue;
            if (put <= 0) {
                if (errno != EAGAIN) {  // no reader, no room: there is nowhere to complain
                    lose(static_cast<std::uint64_t>(std::count(left.begin(), left.end(), '\n')));
                    left = {};
                }
                break;
            }
            left.remove_prefix(static_cast<std::size_t>(put));
        }
        waiting_.erase(0, waiting_.size() - left.size());
    }

    const Sink sink_;
    const Level most_;
    const bool journald_;
    std::mutex mutex_;
    std::string waiting_;     // to be written
    std::uint64_t lost_ = 0;  // of which no line says so yet
    std::atomic<std::uint64_t> lost_in_all_ = 0;
    std::map<std::string, Window, std::less<>> windows_;
    SteadyTime first_end_ = SteadyTime::max();
    TaskQueue* task_queue_ = nullptr;
    bool promised_ = false;  // a task that writes what waits is in the task queue
    std::chrono::sys_seconds second_{};
    std::string stamp_;  // of that second
};

bool plain(std::string_view value) {
    if (value.empty()) return false;
    for (const char c : value)
        if (c == ' ' || c == '"' || c == '=' || c == '\\' || static_cast<unsigned char>(c) < 0x20 ||
            c == 0x7f)
            return false;
    return true;
}

std::string quoted(std::string_view value, std::size_t most) {
    std::string out = "\"";
    for (const char c : printable(value, most)) {
        if (c == '"' || c == '\\') out += '\\';
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
    if (!wanted_) return;
    if (per_minute_ == 0)
        log_.write(level_, line_);
    else
        log_.write_limited(level_, key_, per_minute_, line_);
}

Event& Event::limited(std::string_view key, std::uint64_t per_minute) {
    key_ = key;
    per_minute_ = per_minute;
    return *this;
}

Event& Event::address(std::string_view key, std::string_view path) {
    // A local part of an atom's characters (RFC 5322 §3.2.3) has "=" too, as in SRS and VERP: without a blank
    // it begins no key.
    const bool safe = path.find_first_of(" \"\\") == std::string_view::npos;
    if (wanted_)
        raw(key,
            safe ? "<" + printable(path, max_address) + ">" : quoted(fmt::format("<{}>", path), max_address));
    return *this;
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
