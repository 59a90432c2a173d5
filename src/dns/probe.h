// Does the resolver really validate DNSSEC? Asked at start, now and then, and by `status` (RFC 7672 §2.1.1).
#pragma once

#include <string>

#include "dns/resolver.h"

namespace sternpost::dns {

/// Names whose answers tell. Both empty: no probe. A test network sets its own.
struct ProbeNames {
    std::string secure = "iana.org";          // its address records are signed: AD must come with them
    std::string bogus = "dnssec-failed.org";  // its signatures are wrong on purpose: it must not resolve
};

enum class Validation {
    not_probed,
    untrusted,   // the resolver is not one whose AD bit counts: DANE is not used at all
    validates,   // AD for the one, an error for the other
    does_not,    // it answers for the bogus name, or gives no AD for the secure one
    unanswered,  // nothing came back for the secure name: no one can say
};
std::string_view name_of(Validation validation);

struct ProbeResult {
    Validation validation = Validation::not_probed;
    std::string text;  // the sentence for people
};

/// Two look-ups. Never turns anything off by itself: who asks raises an alarm.
asio::awaitable<ProbeResult> probe(Resolver& resolver, ProbeNames names);

}  // namespace sternpost::dns
