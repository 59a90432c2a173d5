// An HTTPS host that serves one MTA-STS policy, well or badly.
#pragma once

#include "lab/connection.h"
#include "lab/sightings.h"
#include "lab/world.h"

namespace sternpost::lab {

/// Answers one request (HTTP/1.1, then closes). All references outlive it.
asio::awaitable<void> serve_policy(asio::ip::tcp::socket socket, const std::string& name, const World& world,
                                   Identities& identities, Sightings& sightings);

}  // namespace sternpost::lab
