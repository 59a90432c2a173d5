// The one decision: what is demanded of an MX host, what was observed of it, and whether it may have the
// message. Pure.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "dns/name.h"
#include "smtp/client.h"
#include "store/results.h"
#include "sts/policy.h"
#include "tls/dane.h"
#include "tls/verify.h"
#include "tlsrpt/result_type.h"

namespace sternpost::delivery {

/// What an administrator can demand of a host, by an override or on a route.
enum class TlsLevel {
    none,     // no STARTTLS, mail goes in clear
    may,      // encrypt where it is offered, demand nothing
    encrypt,  // TLS, whoever the host may be
    verify,   // TLS, and a certificate that is valid for the MX host's name
    dane,     // usable TLSA records under a secure MX RRset, or the mail waits (DANE-27)
    sts,      // an MTA-STS policy, kept as in mode enforce, or the mail waits
};
std::string_view name_of(TlsLevel level);
std::optional<TlsLevel> level_of(std::string_view name);

/// An override in force for the host at hand. It stands in the place of the domain's policies.
struct OverrideDemand {
    TlsLevel level = TlsLevel::may;
    std::string scope;  // as it was given: `example.com`, `.example.com`, `mx:mx1.example.net`
    std::string reason;
    std::string author;
    WallTime expires{};  // the epoch: never
};

/// The MTA-STS policy in force for the domain, if there is one (RFC 8461 §5).
struct StsDemand {
    dns::PolicyDomain domain;
    sts::Policy policy;
    std::string id;
    std::string text;  // as served
};

enum class DaneState {
    absent,    // no secure TLSA records: the zone is not signed, or proves that there are none
    unusable,  // there are some, and none that can authenticate: TLS is demanded, unauthenticated (RFC 7672
               // §2.2)
    usable,
    failed,  // a look-up on the way to them failed: the host is out of reach (RFC 7672 §2.1.2)
};

struct DaneDemand {
    DaneState state = DaneState::absent;
    std::optional<tls::DaneReference> reference;  // when usable
    std::string policy_domain;                    // the TLSA base domain
    std::vector<dns::Tlsa> records;               // as published
    std::string trouble;                          // when failed
};

/// How the MX host's name is known.
enum class NameTrust {
    insecure,    // by a DNS answer that anyone could have forged
    dnssec,      // by a secure MX RRset
    configured,  // the administrator wrote it
};

/// What is demanded of one MX host for messages of one kind.
struct Requirement {
    std::string domain;               // the recipient's, or the route's; for sentences and outcomes
    std::optional<dns::MxHost> host;  // none: an address literal, for which no policy exists (STS-55)
    NameTrust name_trust = NameTrust::insecure;
    std::optional<StsDemand> sts;
    DaneDemand dane;
    std::optional<OverrideDemand> override_;
    std::optional<TlsLevel> route_level;  // on top of what the route's domain demands
    bool requiretls = false;              // RFC 8689 §4.2.1
    bool tls_optional = false;            // `TLS-Required: No`, reports (RFC 8689 §4.2.2, RFC 8460 §3)
    bool opportunistic_tls = true;        // use STARTTLS where it is offered; nothing is demanded
    bool fall_back_to_clear = true;       // after TLS that failed, where nothing is demanded
    bool require_both = false;            // DANE and an enforced MTA-STS policy, not the former alone (D-08)

    /// Whether DANE, MTA-STS or a level forbids clear text: then STARTTLS must be there and is strict.
    bool tls_demanded() const;
    /// Whether a fresh connection in clear text may follow TLS that failed (TLS-13).
    bool clear_text_allowed() const { return fall_back_to_clear && !tls_demanded(); }
    /// How the session is to be opened.
    smtp::TlsUse tls_use() const;
    /// What the handshake is judged by.
    std::optional<tls::DaneReference> dane_reference() const;
    /// What decides, for logs: `override/verify`, `dane`, `dane/host-only`, `dane/unusable`, `sts/enforce`,
    /// `sts/testing`, `none`, with `+requiretls` where the message demands it.
    std::string label() const;
};

/// What is known of the host so far.
struct Observation {
    enum class Kind {
        not_connected,  // only its name, its policies and its TLSA records are known
        no_session,     // the session could not be opened: `failure` says where it ended
        session,        // it is open: `evidence` says what it proved
    };
    Kind kind = Kind::not_connected;
    std::optional<smtp::Failure> failure;
    tls::Evidence evidence;
    bool requiretls_offered = false;  // inside TLS (RFC 8689 §4.2.1)
    std::optional<smtp::Failure>
        starttls_refusal;  // the session is in clear since STARTTLS or the handshake failed

    static Observation of_name() { return {}; }
    static Observation of_failure(smtp::Failure failure);
    static Observation of_session(tls::Evidence evidence, bool requiretls_offered = false,
                                  std::optional<smtp::Failure> starttls_refusal = std::nullopt);
};

/// How one policy was met.
struct Finding {
    store::PolicyType policy = store::PolicyType::no_policy_found;
    store::OutcomeCount count = store::OutcomeCount::success;
    std::optional<tlsrpt::ResultType> result_type;  // RFC 8460 §4.3
    store::ReasonCode reason_code = store::ReasonCode::none;
};

struct Verdict {
    bool go = true;     // MAIL may be said to this host (of_session), or it may be contacted (of_name)
    bool held = false;  // not go, by what is demanded: not because the host is out of reach
    std::optional<tlsrpt::ResultType>
        result_type;  // what fails the policy, also where mail goes all the same
    store::ReasonCode reason_code = store::ReasonCode::none;
    std::string sentence;        // for people: what happened, by which rule; empty when all is well
    bool by_requiretls = false;  // it is the message that demands what is missing
    bool relaxed = false;        // an override, or `TLS-Required: No`, let go what a policy would have held
};

/// Whether a byte of a message may go to the host. There is no second place that decides.
Verdict decide(const Requirement& requirement, const Observation& observation);

/// What a TLS report has to say of it, an entry a policy that applied (RFC 8460 §4.2, §4.3; D-08). Overrides
/// and the message's own wishes change nothing in it, since it is the domain's policy that is reported on.
std::vector<Finding> findings(const Requirement& requirement, const Observation& observation);

/// The reason that would have held the mail if the domain's policy, or for a domain without one a policy
/// that lists every host, had been enforced. none: nothing.
store::ReasonCode if_enforced(const Requirement& requirement, const Observation& observation);

/// Whose move it is after `decide` said no for every host: for the end of a sentence.
std::string whose_move(const Requirement& requirement);

/// `; an override ("why", by whom, until when) …`: how the override in force came about; empty without one.
std::string override_text(const OverrideDemand& override_demand);

}  // namespace sternpost::delivery
