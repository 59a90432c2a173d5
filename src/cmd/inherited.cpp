#include "cmd/inherited.h"

#include <netinet/in.h>
#include <sys/socket.h>
#include <systemd/sd-daemon.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>

#include "dns/resolv_conf.h"

namespace sternpost::cmd {
namespace {

std::optional<dns::Server> place_of(int socket) {
    sockaddr_storage name{};
    socklen_t size = sizeof name;
    if (::getsockname(socket, reinterpret_cast<sockaddr*>(&name), &size) != 0) return std::nullopt;
    if (name.ss_family == AF_INET) {
        sockaddr_in v4{};
        std::memcpy(&v4, &name, sizeof v4);
        std::array<std::uint8_t, 4> octets{};
        std::memcpy(octets.data(), &v4.sin_addr, octets.size());
        return dns::Server{dns::Address::v4(octets), ntohs(v4.sin_port)};
    }
    if (name.ss_family == AF_INET6) {
        sockaddr_in6 v6{};
        std::memcpy(&v6, &name, sizeof v6);
        std::array<std::uint8_t, 16> octets{};
        std::memcpy(octets.data(), &v6.sin6_addr, octets.size());
        return dns::Server{dns::Address::v6(octets), ntohs(v6.sin6_port)};
    }
    return std::nullopt;
}

}  // namespace

std::map<std::string, util::Fd> inherited_sockets() {
    std::map<std::string, util::Fd> out;
    const int count = sd_listen_fds(1);
    for (int n = 0; n < count; ++n) {
        util::Fd socket(SD_LISTEN_FDS_START + n);
        if (sd_is_socket(socket.get(), AF_UNSPEC, SOCK_STREAM, 1) <= 0) continue;
        if (const auto place = place_of(socket.get())) out.emplace(place->text(), std::move(socket));
    }
    return out;
}

}  // namespace sternpost::cmd
