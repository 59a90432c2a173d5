// The one decision: what is demanded of an MX host, what was observed of it, and whether it may have the
// message. Pure.
#pragma once

#include <optional>
#include <string>

#include "dns/name.h"
#include "smtp/client.h"
#include "sts/policy.h"
#include "tls/verify.h"
#include "tlsrpt/result_type.h"

namespace sternpost::delivery {

/// The MTA-STS policy in force for the domain, if there is one (RFC 8461 §5).
struct StsDemand {
    dns::PolicyDomain domain;
    sts::Policy policy;
    std::string id;
};

/// What is demanded of one MX host. DANE, REQUIRETLS and the administrator's overrides become further members
/// here.
struct Requirement {
    std::optional<dns::MxHost> host;  // none: an address literal, for which no policy exists (STS-55)
    std::optional<StsDemand> sts;
    bool opportunistic_tls = true;  // use STARTTLS where it is offered; nothing is demanded

    /// Whether anything but success forbids the message to go (mode enforce).
    bool enforced() const { return sts && sts->policy.mode == sts::Mode::enforce; }
    /// How the session is to be opened.
    bool clear_text_allowed() const { return !enforced(); }
    /// `sts/enforce`, `sts/testing`, `sts/none`, `none`: for logs.
    std::string label() const;
};

/// What is known of the host so far.
struct Observation {
    enum class Kind {
        not_connected,  // only its name is known
        no_session,     // the session could not be opened: `failure` says where it ended
        session,        // it is open: `evidence` says what it proved
    };
    Kind kind = Kind::not_connected;
    std::optional<smtp::Failure> failure;
    tls::Evidence evidence;

    static Observation of_name() { return {}; }
    static Observation of_failure(smtp::Failure failure);
    static Observation of_session(tls::Evidence evidence);
};

struct Verdict {
    bool go = true;  // MAIL may be said to this host (of_session), or it may be contacted (of_name)
    std::optional<tlsrpt::ResultType>
        result_type;          // what fails the policy, in mode testing too (RFC 8460 §4.3)
    std::string reason_code;  // for programs: sts-mx-not-listed, starttls-not-offered, X509 error names …
    std::string sentence;     // for people: what happened, by which rule; empty when all is well
};

/// Whether a byte of a message may go to the host. There is no second place that decides.
Verdict decide(const Requirement& requirement, const Observation& observation);

/// Whose move it is after `decide` said no for every host: for the end of a sentence.
std::string whose_move(const Requirement& requirement);

}  // namespace sternpost::delivery
