// From root to an unprivileged account, for good.
#pragma once

#include <string>

#include "util/result.h"

namespace sternpost::util {

struct Account {
    std::uint32_t uid = 0;
    std::uint32_t gid = 0;
};

/// The account of that name; not_found.
Result<Account> account(const std::string& user);
/// The group of that name; not_found.
Result<std::uint32_t> group(const std::string& name);

/// Becomes `account` (with its supplementary groups), for good. Only as root, before there are threads.
Result<void> become(const std::string& user, const Account& account);
/// Gives up every capability (a service manager may have lent one), also for programs started later. Before
/// there are threads.
Result<void> drop_capabilities();

}  // namespace sternpost::util
