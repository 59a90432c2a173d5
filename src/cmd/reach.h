// How the configuration says that programs reach the DNS and the world.
#pragma once

#include <optional>

#include "config/options.h"
#include "dns/gate.h"
#include "dns/ldns_resolver.h"
#include "mail/address.h"

namespace sternpost::cmd {

dns::ResolverOptions resolver_of(const config::Settings& settings);
/// Where connections of this host may go; `allow_special` is set for each use.
dns::Gate gate_of(const config::Settings& settings);
std::optional<mail::Mailbox> admin_of(const config::Settings& settings);

}  // namespace sternpost::cmd
