#include "control/explanation.h"

#include "control/reasons.h"

namespace sternpost::control {
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

json::object to_json(const delivery::Verdict& verdict) {
    json::object out;
    out["go"] = verdict.go;
    out["held"] = verdict.held;
    out["code"] = name_of(verdict.reason_code);
    out["result_type"] = verdict.result_type ? std::string(tlsrpt::name_of(*verdict.result_type)) : "";
    out["reason"] = verdict.sentence;
    return out;
}

json::object to_json(const delivery::ExplainedHost& host) {
    const auto& requirement = host.plan.requirement;
    json::object out;
    out["name"] = host.plan.candidate.text();
    out["preference"] = host.plan.candidate.preference;
    json::array addresses;
    for (const auto& address : host.plan.addresses.usable) addresses.emplace_back(address.text());
    out["addresses"] = std::move(addresses);
    out["addresses_secure"] = host.plan.addresses.secure;
    out["policy"] = requirement.label();
    out["protection"] = delivery::name_of(delivery::protection_of(requirement));
    json::object dane;
    dane["state"] = name_of(requirement.dane.state);
    dane["base_domain"] = requirement.dane.policy_domain;
    json::array records;
    for (const auto& record : requirement.dane.records) records.emplace_back(tls::text_of(record));
    dane["records"] = std::move(records);
    out["dane"] = std::move(dane);
    if (requirement.override_) out["override"] = delivery::override_text(*requirement.override_);
    out["verdict"] = to_json(host.verdict);
    if (!host.probed) return out;
    json::object probe;
    probe["address"] = host.address.text();
    if (host.failure) probe["failure"] = delivery::sentence_of(*host.failure);
    if (host.opened) {
        const auto& proof = host.opened->evidence;
        probe["tls"] = proof.version;
        probe["cipher"] = proof.cipher;
        probe["requiretls"] = host.opened->offered.requiretls;
        probe["names"] = control::to_json(proof.names);
        probe["issuer"] = proof.issuer;
        probe["fingerprint"] = proof.fingerprint;
        if (proof.has_certificate) {
            probe["not_before"] = rfc3339(proof.not_before);
            probe["not_after"] = rfc3339(proof.not_after);
        }
        probe["chain"] = proof.chain_error_name;
        probe["name_matches"] = proof.name_matches;
        probe["tlsa_match"] = proof.dane_match;
    }
    out["probe"] = std::move(probe);
    return out;
}

}  // namespace

json::object to_json(const delivery::Explanation& e) {
    json::object out;
    out["domain"] = e.domain;
    out["outlook"] = delivery::name_of(e.outlook);
    out["unprotected"] = e.unprotected;
    if (e.queue.failing) {
        const auto& failed = *e.queue.failing;
        json::object failing;
        failing["attempts"] = failed.attempts;
        if (failed.since) failing["since"] = rfc3339(*failed.since);
        if (failed.last != WallTime{}) failing["last"] = rfc3339(failed.last);
        if (failed.next_at) failing["next_at"] = rfc3339(*failed.next_at);
        if (failed.delivered) failing["delivered"] = rfc3339(*failed.delivered);
        failing["status"] = failed.status;
        failing["reason"] = failed.text;
        out["failing"] = std::move(failing);
    }
    if (e.queue.suspension) out["suspended"] = to_json(*e.queue.suspension);
    out["resolver_trusted"] = e.resolver_trusted;
    if (e.trouble) {
        json::object trouble;
        trouble["permanent"] = e.trouble->permanent;
        trouble["status"] = e.trouble->status;
        trouble["reason"] = e.trouble->text;
        out["trouble"] = std::move(trouble);
    }
    if (e.plan.route) out["route"] = e.plan.route->to_text();
    out["mx_secure"] = e.plan.hosts.secure;
    if (e.plan.sts) {
        const auto& lookup = *e.plan.sts;
        json::object sts;
        sts["state"] = lookup.state == sts::State::policy ? "policy"
                       : lookup.state == sts::State::none ? "none"
                                                          : "unknown";
        if (lookup.policy) {
            sts["mode"] = sts::name_of(lookup.policy->mode);
            sts["id"] = lookup.id;
            sts["mx"] = lookup.policy->mx_text();
            sts["fetched"] = rfc3339(lookup.fetched);
            sts["expires"] = rfc3339(lookup.expires);
            if (lookup.next_refresh) sts["next_refresh"] = rfc3339(*lookup.next_refresh);
        }
        sts["problem"] = lookup.problem_text;
        out["sts"] = std::move(sts);
    }
    if (e.published) {
        json::object published;
        published["name"] = e.published->name;
        published["alias"] = e.published->alias;
        published["records"] = to_json(e.published->records);
        published["records_problem"] = e.published->records_problem;
        if (e.published->policy) published["policy"] = *e.published->policy;
        published["policy_problem"] = e.published->policy_problem;
        out["published"] = std::move(published);
    }
    json::array hosts;
    for (const auto& host : e.hosts) hosts.push_back(to_json(host));
    out["hosts"] = std::move(hosts);
    out["lines"] = to_json(delivery::lines_of(e));
    return out;
}

}  // namespace sternpost::control
