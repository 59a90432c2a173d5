#include "mail/trace.h"

namespace sternpost::mail {

std::string Received::field() const {
    std::string out = "Received: from " + from + "\r\n by " + by + " (Sternpost) with " + with + " id " + id;
    if (!for_path.empty()) out += "\r\n for <" + for_path + ">";
    if (!tls.empty()) out += "\r\n tls " + tls + " (" + tls_version + ")";
    return out + ";\r\n " + rfc5322_date(at) + "\r\n";
}

}  // namespace sternpost::mail
