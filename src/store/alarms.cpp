#include "store/alarms.h"

#include <algorithm>

namespace sternpost::store {
namespace {

constexpr auto log_grain = std::chrono::hours(24);
constexpr std::size_t most_logged = 10'000;  // ours: alarms whose last log line is remembered

}  // namespace

Result<std::vector<StoredAlarm>> alarms_since(Questions& questions, WallTime since) {
    auto all = questions.all<StoredAlarm>();
    if (!all) return all;
    std::erase_if(*all, [since](const StoredAlarm& alarm) { return alarm.last < since; });
    std::stable_sort(all->begin(), all->end(),
                     [](const StoredAlarm& a, const StoredAlarm& b) { return a.last > b.last; });
    return all;
}

void Alarms::raise(AlarmKind kind, const std::string& subject, const std::string& text) {
    ++raised_;
    StoredAlarm alarm;
    alarm.kind = name_of(kind);
    alarm.subject = subject;
    alarm.text = text;
    alarm.last = clock_.wall();
    alarm.count = 1;
    store_.keep(std::move(alarm), [](const Result<void>&) {});  // at once: there may be no other batch
    if (logged_.size() >= most_logged) logged_.clear();
    const auto [it, first] = logged_.try_emplace({kind, subject}, clock_.steady());
    if (!first && clock_.steady() - it->second < log_grain) return;
    it->second = clock_.steady();
    Event(log_, Level::warning, "alarm").kv("kind", name_of(kind)).kv("subject", subject).reason(text);
}

}  // namespace sternpost::store
