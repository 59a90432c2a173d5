#include "admin/health.h"

#include <fmt/format.h>

#include <algorithm>

#include "util/text.h"

namespace sternpost::admin {
namespace {

class Findings {
  public:
    void add(Level level, std::string text) { all_.push_back({level, std::move(text)}); }
    void put_into(Health& health) {
        std::stable_sort(all_.begin(), all_.end(),
                         [](const auto& a, const auto& b) { return a.first > b.first; });
        for (auto& [level, text] : all_) {
            health.level = std::max(health.level, level);
            health.problems.push_back(std::move(text));
        }
    }

  private:
    std::vector<std::pair<Level, std::string>> all_;
};

template <class Figure>
std::optional<Level> level_of(Figure seen, Figure warning, Figure critical) {
    if (critical != Figure() && seen >= critical) return Level::critical;
    if (warning != Figure() && seen >= warning) return Level::warning;
    return std::nullopt;
}

}  // namespace

std::string_view name_of(Level level) {
    switch (level) {
        case Level::ok:
            return "OK";
        case Level::warning:
            return "WARNING";
        case Level::critical:
            return "CRITICAL";
        case Level::unknown:
            return "UNKNOWN";
    }
    return "";
}

Health health_of(const Status& status, const HealthLimits& limits, WallTime now) {
    Health out;
    Findings findings;
    out.messages = status.queue.messages;
    if (status.queue.oldest)
        out.oldest = std::max(std::chrono::floor<std::chrono::seconds>(now - *status.queue.oldest),
                              std::chrono::seconds(0));
    if (!status.running) findings.add(Level::critical, "the daemon is down");
    if (status.disk_short.value_or(false))
        findings.add(Level::critical, "the disk of state_dir is almost full: mail is refused");
    if (status.results_waiting.value_or(0) > 0)
        findings.add(Level::critical, "results cannot be stored: nothing is delivered");
    if (!status.clock_trusted.value_or(true))
        findings.add(Level::warning, "the clock is not trusted: nothing expires");
    if (status.dnssec && status.dnssec->state == "unanswered")  // dns/probe
        findings.add(Level::warning, "the resolver does not answer");
    if (status.memory_short.value_or(false))
        findings.add(Level::warning, "the daemon has more than max_memory: mail is refused");
    if (const auto level = level_of(out.messages, limits.queue_warning, limits.queue_critical))
        findings.add(*level, fmt::format("{} messages wait", out.messages));
    if (const auto level = level_of(out.oldest, limits.age_warning, limits.age_critical))
        findings.add(*level, "the oldest message has waited for " + human_span(out.oldest));
    if (status.alarms)
        for (const auto& alarm : *status.alarms) {
            if (alarm.last + limits.alarms_of < now || !alarm.open || alarm.muted_until) continue;
            ++out.alarms;
            findings.add(Level::warning, "alarm " + alarm.kind + " " + alarm.subject);
        }
    findings.put_into(out);
    return out;
}

std::string plugin_line(const Health& health, const HealthLimits& limits) {
    std::string out = fmt::format("STERNPOST {} - ", name_of(health.level));
    if (health.problems.empty())
        out += fmt::format("{} message{} in the queue", health.messages, health.messages == 1 ? "" : "s");
    for (std::size_t n = 0; n < health.problems.size(); ++n) {
        if (n > 0) out += "; ";
        // The bar is where the figures begin.
        for (const char c : printable(health.problems[n], 200)) out += c == '|' ? '/' : c;
    }
    return out + fmt::format(" | messages={};{};{};0 oldest={}s;{};{};0 alarms={};;;0", health.messages,
                             limits.queue_warning, limits.queue_critical, health.oldest.count(),
                             limits.age_warning.count(), limits.age_critical.count(), health.alarms);
}

}  // namespace sternpost::admin
