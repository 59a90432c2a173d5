#include "delivery/outcome_hop.h"

#include <gtest/gtest.h>

namespace sternpost::delivery {
namespace {

using smtp::Errc;
using smtp::Reply;
using smtp::Stage;
using smtp::TlsUse;
using store::ReasonCode;

Candidate named(const char* name) {
    Candidate out;
    out.host = dns::MxHost(dns::Domain::parse(name).value());
    return out;
}

HostPlan host_of(const char* name) {
    HostPlan out;
    out.candidate = named(name);
    out.requirement.domain = "d.test";
    out.requirement.host = out.candidate.host;
    return out;
}

sts::Lookup enforced() {
    sts::Lookup out;
    out.policy = sts::Policy::parse("version: STSv1\nmode: enforce\nmx: *.d.test\nmax_age: 86400\n").value();
    return out;
}

StsDemand demand() {
    return {dns::PolicyDomain(dns::Domain::parse("d.test").value()), *enforced().policy, "2026a", ""};
}

smtp::Failure broke(Errc code, Stage stage = Stage::connect) {
    smtp::Failure out;
    out.stage = stage;
    out.code = code;
    out.text = "what the peer did";
    return out;
}

smtp::Failure greeted(int code, const char* text) {
    const Reply reply{code, {text}};
    smtp::Failure out = broke(Errc::reply_negative, Stage::greeting);
    out.text = reply.text();
    out.reply = reply;
    return out;
}

class Hop : public testing::Test {
  protected:
    explicit Hop(std::size_t hosts = 2) {
        plan.domain = "d.test";
        const char* const names[] = {"mx1.d.test", "mx2.d.test", "mx3.d.test"};
        for (std::size_t i = 0; i < hosts; ++i) plan.hosts.candidates.push_back(named(names[i]));
    }
    // One host of which each address fails so.
    void tried(const HostPlan& host, const std::vector<smtp::Failure>& failures,
               TlsUse tls = TlsUse::if_offered) {
        findings.begin_host();
        for (const auto& failure : failures) {
            findings.dialled();
            findings.no_session(host.candidate.text() + "[192.0.2.1]:25", host, failure, tls);
        }
        findings.end_host();
    }
    queue::HopFailure failure() const { return findings.failure(plan); }

