// What the latest EHLO reply offered (RFC 5321 §4.1.1.1).
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "smtp/reply.h"

namespace sternpost::smtp {

struct Extensions {
    bool esmtp = false;  // EHLO was accepted; false after HELO
    bool starttls = false;
    bool pipelining = false;
    bool eight_bit_mime = false;
    bool dsn = false;
    bool smtputf8 = false;
    bool requiretls = false;
    bool enhanced_status_codes = false;
    bool size = false;
    std::uint64_t size_limit = 0;  // 0: none stated (RFC 1870 §4)
    std::string greeting_name;     // the name the host gave itself

    /// Reads a positive EHLO reply; keywords match whole and whatever their case (TLS-15).
    static Extensions parse(const Reply& ehlo);
};

}  // namespace sternpost::smtp
