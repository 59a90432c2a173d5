// A network of the lab's own: a namespace where only loopback is, and every port is free.
#pragma once

#include "util/result.h"

namespace sternpost::lab {

/// Moves this process into a new network namespace (for an ordinary user: within a new user namespace, as the
/// same user) and brings its loopback up. Before there are threads. io: the machine does not allow it; the
/// process may be half-way in then, so try first.
util::Result<void> enter_own_network();

/// Whether that would work, tried in a child.
bool own_network_allowed();

}  // namespace sternpost::lab
