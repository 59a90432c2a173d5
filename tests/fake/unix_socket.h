// A connection to a UNIX socket, for tests that speak to the daemon's own.
#pragma once

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>

#include <string>

#include "util/file.h"

namespace sternpost::fake {

/// What does not come within five seconds never comes.
inline util::Fd connected_to(const std::string& path) {
    util::Fd out(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path.copy(address.sun_path, sizeof address.sun_path - 1);
    const timeval limit{5, 0};
    ::setsockopt(out.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    EXPECT_EQ(::connect(out.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
    return out;
}

}  // namespace sternpost::fake
