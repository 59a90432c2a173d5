#include "smtp/extensions.h"

#include "util/text.h"

namespace sternpost::smtp {

Extensions Extensions::parse(const Reply& ehlo) {
    Extensions out;
    out.esmtp = true;
    bool first = true;
    for (const std::string& line : ehlo.lines) {
        const auto words = split(trimmed(line), ' ');
        const std::string keyword = lowered(words.front());
        if (std::exchange(first, false)) {
            out.greeting_name = std::string(words.front());
            continue;
        }
        const bool bare = words.size() == 1;
        if (keyword == "starttls" && bare) out.starttls = true;  // `STARTTLS foo` is not it (TLS-15)
        if (keyword == "pipelining") out.pipelining = true;
        if (keyword == "8bitmime") out.eight_bit_mime = true;
        if (keyword == "dsn") out.dsn = true;
        if (keyword == "smtputf8") out.smtputf8 = true;
        if (keyword == "requiretls") out.requiretls = true;
        if (keyword == "enhancedstatuscodes") out.enhanced_status_codes = true;
        if (keyword == "size") {
            out.size = true;
            if (!bare) out.size_limit = decimal(words[1]).value_or(0);
        }
    }
    return out;
}

}  // namespace sternpost::smtp
