// What `sternpost doctor` finds on this machine itself.
#pragma once

#include <vector>

#include "admin/host_checks.h"
#include "config/options.h"

namespace sternpost::cmd {

/// Clock, CA file, certificate, disk, permissions, maildrop. Reads files; asks no one.
std::vector<admin::HostFinding> local_checks(const config::Settings& settings);

}  // namespace sternpost::cmd
