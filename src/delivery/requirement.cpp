#include "delivery/requirement.h"

#include <openssl/x509_vfy.h>

#include <algorithm>
#include <array>

namespace sternpost::delivery {
namespace {

using store::OutcomeCount;
using store::PolicyType;
using store::ReasonCode;
using tlsrpt::ResultType;
using Kind = Observation::Kind;

constexpr std::array<std::string_view, 6> level_names{"none", "may", "encrypt", "verify", "dane", "sts"};

// Why a demand is not met.
struct Problem {
    std::optional<ResultType> type;
    ReasonCode code = ReasonCode::none;
    std::string sentence;
};
using Judgement = std::optional<Problem>;  // nothing: met, or not to be said yet

Problem problem(std::optional<ResultType> type, ReasonCode code, std::string sentence) {
    return {type, code, std::move(sentence)};
}

// What a session must show for TLS at all (RFC 3207, RFC 8461 §5, RFC 7672 §2.2; MAP-01, MAP-05). A host that
// was not reached has shown nothing (MAP-15).
Judgement judge_tls(const Observation& seen) {
    const auto not_offered = [] {
        return problem(ResultType::starttls_not_supported, ReasonCode::starttls_not_offered,
                       "it does not offer STARTTLS");
    };
    const auto handshake_failed = [](const std::string& text) {
        return problem(ResultType::validation_failure, ReasonCode::handshake_failed,
                       "the TLS handshake fails (" + text + ")");
    };
    const auto refused = [](const std::string& text) {
        return problem(ResultType::starttls_not_supported, ReasonCode::starttls_refused,
                       "it refuses STARTTLS (" + text + ")");
    };
    if (seen.kind == Kind::not_connected) return std::nullopt;
    const bool session = seen.kind == Kind::session;
    if (session && seen.evidence.encrypted) return std::nullopt;
    if (session && !seen.starttls_refusal) return not_offered();
    const smtp::Failure& failure = session ? *seen.starttls_refusal : *seen.failure;
    if (session && failure.code == smtp::Errc::reply_negative) return refused(failure.text);
    switch (failure.code) {
        case smtp::Errc::starttls_not_offered:
            return not_offered();
        case smtp::Errc::starttls_refused:
            return refused(failure.text);
        case smtp::Errc::injected_octets:
            return problem(ResultType::validation_failure, ReasonCode::starttls_injection, failure.text);
        case smtp::Errc::handshake_failed:
            return handshake_failed(failure.text);
        case smtp::Errc::timed_out:
        case smtp::Errc::closed:
        case smtp::Errc::io:
            if (failure.stage == smtp::Stage::handshake || failure.stage == smtp::Stage::starttls)
                return handshake_failed(failure.text);
            return std::nullopt;
        case smtp::Errc::reply_malformed:
        case smtp::Errc::reply_too_long:
            if (failure.stage == smtp::Stage::starttls) return refused(failure.text);
            return std::nullopt;
        case smtp::Errc::connect_refused:
        case smtp::Errc::connect_timed_out:
        case smtp::Errc::network_unreachable:
        case smtp::Errc::source_unusable:
        case smtp::Errc::no_passage:
        case smtp::Errc::loop:
        case smtp::Errc::reply_negative:
        case smtp::Errc::body_unreadable:
        case smtp::Errc::body_damaged:
        case smtp::Errc::not_convertible:
        case smtp::Errc::not_signed:
        case smtp::Errc::aborted:
            return std::nullopt;
    }
    return std::nullopt;
}

std::string names_text(const tls::Evidence& evidence) {
    std::string names;
    for (const auto& name : evidence.names) names += (names.empty() ? "" : ", ") + name;
    return names.empty() ? "no DNS name at all" : names;
}

Problem expired(const tls::Evidence& evidence) {
    const bool leaf = evidence.not_after != WallTime{};
    return problem(
        ResultType::certificate_expired, ReasonCode::certificate_expired,
        "its certificate has expired" + (leaf ? " on " + rfc3339(evidence.not_after) : std::string()));
}

Problem not_yet_valid() {
    return problem(ResultType::validation_failure, ReasonCode::certificate_not_yet_valid,
                   "its certificate is not valid yet");
}

Problem too_weak() {
    return problem(ResultType::validation_failure, ReasonCode::certificate_too_weak,
                   "its certificate is too weak (RSA keys need 2048 bits or more, and SHA-1 is refused)");
}

Problem wrong_name(const tls::Evidence& evidence) {
    return problem(ResultType::certificate_host_mismatch, ReasonCode::certificate_host_mismatch,
                   "its certificate is not for this name but for " + names_text(evidence));
}

// Chain and name as Web PKI has it (RFC 8461 §4.2; MAP-02 … MAP-05), after a handshake; the host may have
// hung up since.
Judgement judge_certificate(const tls::Evidence& evidence) {
    switch (evidence.chain_error) {
        case X509_V_OK:
            break;
        case X509_V_ERR_CERT_HAS_EXPIRED:
            return expired(evidence);
        case X509_V_ERR_CERT_NOT_YET_VALID:
            return not_yet_valid();
        case X509_V_ERR_EE_KEY_TOO_SMALL:
        case X509_V_ERR_CA_KEY_TOO_SMALL:
        case X509_V_ERR_CA_MD_TOO_WEAK:
            return too_weak();
        default:
            return problem(ResultType::certificate_not_trusted, ReasonCode::certificate_not_trusted,
                           "its certificate cannot be verified: " + evidence.chain_error_name);
    }
    if (!evidence.has_certificate)
        return problem(ResultType::certificate_not_trusted, ReasonCode::certificate_not_trusted,
                       "it has no certificate");
    if (evidence.weak_key) return too_weak();
    if (!evidence.name_matches) return wrong_name(evidence);
    return std::nullopt;
}

// TLS with a certificate that is good for the MX host's name.
Judgement judge_verified(const Observation& seen) {
    if (auto missing = judge_tls(seen)) return missing;
    return seen.evidence.encrypted ? judge_certificate(seen.evidence) : std::nullopt;
}

// RFC 8461 §4.1, §4.2 and §5, whatever the mode.
Judgement judge_sts(const Requirement& requirement, const Observation& seen) {
    const StsDemand& sts = *requirement.sts;
    if (!sts.policy.allows(*requirement.host))  // MAP-06
        return problem(ResultType::validation_failure, ReasonCode::sts_mx_not_listed,
                       "it is not in the MTA-STS policy of " + sts.domain.text() + " (mx " +
                           sts.policy.mx_text() + "; a wildcard covers one label)");
    return judge_verified(seen);
}

// The TLSA records that the session was judged by are those of today, and so are the names (RFC 7672 §3.2.2):
// a connection made under others proves nothing here.
bool judged_by(const tls::Evidence& evidence, const tls::DaneReference& today) {
    if (!evidence.dane || evidence.dane->base_domain != today.base_domain ||
        tls::text_of(evidence.dane->records) != tls::text_of(today.records))
        return false;
    return std::all_of(
        evidence.dane->names.begin(), evidence.dane->names.end(), [&](const dns::Domain& name) {
            return std::find(today.names.begin(), today.names.end(), name) != today.names.end();
        });
}

// RFC 7672 §2.2, as far as it holds mail back.
Judgement judge_dane(const Requirement& requirement, const Observation& seen) {
    const DaneDemand& dane = requirement.dane;
    switch (dane.state) {
        case DaneState::absent:
            return std::nullopt;
        case DaneState::failed:  // never taken for "no DANE" (RFC 7672 §2.1.2, §2.2; MAP-09)
            return problem(ResultType::dnssec_invalid, ReasonCode::tlsa_lookup_failed,
                           "its TLSA records cannot be looked up (" + dane.trouble +
                               "), and a host that may have some is not used without them");
        case DaneState::unusable:
            return judge_tls(seen);
        case DaneState::usable:
            break;
    }
    if (auto missing = judge_tls(seen)) return missing;
    if (!seen.evidence.encrypted) return std::nullopt;
    const tls::Evidence& evidence = seen.evidence;
    if (evidence.dane_matched && judged_by(evidence, *dane.reference))
        return evidence.weak_key ? Judgement(too_weak()) : std::nullopt;
    // With usage 2 a chain can match and fail all the same, by name or date (RFC 7672 §3.1.2; MAP-02,
    // MAP-03).
    switch (evidence.dane ? evidence.dane_error : X509_V_ERR_DANE_NO_MATCH) {
        case X509_V_ERR_HOSTNAME_MISMATCH:
            return wrong_name(evidence);
        case X509_V_ERR_CERT_HAS_EXPIRED:
            return expired(evidence);
        case X509_V_ERR_CERT_NOT_YET_VALID:
            return not_yet_valid();
        default:
            return problem(ResultType::validation_failure, ReasonCode::dane_no_tlsa_match,
                           "its certificate matches none of the TLSA records at " + dane.policy_domain);
    }
}

// Mandatory DANE (RFC 7672 §6; MAP-10).
Judgement judge_mandatory_dane(const Requirement& requirement, const Observation& seen) {
    const auto required = [](std::string why) {
        return problem(ResultType::dane_required, ReasonCode::dane_required,
                       "DANE is demanded of it, but " + std::move(why));
    };
    if (requirement.dane.state == DaneState::failed) return judge_dane(requirement, seen);
    if (requirement.name_trust == NameTrust::insecure)
        return required("the MX records of " + requirement.domain + " are not secured by DNSSEC");
    switch (requirement.dane.state) {
        case DaneState::failed:
            break;
        case DaneState::absent:
            return required("it has no TLSA records that DNSSEC secures");
        case DaneState::unusable:
            return required("none of its TLSA records can be used");
        case DaneState::usable:
            break;
    }
    return judge_dane(requirement, seen);
}

Judgement judge_level(TlsLevel level, const Requirement& requirement, const Observation& seen) {
    switch (level) {
        case TlsLevel::none:
        case TlsLevel::may:
            return std::nullopt;
        case TlsLevel::encrypt:
            return judge_tls(seen);
        case TlsLevel::verify:
            return judge_verified(seen);
        case TlsLevel::dane:
            return judge_mandatory_dane(requirement, seen);
        case TlsLevel::sts:
            if (!requirement.sts || requirement.sts->policy.mode == sts::Mode::none)
                return problem(
                    ResultType::validation_failure, ReasonCode::sts_required,
                    "MTA-STS is demanded of it, but " + requirement.domain + " has no such policy");
            return judge_sts(requirement, seen);
    }
    return std::nullopt;
}

bool sts_applies(const Requirement& requirement) {
    return requirement.host && requirement.sts && requirement.sts->policy.mode != sts::Mode::none;
}

bool sts_enforced(const Requirement& requirement) {
    return sts_applies(requirement) && requirement.sts->policy.mode == sts::Mode::enforce;
}

// What the domain itself asks: DANE where it has TLSA records, else MTA-STS, which never softens it (RFC 8461
// §2).
struct DomainJudgement {
    Judgement judgement;
    bool binding = false;
};

DomainJudgement judge_domain(const Requirement& requirement, const Observation& seen) {
    const auto by_sts = [&]() -> DomainJudgement {
        if (!sts_applies(requirement)) return {};
        return {judge_sts(requirement, seen), sts_enforced(requirement)};
    };
    const bool usable = requirement.dane.state == DaneState::usable;
    // DANE says who the host is; that it is a host of this domain, only a secure MX RRset says. Without one
    // the list of an enforced policy is all that keeps a forged MX record with a signed zone of its own away.
    const bool unlisted = sts_enforced(requirement) && !requirement.sts->policy.allows(*requirement.host);
    if (usable && unlisted && requirement.name_trust == NameTrust::insecure) return by_sts();
    if (auto failed = judge_dane(requirement, seen)) return {std::move(failed), true};
    // Where no record authenticates the host, be there none or none that can be used, the policy counts.
    if (!usable || requirement.require_both) return by_sts();
    return {};
}

// RFC 8689 §4.2.1: an MX host whose name is trusted, proves who it is, and offers REQUIRETLS inside TLS
// (D-09).
Judgement judge_requiretls(const Requirement& requirement, const Observation& seen) {
    const bool listed = sts_enforced(requirement) && requirement.sts->policy.allows(*requirement.host);
    if (requirement.name_trust == NameTrust::insecure && !listed)
        return problem(
            std::nullopt, ReasonCode::requiretls_mx_not_trusted,
            "the message demands REQUIRETLS, and neither DNSSEC nor an enforced MTA-STS policy says that "
            "this is an MX host of " +
                requirement.domain);
    // Either way of telling who the host is will do (D-09): by its TLSA records, or by its certificate's
    // name.
    const bool by_dane = requirement.dane.state == DaneState::usable && !judge_dane(requirement, seen);
    if (!by_dane)
        if (auto unverified = judge_verified(seen)) return unverified;
    if (seen.kind == Kind::session && !seen.requiretls_offered)
        return problem(std::nullopt, ReasonCode::requiretls_not_offered,
                       "the message demands REQUIRETLS, which it does not offer");
    return std::nullopt;
}

Verdict verdict_of(Problem failed, bool go) {
    Verdict out;
    out.go = go;
    out.held = !go;
    out.result_type = failed.type;
    out.reason_code = failed.code;
    out.sentence = std::move(failed.sentence);
    return out;
}

bool relaxes(const OverrideDemand& override_demand, const Requirement& requirement, const Observation& seen) {
    const DomainJudgement domain = judge_domain(requirement, seen);
    return domain.binding && domain.judgement && !judge_level(override_demand.level, requirement, seen);
}

Finding success(PolicyType policy) {
    Finding out;
    out.policy = policy;
    return out;
}

Finding failure(PolicyType policy, Problem failed) {
    Finding out;
    out.policy = policy;
    out.count = OutcomeCount::failure;
    out.result_type = failed.type;
    out.reason_code = failed.code;
    return out;
}

// What was seen says something about TLS.
bool shows_tls(const Observation& seen) {
    return seen.kind == Kind::session ||
           (seen.kind == Kind::no_session && (seen.evidence.encrypted || judge_tls(seen)));
}

// What its TLSA records, or the lack of them, say of the host before it is contacted.
Judgement ruled_out_by_dane(const Requirement& requirement) {
    const bool demanded = (requirement.override_ && requirement.override_->level == TlsLevel::dane) ||
                          requirement.route_level == TlsLevel::dane;
    if (demanded) return judge_mandatory_dane(requirement, Observation::of_name());
    if (requirement.dane.state == DaneState::failed) return judge_dane(requirement, Observation::of_name());
    return std::nullopt;
}

std::optional<Finding> tlsa_finding(const Requirement& requirement, const Observation& seen) {
    Judgement by_name = ruled_out_by_dane(requirement);
    if (seen.kind == Kind::not_connected)
        return by_name ? std::optional(failure(PolicyType::tlsa, std::move(*by_name))) : std::nullopt;
    if (by_name || !shows_tls(seen)) return std::nullopt;  // ruled out: counted by its name
    switch (requirement.dane.state) {
        case DaneState::absent:
        case DaneState::failed:
            return std::nullopt;
        case DaneState::unusable: {
            if (auto failed = judge_tls(seen)) return failure(PolicyType::tlsa, std::move(*failed));
            Finding out = success(PolicyType::tlsa);  // MAP-08: not a failure by itself
            out.result_type = ResultType::tlsa_invalid;
            out.reason_code = ReasonCode::tlsa_unusable;
            return out;
        }
        case DaneState::usable:
            break;
    }
    if (auto failed = judge_dane(requirement, seen)) return failure(PolicyType::tlsa, std::move(*failed));
    return success(PolicyType::tlsa);
}

std::optional<Finding> sts_finding(const Requirement& requirement, const Observation& seen) {
    if (!sts_applies(requirement)) return std::nullopt;
    const bool listed = requirement.sts->policy.allows(*requirement.host);
    if (seen.kind == Kind::not_connected)
        return listed ? std::nullopt
                      : std::optional(failure(PolicyType::sts, std::move(*judge_sts(requirement, seen))));
    // Under DANE the host was asked for the certificate of its TLSA base domain: where that is another name,
    // nothing is known of what it would show to a sender that knows MTA-STS alone (D-08).
    if (requirement.dane.reference && requirement.dane.reference->base_domain != requirement.host->name())
        return std::nullopt;
    if (!shows_tls(seen)) return std::nullopt;
    auto failed = judge_verified(seen);
    if (!listed) {
        // It was contacted all the same, and counted as a failure by its name: what else is wrong is a detail
        // more, and nothing makes it a success (RFC 8460 §4.3; RPT-28, RPT-30).
        if (!failed) return std::nullopt;
        Finding out = failure(PolicyType::sts, std::move(*failed));
        out.count = OutcomeCount::detail;
        return out;
    }
    if (failed) return failure(PolicyType::sts, std::move(*failed));
    return success(PolicyType::sts);
}

}  // namespace

std::string_view name_of(TlsLevel level) {
    return level_names.at(static_cast<std::size_t>(level));
}

std::optional<TlsLevel> level_of(std::string_view name) {
    const auto found = std::find(level_names.begin(), level_names.end(), name);
    if (found == level_names.end()) return std::nullopt;
    return static_cast<TlsLevel>(found - level_names.begin());
}

bool Requirement::tls_demanded() const {
    const auto demands = [](TlsLevel level) { return level != TlsLevel::none && level != TlsLevel::may; };
    if (requiretls || (route_level && demands(*route_level))) return true;
    if (override_) return demands(override_->level);
    if (tls_optional) return false;
    return dane.state != DaneState::absent || sts_enforced(*this);
}

smtp::TlsUse Requirement::tls_use() const {
    if (tls_demanded()) return smtp::TlsUse::required;
    const bool off = (override_ && override_->level == TlsLevel::none) || route_level == TlsLevel::none;
    return off || !opportunistic_tls ? smtp::TlsUse::never : smtp::TlsUse::if_offered;
}

std::optional<tls::DaneReference> Requirement::dane_reference() const {
    return dane.state == DaneState::usable ? dane.reference : std::nullopt;
}

std::string Requirement::label() const {
    std::string out = "none";
    if (override_)
        out = "override/" + std::string(name_of(override_->level));
    else if (dane.state == DaneState::usable)
        // RFC 7672 §2.2.1: the host is authenticated; that the domain named it is not, without a secure MX
        // RRset.
        out = name_trust == NameTrust::insecure ? "dane/host-only" : "dane";
    else if (dane.state == DaneState::unusable)
        out = "dane/unusable";
    else if (dane.state == DaneState::failed)
        out = "dane/failed";
    else if (sts)
        out = "sts/" + std::string(sts::name_of(sts->policy.mode));
    if (route_level) out = "route/" + std::string(name_of(*route_level)) + (out == "none" ? "" : "+" + out);
    if (requiretls) out += "+requiretls";
    if (tls_optional) out += "+tls-optional";
    return out;
}

Observation Observation::of_failure(smtp::Failure failure) {
    Observation out;
    out.kind = Kind::no_session;
    if (failure.evidence) out.evidence = *failure.evidence;
    out.failure = std::move(failure);
    return out;
}

Observation Observation::of_session(tls::Evidence evidence, bool requiretls_offered,
                                    std::optional<smtp::Failure> starttls_refusal) {
    Observation out;
    out.kind = Kind::session;
    out.evidence = std::move(evidence);
    out.requiretls_offered = requiretls_offered;
    out.starttls_refusal = std::move(starttls_refusal);
    return out;
}

Verdict decide(const Requirement& requirement, const Observation& seen) {
    if (requirement.route_level)
        if (auto failed = judge_level(*requirement.route_level, requirement, seen))
            return verdict_of(std::move(*failed), false);
    Verdict out;
    if (requirement.override_) {
        if (auto failed = judge_level(requirement.override_->level, requirement, seen))
            return verdict_of(std::move(*failed), false);
        out.relaxed = relaxes(*requirement.override_, requirement, seen);
    } else {
        DomainJudgement domain = judge_domain(requirement, seen);
        if (domain.judgement) {
            const bool waived = requirement.tls_optional && !requirement.requiretls;
            out = verdict_of(std::move(*domain.judgement), !domain.binding || waived);
            out.relaxed = domain.binding && waived;
            if (!out.go) return out;
        }
    }
    if (requirement.requiretls) {
        if (auto failed = judge_requiretls(requirement, seen)) {
            out = verdict_of(std::move(*failed), false);
            out.by_requiretls = true;
            return out;
        }
    }
    if (seen.kind == Kind::no_session) {
        // Nothing may be said on a session that is not there, whatever else was wrong and excused.
        const auto shown = judge_tls(seen);
        out.go = false;
        out.relaxed = false;
        out.result_type = shown ? shown->type : std::nullopt;
        out.reason_code = shown ? shown->code : ReasonCode::unreachable;
        out.sentence = shown ? shown->sentence : std::string();
        return out;
    }
    // Nothing stands in the way; what a report would tell all the same is told.
    if (out.reason_code != ReasonCode::none) return out;
    const bool unusable = !requirement.override_ && requirement.dane.state == DaneState::unusable;
    const auto clear = requirement.tls_use() == smtp::TlsUse::never ? std::nullopt : judge_tls(seen);
    if (clear) {
        out.result_type = clear->type;
        out.reason_code = clear->code;
        out.sentence = clear->sentence;
    } else if (unusable) {
        out.result_type = ResultType::tlsa_invalid;
        out.reason_code = ReasonCode::tlsa_unusable;
    }
    return out;
}

std::vector<Finding> findings(const Requirement& requirement, const Observation& seen) {
    std::vector<Finding> out;
    const bool told_not_to = (requirement.override_ && requirement.override_->level == TlsLevel::none) ||
                             requirement.route_level == TlsLevel::none;
    // Where we do not ask a host for TLS, it shows nothing of its own.
    if (seen.kind != Kind::not_connected && (told_not_to || requirement.tls_use() == smtp::TlsUse::never))
        return out;
    if (auto tlsa = tlsa_finding(requirement, seen)) out.push_back(std::move(*tlsa));
    if (auto sts = sts_finding(requirement, seen)) out.push_back(std::move(*sts));
    const bool policy = requirement.dane.state != DaneState::absent || sts_applies(requirement) ||
                        ruled_out_by_dane(requirement);
    if (policy || !shows_tls(seen)) return out;
    if (auto failed = judge_tls(seen))
        out.push_back(failure(PolicyType::no_policy_found, std::move(*failed)));
    else
        out.push_back(success(PolicyType::no_policy_found));  // MAP-14: whatever the certificate
    return out;
}

ReasonCode if_enforced(const Requirement& requirement, const Observation& seen) {
    if (requirement.dane.state != DaneState::absent || sts_enforced(requirement)) return ReasonCode::none;
    if (seen.kind == Kind::no_session && !judge_tls(seen)) return ReasonCode::none;
    const auto failed = sts_applies(requirement) ? judge_sts(requirement, seen) : judge_verified(seen);
    return failed ? failed->code : ReasonCode::none;
}

std::string override_text(const OverrideDemand& o) {
    std::string out = "the override \"" + std::string(name_of(o.level)) + "\" for " + o.scope + " (" +
                      (o.reason.empty() ? "no reason given" : o.reason) +
                      (o.author.empty() ? "" : "; set by " + o.author);
    out += o.expires == WallTime{} ? "; it does not expire)" : "; until " + rfc3339(o.expires) + ")";
    return out;
}

std::string whose_move(const Requirement& requirement) {
    if (requirement.route_level)
        return "the mail is held back by the level \"" + std::string(name_of(*requirement.route_level)) +
               "\" of the route for it; the administrator of this relay or of the route's host must mend "
               "that";
    if (requirement.override_)
        return "the mail is held back by " + override_text(*requirement.override_) +
               "; the administrator of this relay can change it with \"sternpost policy override\"";
    const bool dane = requirement.dane.state != DaneState::absent;
    if (dane && !requirement.tls_optional)
        return "the mail is held back by DANE; " + requirement.domain +
               " must mend its MX hosts or its TLSA records, unless an attacker on the path interferes; see "
               "\"sternpost "
               "explain " +
               requirement.domain + "\"";
    if (sts_enforced(requirement) && !requirement.tls_optional) {
        const StsDemand& sts = *requirement.sts;
        return "the mail is held back by the MTA-STS policy of " + sts.domain.text() + " (mode enforce, id " +
               sts.id + "); " + sts.domain.text() +
               " must mend its MX hosts or its policy, unless an attacker on the path strips the encryption; "
               "see "
               "\"sternpost explain " +
               sts.domain.text() + "\"";
    }
    if (requirement.requiretls)
        return "the sender demanded REQUIRETLS (RFC 8689); " + requirement.domain +
               " must offer it, or the sender must send again without it";
    return "";
}

}  // namespace sternpost::delivery
