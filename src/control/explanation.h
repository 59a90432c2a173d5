// How the answer of `explain` looks in JSON; `lines` is for people.
#pragma once

#include <boost/json.hpp>

#include "delivery/explain.h"

namespace sternpost::control {

boost::json::object to_json(const delivery::Explanation& explanation);

}  // namespace sternpost::control
