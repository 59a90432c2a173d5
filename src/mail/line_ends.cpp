#include "mail/line_ends.h"

namespace sternpost::mail {

void LineEnds::feed(std::string_view octets, std::string& out) {
    while (!octets.empty()) {
        if (crs_ > 0) {
            if (octets.front() == '\r' && crs_ < max_crs) {
                ++crs_;
                octets.remove_prefix(1);
                continue;
            }
            const bool one = octets.front() == '\n';
            for (std::size_t i = 0; i < (one ? 1 : crs_); ++i) out += "\r\n";
            crs_ = 0;
            in_line_ = false;
            if (one) octets.remove_prefix(1);
            continue;
        }
        const std::string_view run = octets.substr(0, octets.find_first_of("\r\n"));
        out += run;
        in_line_ |= !run.empty();
        octets.remove_prefix(run.size());
        if (octets.empty()) return;
        if (octets.front() == '\r') {
            crs_ = 1;
        } else {
            out += "\r\n";
            in_line_ = false;
        }
        octets.remove_prefix(1);
    }
}

void LineEnds::finish(std::string& out) {
    if (crs_ == 0 && in_line_) crs_ = 1;
    for (; crs_ > 0; --crs_) out += "\r\n";
    in_line_ = false;
}

}  // namespace sternpost::mail
