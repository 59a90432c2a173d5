// Why a message is not taken, and what its sender hears: the reply code and the enhanced status of every
// refusal, for every way in. Pure.
#pragma once

#include <string>
#include <string_view>

#include "mail/address.h"
#include "store/errc.h"
#include "util/result.h"

namespace sternpost::intake {

enum class Errc {
    malformed,          // not the form in which a message is handed in
    incomplete,         // it ends too early, or its checksum differs
    too_big,            // beyond the message size limit
    bad_sender,         // the reverse-path is no address
    bad_sender_domain,  // its domain is not fully qualified
    bad_recipient,      // no address
    bad_domain,         // a recipient's domain is not fully qualified
    recipient_loop,     // a name of this host that leads back to itself
    needs_smtputf8,     // UTF-8 in an address, and SMTPUTF8 is not said
    bad_message,        // what no message may have
    bare_line_end,      // a CR or LF stands alone
    not_allowed,        // the sender may not write as this domain
    loop,               // too many Received fields
    no_space,           // the store is full for now
    limited,            // the sender has handed in as much as it may for now
    stopping,           // the daemon ends
    not_stored,         // the store could not take it
    refused,            // in the maildrop: not a file that the daemon touches
    io,                 // the operating system refused
};

template <class T>
using Result = Expected<T, Errc>;
using Refusal = Error<Errc>;

/// The same message may be taken another time.
bool may_pass(Errc code);
/// RFC 5321 §4.2.
int reply_code_of(Errc code);
/// RFC 3463.
std::string_view status_of(Errc code);
/// `553 5.1.3 why`.
std::string reply_of(const Refusal& refusal);

Refusal bad_sender(const Error<mail::Errc>& error);
Refusal bad_recipient(const Error<mail::Errc>& error);
Refusal not_stored(const Error<store::Errc>& error);

}  // namespace sternpost::intake
