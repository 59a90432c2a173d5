// What a look-up of a policy finds, in a world that is told what to say, over restarts and stepped time.
#include "sts/lookup.h"

#include <gtest/gtest.h>

#include "delivery/policy_problem.h"
#include "fake/log_lines.h"
#include "fake/policy_world.h"
#include "fake/seeded_random.h"
#include "fake/step_world.h"
#include "sts/refresher.h"

namespace sternpost::sts {
namespace {

using std::chrono::hours;
using std::chrono::minutes;
using std::chrono::seconds;

std::string policy_text(const std::string& mode, std::uint64_t max_age,
                        const std::string& mx = "mx1.example.com") {
    return "version: STSv1\r\nmode: " + mode + "\r\nmx: " + mx + "\r\nmax_age: " + std::to_string(max_age) +
           "\r\n";
}

constexpr std::uint64_t day_long = 86400;
constexpr std::uint64_t week_long = 7 * day_long;

class Sts : public ::testing::Test {
  protected:
    Sts() { restart(); }
    ~Sts() override {
        if (refresher_) stop_refresher();
    }

    // The daemon stops and another one begins, with what the store has.
    void restart() {
        lookups_ = std::make_unique<Lookups>(runtime_, options_, resolver_, hosts_, store_);
        lookups_->restore(store_.all_discoveries());
        EXPECT_EQ(world_.run(lookups_->recall_all(SteadyTime::max())), true);
    }
    void start_refresher() {
        refresher_ = std::make_unique<Refresher>(world_.context(), *lookups_, clock(), world_, log_);
        refresher_->start();
    }
    void stop_refresher() {
        hosts_.stop();
        world_.finish(refresher_->stop());
        refresher_.reset();
    }
    fake::StepClock& clock() { return world_.clock(); }
    static dns::PolicyDomain named(const std::string& name) {
        return dns::PolicyDomain(dns::Domain::parse(name).value());
    }
    Lookup find(const std::string& name = "example.com") { return world_.run(lookups_->find(named(name))); }
    Lookup refetch(const std::string& name = "example.com") {
        return world_.run(lookups_->refetch_after_failure(named(name)));
    }

    void publish(const std::string& id, const std::string& text, const std::string& name = "example.com") {
        resolver_.texts["_mta-sts." + name] = {"v=STSv1; id=" + id};
        resolver_.addresses["mta-sts." + name] = {"198.18.7.7", "8.8.4.4"};
        hosts_.serve("mta-sts." + name, text);
    }
    std::size_t gets() const { return hosts_.requests.size(); }

