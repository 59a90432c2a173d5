// Delivery status notifications as text (RFC 3464, RFC 6522, RFC 6533): a sentence for people, the fields for
// programs, the original.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "mail/envelope.h"
#include "util/clock.h"

namespace sternpost::dsn {

enum class Action { failed, delayed, relayed };

/// One recipient that the notice speaks of.
struct RecipientStatus {
    mail::Recipient recipient;
    Action action = Action::failed;
    std::string status;      // RFC 3463 code
    std::string text;        // the sentence for people
    std::string remote_mta;  // the host contacted; empty: none
    std::string diagnostic;  // its reply, `550 5.1.1 no such user`; empty: none
    WallTime last_attempt;
    std::optional<WallTime> retry_until;  // of one that is delayed: when it is given up (RFC 3464 §2.3.8)
};

struct NoticeRequest {
    std::string reporting_host;  // our FQDN
    std::string to;              // the reverse-path of the original, or the administrator
    std::string queue_id;
    std::string message_id;             // for the notice itself, without brackets
    std::string envid;                  // of the original (xtext); empty: none
    std::string original_reverse_path;  // for people
    WallTime arrived;
    WallTime now;
    std::vector<RecipientStatus> recipients;
    std::string original;  // octets of the original: all of it, or its header
    bool original_whole = false;
    bool smtputf8 = false;  // it goes with SMTPUTF8: addresses stand in UTF-8 (RFC 6533 §4), also in `to`
    bool double_bounce = false;  // the original was a notice itself
};

/// The message, header and body, CRLF line ends. ASCII, but for what is said with `smtputf8`, and for an
/// original that is returned whole with 8-bit octets in its body.
std::string compose(const NoticeRequest& request);

/// An address in UTF-8 as ASCII, `j\x{F6}rg@example.com` (utf-8-addr-xtext of RFC 6533 §3).
std::string utf8_address_as_ascii(std::string_view address);

}  // namespace sternpost::dsn
