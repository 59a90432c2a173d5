// Whether an attacker on the path to a domain's hosts can read its mail or redirect it: what may be called
// protected. Pure. It says nothing of its own about what a host must prove: that is delivery/requirement.
#pragma once

#include <string>
#include <string_view>

#include "delivery/requirement.h"

namespace sternpost::delivery {

/// How far what is demanded of one host protects mail to it.
enum class Protection {
    full,           // the host must authenticate, and a forged DNS answer cannot put another one in its place
    redirectable,   // the host must authenticate, but a forged MX record leads to another host
    encrypted,      // TLS is demanded of whoever answers
    opportunistic,  // nothing is demanded
    unknown,        // its TLSA records cannot be looked up, and no mail goes there until they can
};

/// The truth table: tests/data/protection.txt.
Protection protection_of(const Requirement& requirement);
std::string_view name_of(Protection protection);
/// For people: why mail to the host is not protected; empty with `full`.
std::string_view sentence_of(Protection protection);

}  // namespace sternpost::delivery
