// The command's side of the administrator's socket: one question, one answer, with a time limit.
#pragma once

#include <chrono>
#include <optional>
#include <string>

#include "control/protocol.h"

namespace sternpost::control {

/// Asks the daemon. nullopt: nobody listens at `path` (or it may not be opened): the daemon is down, as far
/// as this caller can tell.
std::optional<Answer> ask(const std::string& path, const json::object& request, std::chrono::seconds timeout);

}  // namespace sternpost::control
