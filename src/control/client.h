// The command's side of the administrator's socket: one question, one answer, with a time limit.
#pragma once

#include <chrono>
#include <functional>
#include <optional>
#include <string>

#include "control/protocol.h"

namespace sternpost::control {

/// Asks the daemon, and waits for `timeout` for each sign of life. nullopt: no one listens at `path` (or it
/// may not be opened): the daemon is down, as far as this caller can tell. `progress`: told how far it is,
/// where the request asks for that. `part`: gets the parts of a long answer as they come; without it they are
/// put together. `most`: octets that are kept of the answer; of a longer one the text says so, and there is
/// no data.
std::optional<Answer> ask(const std::string& path, const json::object& request, std::chrono::seconds timeout,
                          const std::function<void(const json::object& so_far)>& progress = {},
                          const std::function<void(json::object part)>& part = {},
                          std::size_t most = max_answer);

}  // namespace sternpost::control
