// What a message's envelope says: paths and the parameters of MAIL and RCPT, as values.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "mail/address.h"

namespace sternpost::mail {

enum class BodyType : std::uint8_t { seven_bit = 0, eight_bit_mime = 1 };  // BODY= (RFC 6152)
enum class Ret : std::uint8_t { unspecified = 0, full = 1, hdrs = 2 };     // RET= (RFC 3461 §4.3)

/// NOTIFY= (RFC 3461 §4.1). Nothing set: the parameter was not given.
struct Notify {
    bool never = false;
    bool success = false;
    bool failure = false;
    bool delay = false;

    bool given() const { return never || success || failure || delay; }
    bool wants_failure() const { return failure || !given(); }  // RFC 3461 §5.2.6
    bool wants_delay() const { return delay || !given(); }      // RFC 3461 §5.2.5
    bool operator==(const Notify&) const = default;
};

struct Recipient {
    ForwardPath path;
    Notify notify;
    std::string orcpt;  // ORCPT's value as received, `rfc822;xtext`; empty: not given

    explicit Recipient(ForwardPath p) : path(std::move(p)) {}
    bool operator==(const Recipient&) const = default;
};

struct Envelope {
    ReversePath reverse_path;
    std::vector<Recipient> recipients;
    BodyType body = BodyType::seven_bit;
    Ret ret = Ret::unspecified;
    std::string envid;             // ENVID's value as received (xtext); empty: not given
    bool smtputf8 = false;         // RFC 6531
    bool requiretls = false;       // RFC 8689 §2
    bool tls_required_no = false;  // the header field `TLS-Required: No` (RFC 8689 §3)
    // What else the header showed on the way in, so that no one has to read it again to know where the
    // message can go.
    bool eight_bit_header = false;  // an octet above 127 is in it (RFC 6532)
    bool dkim_signed = false;       // it has a DKIM-Signature field, which a change would break
    bool originated =
        false;               // handed in here, or made here: ours to sign (D-36; DKIM-14). Else it is relayed
    std::string message_id;  // Message-ID's value with its brackets, at most 250 octets; empty: none

    bool operator==(const Envelope&) const = default;
};

}  // namespace sternpost::mail
