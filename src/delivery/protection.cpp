#include "delivery/protection.h"

#include <algorithm>

namespace sternpost::delivery {
namespace {

// `names`: whether the MX host's name can be trusted, by DNSSEC or since the administrator wrote it.
Protection of_level(TlsLevel level, bool names) {
    switch (level) {
        case TlsLevel::none:
        case TlsLevel::may:
            return Protection::opportunistic;
        case TlsLevel::encrypt:
            return Protection::encrypted;
        case TlsLevel::verify:
        case TlsLevel::dane:
            return names ? Protection::full : Protection::redirectable;
        case TlsLevel::sts:
            return Protection::full;  // the policy's mx list names the hosts
    }
    return Protection::opportunistic;
}

Protection of_policies(const Requirement& r, bool names) {
    const bool listed = r.sts && r.sts->policy.mode == sts::Mode::enforce;
    switch (r.dane.state) {
        case DaneState::usable:
            return names || listed ? Protection::full : Protection::redirectable;
        case DaneState::failed:  // whatever they say, the policy holds
            return listed ? Protection::full : Protection::unknown;
        case DaneState::unusable:
            return listed ? Protection::full : Protection::encrypted;
        case DaneState::absent:
            return listed ? Protection::full : Protection::opportunistic;
    }
    return Protection::opportunistic;
}

}  // namespace

Protection protection_of(const Requirement& r) {
    const bool names = r.host && r.name_trust != NameTrust::insecure;
    Protection out = r.override_      ? of_level(r.override_->level, names)
                     : r.tls_optional ? Protection::opportunistic
                                      : of_policies(r, names);
    // What comes on top can only protect more: of the enumerators the smaller one does.
    if (r.route_level) out = std::min(out, of_level(*r.route_level, names));
    return out;
}

std::string_view name_of(Protection protection) {
    switch (protection) {
        case Protection::full:
            return "full";
        case Protection::redirectable:
            return "redirectable";
        case Protection::encrypted:
            return "encrypted";
        case Protection::opportunistic:
            return "opportunistic";
        case Protection::unknown:
            return "unknown";
    }
    return "";
}

std::string_view sentence_of(Protection protection) {
    switch (protection) {
        case Protection::full:
            return "";
        case Protection::redirectable:
            return "its name comes from MX records that DNSSEC does not secure, so a forged record leads to "
                   "another host";
        case Protection::encrypted:
            return "TLS is demanded, but the host need not prove who it is";
        case Protection::opportunistic:
            return "nothing is demanded of it, so an attacker on the way can read the mail";
        case Protection::unknown:
            return "its TLSA records cannot be looked up now, so its protection is unknown";
    }
    return "";
}

}  // namespace sternpost::delivery
