// What `sternpost doctor` finds on this machine itself.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "admin/host_checks.h"
#include "config/options.h"

namespace sternpost::cmd {

/// Clock, CA file, certificate, disk, permissions, maildrop. Reads files; asks no one.
std::vector<admin::HostFinding> local_checks(const config::Settings& settings);

/// How many records wait in the maildrop; nullopt: this user may not look.
std::optional<std::size_t> in_maildrop(const std::string& folder);

}  // namespace sternpost::cmd
