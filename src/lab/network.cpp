#include "lab/network.h"

#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>

#include "util/file.h"

namespace sternpost::lab {
namespace {

util::Result<void> write_once(const char* path, const std::string& text) {
    const util::Fd fd(::open(path, O_WRONLY | O_CLOEXEC));
    if (!fd || ::write(fd.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size()))
        return fail(util::Errc::io, std::string("cannot write ") + path + ": " + util::errno_text(errno));
    return {};
}

util::Result<void> raise_loopback() {
    const util::Fd fd(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    ifreq request{};
    std::memcpy(request.ifr_name, "lo", 3);
    if (!fd || ::ioctl(fd.get(), SIOCGIFFLAGS, &request) != 0)
        return fail(util::Errc::io, "cannot find loopback: " + util::errno_text(errno));
    request.ifr_flags = static_cast<short>(request.ifr_flags | IFF_UP);
    if (::ioctl(fd.get(), SIOCSIFFLAGS, &request) != 0)
        return fail(util::Errc::io, "cannot bring loopback up: " + util::errno_text(errno));
    return {};
}

}  // namespace

util::Result<void> enter_own_network() {
    const uid_t uid = ::geteuid();
    const gid_t gid = ::getegid();
    if (::unshare(CLONE_NEWNET) == 0) return raise_loopback();
    if (::unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0)
        return fail(util::Errc::io, "no network namespace: " + util::errno_text(errno));
    const std::string user = std::to_string(uid) + " " + std::to_string(uid) + " 1";
    const std::string group = std::to_string(gid) + " " + std::to_string(gid) + " 1";
    if (auto done = write_once("/proc/self/setgroups", "deny"); !done)
        return done;  // before gid_map: user_namespaces(7)
    if (auto done = write_once("/proc/self/uid_map", user); !done) return done;
    if (auto done = write_once("/proc/self/gid_map", group); !done) return done;
    return raise_loopback();
}

bool own_network_allowed() {
    const pid_t child = ::fork();
    if (child == 0) ::_exit(enter_own_network() ? 0 : 1);
    int status = 0;
    while (child > 0 && ::waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    return child > 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

}  // namespace sternpost::lab
