// What `config check` warns of.
#pragma once

#include <string>
#include <vector>

#include "config/options.h"

namespace sternpost::cmd {

/// What is allowed and may not be what its administrator wants, a sentence each. Opens what the configuration
/// names: certificate, keys, addresses.
std::vector<std::string> config_warnings(const config::Settings& settings);

}  // namespace sternpost::cmd
