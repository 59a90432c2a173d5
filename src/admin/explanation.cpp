#include "admin/explanation.h"

namespace sternpost::admin {
namespace {

std::string_view name_of(delivery::DaneState state) {
    switch (state) {
        case delivery::DaneState::absent:
            return "absent";
        case delivery::DaneState::unusable:
            return "unusable";
        case delivery::DaneState::usable:
            return "usable";
        case delivery::DaneState::failed:
            return "failed";
    }
    return "";
}

std::string_view name_of(sts::State state) {
    return state == sts::State::policy ? "policy" : state == sts::State::none ? "none" : "unknown";
}

ExitCode code_of(delivery::Outlook outlook) {
    switch (outlook) {
        case delivery::Outlook::protected_:
        case delivery::Outlook::opportunistic:
            return ExitCode::done;
        case delivery::Outlook::suspended:
        case delivery::Outlook::held:
            return ExitCode::held;
        case delivery::Outlook::no_mail:
            return ExitCode::no;
        case delivery::Outlook::failing:
        case delivery::Outlook::unanswered:
            return ExitCode::unanswered;
    }
    return ExitCode::internal;
}

ProbeRow probe_of(const delivery::ExplainedHost& host) {
    ProbeRow out;
    out.address = host.address.text();
    if (host.failure) out.failure = delivery::sentence_of(*host.failure);
    if (!host.opened) return out;
    const auto& proof = host.opened->evidence;
    out.tls = proof.version;
    out.cipher = proof.cipher;
    out.requiretls = host.opened->offered.requiretls;
    out.names = proof.names;
    out.issuer = proof.issuer;
    out.fingerprint = proof.fingerprint;
    if (proof.has_certificate) {
        out.not_before = proof.not_before;
        out.not_after = proof.not_after;
    }
    out.chain = proof.chain_error_name;
    out.name_matches = proof.name_matches;
    out.tlsa_match = proof.dane_match;
    return out;
}

HostRow row_of(const delivery::ExplainedHost& host) {
    const auto& requirement = host.plan.requirement;
    HostRow out;
    out.name = host.plan.candidate.text();
    out.preference = host.plan.candidate.preference;
    for (const auto& address : host.plan.addresses.usable) out.addresses.push_back(address.text());
    out.addresses_secure = host.plan.addresses.secure;
    out.policy = requirement.label();
    out.protection = delivery::name_of(delivery::protection_of(requirement));
    out.dane.state = name_of(requirement.dane.state);
    out.dane.base_domain = requirement.dane.policy_domain;
    for (const auto& record : requirement.dane.records) out.dane.records.push_back(tls::text_of(record));
    if (requirement.override_) out.override_ = delivery::override_text(*requirement.override_);
    const auto& verdict = host.verdict;
    out.verdict = {verdict.go, verdict.held, std::string(name_of(verdict.reason_code)),
                   verdict.result_type ? std::string(tlsrpt::name_of(*verdict.result_type)) : "",
                   verdict.sentence};
    if (host.probed) out.probe = probe_of(host);
    return out;
}

FailingRow row_of(const delivery::FailedAttempts& failed) {
    FailingRow out;
    out.attempts = failed.attempts;
    out.since = failed.since;
    if (failed.last != WallTime{}) out.last = failed.last;
    out.next_at = failed.next_at;
    out.delivered = failed.delivered;
    out.status = failed.status;
    out.reason = failed.text;
    return out;
}

CachedStsRow row_of(const sts::Lookup& lookup) {
    CachedStsRow out;
    out.state = name_of(lookup.state);
    if (lookup.policy) {
        out.mode = sts::name_of(lookup.policy->mode);
        out.id = lookup.id;
        out.mx = lookup.policy->mx_text();
        out.fetched = lookup.fetched;
        out.expires = lookup.expires;
        out.next_refresh = lookup.next_refresh;
    }
    out.problem = lookup.problem_text;
    return out;
}

}  // namespace

Answer<ExplainAnswer> answer_of(const delivery::Explanation& e) {
    ExplainAnswer out;
    out.domain = e.domain;
    out.outlook = delivery::name_of(e.outlook);
    out.unprotected = e.unprotected;
    if (e.queue.failing) out.failing = row_of(*e.queue.failing);
    if (e.queue.suspension) out.suspended = row_of(*e.queue.suspension);
    out.resolver_trusted = e.resolver_trusted;
    if (e.trouble) out.trouble = TroubleRow{e.trouble->permanent, e.trouble->status, e.trouble->text};
    if (e.plan.route) out.route = e.plan.route->to_text();
    out.mx_secure = e.plan.hosts.secure;
    if (e.plan.sts) out.sts = row_of(*e.plan.sts);
    if (e.published)
        out.published = PublishedStsRow{e.published->name,    e.published->alias,
                                        e.published->records, e.published->records_problem,
                                        e.published->policy,  e.published->policy_problem};
    for (const auto& host : e.hosts) out.hosts.push_back(row_of(host));
    out.lines = delivery::lines_of(e);
    return {std::move(out), code_of(e.outlook)};
}

}  // namespace sternpost::admin