    fake::StepWorld world_;
    fake::TableResolver resolver_;
    fake::PolicyHosts hosts_;
    fake::PolicyStore store_;
    fake::LogLines log_;
    fake::SeededRandom random_;
    const Runtime runtime_{world_.context(), world_.clock(), world_, random_, log_};
    LookupOptions options_;
    std::unique_ptr<Lookups> lookups_;
    std::unique_ptr<Refresher> refresher_;
};

TEST_F(Sts, DialsEightAddressesAtMostAndOnlyThoseOfTheInternet) {  // D-45, D-46
    publish("1", policy_text("enforce", week_long));
    auto& addresses = resolver_.addresses["mta-sts.example.com"];
    addresses = {"10.0.0.1", "127.0.0.1", "64:ff9b::a00:1"};
    for (int i = 1; i <= 20; ++i) addresses.push_back("8.8.8." + std::to_string(i));
    EXPECT_EQ(find().state, State::policy);
    ASSERT_EQ(hosts_.requests.size(), 1U);
    EXPECT_EQ(hosts_.requests[0].addresses.size(), 8U);
    EXPECT_EQ(hosts_.requests[0].addresses.front(), "8.8.8.1");
    EXPECT_FALSE(hosts_.requests[0].allow_special);
}

TEST_F(Sts, TellsAllOfAPolicy) {  // STS-13, STS-46
    publish("1", policy_text("enforce", week_long));
    const auto first = find();
    EXPECT_EQ(first.state, State::policy);
    EXPECT_EQ(first.policy->mode, Mode::enforce);
    EXPECT_EQ(first.id, "1");
    EXPECT_EQ(first.text, policy_text("enforce", week_long));
    EXPECT_EQ(first.fetched, clock().wall());
    EXPECT_EQ(first.expires, clock().wall() + seconds(week_long));
    ASSERT_TRUE(first.next_refresh);
    EXPECT_LE(*first.next_refresh, clock().wall() + hours(24));
    EXPECT_GT(*first.next_refresh, clock().wall() + hours(20));
    EXPECT_TRUE(first.fresh);
    EXPECT_TRUE(first.changed);
    EXPECT_FALSE(first.problem);
    EXPECT_EQ(store_.kept.at("example.com").fingerprint, "f1");
    const auto second = find();
    EXPECT_FALSE(second.fresh);
    EXPECT_EQ(second.id, "1");
    ASSERT_EQ(gets(), 1U);
    EXPECT_EQ(hosts_.requests[0].host, "mta-sts.example.com");
    EXPECT_EQ(hosts_.requests[0].path, "/.well-known/mta-sts.txt");
}

TEST_F(Sts, FetchesAgainWhatItCannotReadOfTheStore) {
    publish("1", policy_text("enforce", week_long));
    publish("7", policy_text("enforce", week_long, "mx1.example.net"), "example.net");
    find();
    find("example.net");
    ASSERT_EQ(gets(), 2U);
    store_.seen.at("example.com").back().text = "version: STSv9\r\nmode: enforce\r\n";
    store_.known["no name"].domain = "no name";
    restart();
    EXPECT_EQ(log_.count("policy domain=example.com event=unreadable reason="), 1U);
    EXPECT_EQ(log_.count("policy domain=example.net event=unreadable"), 0U);
    EXPECT_EQ(find("example.net").id, "7") << "another domain's policy is known as before";
    EXPECT_EQ(gets(), 2U);
    const auto lookup = find();
    EXPECT_EQ(lookup.state, State::policy);
    EXPECT_EQ(lookup.policy->mode, Mode::enforce);
    EXPECT_EQ(gets(), 3U);
    EXPECT_EQ(store_.kept.at("example.com").text, policy_text("enforce", week_long));
}

TEST_F(Sts, FetchesWhenTheIdIsAnother) {  // STS-46, STS-47, STS-50
    publish("20250202", policy_text("enforce", week_long));
    find();
    publish("20250101", policy_text("testing", day_long));
    const auto lookup = find();
    EXPECT_EQ(lookup.policy->mode, Mode::testing);
    EXPECT_TRUE(lookup.changed);
    EXPECT_EQ(gets(), 2U);
}

TEST_F(Sts, KeepsACachedPolicyWhateverFails) {  // STS-11, STS-42, STS-45
    publish("1", policy_text("enforce", week_long));
    find();
    const auto still = [&](const char* what) {
        const auto lookup = find();
        EXPECT_EQ(lookup.state, State::policy) << what;
        EXPECT_EQ(lookup.id, "1") << what;
        EXPECT_TRUE(lookup.problem) << what;
        clock().pass(minutes(6));
    };
    resolver_.broken.insert("_mta-sts.example.com");
    still("SERVFAIL");
    resolver_.broken.clear();
    resolver_.texts.clear();
    still("no record");
    resolver_.texts["_mta-sts.example.com"] = {"v=STSv1; id=1", "v=STSv1; id=2"};
    still("two records");
    resolver_.texts["_mta-sts.example.com"] = {"v=STSv1; id=2"};
    hosts_.serve("mta-sts.example.com", "garbage");
    still("garbage");
    hosts_.status("mta-sts.example.com", 500);
    still("500");
    hosts_.refuse("mta-sts.example.com", util::HttpsErrc::certificate);
    still("certificate");
    hosts_.refuse("mta-sts.example.com", util::HttpsErrc::timed_out);
    still("time out");
}

TEST_F(Sts, ExpiresWithMaxAgeAndNotBefore) {  // STS-43, STS-44
    publish("1", policy_text("enforce", 600));
    find();
    resolver_.broken.insert("_mta-sts.example.com");
    hosts_.hosts.clear();
    clock().pass(seconds(599));
    EXPECT_EQ(find().state, State::policy);
    restart();
    EXPECT_EQ(find().state, State::policy);
    clock().pass(seconds(2));
    EXPECT_FALSE(find().policy);
}

TEST_F(Sts, ClockThatIsSetForwardEndsNoPolicy) {  // STS-43
    publish("1", policy_text("enforce", day_long));
    find();
    resolver_.texts.clear();
    clock().set_wall(clock().wall() + hours(24 * 365));
    EXPECT_EQ(find().state, State::policy);
    clock().pass(seconds(day_long + 1));
    EXPECT_EQ(find().state, State::none);
}

TEST_F(Sts, UnknownIsDecidedByTime) {  // D-02, STS-12
    resolver_.broken.insert("_mta-sts.example.com");
    EXPECT_EQ(find().state, State::unknown);
    clock().pass(minutes(29));
    EXPECT_EQ(find().state, State::unknown);
    clock().pass(minutes(1));
    EXPECT_EQ(find().state, State::none);
    clock().pass(hours(24) - minutes(1));
    EXPECT_EQ(find().state, State::none) << "remembered for a day";
    clock().pass(minutes(2));
    EXPECT_EQ(find().state, State::unknown) << "a day later the thirty minutes begin anew";
}

TEST_F(Sts, RestartDoesNotBeginTheUnknownTimeAnew) {  // D-02
    resolver_.broken.insert("_mta-sts.example.com");
    find();
    clock().pass(minutes(20));
    restart();
    EXPECT_EQ(find().state, State::unknown);
    clock().pass(minutes(10));
    restart();
    EXPECT_EQ(find().state, State::none);
    resolver_.broken.clear();
    EXPECT_EQ(find().state, State::none);
    EXPECT_EQ(store_.known.at("example.com").unknown_since, WallTime()) << "an answer ends it";
    resolver_.broken.insert("_mta-sts.example.com");
    EXPECT_EQ(find().state, State::unknown);
}

TEST_F(Sts, UnknownTimeSurvivesAClockThatWasPutBack) {  // D-02
    resolver_.broken.insert("_mta-sts.example.com");
    find();
    clock().pass(minutes(29));
    clock().set_wall(clock().wall() - hours(24 * 365));
    EXPECT_EQ(find().state, State::unknown);
    clock().pass(minutes(1));
    EXPECT_EQ(find().state, State::none) << "within a run the steady clock counts";
    restart();
    EXPECT_EQ(find().state, State::unknown) << "a time in the future says nothing: the patience begins anew";
    clock().pass(minutes(30));
    EXPECT_EQ(find().state, State::none);
}

TEST_F(Sts, DomainThatEverEnforcedStaysUnknown) {  // D-02
    publish("1", policy_text("enforce", 600));
    find();
    publish("2", policy_text("testing", 600));
    find();
    restart();
    clock().pass(hours(1));
    resolver_.broken.insert("_mta-sts.example.com");
    for (int i = 0; i < 6; ++i) {
        EXPECT_EQ(find().state, State::unknown) << i;
        clock().pass(hours(20));
    }
    publish("1", policy_text("testing", 600), "example.net");
    find("example.net");
    clock().pass(hours(1));
    resolver_.broken.insert("_mta-sts.example.net");
    find("example.net");
    clock().pass(hours(1));
    EXPECT_EQ(find("example.net").state, State::none) << "it only ever tested";
}

TEST_F(Sts, DomainWhosePastCannotBeReadStaysUnknown) {  // D-02
    publish("1", policy_text("testing", 600));
    find();
    clock().pass(hours(1));
    resolver_.broken.insert("_mta-sts.example.com");
    store_.readable = false;
    find();
    clock().pass(hours(1));
    EXPECT_EQ(find().state, State::unknown) << "it may have enforced";
    store_.readable = true;
    EXPECT_EQ(find().state, State::none) << "it only ever tested";
}

TEST_F(Sts, BelievesAPolicyOnceItIsOnTheDisk) {  // RFC 8461 §10.2
    publish("1", policy_text("enforce", week_long));
    store_.hold = true;
    std::optional<Lookup> found;
    asio::co_spawn(world_.context(), lookups_->find(named("example.com")),
                   [&](const std::exception_ptr&, Lookup lookup) { found = std::move(lookup); });
    world_.settle();
    EXPECT_EQ(gets(), 1U);
    EXPECT_FALSE(found);
    EXPECT_EQ(lookups_->size(), 0U);
    EXPECT_FALSE(world_.run(lookups_->view(named("example.com"))));
    store_.release();
    world_.settle();
    ASSERT_TRUE(found);
    EXPECT_EQ(found->state, State::policy);
    EXPECT_EQ(lookups_->size(), 1U);
}

TEST_F(Sts, TellsOfAProblemOnceInFiveMinutes) {  // D-40
    resolver_.texts["_mta-sts.example.com"] = {"v=STSv1;"};
    EXPECT_TRUE(find().problem_fresh);
    clock().pass(minutes(5) - seconds(1));
    EXPECT_FALSE(find().problem_fresh);
    clock().pass(seconds(1));
    EXPECT_TRUE(find().problem_fresh);
    EXPECT_FALSE(find().problem_fresh);
}

TEST_F(Sts, ReadsOnlyPlainText) {  // RFC 8461 §3.2, D-03
    publish("1", policy_text("enforce", week_long));
    util::HttpsAnswer& answer = *hosts_.hosts.at("mta-sts.example.com");
    std::string id = "1";
    const auto problem_of = [&](std::optional<std::string> type) {
        answer.content_type = std::move(type);
        resolver_.texts["_mta-sts.example.com"] = {"v=STSv1; id=" + (id += "x")};
        return find().problem;
    };
    EXPECT_EQ(problem_of("text/plain"), std::nullopt);
    EXPECT_EQ(problem_of("Text/Plain; charset=utf-8"), std::nullopt);
    EXPECT_EQ(problem_of(std::nullopt), std::nullopt);
    EXPECT_EQ(problem_of("text/html"), Errc::bad_policy);
    EXPECT_EQ(problem_of("text/plainer"), Errc::bad_policy);
    EXPECT_EQ(problem_of("application/octet-stream"), Errc::bad_policy);
}

TEST_F(Sts, CallsAPolicyHostByTheFamilyThatCanBeLookedUp) {
    publish("1", policy_text("enforce", week_long));
    resolver_.broken_aaaa.insert("mta-sts.example.com");
    EXPECT_EQ(find().state, State::policy);
    EXPECT_EQ(hosts_.requests.at(0).addresses, std::vector<std::string>{"8.8.4.4"});
}

TEST_F(Sts, FailedGetIsNotRepeatedForFiveMinutes) {  // STS-27, STS-28
    publish("1", "garbage");
    const auto first = find();
    EXPECT_EQ(first.state, State::none);
    EXPECT_EQ(first.problem, Errc::bad_policy);
    EXPECT_TRUE(first.problem_fresh);
    for (int i = 0; i < 50; ++i) EXPECT_FALSE(find().problem_fresh);
    EXPECT_EQ(gets(), 1U);
    clock().pass(minutes(4));
    restart();
    EXPECT_TRUE(find().problem);
    EXPECT_EQ(gets(), 1U) << "a restart forgets it not";
    publish("2", "garbage");
    find();
    EXPECT_EQ(gets(), 2U) << "a new id is bound by nothing";
    clock().pass(minutes(5));
    EXPECT_TRUE(find().problem_fresh);
    EXPECT_EQ(gets(), 3U);
}

TEST_F(Sts, EnforcementFailureForcesOneGet) {  // D-37, FIELD-NOTES 13
    publish("1", policy_text("enforce", week_long));
    find();
    clock().pass(hours(1));
    hosts_.serve("mta-sts.example.com", policy_text("enforce", week_long, "mx2.example.com"));
    const auto forced = refetch();
    EXPECT_TRUE(forced.fresh);
    EXPECT_TRUE(forced.changed);
    EXPECT_EQ(forced.policy->mx_text(), "mx2.example.com");
    EXPECT_EQ(gets(), 2U);
    EXPECT_FALSE(refetch().fresh) << "once in five minutes";
    EXPECT_EQ(gets(), 2U);
    publish("2", policy_text("testing", week_long));
    EXPECT_EQ(refetch().policy->mode, Mode::testing) << "STS-69: a new id is seen, and bound by nothing";
    clock().pass(minutes(5));
    const auto same = refetch();
    EXPECT_TRUE(same.fresh);
    EXPECT_FALSE(same.changed);
    EXPECT_EQ(gets(), 4U);
}

TEST_F(Sts, ForcedGetIsBoundByTheFiveMinutesAfterAFailure) {  // D-37
    publish("1", policy_text("enforce", week_long));
    find();
    hosts_.status("mta-sts.example.com", 500);
    EXPECT_EQ(refetch().problem, Errc::fetch);
    EXPECT_EQ(gets(), 2U);
    clock().pass(minutes(4));
    refetch();
    EXPECT_EQ(world_.run(lookups_->refresh(named("example.com"))).problem, Errc::fetch);
    EXPECT_EQ(gets(), 2U);
    clock().pass(minutes(1));
    refetch();
    EXPECT_EQ(gets(), 3U);
}

TEST_F(Sts, MessagesOfADomainShareOneLookUp) {  // D-06; its problem is reported once
    publish("1", "garbage");
    hosts_.hold = true;
    std::vector<Lookup> found;
    for (int i = 0; i < 5; ++i)
        asio::co_spawn(world_.context(), lookups_->find(named("example.com")),
                       [&](const std::exception_ptr&, Lookup lookup) { found.push_back(std::move(lookup)); });
    world_.settle();
    EXPECT_EQ(gets(), 1U);
    EXPECT_TRUE(found.empty());
    hosts_.release();
    world_.settle();
    ASSERT_EQ(found.size(), 5U);
    EXPECT_EQ(std::count_if(found.begin(), found.end(), [](const Lookup& l) { return l.problem_fresh; }), 1);
}

TEST_F(Sts, DaemonThatStopsLearnsNothingOfTheDomain) {  // D-02: mail does not go as if there were no policy
    publish("1", policy_text("enforce", week_long));
    hosts_.stop();
    const auto lookup = find();
    EXPECT_EQ(lookup.state, State::unknown);
    EXPECT_FALSE(store_.known.contains("example.com"));
}

struct Named {
    const char* name;
    Errc code;
    std::optional<tlsrpt::ResultType> result_type;
};
class PolicyProblem : public ::testing::TestWithParam<Named> {};
TEST_P(PolicyProblem, HasItsNameInReports) {
    EXPECT_EQ(delivery::result_type_of(GetParam().code), GetParam().result_type);
}
INSTANTIATE_TEST_SUITE_P(
    Of, PolicyProblem,
    ::testing::Values(Named{"Map11Fetch", Errc::fetch, tlsrpt::ResultType::sts_policy_fetch_error},
                      Named{"Map11Gone", Errc::gone, tlsrpt::ResultType::sts_policy_fetch_error},
                      Named{"Map11Address", Errc::refused_address,
                            tlsrpt::ResultType::sts_policy_fetch_error},
                      Named{"Map12Record", Errc::bad_record, tlsrpt::ResultType::sts_policy_invalid},
                      Named{"Map12Policy", Errc::bad_policy, tlsrpt::ResultType::sts_policy_invalid},
                      Named{"Map13Certificate", Errc::certificate, tlsrpt::ResultType::sts_webpki_invalid},
                      Named{"Stopped", Errc::stopped, std::nullopt}),
    [](const auto& row) { return std::string(row.param.name); });

struct Broken {
    const char* name;
    void (*how)(fake::TableResolver&, fake::PolicyHosts&);
    Errc code;
};
class StsProblem : public Sts, public ::testing::WithParamInterface<Broken> {};
TEST_P(StsProblem, IsToldApart) {  // STS-15, STS-16, STS-18, STS-75, MAP-11, MAP-12, MAP-13
    publish("1", policy_text("enforce", week_long));
    GetParam().how(resolver_, hosts_);
    EXPECT_EQ(find().problem, GetParam().code);
}
INSTANTIATE_TEST_SUITE_P(
    Of, StsProblem,
    ::testing::Values(
        Broken{"TxtLookUp", [](auto& dns, auto&) { dns.broken.insert("_mta-sts.example.com"); }, Errc::fetch},
        Broken{"TxtSyntax", [](auto& dns, auto&) { dns.texts["_mta-sts.example.com"] = {"v=STSv1;"}; },
               Errc::bad_record},
        Broken{"PolicyHostUnresolved", [](auto& dns, auto&) { dns.addresses.clear(); }, Errc::fetch},
        Broken{"PolicyHostOnLoopback",
               [](auto& dns, auto&) {
                   dns.addresses["mta-sts.example.com"] = {"127.0.0.1", "::1"};
               },
               Errc::refused_address},
        Broken{"PolicyHostOnMappedLoopback",
               [](auto& dns, auto&) {
                   dns.addresses["mta-sts.example.com"] = {"::ffff:127.0.0.1", "::ffff:10.0.0.1"};
               },
               Errc::refused_address},
        Broken{"Connection", [](auto&, auto& hosts) { hosts.hosts.clear(); }, Errc::fetch},
        Broken{"Redirect", [](auto&, auto& hosts) { hosts.status("mta-sts.example.com", 302); }, Errc::fetch},
        Broken{"PartOfIt", [](auto&, auto& hosts) { hosts.hosts.at("mta-sts.example.com")->status = 206; },
               Errc::fetch},
        Broken{"NotFound", [](auto&, auto& hosts) { hosts.status("mta-sts.example.com", 404); }, Errc::gone},
        Broken{"TooBig",
               [](auto&, auto& hosts) { hosts.refuse("mta-sts.example.com", util::HttpsErrc::too_big); },
               Errc::fetch},
        Broken{"Certificate",
               [](auto&, auto& hosts) { hosts.refuse("mta-sts.example.com", util::HttpsErrc::certificate); },
               Errc::certificate},
        Broken{"ManyMxPatterns",
               [](auto&, auto& hosts) {
                   std::string many = policy_text("enforce", week_long);
                   for (int i = 0; i < 500; ++i) many += "mx: h" + std::to_string(i) + ".example.com\r\n";
                   hosts.serve("mta-sts.example.com", many);
               },
               Errc::bad_policy},
        Broken{"Policy", [](auto&, auto& hosts) { hosts.serve("mta-sts.example.com", "version: STSv2\n"); },
               Errc::bad_policy}),
    [](const auto& row) { return std::string(row.param.name); });

TEST_F(Sts, SpecialAddressesAreLeftOut) {  // FIELD-NOTES 23
    publish("1", policy_text("enforce", week_long));
    find();
    EXPECT_EQ(hosts_.requests.at(0).addresses, std::vector<std::string>{"8.8.4.4"});
}

// ---- the background

TEST_F(Sts, RefreshesEveryDayWithoutMailAndWithoutARecord) {  // STS-48
    publish("1", policy_text("enforce", week_long));
    find();
    resolver_.texts.clear();
    start_refresher();
    const auto expires = store_.kept.at("example.com").expires;
    world_.pass(hours(20));
    EXPECT_EQ(gets(), 1U);
    world_.pass(hours(5));
    EXPECT_EQ(gets(), 2U);
    EXPECT_GT(store_.kept.at("example.com").expires, expires + hours(20)) << "success restarts the expiry";
    EXPECT_LE(store_.kept.at("example.com").expires, expires + hours(25));
    EXPECT_EQ(store_.kept.at("example.com").id, "1");
    world_.pass(hours(24 * 10));
    EXPECT_GE(gets(), 11U);
    EXPECT_LE(gets(), 14U);
    EXPECT_EQ(find().state, State::policy);
}

TEST_F(Sts, RefreshesAfterHalfOfAShortLife) {  // STS-48
    publish("1", policy_text("enforce", 4 * 3600));
    find();
    start_refresher();
    world_.pass(hours(24 * 2));
    EXPECT_EQ(find().state, State::policy);
    EXPECT_GE(gets(), 24U);
    EXPECT_LE(gets(), 28U);
}

TEST_F(Sts, RefreshEndsWhenNobodyHasMailedForSixtyDays) {  // D-39
    publish("1", policy_text("enforce", 30 * day_long));
    find();
    start_refresher();
    world_.pass(hours(24 * 59));
    const auto until_then = gets();
    EXPECT_GE(until_then, 58U);
    world_.pass(hours(24 * 10));
    EXPECT_LE(gets(), until_then + 2);
    EXPECT_EQ(find().state, State::policy);
    world_.pass(hours(24 * 3));
    EXPECT_GE(gets(), until_then + 3) << "mail wakes it again";
    EXPECT_LE(gets(), until_then + 6);
}

TEST_F(Sts, RefreshThatFailsIsTriedAgainAndTold) {  // STS-49, STS-45
    publish("1", policy_text("enforce", 2 * day_long));
    find();
    hosts_.refuse("mta-sts.example.com", util::HttpsErrc::connect);
    start_refresher();
    world_.pass(hours(30));
    EXPECT_GE(gets(), 4U) << "more than one try while the policy lives";
    EXPECT_LE(gets(), 12U) << "and no hammering";
    EXPECT_EQ(find().state, State::policy);
    EXPECT_NE(log_.find("policy domain=example.com event=fetch-failed"), "");
    EXPECT_EQ(log_.count("alarm kind=policy-refresh-failing subject=example.com"), 1U) << "once a day";
    EXPECT_EQ(store_.raised.size(), gets() - 1) << "every one is counted";
    const auto view = world_.run(lookups_->view(named("example.com")));
    ASSERT_TRUE(view);
    EXPECT_EQ(view->refresh_failures, gets() - 1) << "all but the first have failed";
    EXPECT_EQ(view->problem, Errc::fetch);
    hosts_.serve("mta-sts.example.com", policy_text("enforce", 2 * day_long));
    world_.pass(hours(8));
    EXPECT_EQ(world_.run(lookups_->view(named("example.com")))->refresh_failures, 0U);
}

TEST_F(Sts, PolicyOfModeNoneMayVanishInPeace) {  // STS-49, STS-52
    publish("1", policy_text("none", 2 * day_long));
    find();
    resolver_.texts.clear();
    hosts_.status("mta-sts.example.com", 404);
    start_refresher();
    world_.pass(hours(30));
    EXPECT_FALSE(find().problem);
    EXPECT_GE(gets(), 2U);
    EXPECT_LE(gets(), 12U);
    EXPECT_TRUE(store_.raised.empty());
}

TEST_F(Sts, FetchesAFewAtATime) {  // STS-48: after a long sleep everything is due
    for (int i = 0; i < 20; ++i) {
        const std::string name = "d" + std::to_string(i) + ".example";
        publish("1", policy_text("enforce", week_long), name);
        find(name);
    }
    clock().pass(hours(48));
    hosts_.hold = true;
    const auto before = gets();
    start_refresher();
    for (int i = 0; i < 30; ++i) {
        world_.pass(seconds(1));
        hosts_.release();
    }
    EXPECT_EQ(gets() - before, 20U);
    EXPECT_EQ(hosts_.most_at_once, 4U);
}

// ---- what memory holds

class StsMemory : public Sts {
  protected:
    static constexpr std::size_t room = 200'000;

