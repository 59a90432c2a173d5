#include "util/privileges.h"

#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

#include "util/file.h"

namespace sternpost::util {
namespace {

// capset(2) has no wrapper in libc; libcap would be a dependency for one call.
bool drop_all() {
    __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
    __user_cap_data_struct data[2]{};
    return syscall(SYS_capset, &header, &data) == 0;
}

tl::unexpected<Error<Errc>> failed(const std::string& what) {
    return fail(Errc::io, what + ": " + errno_text(errno));
}

}  // namespace

Result<Account> account(const std::string& user) {
    const passwd* entry = getpwnam(user.c_str());
    if (entry == nullptr) return fail(Errc::not_found, "there is no account \"" + user + "\"");
    return Account{entry->pw_uid, entry->pw_gid};
}

Result<std::uint32_t> group(const std::string& name) {
    const ::group* entry = getgrnam(name.c_str());
    if (entry == nullptr) return fail(Errc::not_found, "there is no group \"" + name + "\"");
    return entry->gr_gid;
}

Result<void> become(const std::string& user, const Account& account) {
    if (initgroups(user.c_str(), account.gid) != 0) return failed("initgroups");
    if (setresgid(account.gid, account.gid, account.gid) != 0) return failed("setresgid");
    if (setresuid(account.uid, account.uid, account.uid) != 0) return failed("setresuid");
    return {};
}

Result<void> drop_capabilities() {
    if (!drop_all()) return failed("capset");
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return failed("prctl");
    return {};
}

}  // namespace sternpost::util
