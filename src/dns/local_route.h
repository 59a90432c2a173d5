// Which addresses are this machine's own, by the kernel's routing tables.
#pragma once

#include "dns/record.h"

namespace sternpost::dns {

/// Whether packets to the address stay on this machine, or go to all of a network. Asks the kernel each time,
/// so that an interface address counts as soon as it is there; any thread may call. False where the kernel
/// has no answer.
bool is_local_route(const Address& address);

}  // namespace sternpost::dns