    StsMemory() {
        options_.memory = room;
        restart();
    }
    /// So many look-ups of domains that no one else asks for, each with a policy of 10 KB and more.
    void flood(int domains, const std::string& mode = "testing") {
        for (int i = 0; i < domains; ++i) {
            const std::string name = "d" + std::to_string(flooded_++) + ".example";
            publish("1", large(mode, name), name);
            EXPECT_EQ(find(name).state, State::policy);
            EXPECT_LE(lookups_->memory(), room);
        }
    }
    static std::string large(const std::string& mode, const std::string& name) {
        std::string out = policy_text(mode, week_long, "mx." + name);
        for (int i = 0; i < 200; ++i) out += "unknown: " + std::string(50, 'x') + "\r\n";
        return out;
    }
    /// The domain can be asked no more: what is known is what was kept.
    void unpublish(const std::string& name) {
        resolver_.broken.insert("_mta-sts." + name);
        hosts_.hosts.erase("mta-sts." + name);
    }

    int flooded_ = 0;
};

TEST_F(StsMemory, HoldsNoMoreThanItsOctets) {  // D-46
    publish("1", policy_text("enforce", week_long));
    find();
    flood(100);
    EXPECT_EQ(lookups_->size(), 101U) << "the store has the texts";
    const auto before = gets();
    const auto lookup = find("d0.example");
    EXPECT_EQ(lookup.state, State::policy);
    EXPECT_EQ(lookup.text, large("testing", "d0.example"));
    EXPECT_EQ(lookup.policy->mx_text(), "mx.d0.example");
    EXPECT_FALSE(lookup.changed);
    EXPECT_EQ(gets(), before);
    EXPECT_LE(lookups_->memory(), room);
}

TEST_F(StsMemory, NeverLosesAPolicyToEnforce) {  // D-46, STS-43
    publish("1", policy_text("enforce", week_long));
    find();
    flood(600, "enforce");
    EXPECT_LT(lookups_->size(), 601U) << "there is no room for all";
    EXPECT_TRUE(lookups_->store_has_more());
    unpublish("example.com");
    unpublish("d0.example");
    for (const auto* name : {"example.com", "d0.example"}) {
        const auto lookup = find(name);
        ASSERT_EQ(lookup.state, State::policy) << name;
        EXPECT_EQ(lookup.policy->mode, Mode::enforce);
        EXPECT_EQ(lookup.expires, store_.kept.at(name).expires);
    }
    clock().pass(seconds(week_long));
    EXPECT_EQ(find().state, State::unknown) << "it has expired, and nobody can say what is in force now";
}

TEST_F(StsMemory, GivesUpPoliciesToEnforceLast) {  // D-46
    for (const auto* name : {"a.test", "b.test", "c.test"}) {
        publish("1", policy_text("enforce", week_long), name);
        find(name);
    }
    flood(600);
    EXPECT_TRUE(lookups_->store_has_more());
    const auto names = lookups_->cached(std::nullopt, 3);
    ASSERT_EQ(names.size(), 3U);
    EXPECT_EQ(names[0].text(), "a.test");
    EXPECT_EQ(names[2].text(), "c.test");
    EXPECT_NE(lookups_->cached(names[2], 1).front().text(), "d0.example") << "it was used longest ago";
}

TEST_F(StsMemory, IsReadBackFromTheStoreOrMailWaits) {  // D-46, D-02
    publish("1", policy_text("enforce", week_long));
    find();
    flood(30);
    store_.readable = false;
    unpublish("example.com");
    publish("1", policy_text("testing", week_long), "tests.test");
    EXPECT_EQ(find("tests.test").state, State::policy) << "it can be fetched";
    flood(600, "enforce");
    const auto lookup = find();
    EXPECT_EQ(lookup.state, State::unknown);
    EXPECT_NE(lookup.problem_text, "");
    EXPECT_EQ(find("nowhere.test").state, State::unknown) << "it may have one";
    store_.readable = true;
    EXPECT_EQ(find().state, State::policy);
    EXPECT_EQ(find("nowhere.test").state, State::none);
}

TEST_F(StsMemory, OfAPolicyThatAnAdministratorAskedForLastsAsIfMailHadCome) {  // STS-48
    publish("1", policy_text("enforce", week_long));
    const auto hour = std::chrono::hours(1);
    EXPECT_EQ(world_.run(lookups_->refresh(named("example.com"))).state, State::policy);
    const WallTime first = clock().wall();
    EXPECT_EQ(store_.known.at("example.com").mailed, first)
        << "what no one has heard of is forgotten at once";
    clock().pass(hour);
    publish("2", policy_text("enforce", week_long));
    world_.run(lookups_->refresh(named("example.com")));
    EXPECT_EQ(store_.known.at("example.com").mailed, first) << "later wishes are not mail";
}

TEST_F(StsMemory, AsksTheStoreOnceWhetherADomainHasAPolicy) {  // D-46
    find("nowhere.test");
    const int before = store_.asked;
    find("nowhere.test");
    EXPECT_EQ(store_.asked, before);
    publish("1", large("enforce", "nowhere.test"), "nowhere.test");
    EXPECT_EQ(find("nowhere.test").state, State::policy);
    flood(600, "enforce");
    unpublish("nowhere.test");
    EXPECT_EQ(find("nowhere.test").state, State::policy) << "memory gave it up, and the store has it now";
}

TEST_F(StsMemory, RemembersTenThousandDomainsWithoutAPolicy) {  // D-46
    for (int i = 0; i < 10'000; ++i) find("d" + std::to_string(i) + ".test");
    int before = store_.asked;
    find("d0.test");
    EXPECT_EQ(store_.asked, before);
    find("one-more.test");
    before = store_.asked;
    find("d0.test");
    EXPECT_EQ(store_.asked, before + 1);
}

TEST_F(StsMemory, UnreadableTextsAreFetchedAgain) {  // D-46
    flood(100);
    store_.readable = false;
    const auto before = gets();
    const auto lookup = find("d0.example");
    EXPECT_EQ(lookup.state, State::policy);
    EXPECT_TRUE(lookup.fresh);
    EXPECT_EQ(gets(), before + 1);
    hosts_.hosts.clear();
    EXPECT_EQ(find("d1.example").state, State::none) << "it only tests";
    EXPECT_EQ(store_.raised.size(), 0U) << "nobody has changed a policy";
}

TEST_F(StsMemory, KeepsWhatTheStoreDoesNotHave) {  // D-46
    store_.writable = false;
    publish("1", policy_text("enforce", week_long));
    find();
    store_.writable = true;
    flood(600, "enforce");
    unpublish("example.com");
    EXPECT_EQ(find().state, State::policy);
    EXPECT_EQ(find().policy->mode, Mode::enforce);
}

TEST_F(StsMemory, KeepsTheFiveMinutesOfAFailedGet) {  // D-46, STS-27
    publish("1", "garbage");
    find();
    flood(600, "enforce");
    const auto before = gets();
    EXPECT_TRUE(find().problem);
    EXPECT_EQ(gets(), before);
}

TEST_F(StsMemory, ForgetsDomainsThatShowedNothingButFailures) {  // D-46
    for (int i = 0; i < 100; ++i) {
        publish("1", "garbage", "f" + std::to_string(i) + ".test");
        find("f" + std::to_string(i) + ".test");
    }
    const std::size_t before = lookups_->memory();
    EXPECT_GT(before, 10'000U);
    clock().pass(minutes(6));
    flood(60);
    flood(600, "enforce");
    EXPECT_LE(lookups_->memory(), room);
    EXPECT_GT(lookups_->size(), 100U) << "they take no room any more";
}

TEST_F(StsMemory, IsBoundedAfterARestart) {  // D-46
    publish("1", policy_text("enforce", week_long));
    find();
    flood(600);
    restart();
    EXPECT_LE(lookups_->memory(), room);
    unpublish("example.com");
    EXPECT_EQ(find().state, State::policy);
    const auto before = gets();
    EXPECT_EQ(find("d0.example").state, State::policy);
    EXPECT_EQ(gets(), before);
}

TEST_F(StsMemory, IsNotNeededForWhatTheStoreHas) {  // D-46: domains that had no mail for months
    publish("1", policy_text("enforce", week_long));
    find();
    store_.known.clear();
    restart();
    EXPECT_EQ(lookups_->size(), 0U);
    unpublish("example.com");
    EXPECT_EQ(find().state, State::policy);
    EXPECT_EQ(lookups_->size(), 1U);
}

TEST_F(StsMemory, HasThePoliciesThatMailNeededLastAfterARestart) {  // D-46
    for (const auto* name : {"old.test", "new.test"}) {
        publish("1", policy_text("testing", 40 * day_long), name);
        find(name);
        clock().pass(hours(24));
    }
    lookups_ = std::make_unique<Lookups>(runtime_, options_, resolver_, hosts_, store_);
    lookups_->restore(store_.all_discoveries());
    EXPECT_EQ(world_.run(lookups_->recall_all(clock().steady())), false) << "no time";
    EXPECT_EQ(lookups_->size(), 0U);
    EXPECT_TRUE(lookups_->store_has_more());
    EXPECT_EQ(world_.run(lookups_->recall_all(SteadyTime::max())), true);
    EXPECT_EQ(lookups_->size(), 2U);
    EXPECT_FALSE(lookups_->store_has_more());
    flood(600);
    restart();
    EXPECT_TRUE(lookups_->store_has_more());
    const auto names = lookups_->cached(std::nullopt, 1000);
    const auto has = [&](const std::string& name) {
        return std::find(names.begin(), names.end(), named(name)) != names.end();
    };
    EXPECT_FALSE(has("old.test"));
    EXPECT_FALSE(has("new.test"));
    EXPECT_TRUE(has("d599.example"));
}

TEST_F(StsMemory, IsShownWithTheTextThatTheStoreHas) {
    flood(100);
    const std::size_t octets = lookups_->memory();
    std::optional<dns::PolicyDomain> after;
    std::size_t shown = 0;
    for (auto names = lookups_->cached(after, 7); !names.empty(); names = lookups_->cached(after, 7))
        for (const auto& name : names) {
            const auto view = world_.run(lookups_->view(name));
            ASSERT_TRUE(view) << name.text();
            EXPECT_EQ(view->stored, store_.kept.at(name.text()));
            after = name;
            ++shown;
        }
    EXPECT_EQ(shown, 100U);
    EXPECT_EQ(lookups_->memory(), octets) << "looking brings nothing back";
    EXPECT_FALSE(world_.run(lookups_->view(named("nowhere.test"))));
    flood(600);
    ASSERT_TRUE(lookups_->store_has_more());
    EXPECT_EQ(world_.run(lookups_->view(named("d0.example")))->stored, store_.kept.at("d0.example"));
}

// ---- alarms

TEST_F(Sts, VanishedRecordRaisesAnAlarm) {
    publish("1", policy_text("enforce", week_long));
    find();
    resolver_.texts.clear();
    find();
    find();
    EXPECT_EQ(store_.alarm_kinds(), (std::vector<std::string>{"policy-vanished", "policy-vanished"}));
    EXPECT_EQ(log_.count("alarm kind=policy-vanished subject=example.com"), 1U);
    clock().pass(hours(25));
    find();
    EXPECT_EQ(log_.count("alarm kind=policy-vanished subject=example.com"), 2U);
    EXPECT_EQ(lookups_->alarms(), 3U);
}

TEST_F(Sts, WeakerPolicyRaisesAnAlarm) {  // STS-50
    publish("1", policy_text("enforce", week_long));
    find();
    publish("2", policy_text("testing", week_long));
    EXPECT_EQ(find().policy->mode, Mode::testing);
    EXPECT_EQ(store_.alarm_kinds(), std::vector<std::string>{"policy-weakened"});
}

}  // namespace
}  // namespace sternpost::sts
