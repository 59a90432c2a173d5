// The command's side of the administrator's socket: one question, one answer, with a time limit.
#pragma once

#include <chrono>
#include <functional>
#include <optional>
#include <string>

#include "control/protocol.h"

namespace sternpost::control {

/// Asks the daemon, and waits for `timeout` for each sign of life. nullopt: nobody listens at `path` (or it
/// may not be opened): the daemon is down, as far as this caller can tell. `progress`: told how far it is,
/// where the request asks for that.
std::optional<Answer> ask(const std::string& path, const json::object& request, std::chrono::seconds timeout,
                          const std::function<void(const json::object& so_far)>& progress = {});

}  // namespace sternpost::control
