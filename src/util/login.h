// Names of this machine's users.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace sternpost::util {

/// The uid of a login name, by the machine's user database; nullopt: there is no such user. Any thread.
std::optional<std::uint32_t> uid_of_login(const std::string& login);

}  // namespace sternpost::util
