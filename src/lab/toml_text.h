// How a value of a scenario or a check is shown to its author.
#pragma once

#include <toml++/toml.h>

#include <string>

namespace sternpost::lab {

/// As TOML has it, at most 80 octets.
std::string shown(const toml::node& node);

}  // namespace sternpost::lab
