// What is corrected in the header of originated mail, field by field (RFC 6409 §8; doc/submission.md). Pure.
// What is added or removed as a whole is header_filter's business.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace sternpost::mail {

/// The longest line that mail may have, without its CRLF (RFC 5322 §2.1.1).
constexpr std::size_t max_line = 998;

/// What is passed on for others may have longer ones, up to this. Ours: the RFC sets none.
constexpr std::size_t max_relayed_line = 1'048'576;

/// What was found in the fields of one message, and done about it.
struct Repairs {
    bool encoded = false;    // octets above 127 became ASCII (RFC 2047, RFC 2231)
    bool latin1 = false;     // some of them were not UTF-8, and were read as ISO 8859-1
    bool qualified = false;  // an address without a domain got one
    bool refolded = false;   // a line was too long
    bool utf8_address =
        false;             // a local-part is not ASCII: it stays, and the message needs SMTPUTF8 (RFC 6531)
    std::string too_long;  // the name of a field that has no form with short lines; empty: none

    bool lines = false;  // a line of the body was too long, and was encoded

    /// For the log: `encoded,latin1,qualified,refolded,lines`, those that apply, or `none`.
    std::string text() const;
    bool operator==(const Repairs&) const = default;
};

/// `whole` is a field with its CRLF. What needs nothing comes back octet for octet, and a second repair
/// changes nothing. `domain`: for addresses without one; empty: they stay.
std::string repaired(std::string_view whole, std::string_view domain, Repairs& repairs);

/// Whether it is plain at a glance, without any memory, that repaired() would change nothing of the field
/// `whole`. Most fields are so. False says nothing.
bool is_plainly_sound(std::string_view whole);

/// The field folded so that no line is longer than max_line, where its grammar allows it.
std::string shorter_lines(std::string_view whole, Repairs& repairs);

bool has_long_line(std::string_view text);  // CRLF line ends

}  // namespace sternpost::mail
