// The lab's DNS: every question is answered with authority from the World, or failed as it says, over UDP and
// TCP.
#pragma once

#include <boost/asio/ip/udp.hpp>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "lab/connection.h"
#include "lab/sightings.h"
#include "lab/world.h"

namespace sternpost::lab {

/// The answer to one query; nullopt: none is sent (it is no query, or a time-out is asked for). `question`
/// says what was asked and answered. A UDP answer larger than the client takes is cut, with TC set.
std::optional<std::vector<std::uint8_t>> answer_query(const World& world, std::span<const std::uint8_t> query,
                                                      bool over_tcp, DnsQuestion& question);

/// Both sockets, on the lab's thread. References outlive it.
class DnsServer {
  public:
    DnsServer(asio::io_context& context, asio::ip::udp::endpoint endpoint, const World& world,
              Sightings& sightings, Log& log);
    /// io: the address is taken or may not be used.
    util::Result<void> open();
    asio::awaitable<void> stop();

  private:
    asio::awaitable<void> serve_udp();
    asio::awaitable<void> serve_tcp(asio::ip::tcp::socket socket);

    asio::ip::udp::endpoint endpoint_;
    const World& world_;
    Sightings& sightings_;
    asio::ip::udp::socket socket_;
    Door door_;
    TaskGroup tasks_;
};

}  // namespace sternpost::lab
