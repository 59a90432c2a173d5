// What the reading verbs of the administrator's command answer from disk, while no daemon runs.
#pragma once

#include <boost/json.hpp>

#include "config/options.h"
#include "control/protocol.h"

namespace sternpost::cmd {

/// The request is the one that the daemon would get. Verbs that need the daemon are answered with
/// unavailable.
control::Answer offline(const config::Settings& settings, const boost::json::object& request);

}  // namespace sternpost::cmd
