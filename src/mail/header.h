// Header fields: found, folded, made. Works on octets with CRLF line ends.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "util/clock.h"
#include "util/random.h"

namespace sternpost::mail {

struct Field {
    std::string_view name;   // as written, without the colon
    std::string_view value;  // raw, folds and all, without the final CRLF
    std::string_view whole;  // the field's octets with its final CRLF
};

/// The header of a message, cut into its fields; views into the text given.
struct Header {
    std::vector<Field> fields;
    std::size_t end = 0;  // offset of what follows the empty line (the body), or of what is no header field
    bool separated = false;  // there was an empty line

    const Field* find(std::string_view name) const;  // the first, or null
    std::size_t count(std::string_view name) const;
};

/// Reads fields until the empty line or until a line that is none (RFC 5322 §2.2).
Header read_header(std::string_view message);

/// A field's value without folds, comments kept, outer blanks gone (RFC 5322 §2.2.3).
std::string unfolded(std::string_view value);

/// The same without comments too: what is left of `No (not needed)` is `No` (RFC 5322 §3.2.2).
std::string without_comments(std::string_view value);

/// The addr-specs in an address-list field (To, Cc …), groups opened, comments and display names dropped (RFC
/// 5322 §3.4). Each as written (`a@b`, or `a` where there is no domain). nullopt: not an address list.
std::optional<std::vector<std::string>> addresses(std::string_view value);

/// `<time.random@host>`, without the brackets (RFC 5322 §3.6.4).
std::string make_message_id(WallTime now, Random& random, std::string_view host);

/// `Name: value`, folded at blanks before 78 octets where there are any, with CRLF (RFC 5322 §2.1.1).
std::string field(std::string_view name, std::string_view value);

}  // namespace sternpost::mail
