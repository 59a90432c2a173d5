#include "delivery/requirement.h"

#include <gtest/gtest.h>
#include <openssl/x509_vfy.h>

namespace sternpost::delivery {
namespace {

using tlsrpt::ResultType;

Requirement requirement(const char* mode, const char* mx = "mx1.d.test") {
    Requirement out;
    out.host = dns::MxHost(dns::Domain::parse("mx1.d.test").value());
    if (mode != nullptr) {
        auto policy = sts::Policy::parse(std::string("version: STSv1\nmode: ") + mode + "\nmx: " + mx +
                                         "\nmax_age: 86400\n")
                          .value();
        out.sts = StsDemand{dns::PolicyDomain(dns::Domain::parse("d.test").value()), policy, "2026a", ""};
    }
    return out;
}

tls::Evidence good() {
    tls::Evidence out;
    out.encrypted = out.has_certificate = out.name_matches = true;
    out.version = "TLSv1.3";
    return out;
}

smtp::Failure failed_at(smtp::Stage stage, smtp::Errc code) {
    smtp::Failure out;
    out.stage = stage;
    out.code = code;
    out.text = "what the peer did";
    return out;
}

struct RequirementCase {
    const char* name;
    Observation observation;
    std::optional<ResultType> type;
    const char* code;
};

std::vector<RequirementCase> shortcomings() {
    tls::Evidence expired = good();
    expired.chain_error = X509_V_ERR_CERT_HAS_EXPIRED;
    tls::Evidence not_yet = good();
    not_yet.chain_error = X509_V_ERR_CERT_NOT_YET_VALID;
    tls::Evidence self_signed = good();
    self_signed.chain_error = X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT;
    tls::Evidence wrong_name = good();
    wrong_name.name_matches = false;
    tls::Evidence weak = good();
    weak.chain_error = X509_V_ERR_EE_KEY_TOO_SMALL;
    tls::Evidence weak_leaf = good();
    weak_leaf.weak_key = true;
    return {
        {"NoTls_STS58", Observation::of_session({}), ResultType::starttls_not_supported,
         "starttls-not-offered"},
        {"NotOffered_MAP01",
         Observation::of_failure(failed_at(smtp::Stage::starttls, smtp::Errc::starttls_not_offered)),
         ResultType::starttls_not_supported, "starttls-not-offered"},
        {"Refused_MAP01",
         Observation::of_failure(failed_at(smtp::Stage::starttls, smtp::Errc::starttls_refused)),
         ResultType::starttls_not_supported, "starttls-refused"},
        {"Injected_TLS03",
         Observation::of_failure(failed_at(smtp::Stage::starttls, smtp::Errc::injected_octets)),
         ResultType::validation_failure, "starttls-injection"},
        {"Handshake_MAP05",
         Observation::of_failure(failed_at(smtp::Stage::handshake, smtp::Errc::handshake_failed)),
         ResultType::validation_failure, "handshake-failed"},
        {"HandshakeHangs_STS72",
         Observation::of_failure(failed_at(smtp::Stage::handshake, smtp::Errc::timed_out)),
         ResultType::validation_failure, "handshake-failed"},
        {"Expired_MAP03", Observation::of_session(expired), ResultType::certificate_expired,
         "certificate-expired"},
        {"NotYetValid_MAP05", Observation::of_session(not_yet), ResultType::validation_failure,
         "certificate-not-yet-valid"},
        {"SelfSigned_MAP04", Observation::of_session(self_signed), ResultType::certificate_not_trusted,
         "certificate-not-trusted"},
        {"WrongName_MAP02", Observation::of_session(wrong_name), ResultType::certificate_host_mismatch,
         "certificate-host-mismatch"},
        {"WeakKey_TLS10", Observation::of_session(weak), ResultType::validation_failure,
         "certificate-too-weak"},
        {"WeakKeyOfAGoodChain_TLS10", Observation::of_session(weak_leaf), ResultType::validation_failure,
         "certificate-too-weak"},
        {"Unreachable_MAP15",
         Observation::of_failure(failed_at(smtp::Stage::connect, smtp::Errc::connect_refused)), std::nullopt,
         "unreachable"},
    };
}

class Decision : public testing::TestWithParam<RequirementCase> {};
INSTANTIATE_TEST_SUITE_P(Rfc8461, Decision, testing::ValuesIn(shortcomings()),
                         [](const auto& row) { return row.param.name; });

TEST_P(Decision, EnforceForbids) {
    const Verdict verdict = decide(requirement("enforce"), GetParam().observation);
    EXPECT_FALSE(verdict.go);
    EXPECT_EQ(verdict.result_type, GetParam().type);
    EXPECT_EQ(name_of(verdict.reason_code), GetParam().code);
    EXPECT_EQ(verdict.sentence.empty(), verdict.reason_code == store::ReasonCode::unreachable);
}

TEST_P(Decision, TestingReportsAndLetsGoWhatIsOpen) {  // STS-65
    const Verdict verdict = decide(requirement("testing"), GetParam().observation);
    EXPECT_EQ(verdict.go, GetParam().observation.kind == Observation::Kind::session);
    EXPECT_FALSE(verdict.held) << "a session that is not there is no matter of policy";
    EXPECT_EQ(verdict.result_type, GetParam().type);
    EXPECT_TRUE(requirement("testing").clear_text_allowed()) << "on a fresh connection";
}

TEST_P(Decision, NoneAndNoPolicyDemandNothing) {  // STS-66
    for (const char* mode : {"none", static_cast<const char*>(nullptr)}) {
        const Verdict verdict = decide(requirement(mode), GetParam().observation);
        EXPECT_EQ(verdict.go, GetParam().observation.kind == Observation::Kind::session);
        EXPECT_FALSE(verdict.held);
    }
}

TEST(Decision, AGoodSessionGoes) {
    EXPECT_TRUE(decide(requirement("enforce"), Observation::of_session(good())).go);
    EXPECT_TRUE(decide(requirement("enforce"), Observation::of_name()).go);
}

TEST(Decision, AHostThatIsNotListedIsNotEvenContacted) {  // STS-57, MAP-06
    const Requirement unlisted = requirement("enforce", "*.mail.d.test");
    const Verdict verdict = decide(unlisted, Observation::of_name());
    EXPECT_FALSE(verdict.go);
    EXPECT_EQ(verdict.result_type, ResultType::validation_failure);
    EXPECT_EQ(verdict.sentence,
              "it is not in the MTA-STS policy of d.test (mx *.mail.d.test; a wildcard covers one label)");
    EXPECT_FALSE(decide(unlisted, Observation::of_session(good())).go)
        << "also with a certificate for its name";
    EXPECT_TRUE(decide(requirement("testing", "*.mail.d.test"), Observation::of_name()).go);
}

Requirement with_dane(std::uint8_t octet) {
    Requirement out = requirement(nullptr);
    tls::DaneReference reference(dns::Domain::parse("mx1.d.test").value());
    reference.records.push_back({3, 1, 1, std::vector<std::uint8_t>(32, octet)});
    out.dane.state = DaneState::usable;
    out.dane.records = reference.records;
    out.dane.reference = std::move(reference);
    return out;
}

tls::Evidence judged_by(const Requirement& requirement) {
    tls::Evidence out = good();
    out.dane = requirement.dane.reference;
    out.dane_matched = true;
    return out;
}

// What a connection proved is held against today's demands, also where it was made for another domain
// (STS-74).
TEST(Decision, AConnectionMadeUnderOtherTlsaRecordsProvesNothing) {
    const Requirement old = with_dane(1);
    EXPECT_TRUE(decide(old, Observation::of_session(judged_by(old))).go);
    EXPECT_FALSE(decide(with_dane(2), Observation::of_session(judged_by(old))).go)
        << "the TLSA records changed";
    EXPECT_FALSE(decide(old, Observation::of_session(good())).go) << "it was made without any";
}

TEST(Requirement, TellsAVerifiedDomainFromATrustedHost) {  // DANE-24
    Requirement signed_all_the_way = with_dane(1);
    signed_all_the_way.name_trust = NameTrust::dnssec;
    EXPECT_EQ(signed_all_the_way.label(), "dane");
    EXPECT_EQ(with_dane(1).label(), "dane/host-only");
}

TEST(Decision, AConnectionMadeForMoreNamesProvesNothingForFewer) {  // DANE-17
    const Requirement today = with_dane(1);
    Requirement wider = today;
    wider.dane.reference->names.push_back(dns::Domain::parse("d.test").value());
    EXPECT_FALSE(decide(today, Observation::of_session(judged_by(wider))).go)
        << "the certificate may have matched the name that counts no more";
    EXPECT_TRUE(decide(wider, Observation::of_session(judged_by(today))).go);
}

TEST(Decision, AConnectionMadeWithoutVerificationServesNoPolicy) {  // STS-74
    tls::Evidence unverified = good();
    unverified.chain_error = X509_V_ERR_CERT_HAS_EXPIRED;
    EXPECT_TRUE(decide(requirement(nullptr), Observation::of_session(unverified)).go);
    EXPECT_FALSE(decide(requirement("enforce"), Observation::of_session(unverified)).go);
}

TEST(Decision, AHostThatHangsUpAfterTheHandshakeHasShownItsCertificate) {  // MAP-04
    smtp::Failure hung_up = failed_at(smtp::Stage::helo, smtp::Errc::closed);
    hung_up.evidence = good();
    hung_up.evidence->chain_error = X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT;
    const auto verdict = decide(requirement("enforce"), Observation::of_failure(hung_up));
    EXPECT_TRUE(verdict.held);
    EXPECT_EQ(verdict.result_type, ResultType::certificate_not_trusted);
}

TEST(Decision, AnOverrideThatLetsGoSaysSo) {
    Requirement relaxed = requirement("enforce");
    OverrideDemand demand;
    demand.level = TlsLevel::may;
    relaxed.override_ = demand;
    const auto verdict = decide(relaxed, Observation::of_session({}));
    EXPECT_TRUE(verdict.go);
    EXPECT_TRUE(verdict.relaxed);
    EXPECT_FALSE(decide(relaxed, Observation::of_session(good())).relaxed) << "nothing had to give way";
    relaxed.override_->level = TlsLevel::verify;
    EXPECT_FALSE(decide(relaxed, Observation::of_session({})).go);
}

TEST(Decision, ARouteDemandsBesidesWhatItsDomainDemands) {  // STS-54
    Requirement routed = requirement("enforce");
    routed.route_level = TlsLevel::may;
    EXPECT_FALSE(decide(routed, Observation::of_session({})).go) << "the level of a route takes nothing away";
    routed = requirement(nullptr);
    routed.route_level = TlsLevel::verify;
    EXPECT_FALSE(decide(routed, Observation::of_session({})).go);  // TLS-12
    EXPECT_FALSE(routed.clear_text_allowed());
    EXPECT_TRUE(decide(routed, Observation::of_session(good())).go);
}

TEST(Decision, WhatIfIsTheVerdictUnderEnforcement) {
    EXPECT_EQ(if_enforced(requirement(nullptr), Observation::of_session({})),
              store::ReasonCode::starttls_not_offered);
    EXPECT_EQ(if_enforced(requirement("testing"), Observation::of_session(good())), store::ReasonCode::none);
    EXPECT_EQ(if_enforced(requirement("testing", "x.test"), Observation::of_session(good())),
              store::ReasonCode::sts_mx_not_listed);
    EXPECT_EQ(if_enforced(requirement("enforce"), Observation::of_session({})), store::ReasonCode::none)
        << "that is no what-if";
}

TEST(Requirement, EnforcedNeverFallsBackToClearText) {  // STS-72
    EXPECT_FALSE(requirement("enforce").clear_text_allowed());
    EXPECT_TRUE(requirement("testing").clear_text_allowed());
    EXPECT_TRUE(requirement(nullptr).clear_text_allowed());
}

}  // namespace
}  // namespace sternpost::delivery
