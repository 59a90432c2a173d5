// Days pass: what is sent, to whom, when, and how often (RFC 8460 §3, §4.1, §5).
#include "tlsrpt/daily.h"

#include <gtest/gtest.h>

#include "fake/log_lines.h"
#include "fake/policy_world.h"
#include "fake/seeded_random.h"
#include "fake/step_world.h"

namespace sternpost::tlsrpt {
namespace {

using namespace std::chrono_literals;

/// Keeps outcomes, closed days and reports in memory, like the real one.
class ReportStore final : public fake::IntakeStore {
  public:
    std::vector<store::StoredOutcome> counted;
    std::map<std::pair<std::chrono::sys_days, std::string>, store::StoredReport> kept;
    std::vector<std::chrono::sys_days> closed;
    std::vector<store::NewMessage> mail;
    std::vector<store::StoredAlarm> raised;
    bool full = false;
    bool can_close = true;

    void accept(store::NewMessage message, Completion<store::Result<store::MessageId>> reply) override {
        if (full) return reply(fail(store::Errc::full, "the disk is full"));
        for (const auto& known : mail)
            if (known.submission == message.submission)
                return reply(fail(store::Errc::duplicate, known.id.text()));
        const auto id = message.id;
        mail.push_back(std::move(message));
        reply(id);
    }
    store::Result<std::vector<store::StoredOutcome>> outcomes(const store::OutcomeFilter& filter) override {
        std::vector<store::StoredOutcome> out;
        for (const auto& one : counted)
            if (one.day >= filter.from && one.day <= filter.to &&
                (filter.domain.empty() || filter.domain == one.outcome.domain))
                out.push_back(one);
        return out;
    }
    void keep(store::Kept value, Completion<store::Result<void>> reply) override {
        if (const auto* day = std::get_if<store::ClosedDay>(&value)) {
            if (!can_close) return reply(fail(store::Errc::full, "the disk is full"));
            closed.push_back(day->day);
        }
        if (const auto* report = std::get_if<store::StoredReport>(&value)) {
            if (full) return reply(fail(store::Errc::full, "the disk is full"));
            kept[{report->day, report->domain}] = *report;
        }
        if (auto* alarm = std::get_if<store::StoredAlarm>(&value)) raised.push_back(std::move(*alarm));
        if (reply) reply(store::Result<void>());
    }
    store::Result<std::vector<store::StoredReport>> reports(const store::ReportFilter& filter) override {
        std::vector<store::StoredReport> out;
        for (const auto& [key, report] : kept)
            if (matches(filter, report)) out.push_back(report);
        return out;
    }
    store::Result<store::ReportingState> reporting(std::chrono::sys_days from) override {
        store::ReportingState out;
        if (!closed.empty()) out.closed = closed.back();
        std::set<std::pair<std::chrono::sys_days, std::string>> seen;
        for (const auto& one : counted) {
            const std::pair key(one.day, one.outcome.domain);
            if (one.day < from || !seen.insert(key).second) continue;
            const auto known = kept.find(key);
            if (known == kept.end())
                out.unreported.push_back({key.first, key.second, {}});
            else if (known->second.state == store::ReportState::waiting)
                out.unreported.push_back({key.first, key.second, known->second.next_at});
        }
        return out;
    }
};

class Days : public ::testing::Test {
  protected:
    Days() : ids_(world_.clock(), 1, {}) {
        resolver_.addresses["collector.test"] = {"12.0.0.2"};
        options_.organization = "Northfield";
        options_.contact = mail::Mailbox::parse("tlsrpt@northfield.test").value();
        options_.node = "relay.northfield.test";
    }
    ~Days() override { stop(); }

    void asks(const std::string& domain, const std::string& rua) {
        resolver_.texts["_smtp._tls." + domain] = {"v=TLSRPTv1; rua=" + rua};
    }
    void session(const std::string& domain, std::chrono::sys_days day, std::uint64_t n = 1) {
        store::StoredOutcome one;
        one.outcome.at = WallTime(day) + 1h;
        one.outcome.domain = one.outcome.policy_domain = domain;
        one.day = day;
        one.n = n;
        store_.counted.push_back(std::move(one));
    }
    std::chrono::sys_days today() { return std::chrono::floor<std::chrono::days>(world_.clock().wall()); }
    void start() {
        sender_ = std::make_unique<Sender>(runtime_, options_, resolver_, https_, store_, ids_);
        alarms_ = std::make_unique<store::Alarms>(store_, world_.clock(), log_);
        Surroundings around;
        around.clock_trusted = [this] { return trusted_; };
        around.missing = [this] { return missing_; };
        daily_ = std::make_unique<Daily>(runtime_, *sender_, store_, *alarms_, std::move(around));
        daily_->start();
        world_.settle();
    }
    void stop() {
        if (!daily_) return;
        world_.finish(daily_->stop());
        daily_.reset();
    }
    const store::StoredReport& report(const std::string& domain, std::chrono::sys_days day) {
        return store_.kept.at({day, domain});
    }

