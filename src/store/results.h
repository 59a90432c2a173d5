// What an attempt brings: of each recipient, of its next hop, and of each TLS session.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "store/message.h"
#include "store/reason_code.h"
#include "util/clock.h"

namespace sternpost::store {

enum class PolicyType : std::uint8_t { no_policy_found = 0, sts = 1, tlsa = 2 };  // RFC 8460 §4.4 policy-type
std::string_view name_of(PolicyType type);

/// How a TLS outcome enters a policy's totals (RFC 8460 §4.2). detail: a failure detail that is no session of
/// its own, such as a policy fetch that failed while mail went on (D-40).
enum class OutcomeCount : std::uint8_t { success = 0, failure = 1, detail = 2 };

/// What one session, or one host that could not be used, showed against one policy: the stuff of TLS reports
/// (RFC 8460 §4.3, §4.4), of `why` and of `policy whatif`. A session that two policies apply to gives two of
/// these.
struct TlsOutcome {
    WallTime at;         // when the session ended, or the look-up failed
    std::string domain;  // whose report counts it: recipient's or route's domain
    PolicyType policy_type = PolicyType::no_policy_found;
    std::string policy_domain;  // `domain`; of a tlsa policy its TLSA base domain (D-12)
    std::string
        policy_text;   // sts: as served, octet for octet; tlsa: a line `3 1 1 HEX` a record; else empty
    std::string mode;  // of an sts policy: enforce, testing, none
    OutcomeCount count = OutcomeCount::success;
    std::string result_type;  // RFC 8460 §4.3's name; empty: no failure
    std::string
        reason_code;      // the name of a ReasonCode, and more words where a library has them; no user data
    std::string mx_host;  // the rest is empty where there was none
    std::string helo;     // the name that the host gave itself
    std::string local_address;
    std::string remote_address;
    std::string tls;          // `TLSv1.3`
    std::string if_enforced;  // what would have held the mail if the policy, or any, had been enforced;
                              // empty: nothing
    bool operator==(const TlsOutcome&) const = default;
};

/// How an attempt went, for `why`: kept with its result, never with message text or secrets.
struct AttemptDetail {
    std::vector<std::string> hosts;  // a sentence a host that was tried or left out, in order; at most 20
    std::string dialogue;  // of the last session that failed: lines `C: …`, `S: …`; at most 4 KiB
    std::vector<TlsOutcome> outcomes;  // of the sessions of this attempt, each in one result only
    std::string mx_host;     // the last host whose reply ended a session before any recipient was named
    std::string diagnostic;  // that reply, `421 4.7.0 …`; empty: there was none
    bool operator==(const AttemptDetail&) const = default;
};

/// What became of one recipient in one attempt. state `queued` is a deferral.
struct DeliveryResult {
    MessageId message;
    std::uint32_t recipient = 0;  // index into NewMessage::recipients
    RecipientState state = RecipientState::queued;
    WallTime at;
    WallTime next_at;                // when deferred: not before this
    std::uint32_t tries = 0;         // attempts so far that blame the recipient
    std::uint32_t lost_replies = 0;  // replies to the final dot that were lost in a row, this one included
    std::string status;              // RFC 3463 code, `2.0.0`
    std::string text;                // the sentence for people
    std::string diagnostic;          // the remote reply, empty if none
    std::string mx_host;             // name and address, where a host was contacted
    std::string mx_address;
    std::string tls;          // `TLSv1.3`, empty: in clear
    std::string policy;       // `sts/enforce`, `none`
    std::string result_type;  // RFC 8460 §4.3's name for what was wrong with TLS; empty: nothing
    ReasonCode reason_code = ReasonCode::none;
    AttemptDetail detail;
    bool relayed = false;  // sent to a host without DSN: whoever wants to hear of success hears of it from
                           // us. Not kept: it matters at the moment that the result is recorded
};

/// A next hop that cannot take mail now: one row for all that wait for it.
struct HopState {
    std::string next_hop;
    WallTime at;
    WallTime next_at;            // no attempt before this; at == next_at with failures 0: it works again
    std::uint32_t failures = 0;  // in a row
    std::string status;
    std::string text;
    ReasonCode reason_code = ReasonCode::none;
    AttemptDetail detail;  // of the attempt that ended in this state
};

}  // namespace sternpost::store
