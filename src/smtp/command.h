// Commands to octets. No CR, LF or NUL can get inside: what goes in are parsed values.
#pragma once

#include <string>

#include "mail/envelope.h"
#include "smtp/extensions.h"

namespace sternpost::smtp {

/// `EHLO name` and its kin, without CRLF.
std::string ehlo(std::string_view name);
std::string helo(std::string_view name);
/// MAIL FROM with the parameters that `offered` allows and the message needs (RFC 5321 §4.1.1.2). `size`:
/// octets of header and body with CRLF, stuffing dots not counted (RFC 1870 §5). Domains go as A-labels
/// unless the transaction has SMTPUTF8 (`envelope.smtputf8`, where it is offered; delivery/adapt says when).
std::string mail_from(const mail::Envelope& envelope, std::uint64_t size, bool eight_bit,
                      const Extensions& offered);
/// RCPT TO; DSN parameters only where the host has DSN (RFC 3461 §5.2.1). `smtputf8`: MAIL said SMTPUTF8.
std::string rcpt_to(const mail::Recipient& recipient, bool smtputf8, const Extensions& offered);

}  // namespace sternpost::smtp
