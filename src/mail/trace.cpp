#include "mail/trace.h"

namespace sternpost::mail {

std::string Received::field() const {
    std::string out = "Received: from " + from + "\r\n by " + by + " (Sternpost) with " + with + " id " + id;
    if (!for_path.empty()) out += "\r\n for <" + for_path + ">";
    return out + ";\r\n " + rfc5322_date(at) + "\r\n";
}

}  // namespace sternpost::mail
