#include "admin/watch.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

namespace sternpost::admin {
namespace {

using store::AlarmKind;

constexpr auto raised_again = std::chrono::hours(24);
constexpr auto span_of_growth = std::chrono::hours(1);

void judge_disk(const WatchedFacts& facts, const WatchLimits& limits, std::vector<store::NewAlarm>& out) {
    const auto percent = [](double part) { return fmt::format("{:.1f} %", part * 100); };
    if (facts.disk_short)
        out.push_back({AlarmKind::disk_short, "state_dir",
                       "there is too little free space: mail is refused until there is more"});
    else if (facts.free_octets && *facts.free_octets < limits.least_free)
        out.push_back({AlarmKind::disk_short, "state_dir",
                       "only " + percent(*facts.free_octets) + " of the file system is free"});
    if (facts.free_inodes && *facts.free_inodes < limits.least_free)
        out.push_back({AlarmKind::disk_short, "inodes of state_dir",
                       "only " + percent(*facts.free_inodes) + " of the inodes are free"});
}

}  // namespace

std::uint64_t Watch::an_hour_ago(const WatchedFacts& facts) {
    samples_.push_back({facts.now, facts.messages});
    while (samples_.size() > 1 && samples_.front().at + span_of_growth < facts.now) samples_.pop_front();
    return samples_.front().messages;
}

std::vector<store::NewAlarm> Watch::now(const WatchedFacts& facts) {
    std::vector<store::NewAlarm> out;
    const std::uint64_t before = an_hour_ago(facts);
    if (limits_.queue_growth > 0 && facts.messages >= before + limits_.queue_growth &&
        facts.messages >= 2 * before)
        out.push_back({AlarmKind::queue_grows, "queue",
                       fmt::format("{} messages wait, and an hour ago {} did", facts.messages, before)});
    if (facts.clock_trusted && limits_.old_mail.count() > 0 && facts.oldest &&
        facts.now - *facts.oldest >= limits_.old_mail)
        out.push_back({AlarmKind::old_mail, "queue",
                       "the oldest message has waited for " + human_span(facts.now - *facts.oldest)});
    judge_disk(facts, limits_, out);
    if (facts.memory_short)
        out.push_back({AlarmKind::memory_short, "daemon",
                       "the daemon has more memory than max_memory: mail is refused until it has less"});
    if (!facts.clock_trusted)
        out.push_back({AlarmKind::clock, "clock", "the clock jumped, or is earlier than queued mail"});
    if (facts.results_waiting > 0)
        out.push_back({AlarmKind::store_trouble, "store",
                       fmt::format("{} results of deliveries cannot be kept", facts.results_waiting)});
    if (facts.log_lines_lost > lines_lost_)
        out.push_back({AlarmKind::log_lost, "log",
                       fmt::format("{} lines were lost", facts.log_lines_lost - lines_lost_)});
    lines_lost_ = facts.log_lines_lost;
    if (facts.certificate && !facts.certificate->trouble.empty())
        out.push_back({AlarmKind::listener_certificate, facts.certificate->file, facts.certificate->trouble});
    for (const auto& address : facts.sources_missing)
        out.push_back({AlarmKind::source_address, address, "no interface of this machine has " + address});
    return out;
}

std::vector<store::NewAlarm> Watch::look(const WatchedFacts& facts) {
    auto all = now(facts);
    std::set<Key> last;
    std::erase_if(all, [&](const store::NewAlarm& alarm) {
        const Key key{alarm.kind, alarm.subject};
        last.insert(key);
        const auto [raised, first] = raised_.try_emplace(key, facts.now);
        if (!first && facts.now - raised->second < raised_again && facts.now >= raised->second) return true;
        raised->second = facts.now;
        return false;
    });
    std::erase_if(raised_, [&](const auto& one) { return !last.contains(one.first); });
    return all;
}

}  // namespace sternpost::admin
