#include "delivery/override.h"

#include <gtest/gtest.h>

#include "delivery/route.h"
#include "delivery/tls_loss_detector.h"
#include "store/hop_group.h"

namespace sternpost::delivery {
namespace {

constexpr WallTime noon = std::chrono::sys_days(std::chrono::year(2026) / 11 / 23) + std::chrono::hours(12);

store::StoredOverride override_of(const char* scope, const char* level, WallTime expires = {}) {
    store::StoredOverride out;
    out.scope = scope;
    out.level = level;
    out.reason = "why";
    out.author = "who";
    out.expires = expires;
    return out;
}

std::optional<dns::MxHost> host(const char* name) {
    return dns::MxHost(dns::Domain::parse(name).value());
}

std::string level_at(const Overrides& overrides, const char* domain, const char* mx, WallTime now = noon) {
    const auto found = overrides.in_force(domain, host(mx), now);
    return found ? std::string(name_of(found->level)) : "-";
}

TEST(Overrides, TheMostTellingScopeCounts) {
    Overrides overrides;
    overrides.configure({override_of("mx:mx1.p.test", "may"), override_of("mx:.p.test", "none"),
                         override_of(".d.test", "encrypt"), override_of(".a.d.test", "dane"),
                         override_of("b.a.d.test", "verify")});
    EXPECT_EQ(level_at(overrides, "other.test", "mx1.p.test"), "may");
    EXPECT_EQ(level_at(overrides, "other.test", "mx2.p.test"), "none");
    EXPECT_EQ(level_at(overrides, "x.d.test", "mx1.p.test"), "encrypt") << "a domain before an MX host";
    EXPECT_EQ(level_at(overrides, "x.a.d.test", "mx1.p.test"), "dane") << "the longest suffix";
    EXPECT_EQ(level_at(overrides, "b.a.d.test", "mx1.p.test"), "verify");
    EXPECT_EQ(level_at(overrides, "d.test", "mx.other.test"), "-") << "a suffix is not the domain itself";
    EXPECT_EQ(level_at(overrides, "xd.test", "mx.other.test"), "-");
}

TEST(Overrides, RunTimeComesBeforeTheConfiguration) {
    Overrides overrides;
    overrides.configure({override_of("d.test", "may")});
    overrides.set(override_of("d.test", "verify"));
    EXPECT_EQ(level_at(overrides, "d.test", "mx.test"), "verify");
    EXPECT_TRUE(overrides.set(override_of("d.test", "")));
    EXPECT_EQ(level_at(overrides, "d.test", "mx.test"), "may");
    EXPECT_FALSE(overrides.set(override_of("d.test", ""))) << "it was gone already";
}

TEST(Overrides, EndByThemselves) {
    Overrides overrides;
    overrides.configure({override_of("c.test", "may", noon)});
    overrides.set(override_of("d.test", "none", noon));
    const WallTime before = noon - std::chrono::seconds(1);
    EXPECT_EQ(level_at(overrides, "d.test", "mx.test", before), "none");
    EXPECT_EQ(level_at(overrides, "c.test", "mx.test", before), "may");
    EXPECT_TRUE(overrides.take_expired(before).empty());
    EXPECT_EQ(level_at(overrides, "d.test", "mx.test", noon), "-");
    EXPECT_EQ(level_at(overrides, "c.test", "mx.test", noon), "-");
    ASSERT_EQ(overrides.take_expired(noon).size(), 1U) << "told once";
    EXPECT_TRUE(overrides.take_expired(noon).empty());
}

TEST(Scope, IsReadAndSaysWhatIsAllowed) {
    for (const char* good : {"d.test", ".d.test", "mx:mx1.d.test", "mx:.d.test"})
        EXPECT_EQ(Scope::parse(good).value().text(), good);
    for (const char* bad : {"", ".", "mx:", "*", "a b", "mx:.", "user@d.test"}) {
        const auto scope = Scope::parse(bad);
        ASSERT_FALSE(scope) << bad;
        EXPECT_NE(scope.error().text.find("allowed are"), std::string::npos);
    }
}

TEST(Routes, LeadToADomainsHostsOrToOneHost) {  // STS-54, DANE-21
    const auto mx = Route::parse("d.test", "mx:relay.test").value();
    EXPECT_EQ(mx.mx_of->text(), "relay.test");
    const auto host = Route::parse(".d.test", "relay.test:2525").value();
    EXPECT_EQ(host.host->text(), "relay.test");
    EXPECT_EQ(host.port, 2525);
    EXPECT_EQ(Route::parse("*", "[192.0.2.1]").value().to_text(), "[192.0.2.1]");
    EXPECT_EQ(Route::parse("*", "[IPv6:2001:db8::1]:26").value().to_text(), "[IPv6:2001:db8::1]:26");
    for (const char* bad :
         {"", "mx:", "relay.test:0", "relay.test:65536", "relay.test:x", "[192.0.2.1", "[x]:25"})
        EXPECT_FALSE(Route::parse("d.test", bad)) << bad;
    for (const char* bad : {"", ".", "**", "a b"}) EXPECT_FALSE(Route::parse(bad, "relay.test")) << bad;
}

TEST(Routes, TheClosestPatternCounts) {
    std::vector<Route> routes;
    for (const auto& [pattern, to] :
         {std::pair{"*", "all.test"}, std::pair{".d.test", "sub.test"}, std::pair{".a.d.test", "deep.test"},
          std::pair{"b.a.d.test", "one.test"}})
        routes.push_back(Route::parse(pattern, to).value());
    EXPECT_EQ(route_of(routes, "b.a.d.test")->to_text(), "one.test");
    EXPECT_EQ(route_of(routes, "c.a.d.test")->to_text(), "deep.test");
    EXPECT_EQ(route_of(routes, "a.d.test")->to_text(), "sub.test");
    EXPECT_EQ(route_of(routes, "d.test")->to_text(), "all.test");
    routes.erase(routes.begin());
    EXPECT_EQ(route_of(routes, "d.test"), nullptr);
}

store::TlsOutcome session(bool tls, bool dane = false) {
    store::TlsOutcome out;
    out.at = noon;
    out.domain = "d.test";
    out.mx_host = "mx.d.test";
    out.remote_address = "192.0.2.1";
    if (tls) {
        out.tls = "TLSv1.3";
    } else {
        out.count = store::OutcomeCount::failure;
        out.result_type = "starttls-not-supported";
    }
    if (dane) out.policy_type = store::PolicyType::tlsa;
    return out;
}

TEST(TlsLossDetector, SaysWhenAHostThatAlwaysHadTlsHasNone) {
    TlsLossDetector watch;
    EXPECT_FALSE(watch.observe(session(false), true)) << "a host that nobody knows";
    for (int i = 0; i < 3; ++i) EXPECT_FALSE(watch.observe(session(true), true));
    auto later = session(false);
    later.at = noon + std::chrono::hours(1);
    auto tls = session(true);
    tls.at = noon + std::chrono::minutes(30);
    EXPECT_FALSE(watch.observe(tls, true));
    const auto alarm = watch.observe(later, true);
    ASSERT_TRUE(alarm);
    EXPECT_EQ(alarm->kind, store::AlarmKind::tls_gone);
    EXPECT_EQ(alarm->subject, "mx.d.test");
    EXPECT_NE(alarm->text.find("though it did until 2026-"), std::string::npos) << alarm->text;
    EXPECT_FALSE(watch.observe(later, true)) << "once";
}

TEST(TlsLossDetector, SaysWhenDaneIsGone) {
    TlsLossDetector watch;
    EXPECT_FALSE(watch.observe(session(true, true), false));
    EXPECT_FALSE(watch.observe(session(true), false))
        << "its TLSA records are there; another requirement came first";
    const auto alarm = watch.observe(session(true), true);
    ASSERT_TRUE(alarm);
    EXPECT_EQ(alarm->kind, store::AlarmKind::dane_gone);
    EXPECT_FALSE(watch.observe(session(true), true));
}

TEST(HopGroup, KeepsMailThatDemandsTlsApart) {  // RTLS-06, RTLS-12
    for (const auto tls_mode :
         {store::TlsMode::ordinary, store::TlsMode::requiretls, store::TlsMode::tls_optional}) {
        const store::HopGroup name{"d.test", tls_mode};
        EXPECT_EQ(store::HopGroup::parse(name.text()).tls_mode, tls_mode);
        EXPECT_EQ(store::HopGroup::parse(name.text()).next_hop, "d.test");
    }
    store::StoredMessage message;
    message.envelope.requiretls = message.envelope.tls_required_no = true;
    EXPECT_EQ(store::tls_mode_of(message), store::TlsMode::requiretls)
        << "RTLS-11: the option outranks the field";
    message.message_class = store::MessageClass::notice;
    EXPECT_EQ(store::tls_mode_of(message), store::TlsMode::ordinary) << "RTLS-10: a notice is not held back";
}

}  // namespace
}  // namespace sternpost::delivery
