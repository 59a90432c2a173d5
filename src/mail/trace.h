// Trace information (RFC 5321 §4.4): the Received field that each acceptance puts on top.
#pragma once

#include <string>
#include <string_view>

#include "util/clock.h"

namespace sternpost::mail {

/// What a Received field says. Empty strings: the clause is left out.
struct Received {
    std::string from;      // `mail.example ([192.0.2.1])`, or `bob (uid 1000)` for a local submission
    std::string by;        // our host name
    std::string with;      // SMTP, ESMTP, ESMTPS … (RFC 3848), `local`
    std::string id;        // the queue id
    std::string for_path;  // without brackets; only with exactly one recipient (RFC 5321 §7.2), and in ASCII
    std::string tls;       // the cipher suite by IANA's name (RFC 8314 §4.3); empty: it came in clear
    std::string tls_version;  // `TLSv1.3`, for a comment next to it
    WallTime at;

    /// The whole field, folded, with its CRLF.
    std::string field() const;
};

}  // namespace sternpost::mail
