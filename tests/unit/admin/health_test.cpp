#include "admin/health.h"

#include <gtest/gtest.h>

#include "util/text.h"

namespace sternpost::admin {
namespace {

using namespace std::chrono_literals;

constexpr WallTime now{std::chrono::hours(480'000)};

Status well() {
    Status out;
    out.running = true;
    out.clock_trusted = true;
    out.disk_short = out.memory_short = false;
    out.results_waiting = 0;
    return out;
}

struct Row {
    const char* name;
    void (*change)(Status&);
    Level level;
    const char* problem;  // a part of the first; empty: there is none
};
class HealthOfADaemon : public ::testing::TestWithParam<Row> {};

TEST_P(HealthOfADaemon, IsAsBadAsItsWorst) {
    Status status = well();
    GetParam().change(status);
    const Health health = health_of(status, {}, now);
    EXPECT_EQ(health.level, GetParam().level);
    const std::string first = health.problems.empty() ? "" : health.problems.front();
    EXPECT_NE(first.find(GetParam().problem), std::string::npos) << first;
    EXPECT_EQ(health.problems.empty(), health.level == Level::ok);
}

INSTANTIATE_TEST_SUITE_P(
    Each, HealthOfADaemon,
    ::testing::Values(
        Row{"Well", [](Status&) {}, Level::ok, ""},
        Row{"Down", [](Status& s) { s.running = false; }, Level::critical, "down"},
        Row{"DiskFull", [](Status& s) { s.disk_short = true; }, Level::critical, "disk"},
        Row{"ResultsWait", [](Status& s) { s.results_waiting = 3; }, Level::critical, "results"},
        Row{"Clock", [](Status& s) { s.clock_trusted = false; }, Level::warning, "clock"},
        Row{"Resolver",
            [](Status& s) {
                s.dnssec = DnssecRow{"unanswered", ""};
            },
            Level::warning, "resolver"},
        Row{"ResolverWithoutDnssec",
            [](Status& s) {
                s.dnssec = DnssecRow{"untrusted", ""};
            },
            Level::ok, ""},
        Row{"Memory", [](Status& s) { s.memory_short = true; }, Level::warning, "max_memory"},
        Row{"AlmostALongQueue", [](Status& s) { s.queue.messages = 999; }, Level::ok, ""},
        Row{"LongQueue", [](Status& s) { s.queue.messages = 1000; }, Level::warning, "1000 messages"},
        Row{"VeryLongQueue", [](Status& s) { s.queue.messages = 10'000; }, Level::critical, "10000 messages"},
        Row{"AlmostOldMail", [](Status& s) { s.queue.oldest = now - 4h + 1s; }, Level::ok, ""},
        Row{"OldMail", [](Status& s) { s.queue.oldest = now - 4h; }, Level::warning, "oldest"},
        Row{"VeryOldMail", [](Status& s) { s.queue.oldest = now - 24h; }, Level::critical, "oldest"},
        Row{"Alarm",
            [](Status& s) {
                s.alarms = {{"tls-lost", "mx.d.test", "", now - 48h, now - 24h, 2}};
            },
            Level::warning, "alarm tls-lost mx.d.test"},
        Row{"AlarmOfLongAgo",
            [](Status& s) {
                s.alarms = {{"tls-lost", "mx.d.test", "", now - 48h, now - 24h - 1s, 2}};
            },
            Level::ok, ""},
        Row{"TheWorstFirst",
            [](Status& s) {
                s.clock_trusted = false;
                s.disk_short = true;
            },
            Level::critical, "disk"}),
    [](const auto& info) { return std::string(info.param.name); });

TEST(Health, CanBeToldNotToMind) {
    Status status = well();
    status.queue.messages = 1'000'000;
    status.queue.oldest = now - 480h;
    HealthLimits limits;
    limits.queue_warning = limits.queue_critical = 0;
    limits.age_warning = limits.age_critical = 0s;
    EXPECT_EQ(health_of(status, limits, now).level, Level::ok);
}

TEST(Health, IsALineForMonitors) {
    Status status = well();
    EXPECT_EQ(plugin_line(health_of(status, {}, now), {}),
              "STERNPOST OK - 0 messages in the queue | messages=0;1000;10000;0 oldest=0s;14400;86400;0 "
              "alarms=0;;;0");
    status.queue.messages = 1;
    status.queue.oldest = now - 5h;
    status.alarms = {{"odd|kind", "a\nb", "", now, now, 1}};
    const std::string line = plugin_line(health_of(status, {}, now), {});
    EXPECT_TRUE(line.starts_with("STERNPOST WARNING - the oldest message has waited for ")) << line;
    EXPECT_TRUE(line.ends_with("| messages=1;1000;10000;0 oldest=18000s;14400;86400;0 alarms=1;;;0")) << line;
    EXPECT_EQ(std::count(line.begin(), line.end(), '|'), 1);
    EXPECT_EQ(line.find('\n'), std::string::npos);
}

}  // namespace
}  // namespace sternpost::admin
