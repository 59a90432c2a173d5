#include "admin/alarm_verbs.h"

#include "admin/run.h"
#include "util/text.h"

namespace sternpost::admin {

asio::awaitable<Answer<AlarmsDone>> AlarmVerbs::mark(AlarmAction action, Mark set) {
    if (!action.all && action.kind.empty() && action.subject.empty())
        co_return misused("which alarms are meant: a kind, a kind and a subject, or --all");
    auto question = [](store::Questions& questions) { return questions.all<store::StoredAlarm>(); };
    auto found = co_await store::ask(store_, std::move(question));
    if (!found) co_return found.error();
    AlarmsDone out;
    for (auto& alarm : *found) {
        if (!action.kind.empty() && alarm.kind != action.kind) continue;
        if (!action.subject.empty() && !iequals(alarm.subject, action.subject)) continue;
        store::StoredAlarm change;
        change.kind = alarm.kind;
        change.subject = alarm.subject;
        set(change);
        const auto kept = co_await keep(store_, change);
        if (!kept) co_return kept.error();
        store::Description<store::StoredAlarm>::merge(alarm, change);
        out.alarms.push_back(row_of(alarm, clock_.wall()));
    }
    if (out.alarms.empty()) co_return refusal("there is no such alarm: \"sternpost alarms list --all\"");
    co_return out;
}

asio::awaitable<Answer<AlarmsDone>> AlarmVerbs::acknowledge(AlarmAction action, Caller caller) {
    Mark set = [now = clock_.wall(), who = caller.name()](store::StoredAlarm& change) {
        change.acked = now;
        change.acked_by = who;
    };
    co_return co_await mark(std::move(action), std::move(set));
}

asio::awaitable<Answer<AlarmsDone>> AlarmVerbs::mute(AlarmAction action, Caller) {
    const auto span = parse_duration(action.span);
    if (action.span != "off" && (!span || span->count() <= 0))
        co_return misused("for how long: a span such as 7d, or off");
    const WallTime until =
        action.span == "off" ? clock_.wall() : clock_.wall() + std::chrono::microseconds(*span);
    Mark set = [until](store::StoredAlarm& change) { change.muted_until = until; };
    co_return co_await mark(std::move(action), std::move(set));
}

}  // namespace sternpost::admin
