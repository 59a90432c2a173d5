#include "store/mail_counts.h"

namespace sternpost::store {

std::string_view name_of(CountedBy by) {
    switch (by) {
        case CountedBy::all:
            return "all";
        case CountedBy::destination:
            return "destination";
        case CountedBy::sender:
            return "sender";
        case CountedBy::from_domain:
            return "from-domain";
        case CountedBy::error:
            return "error";
    }
    return "";
}

MailNumbers& MailNumbers::operator+=(const MailNumbers& more) {
    accepted += more.accepted;
    octets += more.octets;
    sent += more.sent;
    deferred += more.deferred;
    bounced += more.bounced;
    expired += more.expired;
    return *this;
}

}  // namespace sternpost::store
