// Events as key=value lines, one event a line: an interface that tests and administrators' scripts rely on
// (doc/style.md §7).
#pragma once

#include <concepts>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "util/task_queue.h"

namespace sternpost {

enum class Level { error, warning, info, debug };  // act; look; state changed; dialogue

/// Where lines go. write() may be called from any thread.
class Log {
  public:
    virtual ~Log() = default;
    virtual void write(Level level, std::string_view line) = 0;
    /// A line about an event that others can cause as often as they like. The first `per_minute` lines of a
    /// minute with this key are written; of the rest the last one follows when the minute has ended, with `
    /// count=N`.
    virtual void write_limited(Level level, std::string_view key, std::uint64_t per_minute,
                               std::string_view line) {
        (void)key, (void)per_minute;
        write(level, line);
    }
    virtual bool wants(Level level) const = 0;
};

/// To a file descriptor, standard error as a rule. With `journald`, lines carry the sd-daemon(3) priority
/// prefix `<n>`; otherwise a UTC time stamp stands in front. A reader that does not keep up never blocks the
/// writer: up to 256 KiB wait, what comes then is lost, and `log-lost lines=N` says so when the reader is
/// back.
class FileLog : public Log {
  public:
    /// From now on lines of level info and debug may wait for others, for which they go out by one write(2)
    /// together: when `task queue` comes to a task that is posted for the first of them, with the next error
    /// or warning, or when 16 KiB have come. null: none waits any more. `task queue` outlives the log, or
    /// this is called with null before it goes.
    virtual void gather(TaskQueue* task_queue) = 0;
    /// What waits goes out, and so do the counts of limited lines whose minute has ended.
    virtual void flush() = 0;
    /// Lines that were lost so far.
    virtual std::uint64_t lines_lost() const = 0;
};
std::unique_ptr<FileLog> file_log(int descriptor, Level most, bool journald);

/// Builds one line and writes it when it is destroyed: Event(log, Level::info, "attempt").kv("qid",
/// id).kv("mx", host);
class Event {
  public:
    Event(Log& log, Level level, std::string_view name);
    Event(const Event&) = delete;
    Event& operator=(const Event&) = delete;
    ~Event();

    /// Outside octets are escaped and cut at 256; a value with blanks is quoted.
    Event& kv(std::string_view key, std::string_view value);
    Event& kv(std::string_view key, const char* value) { return kv(key, std::string_view(value)); }
    Event& kv(std::string_view key, const std::string& value) { return kv(key, std::string_view(value)); }
    Event& kv(std::string_view key, std::integral auto value) { return raw(key, std::to_string(value)); }
    /// `value` as it stands, for what we made ourselves: `<addr>`, `host[ip]:port`, `1.2s`.
    Event& raw(std::string_view key, std::string_view value);
    /// An address between angle brackets, quoted where its local part could be taken for keys of this line.
    Event& address(std::string_view key, std::string_view path);
    /// A sentence for people, always quoted, up to 1,000 octets.
    Event& reason(std::string_view text);
    /// Others can cause this event as often as they like: see Log::write_limited. Keys are per event name; a
    /// key must not be something of which a stranger has many.
    Event& limited(std::string_view key = {}, std::uint64_t per_minute = 1);

  private:
    Log& log_;
    Level level_;
    std::string line_;
    std::string key_;               // of limited()
    std::uint64_t per_minute_ = 0;  // 0: not limited
    bool wanted_;
};

}  // namespace sternpost