    HopPlan plan;
    HopFindings findings;
    const HostPlan first = host_of("mx1.d.test");
    const HostPlan second = host_of("mx2.d.test");
};

TEST(NoHosts, HasAStatusForEachCause) {
    const auto of = [](NoHostsCause cause) {
        const auto hop_failure = failure_of(cause, "d.test", "detail");
        return (hop_failure.permanent ? "bounce " : "wait ") + hop_failure.status;
    };
    EXPECT_EQ(of(NoHostsCause::bad_name), "bounce 5.1.2");
    EXPECT_EQ(of(NoHostsCause::unanswered), "wait 4.4.3");
    EXPECT_EQ(of(NoHostsCause::no_domain), "bounce 5.1.2");
    EXPECT_EQ(of(NoHostsCause::null_mx), "bounce 5.1.10");
    EXPECT_EQ(of(NoHostsCause::no_host_name), "bounce 5.4.4");
    EXPECT_EQ(of(NoHostsCause::ourselves), "bounce 5.4.6");
}

TEST_F(Hop, WaitsWhereNoHostTakesAConnection) {
    tried(first, {broke(Errc::connect_refused)});
    tried(second, {broke(Errc::connect_timed_out)});
    const auto hop_failure = failure();
    EXPECT_FALSE(hop_failure.permanent);
    EXPECT_EQ(hop_failure.status, "4.4.1");
    EXPECT_EQ(hop_failure.reason_code, ReasonCode::unreachable);
    EXPECT_NE(hop_failure.text.find("mx1.d.test[192.0.2.1]:25: no connection"), std::string::npos);
    EXPECT_NE(hop_failure.text.find("mx2.d.test[192.0.2.1]:25: no connection"), std::string::npos);
}

TEST_F(Hop, ThatNeedsTimeWaits) {
    findings.ran_out_of_time(std::chrono::seconds(1800), "d.test");
    EXPECT_TRUE(findings.late());
    EXPECT_FALSE(failure().permanent) << "what was not looked at may have an address";
}

TEST_F(Hop, WithoutAnyAddressBouncesOnceEveryLookUpAnswered) {  // SMTP-28
    findings.begin_host();
    HostPlan none = first;
    none.addresses.trouble = "it has no address";
    findings.no_address(none);
    findings.end_host();
    EXPECT_TRUE(failure().permanent);
    EXPECT_EQ(failure().status, "5.4.4");
    EXPECT_EQ(failure().reason_code, ReasonCode::no_address);
}

TEST_F(Hop, WaitsForALookUpThatFailed_WhateverComesAfter) {
    HostPlan unanswered = first;
    unanswered.addresses.temporary = true;
    HostPlan none = second;
    findings.begin_host();
    findings.no_address(unanswered);
    findings.end_host();
    findings.begin_host();
    findings.no_address(none);
    findings.end_host();
    EXPECT_FALSE(failure().permanent);
    EXPECT_EQ(failure().status, "4.4.4") << "of the last host";
}

TEST_F(Hop, WaitsWhereHostsWereLeftOut) {
    plan.hosts.left_out = 3;
    findings.begin_host();
    findings.no_address(first);
    findings.end_host();
    EXPECT_FALSE(failure().permanent);
    EXPECT_NE(failure().text.find("3 further MX hosts"), std::string::npos);
}

TEST_F(Hop, DoesNotBelieveAForgeableAnswerAgainstAnEnforcedPolicy) {
    plan.sts = enforced();
    findings.begin_host();
    findings.no_address(first);
    findings.end_host();
    EXPECT_FALSE(failure().permanent);
    EXPECT_EQ(failure().status, "4.4.4");
    EXPECT_EQ(failure().reason_code, ReasonCode::dns_doubted);
    plan.hosts.secure = true;
    EXPECT_TRUE(failure().permanent);
}

TEST_F(Hop, IsALoopWhereEachHostIsOurs) {  // RFC 5321 §5.1
    findings.begin_host();
    findings.is_ourselves();
    findings.end_host();
    EXPECT_TRUE(failure().permanent);
    EXPECT_EQ(failure().status, "5.4.6");
    EXPECT_EQ(failure().reason_code, ReasonCode::loop);
}

TEST_F(Hop, TakesOurNameInClearTextForALoop) {
    tried(first, {broke(Errc::loop, Stage::greeting)});
    EXPECT_TRUE(failure().permanent);
    EXPECT_EQ(failure().status, "5.4.6");
}

TEST_F(Hop, DoesNotBelieveOurNameOfAHostThatMustProveItself) {
    tried(first, {broke(Errc::loop, Stage::greeting)}, TlsUse::required);
    EXPECT_TRUE(findings.ourselves()) << "worse hosts are not tried";
    EXPECT_FALSE(failure().permanent);
}

TEST_F(Hop, IsNoLoopWhereABetterHostWasDown) {
    tried(first, {broke(Errc::connect_refused)});
    tried(second, {broke(Errc::loop, Stage::greeting)});
    EXPECT_FALSE(failure().permanent);
}

TEST_F(Hop, BlamesOurNetworkOnlyIfNoAddressCouldBeReached) {
    tried(first, {broke(Errc::network_unreachable)});
    EXPECT_EQ(failure().reason_code, ReasonCode::network_unreachable);
    tried(second, {broke(Errc::connect_refused)});
    EXPECT_EQ(failure().reason_code, ReasonCode::unreachable);
}

TEST_F(Hop, NamesTheSourceAddressThatIsNoneOfThisMachine) {
    tried(first, {broke(Errc::source_unusable)});
    EXPECT_FALSE(failure().permanent);
    EXPECT_EQ(failure().status, "4.3.5");
    EXPECT_EQ(failure().reason_code, ReasonCode::source_unusable);
    EXPECT_EQ(failure().text.find("network"), std::string::npos) << failure().text;
}

TEST_F(Hop, ShowsARefusedGreetingAsTemporary) {  // D-21
    tried(first, {greeted(554, "5.7.1 you are on a list")});
    EXPECT_FALSE(failure().permanent);
    EXPECT_EQ(failure().status, "4.7.1");
    EXPECT_EQ(failure().reason_code, ReasonCode::greeting_refused);
}

TEST_F(Hop, BouncesWhereEveryHostNeverTakesMail) {  // RFC 7504
    tried(first, {greeted(521, "no mail here")});
    EXPECT_FALSE(failure().permanent) << "the other host was not asked";
    tried(second, {greeted(556, "no mail here")});
    EXPECT_TRUE(failure().permanent);
    EXPECT_EQ(failure().status, "5.3.2");
    EXPECT_EQ(failure().reason_code, ReasonCode::takes_no_mail);
}

TEST_F(Hop, WaitsForAnAddressThatWasLeftAlone) {
    tried(first, {greeted(521, "no mail here")});
    findings.begin_host();
    findings.left_alone("mx2.d.test[192.0.2.2]:25: no connection: refused");
    findings.end_host();
    EXPECT_FALSE(failure().permanent);
}

TEST_F(Hop, NamesThePolicyThatHoldsMail_NotTheHostThatWasAway) {
    HostPlan held = first;
    held.requirement.sts = demand();
    tried(held, {broke(Errc::starttls_not_offered, Stage::starttls)}, TlsUse::required);
    tried(second, {broke(Errc::connect_refused)});
    EXPECT_FALSE(failure().permanent);
    EXPECT_EQ(failure().status, "4.7.5");
    EXPECT_EQ(failure().reason_code, ReasonCode::starttls_not_offered);
    EXPECT_NE(failure().text.find("MTA-STS policy of d.test"), std::string::npos);
}

TEST_F(Hop, IsHeldByTheCachedPolicyUntilThatWasFetchedAgain) {  // STS-69
    HostPlan held = first;
    held.requirement.sts = demand();
    plan.sts = enforced();
    tried(held, {broke(Errc::starttls_not_offered, Stage::starttls)}, TlsUse::required);
    EXPECT_TRUE(findings.held_by_cached_sts(plan));
    plan.sts->fresh = true;
    EXPECT_FALSE(findings.held_by_cached_sts(plan));
}

TEST_F(Hop, BeginsFromNothingUnderAnotherPolicy) {
    HostPlan held = first;
    held.requirement.sts = demand();
    tried(held, {broke(Errc::starttls_not_offered, Stage::starttls)}, TlsUse::required);
    findings.policy_changed("d.test");
    EXPECT_EQ(findings.addresses_tried(), 0U);
    tried(first, {broke(Errc::connect_refused)});
    EXPECT_EQ(failure().status, "4.4.1");
    EXPECT_EQ(failure().reason_code, ReasonCode::unreachable);
    EXPECT_EQ(findings.detail.hosts.size(), 3U) << "what was seen stays told";
}

class HopUnderRequireTls : public Hop {
  protected:
    HopUnderRequireTls() {
        demanding.requirement.requiretls = true;
        demanding.requirement.sts = demand();
        other.requirement.requiretls = true;
        other.requirement.sts = demand();
    }
    HostPlan demanding = host_of("mx1.d.test");
    HostPlan other = host_of("mx2.d.test");
};

TEST_F(HopUnderRequireTls, BouncesWhereEveryHostLacksIt) {  // RFC 8689 §4.2.1
    tried(demanding, {broke(Errc::starttls_not_offered, Stage::starttls)}, TlsUse::required);
    tried(other, {broke(Errc::starttls_not_offered, Stage::starttls)}, TlsUse::required);
    EXPECT_TRUE(failure().permanent);
    EXPECT_EQ(failure().status, "5.7.10");
}

TEST_F(HopUnderRequireTls, SaysWhetherAnyTlsWasThere) {
    tls::Evidence encrypted;
    encrypted.encrypted = true;
    for (const HostPlan* host : {&demanding, &other}) {
        findings.begin_host();
        findings.dialled();
        findings.unfit("mx", *host, decide(host->requirement, Observation::of_session(encrypted)), true);
        findings.end_host();
    }
    EXPECT_TRUE(failure().permanent);
    EXPECT_EQ(failure().status, "5.7.30");
}

TEST_F(HopUnderRequireTls, WaitsForAHostThatWasNotReached) {  // D-19
    tried(demanding, {broke(Errc::starttls_not_offered, Stage::starttls)}, TlsUse::required);
    EXPECT_FALSE(failure().permanent) << "the second host was not tried";
    tried(other, {broke(Errc::connect_refused)}, TlsUse::required);
    EXPECT_FALSE(failure().permanent);
    EXPECT_EQ(failure().status, "4.7.10");
}

TEST_F(HopUnderRequireTls, WaitsForAnAddressThatWasNotReached) {  // D-19
    tried(demanding, {broke(Errc::starttls_not_offered, Stage::starttls), broke(Errc::connect_refused)},
          TlsUse::required);
    tried(other, {broke(Errc::starttls_not_offered, Stage::starttls)}, TlsUse::required);
    EXPECT_FALSE(failure().permanent) << "the host may have it there";
    EXPECT_EQ(failure().status, "4.7.10");
}

TEST_F(HopUnderRequireTls, WaitsForALookUpThatFailed) {
    tried(demanding, {broke(Errc::starttls_not_offered, Stage::starttls)}, TlsUse::required);
    HostPlan unanswered = other;
    unanswered.addresses.temporary = true;
    findings.begin_host();
    findings.no_address(unanswered);
    findings.end_host();
    EXPECT_FALSE(failure().permanent);
}

TEST_F(Hop, TellsOfTwentyHostsAndCountsTheRest) {
    for (int i = 0; i < 25; ++i) findings.left_alone("host " + std::to_string(i));
    EXPECT_EQ(findings.detail.hosts.size(), 20U);
    EXPECT_NE(failure().text.find("and 5 more"), std::string::npos);
}

TEST(HostThatAsksUsToWait, IsNoFailureOfItsDomain) {
    store::DeliveryResult result;
    result.status = "4.7.0";
    result.text = "too many connections";
    result.mx_host = "mx1.d.test";
    result.diagnostic = "421 4.7.0 too many connections";
    const auto hop_failure = asked_to_wait("mx1.d.test[192.0.2.1]:25", result);
    EXPECT_FALSE(hop_failure.permanent);
    EXPECT_EQ(hop_failure.status, "4.7.0");
    EXPECT_EQ(hop_failure.reason_code, ReasonCode::host_asks_to_wait);
    EXPECT_EQ(hop_failure.detail.mx_host, "mx1.d.test") << "for notices: RFC 3464 §2.3.5";
    EXPECT_EQ(hop_failure.detail.diagnostic, "421 4.7.0 too many connections");
}

TEST_F(Hop, KeepsTheLastReplyThatAHostGave) {
    findings.noted("mx1.d.test", greeted(450, "4.3.2 not now"));
    findings.noted("mx2.d.test", broke(Errc::connect_refused));
    EXPECT_EQ(findings.detail.mx_host, "mx1.d.test");
    EXPECT_EQ(findings.detail.diagnostic, "450 4.3.2 not now");
}

}  // namespace
}  // namespace sternpost::delivery