    fake::StepWorld world_;
    fake::TableResolver resolver_;
    fake::PolicyHosts https_;
    ReportStore store_;
    fake::SeededRandom random_{1};
    fake::LogLines log_;
    const Runtime runtime_{world_.context(), world_.clock(), world_, random_, log_};
    store::IdSource ids_;
    Options options_;
    bool trusted_ = true;
    std::vector<std::string> missing_;
    std::unique_ptr<Sender> sender_;
    std::unique_ptr<store::Alarms> alarms_;
    std::unique_ptr<Daily> daily_;
};

TEST_F(Days, EachDomainThatAsksGetsOneReportOfEachDayWithTraffic_RPT15) {
    asks("a.test", "mailto:tls@a.test");
    asks("c.test", "mailto:tls@c.test");
    start();
    const auto first = today();
    session("a.test", first);
    session("b.test", first);  // asks for none
    world_.pass(24h + 4h + 1min);
    session("a.test", first + std::chrono::days(1));
    world_.pass(48h);
    ASSERT_EQ(store_.mail.size(), 2U);
    EXPECT_EQ(report("a.test", first).state, store::ReportState::done);
    EXPECT_EQ(report("b.test", first).state, store::ReportState::not_asked);
    EXPECT_EQ(report("a.test", first + std::chrono::days(1)).good, 1U);
    const auto& mail = store_.mail.front();
    EXPECT_EQ(mail.message_class, store::MessageClass::report);
    EXPECT_EQ(mail.envelope.reverse_path.text(), "tlsrpt@northfield.test");  // RPT-14, D-18
    EXPECT_TRUE(mail.recipients.at(0).recipient.notify.never);               // RPT-14
    EXPECT_TRUE(mail.envelope.tls_required_no) << "the TLS that it tells of may be broken";
    EXPECT_EQ(mail.recipients.at(0).recipient.path.text(), "tls@a.test");
}

TEST_F(Days, NothingIsSentBeforeTheDayHasEndedAndAllWithinTheWindow_RPT10) {
    start();
    const auto day = today();
    for (int i = 0; i < 200; ++i) {
        const std::string domain = "d" + std::to_string(i) + ".test";
        asks(domain, "mailto:tls@" + domain);
        session(domain, day);
    }
    world_.pass(24h + 4min);
    EXPECT_TRUE(store_.mail.empty());
    world_.pass(2h);
    EXPECT_GT(store_.mail.size(), 50U);
    EXPECT_LT(store_.mail.size(), 150U);
    world_.pass(2h);
    EXPECT_EQ(store_.mail.size(), 200U);
}

TEST_F(Days, ADayThatCannotBeClosedIsNotReported) {
    asks("a.test", "mailto:tls@a.test");
    session("a.test", today());
    start();
    EXPECT_EQ(daily_->status().waiting, 0U) << "it is not over";
    store_.can_close = false;
    world_.pass(30h);
    EXPECT_TRUE(store_.mail.empty()) << "more sessions may count in it";
    store_.can_close = true;
    world_.pass(2min);
    EXPECT_EQ(store_.mail.size(), 1U);
}

TEST_F(Days, NothingIsSentByAClockThatIsNotTrusted) {
    start();
    for (int i = 0; i < 50; ++i) {
        const std::string domain = "d" + std::to_string(i) + ".test";
        asks(domain, "mailto:tls@" + domain);
        session(domain, today());
    }
    world_.pass(26h);
    const std::size_t sent = store_.mail.size();
    ASSERT_LT(sent, 50U) << "some are due later";
    trusted_ = false;
    world_.pass(4h);
    EXPECT_EQ(store_.mail.size(), sent);
    trusted_ = true;
    world_.pass(2min);
    EXPECT_EQ(store_.mail.size(), 50U);
}

TEST_F(Days, ARestartSendsNothingTwice_RPT16) {
    asks("a.test", "mailto:tls@a.test,https://collector.test/");
    https_.status("collector.test", 200);
    start();
    session("a.test", today());
    const auto day = today();
    world_.pass(30h);
    ASSERT_EQ(store_.mail.size(), 1U);
    stop();
    start();
    world_.pass(30h);
    EXPECT_EQ(store_.mail.size(), 1U);
    EXPECT_EQ(https_.requests.size(), 1U);
    // The power went before what became of it was kept: the queue knows the mail, the POST has the same id.
    const std::string id = report("a.test", day).id;
    store_.kept.erase({day, "a.test"});
    stop();
    start();
    world_.pass(1h);
    EXPECT_EQ(store_.mail.size(), 1U);
    EXPECT_EQ(report("a.test", day).id, id);
    EXPECT_EQ(https_.requests.size(), 2U);
    EXPECT_EQ(https_.requests[0].post_body, https_.requests[1].post_body);
}

TEST_F(Days, ADayMissedWhileDownIsSentAfterwards) {
    asks("a.test", "mailto:tls@a.test");
    session("a.test", today());
    world_.pass(40h);  // no one runs
    start();
    world_.pass(5min);
    EXPECT_EQ(store_.mail.size(), 1U);
    // Too late for anybody to care.
    session("a.test", today());
    stop();
    world_.pass(24h * 6);
    start();
    world_.pass(24h);
    EXPECT_EQ(store_.mail.size(), 1U);
}

TEST_F(Days, ARestartAtMidnightClosesTheDayAllTheSame) {
    asks("a.test", "mailto:tls@a.test");
    start();
    const auto day = today();
    session("a.test", day);
    world_.pass(24h - 1s);
    stop();
    world_.pass(2s);
    start();
    EXPECT_TRUE(store_.closed.empty() || store_.closed.back() < day);
    world_.pass(5min);
    ASSERT_FALSE(store_.closed.empty());
    EXPECT_EQ(store_.closed.back(), day);
    world_.pass(4h);
    EXPECT_EQ(store_.mail.size(), 1U);
}

TEST_F(Days, ALeapToTheNextDayIsFollowedOnceTheClockIsTrusted) {
    asks("a.test", "mailto:tls@a.test");
    start();
    const auto day = today();
    session("a.test", day);
    world_.clock().set_wall(world_.clock().wall() + std::chrono::days(1) + 5h);  // someone has set it right
    trusted_ = false;
    world_.pass(10min);
    EXPECT_TRUE(store_.mail.empty());
    trusted_ = true;
    world_.pass(2min);
    EXPECT_EQ(store_.closed.back(), day);
    EXPECT_EQ(store_.mail.size(), 1U);
}

TEST_F(Days, EveryPlaceGetsItAndABadOneStopsNoOther_RPT07) {
    asks("a.test", "https://collector.test/a,http://x.test/,mailto:tls@a.test,https://nowhere.test/");
    https_.status("collector.test", 500);
    start();
    session("a.test", today());
    const auto day = today();
    world_.pass(28h + 1min);
    EXPECT_EQ(store_.mail.size(), 1U);
    EXPECT_EQ(report("a.test", day).state, store::ReportState::waiting);
    https_.status("collector.test", 202);  // RPT-68
    world_.pass(23h);
    EXPECT_EQ(store_.mail.size(), 1U) << "no second copy";
    const auto posts = https_.requests.size();
    world_.pass(10h);
    EXPECT_EQ(https_.requests.size(), posts) << "no second copy";
    const auto& done = report("a.test", day);
    EXPECT_EQ(done.state, store::ReportState::done);
    ASSERT_EQ(done.places.size(), 3U);
    for (const auto& place : done.places)
        EXPECT_EQ(place.state, place.uri == "https://nowhere.test/" ? store::PlaceState::given_up
                                                                    : store::PlaceState::accepted)
            << place.uri;
}

TEST_F(Days, IsGivenUpAfterADayOfTrying_RPT11) {
    asks("a.test", "https://collector.test/a");
    https_.status("collector.test", 302);  // RPT-68: not followed
    start();
    session("a.test", today());
    const auto day = today();
    world_.pass(28h + 23h);
    EXPECT_EQ(report("a.test", day).state, store::ReportState::waiting);
    world_.pass(26h);
    EXPECT_EQ(report("a.test", day).state, store::ReportState::given_up);
    const auto tries = https_.requests.size();
    EXPECT_GT(tries, 8U);
    EXPECT_LT(tries, 20U);
    world_.pass(72h);
    EXPECT_EQ(https_.requests.size(), tries);
    ASSERT_EQ(store_.raised.size(), 1U);
    EXPECT_EQ(store_.raised[0].kind, "tls-report-undelivered");
    EXPECT_TRUE(store_.mail.empty());
}

TEST_F(Days, ACertificateThatDoesNotHoldIsToldAndPassed_RPT69) {
    asks("a.test", "https://collector.test/a");
    https_.refuse("collector.test", util::HttpsErrc::certificate);
    start();
    session("a.test", today());
    world_.pass(28h + 1min);
    ASSERT_EQ(https_.requests.size() % 2, 0U);
    EXPECT_TRUE(https_.requests[0].verify);
    EXPECT_FALSE(https_.requests[1].verify);
    EXPECT_EQ(https_.requests[0].content_type, "application/tlsrpt+gzip");  // RPT-67
    EXPECT_EQ(https_.requests[0].post_body->substr(0, 2), "\x1F\x8B");
}

TEST_F(Days, NothingIsPostedIntoTheNetworkBehindUs) {
    resolver_.addresses["collector.test"] = {"127.0.0.1", "10.0.0.1"};
    asks("a.test", "https://collector.test/a");
    https_.status("collector.test", 200);
    start();
    session("a.test", today());
    world_.pass(28h + 1min);
    EXPECT_TRUE(https_.requests.empty());
}

TEST_F(Days, EightAddressesOfACollectorAreDialled) {
    auto& addresses = resolver_.addresses["collector.test"];
    for (int n = 1; n <= 20; ++n) addresses.push_back("12.0.1." + std::to_string(n));
    asks("a.test", "https://collector.test/a");
    https_.status("collector.test", 200);
    start();
    session("a.test", today());
    world_.pass(28h + 1min);
    ASSERT_EQ(https_.requests.size(), 1U);
    EXPECT_EQ(https_.requests[0].addresses.size(), 8U);
}

TEST_F(Days, SixteenReportsAreOnTheirWayAtATime) {
    https_.status("collector.test", 200);
    https_.hold = true;
    start();
    for (int n = 0; n < 40; ++n) {
        const std::string domain = "d" + std::to_string(n) + ".test";
        asks(domain, "https://collector.test/" + domain);
        session(domain, today());
    }
    world_.pass(28h + 1min);
    EXPECT_EQ(https_.requests.size(), 16U);
    while (https_.requests.size() < 40U) {
        const std::size_t before = https_.requests.size();
        https_.release();
        world_.pass(1min);
        ASSERT_GT(https_.requests.size(), before);
    }
    EXPECT_EQ(https_.most_at_once, 16U);
    https_.release();
    world_.settle();
}

TEST_F(Days, OnlyTheUsualPortIsPostedToByDefault) {  // D-45
    asks("a.test", "https://collector.test:22/a,mailto:tls@a.test");
    asks("b.test", "https://collector.test:22/b");
    https_.status("collector.test", 200);
    start();
    session("a.test", today());
    session("b.test", today());
    const auto day = today();
    world_.pass(28h + 1min);
    EXPECT_TRUE(https_.requests.empty());
    EXPECT_EQ(store_.mail.size(), 1U);
    EXPECT_EQ(report("b.test", day).state, store::ReportState::not_asked);
    EXPECT_NE(report("b.test", day).text.find("a port other than 443"), std::string::npos);
}

TEST_F(Days, AnotherPortIsPostedToWhereThatIsAllowed) {
    asks("a.test", "https://collector.test:8443/a");
    https_.status("collector.test", 200);
    options_.allow_other_ports = true;
    start();
    session("a.test", today());
    world_.pass(28h + 1min);
    ASSERT_EQ(https_.requests.size(), 1U);
    EXPECT_EQ(https_.requests[0].port, 8443);
}

TEST_F(Days, ARecordThatCannotBeLookedUpIsAskedForAgain) {
    asks("a.test", "mailto:tls@a.test");
    resolver_.broken.insert("_smtp._tls.a.test");
    start();
    session("a.test", today());
    world_.pass(29h);
    EXPECT_TRUE(store_.mail.empty());
    resolver_.broken.clear();
    world_.pass(6h);
    EXPECT_EQ(store_.mail.size(), 1U);
}

TEST_F(Days, AsksFewPlacesAndNoneTooOften_RPT08) {
    std::string rua = "mailto:p0@a.test";
    for (int i = 1; i < 200; ++i) rua += ",mailto:p" + std::to_string(i) + "@a.test";
    asks("a.test", rua);
    options_.most_to_one_place = 10;
    start();
    session("a.test", today());
    for (int i = 0; i < 15; ++i) {  // task queues are invented at will: what counts is where they are
        asks("d" + std::to_string(i) + ".test", "mailto:victim+" + std::to_string(i) + "@v.test");
        session("d" + std::to_string(i) + ".test", today());
    }
    world_.pass(28h + 1min);
    std::size_t to_a = 0;
    std::size_t to_victim = 0;
    for (const auto& one : store_.mail) {
        to_a += one.recipients.at(0).next_hop == "a.test" ? 1U : 0U;
        to_victim += one.recipients.at(0).next_hop == "v.test" ? 1U : 0U;
    }
    EXPECT_EQ(to_a, 10U);
    EXPECT_EQ(to_victim, 10U);
}

TEST_F(Days, WaitsUntilReportingIsSetUp_D38) {
    asks("a.test", "mailto:tls@a.test");
    missing_ = {"no DKIM key"};
    start();
    session("a.test", today());
    world_.pass(30h);
    EXPECT_TRUE(store_.mail.empty());
    EXPECT_FALSE(store_.closed.empty()) << "counting goes on";
    EXPECT_EQ(daily_->status().missing, std::vector<std::string>{"no DKIM key"});
    EXPECT_EQ(daily_->status().waiting, 1U);
    missing_.clear();
    world_.pass(2min);
    EXPECT_EQ(store_.mail.size(), 1U);
}

TEST_F(Days, AClockThatIsNotTrustedClosesNoDay) {
    asks("a.test", "mailto:tls@a.test");
    start();
    const auto closed = store_.closed.size();
    session("a.test", today());
    trusted_ = false;
    world_.clock().set_wall(world_.clock().wall() + std::chrono::days(30));
    world_.pass(2h);
    EXPECT_EQ(store_.closed.size(), closed);
    EXPECT_TRUE(store_.mail.empty());
}

TEST_F(Days, AFullDiskDefersIt) {
    asks("a.test", "mailto:tls@a.test");
    start();
    session("a.test", today());
    const auto day = today();
    store_.full = true;
    world_.pass(28h);
    EXPECT_TRUE(store_.mail.empty());
    store_.full = false;
    world_.pass(1h);
    EXPECT_EQ(store_.mail.size(), 1U);
    EXPECT_EQ(report("a.test", day).state, store::ReportState::done);
}

TEST_F(Days, IsSentNowOrOnceMoreWhenAsked) {
    asks("a.test", "mailto:tls@a.test");
    asks("b.test", "mailto:tls@b.test");
    start();
    const auto day = today();
    session("a.test", day);
    session("b.test", day);
    session("c.test", day);
    const auto early = world_.run(daily_->send(day, "", nullptr));
    ASSERT_FALSE(early);
    EXPECT_EQ(early.error().code, Errc::nothing);
    world_.pass(24h + 5min + 1s);
    bool done = false;
    auto send = [&]() -> asio::awaitable<void> {
        const auto sent = co_await daily_->send(day, "", nullptr);
        EXPECT_TRUE(sent);
        EXPECT_EQ(sent.value().not_asked, 1U);
        done = true;
    };
    world_.finish(send());
    EXPECT_TRUE(done);
    EXPECT_EQ(store_.mail.size(), 2U);
    world_.pass(5h);
    EXPECT_EQ(store_.mail.size(), 2U);
    const std::string id = report("a.test", day).id;
    const auto again = world_.run(daily_->resend(id));
    ASSERT_TRUE(again);
    EXPECT_EQ(again->id, id);
    EXPECT_EQ(store_.mail.size(), 3U);
    EXPECT_FALSE(world_.run(daily_->resend("nobody@northfield.test")));
}

}  // namespace
}  // namespace sternpost::tlsrpt
