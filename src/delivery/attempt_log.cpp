// What an attempt tells the log, and what it keeps for reports and `why`.
#include <fmt/format.h>

#include <algorithm>

#include "delivery/attempt_state.h"
#include "delivery/policy_problem.h"
#include "util/text.h"

namespace sternpost::delivery {
namespace {

constexpr std::size_t max_outcomes =
    20;  // ours: of sessions and hosts, that one record holds with their policies

// Since the message was accepted; never negative, whatever the clock did.
std::string age_text(const store::StoredMessage& message, WallTime now) {
    return fmt::format(
        "{:.2f}s",
        std::chrono::duration<double>(std::max(now - message.arrived, WallTime::duration::zero())).count());
}

std::string took_text(SteadyTime began, SteadyTime now) {
    return fmt::format("{:.2f}s", std::chrono::duration<double>(now - began).count());
}

std::string result_text(const Verdict& verdict) {
    return verdict.result_type ? std::string(tlsrpt::name_of(*verdict.result_type)) : "none";
}

std::string policy_text_of(const Requirement& requirement, store::PolicyType type) {
    switch (type) {
        case store::PolicyType::sts:
            return requirement.sts ? requirement.sts->text : std::string();
        case store::PolicyType::tlsa:
            return tls::text_of(requirement.dane.records);
        case store::PolicyType::no_policy_found:
            break;
    }
    return "";
}

}  // namespace

std::string endpoint(const DialRequest& request) {
    const std::string name = request.host ? request.host->text() : std::string("literal");
    return name + "[" + request.address.text() + "]:" + std::to_string(request.port);
}

Observation seen_of(const smtp::Opened& opened, const DialRequest& request) {
    Observation out = delivery::seen_of(opened);
    if (request.tls_failure && !opened.evidence.encrypted) out.starttls_refusal = request.tls_failure;
    return out;
}

// Keeps what a host showed of its TLS, for reports, `why` and what-if (RFC 8460 §4; D-14).
void Delivery::note(Attempt& attempt, const Requirement& requirement, const Observation& seen,
                    const DialRequest* request, const std::string& helo, const std::string& local_address) {
    if (attempt.work && attempt.work->message->message_class == store::MessageClass::report)
        return;  // reports are not counted (RFC 8460 §3; RPT-13)
    bool first = true;
    for (const Finding& finding : findings(requirement, seen)) {
        if (attempt.findings.detail.outcomes.size() >= max_outcomes) return;
        store::TlsOutcome outcome;
        outcome.at = clock_.wall();
        outcome.domain = requirement.domain;
        outcome.policy_type = finding.policy;
        const bool tlsa =
            finding.policy == store::PolicyType::tlsa && !requirement.dane.policy_domain.empty();
        outcome.policy_domain = tlsa ? requirement.dane.policy_domain : requirement.domain;
        outcome.policy_text = policy_text_of(requirement, finding.policy);
        if (finding.policy == store::PolicyType::sts && requirement.sts)
            outcome.mode = sts::name_of(requirement.sts->policy.mode);
        outcome.count = finding.count;
        if (finding.result_type) outcome.result_type = tlsrpt::name_of(*finding.result_type);
        outcome.reason_code = name_of(finding.reason_code);
        if (finding.reason_code == store::ReasonCode::handshake_failed && seen.failure)
            outcome.reason_code += ": " + printable(seen.failure->text, 150);
        if (requirement.host) outcome.mx_host = requirement.host->text();
        if (request != nullptr) {
            outcome.helo = helo;
            outcome.local_address = local_address;
            outcome.remote_address = request->address.text();
            outcome.tls = seen.evidence.version;
        }
        outcome.if_enforced = name_of(if_enforced(requirement, seen));
        // Of a session that two policies apply to, DANE's finding comes first.
        if (std::exchange(first, false) && on_session_ && request != nullptr)
            on_session_(outcome, requirement.dane.state == DaneState::absent);
        attempt.findings.detail.outcomes.push_back(std::move(outcome));
    }
}

// A policy that could not be had, for the domain's report: told once, whatever mail waits for it (D-40;
// MAP-11 … MAP-13).
void Delivery::note_policy_problem(Attempt& attempt) {
    const auto& sts = attempt.plan.sts;
    if (!sts || !sts->problem || !sts->problem_fresh) return;
    const auto type = result_type_of(*sts->problem);
    if (!type) return;
    store::TlsOutcome outcome;
    outcome.at = clock_.wall();
    outcome.domain = outcome.policy_domain = attempt.plan.domain;
    outcome.policy_type = store::PolicyType::sts;
    outcome.count = store::OutcomeCount::detail;
    if (sts->policy) {
        outcome.policy_text = sts->text;
        outcome.mode = sts::name_of(sts->policy->mode);
    }
    outcome.result_type = tlsrpt::name_of(*type);
    outcome.reason_code = printable(sts->problem_text, 200) + (sts->policy ? ";cached-policy-used" : "");
    attempt.findings.detail.outcomes.push_back(std::move(outcome));
}

void Delivery::log_session(const Attempt& attempt, const Requirement& requirement, const DialRequest& request,
                           const Verdict& verdict, const SessionEnd& end) {
    Event(log_, Level::info, "session")
        .kv("hop", attempt.lane.hop())
        .raw("mx", endpoint(request))
        .kv("tls", end.tls.empty() ? "none" : end.tls)
        .kv("policy", requirement.label())
        .kv("status", end.status)
        .kv("result", result_text(verdict))
        .kv("code", name_of(verdict.reason_code))
        .reason(verdict.held && verdict.sentence != end.reason ? verdict.sentence + ": " + end.reason
                                                               : end.reason);
}

void Delivery::log_relaxed(const Attempt& attempt, const Requirement& requirement, const Observation& seen) {
    Requirement strict = requirement;
    strict.override_.reset();
    strict.tls_optional = false;
    const Verdict without = decide(strict, seen);
    Event(log_, Level::warning, "relaxed")
        .kv("hop", attempt.lane.hop())
        .kv("mx", requirement.host ? requirement.host->text() : "literal")
        .kv("policy", strict.label())
        .kv("code", name_of(without.reason_code))
        .reason(requirement.override_
                    ? "mail goes though " + without.sentence + ", by " + override_text(*requirement.override_)
                    : "mail goes though " + without.sentence +
                          ", since its sender set \"TLS-Required: No\" (RFC 8689)");
}

void Delivery::log_attempt(const queue::Work& work, const queue::RecipientResult& recipient_result,
                           const Requirement& requirement, const DialRequest& request,
                           const smtp::Opened& opened, SteadyTime began) {
    const auto& result = recipient_result.result;
    const std::string_view status = result.state == store::RecipientState::sent      ? "sent"
                                    : result.state == store::RecipientState::bounced ? "bounced"
                                                                                     : "deferred";
    Event event(log_, Level::info, "attempt");
    event.kv("qid", work.message->id.text())
        .address("to", work.message->recipients[result.recipient].address.recipient.path.text())
        .raw("mx", endpoint(request))
        .kv("tls", opened.evidence.encrypted ? opened.evidence.version : "none")
        .kv("policy", requirement.label());
    if (!result.result_type.empty()) event.kv("result", result.result_type);
    if (result.reason_code != store::ReasonCode::none) event.kv("code", name_of(result.reason_code));
    if (request.tls_failure && !opened.evidence.encrypted)
        event.kv("tls-failure", printable(sentence_of(*request.tls_failure), 300));
    event.raw("delay", age_text(*work.message, clock_.wall()))
        .raw("took", took_text(began, clock_.steady()))
        .kv("status", status)
        .kv("dsn", result.status)
        .reason(result.text);
}

void Delivery::log_deferred(const Attempt& attempt, const queue::HopFailure& hop_failure) {
    if (!attempt.work) return;
    for (const auto n : attempt.work->recipients)
        Event(log_, Level::info, "attempt")
            .kv("qid", attempt.work->message->id.text())
            .address("to", attempt.work->message->recipients[n].address.recipient.path.text())
            .kv("mx", "none")
            .kv("tls", "none")
            .kv("policy", attempt.label)
            .raw("delay", age_text(*attempt.work->message, clock_.wall()))
            .raw("took", took_text(attempt.began, clock_.steady()))
            .kv("status", "deferred")
            .kv("dsn", hop_failure.status)
            .reason(hop_failure.text);
}

}  // namespace sternpost::delivery
