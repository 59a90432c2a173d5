// What the objects of a daemon that wait, draw lots or log are given: the world outside, which a test or the
// simulator can be.
#pragma once

#include <boost/asio/io_context.hpp>

#include "util/clock.h"
#include "util/log.h"
#include "util/random.h"
#include "util/timer.h"

namespace sternpost {

/// Of one thread. All of it outlives whoever is given it.
struct Runtime {
    asio::io_context& context;
    const Clock& clock;
    Timer& timer;
    Random& random;
    Log& log;
};

}  // namespace sternpost
