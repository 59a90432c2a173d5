#include "delivery/outcome_hop.h"

#include "delivery/outcome.h"

namespace sternpost::delivery {
namespace {

using store::ReasonCode;

constexpr std::size_t max_sentences = 20;      // ours: hosts and addresses that a record tells of
constexpr std::size_t max_text = 1500;         // ours: octets of the sentence that recipients' results repeat
constexpr std::string_view not_met = "4.7.5";  // what is demanded of a host

queue::HopFailure temporary(std::string_view status, std::string text) {
    return {false, std::string(status), std::move(text)};
}

queue::HopFailure permanent(std::string_view status, std::string text) {
    return {true, std::string(status), std::move(text)};
}

// What is for ever by answers that an attacker could have forged is not believed at once.
queue::HopFailure unless_doubted(const HopPlan& plan, queue::HopFailure hop_failure) {
    return plan.doubts_dns() ? doubted(plan, std::move(hop_failure)) : hop_failure;
}

// 521 at the greeting or EHLO, and 556: the host takes no mail, from no one and for no one (RFC 7504).
bool never_takes_mail(const smtp::Reply& reply) {
    return reply.code == 521 || reply.code == 556;
}

}  // namespace

queue::HopFailure failure_of(NoHostsCause cause, const std::string& next_hop, const std::string& detail) {
    switch (cause) {
        case NoHostsCause::bad_name:
            return permanent("5.1.2", detail);
        case NoHostsCause::unanswered:
            return temporary("4.4.3", "the MX records of " + next_hop + " cannot be looked up: " + detail);
        case NoHostsCause::no_domain:
            return permanent("5.1.2", "the domain " + next_hop + " does not exist (NXDOMAIN)");
        case NoHostsCause::null_mx:
            return permanent("5.1.10", "the domain " + next_hop + " does not accept mail (null MX)");
        case NoHostsCause::no_host_name:
            return permanent("5.4.4", "no MX record of " + next_hop + " names a host (\"" + detail + "\")");
        case NoHostsCause::ourselves:
            return permanent("5.4.6", "the best MX host of " + next_hop +
                                          " is this host itself, which has no mailboxes: mail would loop");
    }
    return temporary("4.4.3", detail);
}

queue::HopFailure doubted(const HopPlan& plan, queue::HopFailure hop_failure) {
    hop_failure.permanent = false;
    hop_failure.status[0] = '4';
    hop_failure.reason_code = ReasonCode::dns_doubted;
    hop_failure.text +=
        "; that answer is not believed at once, since DNSSEC does not vouch for it and the MTA-STS policy "
        "of " +
        plan.domain + " is enforced: whoever forges the DNS could have the mail returned in clear text; " +
        plan.domain + " must mend its MX records, or really takes no mail any more";
    return hop_failure;
}

queue::HopFailure sts_unknown(const HopPlan& plan) {
    auto hop_failure =
        temporary("4.4.3", "whether " + plan.domain +
                               " demands TLS by MTA-STS cannot be found out: " + plan.sts->problem_text +
                               "; the resolver of this relay, or the DNS servers of " + plan.domain +
                               ", must answer; tried again later");
    hop_failure.reason_code = ReasonCode::sts_unknown;
    return hop_failure;
}

queue::HopFailure asked_to_wait(const std::string& endpoint, const store::DeliveryResult& result) {
    auto hop_failure = temporary(result.status, endpoint + ": " + result.text);
    hop_failure.reason_code = ReasonCode::host_asks_to_wait;
    hop_failure.detail.mx_host = result.mx_host;
    hop_failure.detail.diagnostic = result.diagnostic;
    return hop_failure;
}

void HopFindings::tell(std::string sentence) {
    ++sentences_;
    if (detail.hosts.size() < max_sentences) detail.hosts.push_back(std::move(sentence));
}

void HopFindings::begin_host() {
    ++hosts_;
    host_lacks_ = false;
    host_lacks_tls_ = true;
}

void HopFindings::end_host() {
    lacking_ += host_lacks_ ? 1U : 0U;
    without_tls_ += host_lacks_ && host_lacks_tls_ ? 1U : 0U;
}

void HopFindings::ruled_out(const HostPlan& host) {
    tell(host.candidate.text() + ": " + host.verdict.sentence);
    const bool unanswered = host.requirement.dane.state == DaneState::failed;
    status_ = unanswered ? "4.4.3" : not_met;
    reason_code_ = held_code_ = host.verdict.reason_code;
    held_by_ = host.requirement;
    may_pass_ = may_pass_ || unanswered;
    host_lacks_ = !unanswered;
    host_lacks_tls_ = false;
}

void HopFindings::no_address(const HostPlan& host) {
    const bool temporary = host.addresses.temporary;
    tell(host.candidate.text() + ": " + host.addresses.trouble);
    status_ = temporary ? "4.4.3" : "4.4.4";
    reason_code_ = temporary ? ReasonCode::addresses_unanswered : ReasonCode::no_address;
    may_pass_ = may_pass_ || temporary;
}

void HopFindings::left_alone(const std::string& why) {
    tell(why + " (a moment ago; not tried again yet)");
    may_pass_ = skipped_ = true;
}

void HopFindings::no_connection_free(const std::string& endpoint) {
    tell(endpoint + ": no connection is free: the address has as many as it may have");
    may_pass_ = skipped_ = true;
}

void HopFindings::lacks(const HostPlan& host, const Verdict& verdict, bool encrypted) {
    host_lacks_ = true;
    host_lacks_tls_ = host_lacks_tls_ && !encrypted;
    held_by_ = host.requirement;
    reason_code_ = held_code_ = verdict.reason_code;
    status_ = not_met;
}

void HopFindings::no_session(const std::string& endpoint, const HostPlan& host, const smtp::Failure& failure,
                             smtp::TlsUse tls) {
    const Observation seen = Observation::of_failure(failure);
    const Verdict verdict = decide(host.requirement, seen);
    tell(endpoint + ": " + (verdict.held ? verdict.sentence : sentence_of(failure)));
    if (failure.code == smtp::Errc::source_unusable) ++no_source_;
    if (failure.code == smtp::Errc::network_unreachable) ++no_network_;
    if (failure.code == smtp::Errc::loop) {
        // RFC 5321 §5.1. In clear text the name may be forged: of a host that must prove itself it is no last
        // word.
        ourselves_ = true;
        if (tls != smtp::TlsUse::required) ++loops_;
    }
    if (failure.code == smtp::Errc::reply_negative && failure.reply->permanent()) {
        ++refused_us_;
        if (never_takes_mail(*failure.reply)) ++never_;
    }
    if (verdict.held) {
        lacks(host, verdict, seen.evidence.encrypted);
        return;
    }
    reason_code_ = verdict.reason_code;
    status_ = failure.reply ? status_of(*failure.reply) : "4.4.1";
    if (status_.starts_with('5')) status_[0] = '4';  // D-21: a greeting refuses us, not the mail
    may_pass_ = true;
}

void HopFindings::noted(const std::string& host, const smtp::Failure& failure) {
    if (failure.reply) {
        detail.mx_host = host;
        detail.diagnostic = failure.reply->text();
    }
    if (!failure.dialogue.empty()) detail.dialogue = failure.dialogue;
}

void HopFindings::unfit(const std::string& endpoint, const HostPlan& host, const Verdict& verdict,
                        bool encrypted) {
    tell(endpoint + ": " + verdict.sentence);
    lacks(host, verdict, encrypted);
}

void HopFindings::wants_ptr(const std::string& endpoint) {
    ipv4_only_ = true;
    tell(endpoint + ": it wants a PTR record for our IPv6 address; trying IPv4");
}

void HopFindings::ran_out_of_time(std::chrono::seconds budget, const std::string& domain) {
    late_ = may_pass_ = true;
    tell("the " + std::to_string(budget.count()) + " seconds of one attempt were over before every host of " +
         domain + " was looked up and tried");
}

void HopFindings::policy_changed(const std::string& domain) {
    HopFindings fresh;
    fresh.detail = std::move(detail);
    fresh.sentences_ = sentences_;
    fresh.skipped_ = skipped_;
    fresh.ipv4_only_ = ipv4_only_;
    *this = std::move(fresh);
    tell("the MTA-STS policy of " + domain + " has changed, as a new fetch shows: the attempt begins again");
}

bool HopFindings::held_by_cached_sts(const HopPlan& plan) const {
    // A policy that was fetched for this attempt is as new as can be.
    return held_by_ && plan.sts && !plan.sts->fresh && !held_by_->override_ && held_by_->sts &&
           held_by_->sts->policy.mode == sts::Mode::enforce;
}

std::string HopFindings::sentences(const HopPlan& plan) const {
    std::string text;
    std::size_t told = 0;
    for (const auto& sentence : detail.hosts) {
        if (told > 0 && text.size() + sentence.size() > max_text) break;
        text += (text.empty() ? "" : "; ") + sentence;
        ++told;
    }
    if (sentences_ > told) text += "; and " + std::to_string(sentences_ - told) + " more";
    if (plan.hosts.left_out > 0)
        text += "; " + std::to_string(plan.hosts.left_out) +
                " further MX hosts are beyond the number that is used";
    return text;
}

// By what is demanded of a host; another host that was away is not what to mend first.
queue::HopFailure HopFindings::held(queue::HopFailure hop_failure, const HopPlan& plan) const {
    hop_failure.reason_code = held_code_;
    if (const std::string move = whose_move(*held_by_); !move.empty()) hop_failure.text += "; " + move;
    if (!held_by_->requiretls) {
        if (lacking_ > 0) hop_failure.status = not_met;
        return hop_failure;
    }
    // RFC 8689 §4.2.1. A host that was not reached might have had what is demanded (D-19).
    const bool all = lacking_ >= hosts_ && !may_pass_ && hosts_ == plan.hosts.candidates.size();
    const bool no_tls = without_tls_ == lacking_;
    hop_failure.permanent = all;
    hop_failure.status = std::string(all ? "5" : "4") + (no_tls ? ".7.10" : ".7.30");
    return hop_failure;
}

queue::HopFailure HopFindings::failure(const HopPlan& plan) const {
    queue::HopFailure hop_failure{false, status_.empty() ? "4.4.1" : status_, sentences(plan)};
    hop_failure.reason_code = reason_code_;
    hop_failure.left_alone = skipped_;
    const std::string& domain = plan.domain;
    if (held_by_) return held(std::move(hop_failure), plan);
    const bool loop_at_best = loops_ > 0 && hosts_ == 1;
    if (ourselves_ && (addresses_tried_ == loops_ || loop_at_best)) {
        if (loops_ == 0)
            hop_failure.text =
                (plan.hosts.candidates.front().host ? "the best MX host of " + domain : domain) +
                " is this host itself: mail would loop";
        hop_failure.permanent = true;
        hop_failure.status = "5.4.6";
        hop_failure.reason_code = ReasonCode::loop;
        return unless_doubted(plan, std::move(hop_failure));
    }
    if (addresses_tried_ == 0 && !may_pass_ && plan.hosts.left_out == 0) {
        // Every look-up answered, and no host has an address (RFC 5321 §5.1; SMTP-28, SMTP-31).
        hop_failure.permanent = true;
        hop_failure.status = "5.4.4";
        return unless_doubted(plan, std::move(hop_failure));
    }
    if (no_source_ > 0 && no_source_ == addresses_tried_) {
        hop_failure.status = "4.3.5";
        hop_failure.reason_code = ReasonCode::source_unusable;
        hop_failure.text +=
            "; nothing is known against " + domain +
            ": the administrator of this relay must set a source address that this machine has";
        return hop_failure;
    }
    if (no_network_ > 0 && no_network_ == addresses_tried_) {
        hop_failure.status = "4.4.1";
        hop_failure.reason_code = ReasonCode::network_unreachable;
        hop_failure.text +=
            "; nothing is known against " + domain +
            ": this machine has no way to any of its hosts; its administrator must mend the network";
        return hop_failure;
    }
    const bool every_host = hosts_ == plan.hosts.candidates.size() && !skipped_;
    if (never_ > 0 && never_ == addresses_tried_ && every_host) {
        hop_failure.permanent = true;
        hop_failure.status = "5.3.2";
        hop_failure.reason_code = ReasonCode::takes_no_mail;
        hop_failure.text += "; every MX host of " + domain +
                            " says that it never takes mail (RFC 7504): the administrator of " + domain +
                            " must name hosts that do";
        return unless_doubted(plan, std::move(hop_failure));
    }
    if (refused_us_ > 0 && refused_us_ == addresses_tried_) {
        hop_failure.reason_code = ReasonCode::greeting_refused;
        hop_failure.text +=
            "; every host of " + domain +
            " turns this relay away before any mail is offered, as block lists make them do; the "
            "administrator of this relay must find out why (the replies above say where to ask)";
    }
    return hop_failure;
}

}  // namespace sternpost::delivery
