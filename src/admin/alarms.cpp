#include "admin/alarms.h"

#include "store/alarms.h"

namespace sternpost::admin {
namespace {

constexpr auto shown_for = std::chrono::hours(24 * 7);
constexpr std::size_t most_alarms = 10'000;  // ours: of one answer

}  // namespace

AlarmRow row_of(const store::StoredAlarm& alarm, WallTime now) {
    AlarmRow out{alarm.kind,   alarm.subject, alarm.text, alarm.first,  alarm.last, alarm.count,
                 alarm.open(), std::nullopt,  "",         std::nullopt, ""};
    if (alarm.acked != WallTime()) {
        out.acked = alarm.acked;
        out.acked_by = alarm.acked_by;
    }
    if (alarm.muted(now)) out.muted_until = alarm.muted_until;
    if (const auto kind = store::alarm_kind_of(alarm.kind)) out.advice = advice_for(*kind);
    return out;
}

store::Result<void> AlarmsList::read(store::Questions& questions) {
    auto found = store::alarms_since(questions, WallTime());
    if (!found) return fail(std::move(found).error());
    found_ = std::move(*found);
    return {};
}

Answer<AlarmsAnswer> AlarmsList::answer(const Live& live) {
    const WallTime now = live.now();
    AlarmsAnswer out;
    for (const auto& alarm : found_) {
        const bool muted = alarm.muted(now);
        const bool current = alarm.open() && !muted && alarm.last + shown_for >= now;
        if (muted && alarm.open() && !all_) ++out.muted;
        if ((all_ || current) && out.alarms.size() < most_alarms) out.alarms.push_back(row_of(alarm, now));
    }
    return out;
}

}  // namespace sternpost::admin
