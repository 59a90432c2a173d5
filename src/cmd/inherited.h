// Listening sockets that the service manager holds, so that no connection is refused while the daemon is
// restarted: sd_listen_fds(3).
#pragma once

#include <map>
#include <string>

#include "util/file.h"

namespace sternpost::cmd {

/// By address and port, as in listener.listen. What is no TCP socket that listens is left out. Once a
/// process: the environment says so no more.
std::map<std::string, util::Fd> inherited_sockets();

}  // namespace sternpost::cmd
