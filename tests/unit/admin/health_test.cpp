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

struct HealthRow {
    const char* name;
    void (*change)(Status&);
    Level level;
    const char* problem;  // a part of the first; empty: there is none
};
class HealthOfADaemon : public ::testing::TestWithParam<HealthRow> {};

TEST_P(HealthOfADaemon, IsAsBadAsItsWorst) {
    Status status = well();
    GetParam().change(status);
    const Health health = health_of(status, {}, now);
    EXPECT_EQ(health.level, GetParam().level);
    const std::string first = health.problems.empty() ? "" : health.problems.front();
    EXPECT_NE(first.find(GetParam().problem), std::string::npos) << first;
    EXPECT_EQ(health.problems.empty(), health.level == Level::ok);
}

AlarmRow alarm_of(WallTime last) {
    AlarmRow out;
    out.kind = "tls-lost";
    out.subject = "mx.d.test";
    out.last = last;
    return out;
}

INSTANTIATE_TEST_SUITE_P(
    Each, HealthOfADaemon,
    ::testing::Values(
        HealthRow{"Well", [](Status&) {}, Level::ok, ""},
        HealthRow{"Down", [](Status& s) { s.running = false; }, Level::critical, "down"},
        HealthRow{"DiskFull", [](Status& s) { s.disk_short = true; }, Level::critical, "disk"},
        HealthRow{"ResultsWait", [](Status& s) { s.results_waiting = 3; }, Level::critical, "results"},
        HealthRow{"Clock", [](Status& s) { s.clock_trusted = false; }, Level::warning, "clock"},
        HealthRow{"Resolver",
                  [](Status& s) {
                      s.dnssec = DnssecRow{"unanswered", ""};
                  },
                  Level::warning, "resolver"},
        HealthRow{"ResolverWithoutDnssec",
                  [](Status& s) {
                      s.dnssec = DnssecRow{"untrusted", ""};
                  },
                  Level::ok, ""},
        HealthRow{"Memory", [](Status& s) { s.memory_short = true; }, Level::warning, "max_memory"},
        HealthRow{"AlmostALongQueue", [](Status& s) { s.queue.messages = 999; }, Level::ok, ""},
        HealthRow{"LongQueue", [](Status& s) { s.queue.messages = 1000; }, Level::warning, "1000 messages"},
        HealthRow{"VeryLongQueue", [](Status& s) { s.queue.messages = 10'000; }, Level::critical,
                  "10000 messages"},
        HealthRow{"AlmostOldMail", [](Status& s) { s.queue.oldest = now - 4h + 1s; }, Level::ok, ""},
        HealthRow{"OldMail", [](Status& s) { s.queue.oldest = now - 4h; }, Level::warning, "oldest"},
        HealthRow{"VeryOldMail", [](Status& s) { s.queue.oldest = now - 24h; }, Level::critical, "oldest"},
        HealthRow{"Alarm", [](Status& s) { s.alarms = {alarm_of(now - 24h)}; }, Level::warning,
                  "alarm tls-lost mx.d.test"},
        HealthRow{"AlarmOfLongAgo", [](Status& s) { s.alarms = {alarm_of(now - 24h - 1s)}; }, Level::ok, ""},
        HealthRow{"AlarmThatIsKnown",
                  [](Status& s) {
                      s.alarms = {alarm_of(now - 1h)};
                      s.alarms->front().open = false;
                  },
                  Level::ok, ""},
        HealthRow{"AlarmThatIsMuted",
                  [](Status& s) {
                      s.alarms = {alarm_of(now - 1h)};
                      s.alarms->front().muted_until = now + 1h;
                  },
                  Level::ok, ""},
        HealthRow{"TheWorstFirst",
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
    status.alarms = {alarm_of(now)};
    status.alarms->front().kind = "odd|kind";
    status.alarms->front().subject = "a\nb";
    const std::string line = plugin_line(health_of(status, {}, now), {});
    EXPECT_TRUE(line.starts_with("STERNPOST WARNING - the oldest message has waited for ")) << line;
    EXPECT_TRUE(line.ends_with("| messages=1;1000;10000;0 oldest=18000s;14400;86400;0 alarms=1;;;0")) << line;
    EXPECT_EQ(std::count(line.begin(), line.end(), '|'), 1);
    EXPECT_EQ(line.find('\n'), std::string::npos);
}

}  // namespace
}  // namespace sternpost::admin
