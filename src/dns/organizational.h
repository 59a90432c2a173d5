// Which organisation a domain belongs to, by the Public Suffix List.
#pragma once

#include <string>

#include "dns/name.h"

namespace sternpost::dns {

/// The registrable domain: `example.co.uk` of `mail.example.co.uk`; the domain itself where it is a public
/// suffix. By the list that libpsl was built with. Any thread.
std::string organizational_domain(const Domain& domain);

}  // namespace sternpost::dns
