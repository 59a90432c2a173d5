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

smtp::Failure failure(smtp::Stage stage, smtp::Errc code) {
    smtp::Failure out;
    out.stage = stage;
    out.code = code;
    out.text = "what the peer did";
    return out;
}

struct Case {
    const char* name;
    Observation observation;
    std::optional<ResultType> type;
    const char* code;
};

std::vector<Case> shortcomings() {
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
    return {
        {"NoTls_STS58", Observation::of_session({}), ResultType::starttls_not_supported,
         "starttls-not-offered"},
        {"NotOffered_MAP01",
         Observation::of_failure(failure(smtp::Stage::starttls, smtp::Errc::starttls_not_offered)),
         ResultType::starttls_not_supported, "starttls-not-offered"},
        {"Refused_MAP01",
         Observation::of_failure(failure(smtp::Stage::starttls, smtp::Errc::starttls_refused)),
         ResultType::starttls_not_supported, "starttls-refused"},
        {"Injected_TLS03",
         Observation::of_failure(failure(smtp::Stage::starttls, smtp::Errc::injected_octets)),
         ResultType::validation_failure, "starttls-injection"},
        {"Handshake_MAP05",
         Observation::of_failure(failure(smtp::Stage::handshake, smtp::Errc::handshake_failed)),
         ResultType::validation_failure, "handshake-failed"},
        {"HandshakeHangs_STS72",
         Observation::of_failure(failure(smtp::Stage::handshake, smtp::Errc::timed_out)),
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
        {"Unreachable_MAP15",
         Observation::of_failure(failure(smtp::Stage::connect, smtp::Errc::connect_refused)), std::nullopt,
         "unreachable"},
    };
}

class Decision : public testing::TestWithParam<Case> {};
INSTANTIATE_TEST_SUITE_P(Rfc8461, Decision, testing::ValuesIn(shortcomings()),
                         [](const auto& row) { return row.param.name; });

TEST_P(Decision, EnforceForbids) {
    const Verdict verdict = decide(requirement("enforce"), GetParam().observation);
    EXPECT_FALSE(verdict.go);
    EXPECT_EQ(verdict.result_type, GetParam().type);
    EXPECT_EQ(verdict.reason_code, GetParam().code);
    EXPECT_EQ(verdict.sentence.empty(), verdict.reason_code == "unreachable");
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

TEST(Requirement, EnforcedNeverFallsBackToClearText) {  // STS-72
    EXPECT_FALSE(requirement("enforce").clear_text_allowed());
    EXPECT_TRUE(requirement("testing").clear_text_allowed());
    EXPECT_TRUE(requirement(nullptr).clear_text_allowed());
}

}  // namespace
}  // namespace sternpost::delivery
