#include "delivery/requirement.h"

#include <openssl/x509_vfy.h>

namespace sternpost::delivery {
namespace {

using tlsrpt::ResultType;

Verdict no(ResultType type, std::string code, std::string sentence) {
    return {false, type, std::move(code), std::move(sentence)};
}

// A chain that does not hold, by OpenSSL's reason (RFC 8460 §4.3.1; MAP-03 … MAP-05).
Verdict bad_chain(const tls::Evidence& evidence) {
    const std::string what = "its certificate cannot be verified: " + evidence.chain_error_name;
    if (evidence.chain_error == X509_V_ERR_CERT_HAS_EXPIRED) {
        const std::string since =
            evidence.not_after == WallTime{} ? "" : " since " + rfc3339(evidence.not_after);
        return no(ResultType::certificate_expired, "certificate-expired",
                  "its certificate has expired" + since);
    }
    if (evidence.chain_error == X509_V_ERR_CERT_NOT_YET_VALID)
        return no(ResultType::validation_failure, "certificate-not-yet-valid",
                  "its certificate is not valid yet");
    if (evidence.chain_error == X509_V_ERR_EE_KEY_TOO_SMALL ||
        evidence.chain_error == X509_V_ERR_CA_KEY_TOO_SMALL ||
        evidence.chain_error == X509_V_ERR_CA_MD_TOO_WEAK)
        return no(ResultType::validation_failure, "certificate-too-weak", what);
    return no(ResultType::certificate_not_trusted, "certificate-not-trusted", what);
}

// What RFC 8461 §4.2 and §5 demand of a session; without regard to the mode.
Verdict judge_sts(const Requirement& requirement, const Observation& observation) {
    const StsDemand& sts = *requirement.sts;
    if (!sts.policy.allows(*requirement.host))  // RFC 8461 §4.1; MAP-06
        return no(ResultType::validation_failure, "sts-mx-not-listed",
                  "it is not in the MTA-STS policy of " + sts.domain.text() + " (mx " + sts.policy.mx_text() +
                      "; a wildcard covers one label)");
    switch (observation.kind) {
        case Observation::Kind::not_connected:
            return {};
        case Observation::Kind::no_session: {
            const smtp::Failure& failure = *observation.failure;
            switch (failure.code) {
                case smtp::Errc::starttls_not_offered:
                    return no(ResultType::starttls_not_supported, "starttls-not-offered",
                              "it does not offer STARTTLS");
                case smtp::Errc::starttls_refused:
                    return no(ResultType::starttls_not_supported, "starttls-refused",
                              "it refuses STARTTLS (" + failure.text + ")");
                case smtp::Errc::injected_octets:
                    return no(ResultType::validation_failure, "starttls-injection", failure.text);
                case smtp::Errc::handshake_failed:
                    return no(ResultType::validation_failure, "handshake-failed",
                              "the TLS handshake fails (" + failure.text + ")");
                case smtp::Errc::timed_out:
                case smtp::Errc::closed:
                case smtp::Errc::io:
                    if (failure.stage == smtp::Stage::handshake || failure.stage == smtp::Stage::starttls)
                        return no(ResultType::validation_failure, "handshake-failed",
                                  "the TLS handshake fails (" + failure.text + ")");
                    break;
                case smtp::Errc::connect_refused:
                case smtp::Errc::connect_timed_out:
                case smtp::Errc::network_unreachable:
                case smtp::Errc::reply_malformed:
                case smtp::Errc::reply_too_long:
                case smtp::Errc::reply_negative:
                case smtp::Errc::body_unreadable:
                case smtp::Errc::body_damaged:
                case smtp::Errc::not_convertible:
                case smtp::Errc::aborted:
                    break;
            }
            // Nothing was seen of its TLS: no matter of policy (MAP-15).
            return {false, std::nullopt, "unreachable",
                    "no session: " + std::string(smtp::name_of(failure.stage)) + ": " + failure.text};
        }
        case Observation::Kind::session:
            break;
    }
    const tls::Evidence& evidence = observation.evidence;
    if (!evidence.encrypted)
        return no(ResultType::starttls_not_supported, "starttls-not-offered", "it does not offer STARTTLS");
    if (!evidence.chain_ok()) return bad_chain(evidence);
    if (!evidence.name_matches) {
        std::string names;
        for (const auto& name : evidence.names) names += (names.empty() ? "" : ", ") + name;
        return no(
            ResultType::certificate_host_mismatch, "certificate-host-mismatch",
            "its certificate is not for this name but for " + (names.empty() ? "no DNS name at all" : names));
    }
    return {};
}

}  // namespace

std::string Requirement::label() const {
    return sts ? "sts/" + std::string(sts::name_of(sts->policy.mode)) : "none";
}

Observation Observation::of_failure(smtp::Failure failure) {
    return {Kind::no_session, std::move(failure), {}};
}

Observation Observation::of_session(tls::Evidence evidence) {
    return {Kind::session, std::nullopt, std::move(evidence)};
}

Verdict decide(const Requirement& requirement, const Observation& observation) {
    if (!requirement.host || !requirement.sts || requirement.sts->policy.mode == sts::Mode::none) return {};
    Verdict verdict = judge_sts(requirement, observation);
    if (requirement.sts->policy.mode == sts::Mode::testing)
        verdict.go = true;  // reported, not enforced (RFC 8461 §5)
    return verdict;
}

std::string whose_move(const Requirement& requirement) {
    if (!requirement.enforced()) return "";
    const StsDemand& sts = *requirement.sts;
    return "the mail is held back by the MTA-STS policy of " + sts.domain.text() + " (mode enforce, id " +
           sts.id + "); " + sts.domain.text() +
           " must mend its MX hosts or its policy, unless somebody on the way strips the "
           "encryption; see \"sternpost sts show " +
           sts.domain.text() + "\"";
}

}  // namespace sternpost::delivery
