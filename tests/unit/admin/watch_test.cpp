#include "admin/watch.h"

#include <gtest/gtest.h>

namespace sternpost::admin {
namespace {

using namespace std::chrono_literals;
using store::AlarmKind;

const WallTime begin{std::chrono::hours(500'000)};

WatchedFacts well(WallTime now = begin) {
    WatchedFacts out;
    out.now = now;
    out.messages = 10;
    out.oldest = now - 1h;
    out.free_octets = 0.5;
    out.free_inodes = 0.5;
    return out;
}

struct WatchRow {
    const char* name;
    std::function<void(WatchedFacts&)> change;
    std::optional<AlarmKind> kind;
    std::string said;
};

class Watched : public ::testing::TestWithParam<WatchRow> {};
TEST_P(Watched, RaisesWhatItIs) {
    auto facts = well();
    GetParam().change(facts);
    Watch watch{WatchLimits()};
    const auto raised = watch.look(facts);
    if (!GetParam().kind) {
        EXPECT_TRUE(raised.empty()) << raised.front().text;
        return;
    }
    ASSERT_EQ(raised.size(), 1U);
    EXPECT_EQ(raised[0].kind, *GetParam().kind);
    EXPECT_NE(raised[0].text.find(GetParam().said), std::string::npos) << raised[0].text;
}

INSTANTIATE_TEST_SUITE_P(
    Of, Watched,
    ::testing::Values(
        WatchRow{"Nothing", [](WatchedFacts&) {}, std::nullopt, ""},
        WatchRow{"OldMail", [](WatchedFacts& f) { f.oldest = f.now - 24h; }, AlarmKind::old_mail, "waited"},
        WatchRow{"MailADayOldButASecond", [](WatchedFacts& f) { f.oldest = f.now - 24h + 1s; }, std::nullopt,
                 ""},
        WatchRow{"OldMailByAClockThatIsNotTrusted",
                 [](WatchedFacts& f) {
                     f.oldest = f.now - 48h;
                     f.clock_trusted = false;
                 },
                 AlarmKind::clock, "clock"},
        WatchRow{"DiskFull", [](WatchedFacts& f) { f.disk_short = true; }, AlarmKind::disk_short, "refused"},
        WatchRow{"DiskShort", [](WatchedFacts& f) { f.free_octets = 0.049; }, AlarmKind::disk_short, "4.9 %"},
        WatchRow{"DiskJustEnough", [](WatchedFacts& f) { f.free_octets = 0.05; }, std::nullopt, ""},
        WatchRow{"InodesShort", [](WatchedFacts& f) { f.free_inodes = 0.01; }, AlarmKind::disk_short,
                 "inodes"},
        WatchRow{"Memory", [](WatchedFacts& f) { f.memory_short = true; }, AlarmKind::memory_short,
                 "max_memory"},
        WatchRow{"Results", [](WatchedFacts& f) { f.results_waiting = 3; }, AlarmKind::store_trouble,
                 "3 results"},
        WatchRow{"Log", [](WatchedFacts& f) { f.log_lines_lost = 5; }, AlarmKind::log_lost, "5 lines"},
        WatchRow{"Source", [](WatchedFacts& f) { f.sources_missing = {"192.0.2.7"}; },
                 AlarmKind::source_address, "192.0.2.7"},
        WatchRow{"CertificateInTrouble",
                 [](WatchedFacts& f) {
                     f.certificate = {"/etc/cert.pem", "/etc/cert.pem expired"};
                 },
                 AlarmKind::listener_certificate, "expired"},
        WatchRow{"CertificateGood",
                 [](WatchedFacts& f) {
                     f.certificate = {"/etc/cert.pem", ""};
                 },
                 std::nullopt, ""}),
    [](const auto& info) { return info.param.name; });

TEST(Watch, SaysItWhenItBeginsAndOnceADay) {
    Watch watch{WatchLimits()};
    std::size_t raised = 0;
    for (int minute = 0; minute < 3 * 24 * 60; ++minute) {
        auto facts = well(begin + std::chrono::minutes(minute));
        facts.memory_short = true;
        raised += watch.look(facts).size();
    }
    EXPECT_EQ(raised, 3U);
    const WallTime later = begin + 72h;
    EXPECT_TRUE(watch.look(well(later)).empty());
    auto again = well(later + 1min);
    again.memory_short = true;
    EXPECT_EQ(watch.look(again).size(), 1U) << "it had ended";
}

TEST(Watch, SeesTheQueueGrow) {
    Watch watch{WatchLimits()};
    const auto look = [&](std::chrono::minutes at, std::uint64_t messages) {
        auto facts = well(begin + at);
        facts.messages = messages;
        return watch.look(facts);
    };
    EXPECT_TRUE(look(0min, 900).empty()) << "there is no hour to look back to";
    EXPECT_TRUE(look(1min, 1899).empty());
    const auto raised = look(30min, 1900);
    ASSERT_EQ(raised.size(), 1U);
    EXPECT_EQ(raised[0].kind, AlarmKind::queue_grows);
    EXPECT_EQ(raised[0].text, "1900 messages wait, and an hour ago 900 did");
    EXPECT_TRUE(look(91min, 3700).empty()) << "not twice as many as an hour ago";
}

}  // namespace
}  // namespace sternpost::admin
