// The running small internet: a World on its sockets, what it has seen, and the socket by which it is changed
// and looked at.
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <string>

#include "control/server.h"
#include "lab/connection.h"
#include "lab/dns.h"
#include "lab/scenario.h"
#include "lab/sightings.h"

namespace sternpost::lab {

namespace json = boost::json;

struct Ports {
    std::uint16_t dns = 53;
    std::uint16_t https = 443;
    std::uint16_t smtp = 25;
};

/// The name of the socket in the lab's folder.
inline constexpr const char* socket_name = "lab.sock";

/// Lives on one thread.
class Lab {
  public:
    /// `on_stop` is called when someone asks for the end. `folder` is absolute and exists.
    Lab(asio::io_context& context, Scenario scenario, Authority authority, std::filesystem::path folder,
        Log& log, std::function<void()> on_stop);

    /// Opens every socket, writes ca.pem and sternpost.toml and makes the folders that a sternpostd needs.
    /// After an error: stop().
    util::Result<void> start(Ports ports);
    asio::awaitable<void> stop();

  private:
    asio::awaitable<control::Answer> answer(json::object request, control::Caller caller);
    control::Answer set_value(const json::object& request);
    control::Answer show(const json::object& request) const;
    /// Hosts that are new, or that listen from now on or no more.
    util::Result<void> refresh();
    util::Result<void> refresh_door(std::map<std::string, std::unique_ptr<Door>>& doors,
                                    const std::string& name, const std::string& address, std::uint16_t port,
                                    bool listening, Door::Serve serve);
    void on_mail(const Mail& mail);

    asio::io_context& context_;
    Scenario scenario_;
    Identities identities_;
    std::filesystem::path folder_;
    Log& log_;
    std::function<void()> on_stop_;
    std::function<void(const Mail&)> on_mail_;
    Sightings sightings_;
    Ports ports_;
    std::unique_ptr<DnsServer> dns_;
    std::map<std::string, std::unique_ptr<Door>> mx_doors_;
    std::map<std::string, std::unique_ptr<Door>> policy_doors_;
    control::Server control_;
};

}  // namespace sternpost::lab
