// A report as mail: multipart/report with a part for people and a part for programs (RFC 8460 §5.3). Pure.
#pragma once

#include <string>

#include "tlsrpt/report.h"

namespace sternpost::tlsrpt {

/// What travels: the JSON and its compressed form, made once for all places that it goes to.
struct Packed {
    std::string json;
    std::string gzip;
};
Packed pack(const Report& report);

struct Letter {
    std::string to;          // mailbox, as its address stands in the header
    std::string message_id;  // without brackets
    WallTime date;
};

/// Header and body, CRLF line ends, 7 bits.
std::string compose_text(const std::string& from, const std::string& subject, const std::string& text,
                         const Letter& letter);
std::string compose(const Report& report, const Packed& packed, const Letter& letter);

}  // namespace sternpost::tlsrpt
