// An MX host on its socket: runs MxDialogue, keeps what it takes.
#pragma once

#include <functional>

#include "lab/connection.h"
#include "lab/sightings.h"
#include "lab/world.h"

namespace sternpost::lab {

/// Runs one session to its end. All references outlive it.
asio::awaitable<void> serve_mx(asio::ip::tcp::socket socket, const std::string& name, const MxHost& host,
                               Identities& identities, Sightings& sightings,
                               const std::function<void(const Mail&)>& on_mail);

}  // namespace sternpost::lab
