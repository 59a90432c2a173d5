#include "admin/alarm_mail.h"

#include <fmt/format.h>

#include <algorithm>

#include "admin/run.h"
#include "store/alarm_kind.h"
#include "util/text.h"

namespace sternpost::admin {
namespace {

constexpr auto between_mails = std::chrono::hours(1);
constexpr auto told_again = std::chrono::hours(24);
constexpr std::size_t most_told = 100;  // ours: of one mail; the others are counted

}  // namespace

std::vector<store::StoredAlarm> to_be_told(const std::vector<store::StoredAlarm>& alarms, WallTime now) {
    std::vector<store::StoredAlarm> out;
    for (const auto& alarm : alarms)
        if (alarm.open() && !alarm.muted(now) && alarm.last > alarm.mailed &&
            (alarm.mailed == WallTime() || now - alarm.mailed >= told_again))
            out.push_back(alarm);
    return out;
}

WallTime next_alarm_mail(const std::vector<store::StoredAlarm>& alarms) {
    WallTime last{};
    for (const auto& alarm : alarms) last = std::max(last, alarm.mailed);
    return last == WallTime() ? last : last + between_mails;
}

AlarmText text_of(const std::vector<store::StoredAlarm>& alarms, const std::string& hostname) {
    AlarmText out;
    out.subject = alarms.size() == 1
                      ? "ALARM " + alarms.front().kind + " " + printable(alarms.front().subject, 100)
                      : fmt::format("{} alarms", alarms.size());
    out.subject += " at " + hostname;
    std::size_t told = 0;
    for (const auto& alarm : alarms) {
        if (told++ == most_told) break;
        out.text += fmt::format("{} {}\n  {}\n", alarm.kind, printable(alarm.subject, 300),
                                printable(alarm.text, 1000));
        if (alarm.count > 1)
            out.text += fmt::format("  {} times since {}, the last time at {}\n", alarm.count,
                                    rfc3339(alarm.first), rfc3339(alarm.last));
        else
            out.text += "  at " + rfc3339(alarm.last) + "\n";
        if (const auto kind = store::alarm_kind_of(alarm.kind))
            out.text += "  What to do: " + std::string(advice_for(*kind)) + "\n";
        out.text += '\n';
    }
    if (alarms.size() > most_told)
        out.text += fmt::format("And {} more: \"sternpost alarms list\".\n\n", alarms.size() - most_told);
    out.text +=
        "\"sternpost alarms ack KIND SUBJECT\" says that you know. \"sternpost alarms mute KIND SUBJECT "
        "--for 7d\"\nkeeps it from being mailed. Further alarms follow no sooner than in an hour.\n";
    return out;
}

asio::awaitable<store::Result<void>> AlarmMail::look() {
    auto question = [](store::Questions& questions) { return questions.all<store::StoredAlarm>(); };
    const auto all = co_await store::ask(store_, std::move(question));
    if (!all) co_return fail(all.error());
    const WallTime now = clock_.wall();
    const auto alarms = to_be_told(*all, now);
    if (alarms.empty() || now < next_alarm_mail(*all)) co_return store::Result<void>();
    auto text = text_of(alarms, hostname_);
    const auto id = co_await submit_(std::move(text));
    if (!id) co_return fail(id.error());
    for (const auto& alarm : alarms) {
        store::StoredAlarm told;
        told.kind = alarm.kind;
        told.subject = alarm.subject;
        told.mailed = now;
        const auto kept = co_await keep(store_, told);
        if (!kept) co_return fail(kept.error());
    }
    co_return store::Result<void>();
}

}  // namespace sternpost::admin
