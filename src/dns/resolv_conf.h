// Which resolvers to ask: from the configuration, or from /etc/resolv.conf, read again when it changes.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "dns/record.h"
#include "util/clock.h"

namespace sternpost::dns {

struct Server {
    Address address;
    std::uint16_t port = 53;

    /// `192.0.2.1`, `192.0.2.1:5353`, `2001:db8::1`, `[2001:db8::1]:5353`.
    static Result<Server> parse(std::string_view text);
    std::string text() const;
    auto operator<=>(const Server&) const = default;
};

/// The `nameserver` lines of a resolv.conf(5); others and unreadable ones are skipped.
std::vector<Server> parse_resolv_conf(std::string_view content);

/// Whether AD from these servers may be believed by default: every one is on loopback, and none is 127.0.0.53
/// or 127.0.0.11, which forward over the network.
bool on_trusted_path(const std::vector<Server>& servers);

/// The servers in use. Looks at the file at most once a second.
class Servers {
  public:
    /// Not empty: these, for ever. Empty: those of `resolv_conf`, or 127.0.0.1 where it names none
    /// (resolv.conf(5)).
    Servers(std::vector<Server> configured, std::filesystem::path resolv_conf);
    const std::vector<Server>& current(SteadyTime now);

  private:
    std::vector<Server> servers_;
    std::filesystem::path resolv_conf_;  // empty when configured
    std::filesystem::file_time_type modified_{};
    std::optional<SteadyTime> looked_;
};

}  // namespace sternpost::dns
