// The words of a client's command line (RFC 5321 §4.1.2, RFC 3461 §4). Pure.
#pragma once

#include <cstddef>
#include <optional>
#include <string_view>

#include "mail/envelope.h"

namespace sternpost::smtp {

constexpr std::size_t max_envid = 100;  // RFC 3461 §4.4

/// What the extensions on offer add to a command line: SIZE 26 (RFC 1870 §3), BODY 17 (RFC 6152 names no
/// number), SMTPUTF8 10 (RFC 6531 §3.1), REQUIRETLS 11 (RFC 8689 §2), RET and ENVID 116; to RCPT, NOTIFY and
/// ORCPT what makes 1036 octets of it (RFC 3461 §4).
std::size_t line_limit(std::string_view line);

/// NEVER alone, or a list of the others, each once (RFC 3461 §4.1).
std::optional<mail::Notify> parse_notify(std::string_view value);

/// `type;xtext` (RFC 3461 §4.2); of the type utf-8 the address has a coding of its own (RFC 6533 §3), and is
/// octets in UTF-8 where the message has SMTPUTF8.
bool orcpt_ok(std::string_view value, bool utf8);

/// Whether the bare keyword SMTPUTF8 is among MAIL's parameters: the path before them is read by it.
bool asks_for_utf8(std::string_view parameters);

struct PathArgument {
    std::string_view path;        // between the angle brackets
    std::string_view parameters;  // after them
};

/// `FROM:<path> parameters` or `TO:…` (RFC 5321 §4.1.2). Deviates: blanks after the colon are tolerated,
/// since many programs write them and the grammar leaves no other reading.
std::optional<PathArgument> path_argument(std::string_view rest, std::string_view keyword);

/// Domain or address-literal of RFC 5321 §4.1.1.1, loosely: what may stand in a Received field without
/// quoting. Whether the name is the client's is no reason to refuse it (RFC 5321 §4.1.4).
bool helo_name_ok(std::string_view name);

/// A browser that was led to post a form to us speaks commands in its body: those must not be reached.
bool is_http(std::string_view line);

}  // namespace sternpost::smtp
