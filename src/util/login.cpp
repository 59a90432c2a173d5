#include "util/login.h"

#include <pwd.h>

#include <array>

namespace sternpost::util {

std::optional<std::uint32_t> uid_of_login(const std::string& login) {
    std::array<char, 16384> buffer{};
    passwd entry{};
    passwd* found = nullptr;
    if (::getpwnam_r(login.c_str(), &entry, buffer.data(), buffer.size(), &found) != 0 || found == nullptr)
        return std::nullopt;
    return found->pw_uid;
}

}  // namespace sternpost::util
