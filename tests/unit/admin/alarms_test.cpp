#include "admin/alarms.h"

#include <gtest/gtest.h>

#include <fstream>

#include "admin/alarm_mail.h"
#include "admin/alarm_verbs.h"
#include "fake/intake_store.h"
#include "fake/no_questions.h"
#include "fake/nothing_live.h"
#include "fake/step_world.h"
#include "store/alarm_kind.h"

namespace sternpost::admin {
namespace {

using namespace std::chrono_literals;

const WallTime listed_at{std::chrono::hours(500'000)};

store::StoredAlarm alarm(const std::string& subject, WallTime last = listed_at - 1min) {
    store::StoredAlarm out;
    out.kind = "tls-gone";
    out.subject = subject;
    out.text = subject + " offers no TLS";
    out.first = out.last = last;
    out.count = 1;
    return out;
}

class Kept final : public fake::NoQuestions {
  public:
    store::Result<void> each_kept(store::RecordType, const std::function<void(store::Kept)>& take) override {
        for (const auto& one : alarms) take(one);
        return {};
    }
    std::vector<store::StoredAlarm> alarms;
};

class AtNow final : public fake::NothingLive {
  public:
    WallTime now() const override { return listed_at; }
};

AlarmsAnswer listed(Kept& kept, bool all = false) {
    const AtNow live;
    return *read_now(AlarmsList({all}, Caller{}, Paging::whole), kept, live).value;
}

TEST(Alarms, AreListedWhileTheyAreOpen) {
    Kept kept;
    kept.alarms = {alarm("open.test"), alarm("known.test"), alarm("muted.test"), alarm("again.test"),
                   alarm("old.test", listed_at - 8 * 24h)};
    kept.alarms[1].acked = listed_at;
    kept.alarms[1].acked_by = "uid 0";
    kept.alarms[2].muted_until = listed_at + 1h;
    kept.alarms[3].acked = listed_at - 2min;
    const auto current = listed(kept);
    ASSERT_EQ(current.alarms.size(), 2U);
    EXPECT_EQ(current.alarms[0].subject, "open.test");
    EXPECT_EQ(current.alarms[1].subject, "again.test");
    EXPECT_TRUE(current.alarms[1].open);
    EXPECT_FALSE(current.alarms[0].advice.empty());
    EXPECT_EQ(current.muted, 1U);
    EXPECT_EQ(listed(kept, true).alarms.size(), 5U);
}

TEST(Alarms, ListsTenThousandAtMost) {
    Kept kept;
    for (int n = 0; n < 10'001; ++n) kept.alarms.push_back(alarm("h" + std::to_string(n) + ".test"));
    EXPECT_EQ(listed(kept).alarms.size(), 10'000U);
}

TEST(Alarms, MergeWithWhatAnAdministratorSays) {
    using Description = store::Description<store::StoredAlarm>;
    auto known = alarm("a.test");
    store::StoredAlarm mark;
    mark.kind = known.kind;
    mark.subject = known.subject;
    mark.acked = listed_at;
    mark.acked_by = "uid 0";
    Description::merge(known, mark);
    EXPECT_FALSE(known.open());
    EXPECT_EQ(known.count, 1U);
    EXPECT_EQ(known.text, "a.test offers no TLS");
    EXPECT_EQ(known.last, listed_at - 1min);
    Description::merge(known, alarm("a.test", listed_at + 1min));
    EXPECT_TRUE(known.open());
    EXPECT_EQ(known.count, 2U);
    EXPECT_EQ(known.acked_by, "uid 0");
}

// ---- by mail

TEST(AlarmMail, TellsOfAnAlarmOnceADay) {
    std::vector<store::StoredAlarm> all{alarm("a.test")};
    EXPECT_EQ(to_be_told(all, listed_at).size(), 1U);
    all[0].mailed = listed_at;
    EXPECT_TRUE(to_be_told(all, listed_at + 48h).empty()) << "it was not raised again";
    all[0].last = listed_at + 1h;
    EXPECT_TRUE(to_be_told(all, listed_at + 24h - 1s).empty());
    EXPECT_EQ(to_be_told(all, listed_at + 24h).size(), 1U);
    all[0].muted_until = listed_at + 25h;
    EXPECT_TRUE(to_be_told(all, listed_at + 24h).empty());
    all[0].muted_until = {};
    all[0].acked = listed_at + 2h;
    EXPECT_TRUE(to_be_told(all, listed_at + 24h).empty());
}

TEST(AlarmMail, TellsOfAHundredAndCountsTheOthers) {
    std::vector<store::StoredAlarm> all;
    for (int n = 0; n < 103; ++n) all.push_back(alarm("h" + std::to_string(n) + ".test"));
    const auto text = text_of(all, "relay.test");
    EXPECT_EQ(text.subject, "103 alarms at relay.test");
    EXPECT_NE(text.text.find("h99.test"), std::string::npos);
    EXPECT_EQ(text.text.find("h100.test"), std::string::npos);
    EXPECT_NE(text.text.find("And 3 more"), std::string::npos);
    EXPECT_NE(text.text.find("What to do: "), std::string::npos);
    EXPECT_EQ(text_of({all[0]}, "relay.test").subject, "ALARM tls-gone h0.test at relay.test");
}

// A store with alarms in it, as far as alarms go.
class AlarmStore final : public fake::IntakeStore {
  public:
    store::Result<void> each_kept(store::RecordType, const std::function<void(store::Kept)>& take) override {
        for (const auto& one : alarms) take(one);
        return {};
    }
    void keep(store::Kept value, Completion<store::Result<void>> reply) override {
        auto& change = std::get<store::StoredAlarm>(value);
        for (auto& one : alarms)
            if (one.kind == change.kind && one.subject == change.subject)
                store::Description<store::StoredAlarm>::merge(one, change);
        if (reply) reply({});
    }
    std::vector<store::StoredAlarm> alarms;
};

class AlarmsInAStore : public ::testing::Test {
  protected:
    AlarmsInAStore() {
        const WallTime wall = world_.clock().wall();
        for (const char* subject : {"a.test", "b.test"}) store_.alarms.push_back(alarm(subject, wall - 1min));
    }
    void look(std::chrono::microseconds later) {
        world_.pass(later);
        const auto done = world_.run(mail_.look());
        ASSERT_TRUE(done);
    }

    template <class T>
    Answer<T> answer(asio::awaitable<Answer<T>> task) {
        std::optional<Answer<T>> out;
        auto wait = [&]() -> asio::awaitable<void> { out.emplace(co_await std::move(task)); };
        world_.finish(wait());
        return std::move(*out);
    }

    fake::StepWorld world_;
    AlarmStore store_;
    AlarmVerbs verbs_{store_, world_.clock()};
    std::vector<AlarmText> sent_;
    bool refused_ = false;
    AlarmMail mail_{store_, world_.clock(), "relay.test",
                    [this](AlarmText text) -> asio::awaitable<store::Result<store::MessageId>> {
                        if (refused_) co_return fail(store::Errc::full, "the disk is full");
                        sent_.push_back(std::move(text));
                        co_return store::MessageId{1};
                    }};
};
using AlarmMailInAStore = AlarmsInAStore;

TEST_F(AlarmMailInAStore, IsSentOnceAnHour) {
    look(1s);
    ASSERT_EQ(sent_.size(), 1U);
    EXPECT_EQ(sent_[0].subject, "2 alarms at relay.test");
    store_.alarms.push_back(alarm("c.test", world_.clock().wall()));
    look(59min);
    EXPECT_EQ(sent_.size(), 1U);
    look(2min);
    ASSERT_EQ(sent_.size(), 2U);
    EXPECT_EQ(sent_[1].subject, "ALARM tls-gone c.test at relay.test");
}

TEST_F(AlarmMailInAStore, IsTriedAgainWhenItCannotBeQueued) {
    refused_ = true;
    EXPECT_FALSE(world_.run(mail_.look()));
    refused_ = false;
    look(1min);
    EXPECT_EQ(sent_.size(), 1U);
}

TEST_F(AlarmsInAStore, AreKnownToTheAdministratorWhoSaysSo) {
    AlarmAction action;
    action.kind = "tls-gone";
    action.subject = "B.test";
    auto done = answer(verbs_.acknowledge(action, Caller{5, true}));
    ASSERT_TRUE(done.value) << done.text;
    ASSERT_EQ(done.value->alarms.size(), 1U);
    EXPECT_EQ(store_.alarms[1].acked_by, "uid 5");
    EXPECT_FALSE(store_.alarms[1].open());
    EXPECT_TRUE(store_.alarms[0].open());
    action.subject = "nowhere.test";
    EXPECT_EQ(answer(verbs_.acknowledge(action, Caller{5, true})).code, ExitCode::no);
    EXPECT_EQ(answer(verbs_.acknowledge({}, Caller{5, true})).code, ExitCode::usage);
}

TEST_F(AlarmsInAStore, AreMutedForATimeAndNoLonger) {
    AlarmAction action;
    action.all = true;
    action.span = "2h";
    ASSERT_TRUE(answer(verbs_.mute(action, Caller{})).value);
    const WallTime wall = world_.clock().wall();
    EXPECT_TRUE(store_.alarms[0].muted(wall + 2h - 1s));
    EXPECT_FALSE(store_.alarms[0].muted(wall + 2h));
    action.span = "off";
    ASSERT_TRUE(answer(verbs_.mute(action, Caller{})).value);
    EXPECT_FALSE(store_.alarms[0].muted(wall));
    action.span = "for ever";
    EXPECT_EQ(answer(verbs_.mute(action, Caller{})).code, ExitCode::usage);
}

// ---- their kinds

TEST(AlarmKinds, HaveNamesMeaningsAndAdvice) {
    for (unsigned n = 0; n <= static_cast<unsigned>(last_of(store::AlarmKind{})); ++n) {
        const auto kind = static_cast<store::AlarmKind>(n);
        EXPECT_EQ(store::alarm_kind_of(name_of(kind)), kind) << name_of(kind);
        EXPECT_TRUE(meaning_of(kind).ends_with('.')) << name_of(kind);
        EXPECT_FALSE(advice_for(kind).empty()) << name_of(kind);
    }
    EXPECT_FALSE(store::alarm_kind_of("no-such-alarm"));
}

TEST(AlarmKinds, AreInTheDocumentation) {
    std::ifstream in(std::string(STERNPOST_TEST_DATA) + "/../../doc/alarms.md");
    const std::string text{std::istreambuf_iterator<char>(in), {}};
    for (unsigned n = 0; n <= static_cast<unsigned>(last_of(store::AlarmKind{})); ++n) {
        const auto kind = static_cast<store::AlarmKind>(n);
        EXPECT_NE(text.find("| `" + std::string(name_of(kind)) + "` | " + std::string(meaning_of(kind)) +
                            " | " + std::string(advice_for(kind)) + " |"),
                  std::string::npos)
            << "| `" << name_of(kind) << "` | " << meaning_of(kind) << " | " << advice_for(kind) << " |";
    }
}

}  // namespace
}  // namespace sternpost::admin
