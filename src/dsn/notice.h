// Delivery status notifications as text (RFC 3464, RFC 6522): a sentence for people, the fields for programs,
// the original.
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
    bool double_bounce = false;  // the original was a notice itself
};

/// The message, header and body, CRLF line ends. ASCII unless the original is not.
std::string compose(const NoticeRequest& request);

}  // namespace sternpost::dsn
