#include "mail/line_ends.h"

namespace sternpost::mail {

void LineEnds::feed(std::string_view octets, std::string& out) {
    while (!octets.empty()) {
        if (after_cr_) {
            after_cr_ = in_line_ = false;
            out += "\r\n";
            if (octets.front() == '\n') octets.remove_prefix(1);
            continue;
        }
        const std::string_view run = octets.substr(0, octets.find_first_of("\r\n"));
        out += run;
        in_line_ |= !run.empty();
        octets.remove_prefix(run.size());
        if (octets.empty()) return;
        if (octets.front() == '\r') {
            after_cr_ = true;
        } else {
            out += "\r\n";
            in_line_ = false;
        }
        octets.remove_prefix(1);
    }
}

void LineEnds::finish(std::string& out) {
    if (after_cr_ || in_line_) out += "\r\n";
    after_cr_ = in_line_ = false;
}

}  // namespace sternpost::mail
