#include "dns/resolv_conf.h"

#include <algorithm>
#include <sstream>

#include "util/file.h"
#include "util/text.h"

namespace sternpost::dns {

Result<Server> Server::parse(std::string_view text) {
    std::string_view host = text;
    std::uint64_t port = 53;
    const auto read_port = [&](std::string_view digits) {
        port = decimal(digits).value_or(0);
        return port >= 1 && port <= 65535;
    };
    if (text.starts_with('[')) {
        const auto close = text.find(']');
        if (close == std::string_view::npos)
            return fail(Errc::bad_name, "not an address: " + printable(text));
        host = text.substr(1, close - 1);
        const auto rest = text.substr(close + 1);
        if (!rest.empty() && (!rest.starts_with(':') || !read_port(rest.substr(1))))
            return fail(Errc::bad_name, "not an address and port: " + printable(text));
    } else if (std::count(text.begin(), text.end(), ':') == 1) {
        const auto colon = text.find(':');
        host = text.substr(0, colon);
        if (!read_port(text.substr(colon + 1)))
            return fail(Errc::bad_name, "not an address and port: " + printable(text));
    }
    auto address = Address::parse(host);
    if (!address) return fail(std::move(address).error());
    return Server{*address, static_cast<std::uint16_t>(port)};
}

std::string Server::text() const {
    return (address.is_v6() ? "[" + address.text() + "]" : address.text()) + ":" + std::to_string(port);
}

std::vector<Server> parse_resolv_conf(std::string_view content) {
    std::vector<Server> out;
    std::istringstream lines{std::string(content)};
    for (std::string line; std::getline(lines, line);) {
        std::istringstream words(line);
        std::string keyword;
        std::string address;
        if (!(words >> keyword >> address) || keyword != "nameserver") continue;
        if (auto parsed = Address::parse(address)) out.push_back(Server{*parsed, 53});
    }
    return out;
}

bool on_trusted_path(const std::vector<Server>& servers) {
    static const Address systemd = Address::v4({127, 0, 0, 53});
    static const Address docker = Address::v4({127, 0, 0, 11});
    return !servers.empty() && std::all_of(servers.begin(), servers.end(), [](const Server& s) {
        return s.address.is_loopback() && s.address != systemd && s.address != docker;
    });
}

Servers::Servers(std::vector<Server> configured, std::filesystem::path resolv_conf)
    : servers_(std::move(configured)), resolv_conf_(servers_.empty() ? std::move(resolv_conf) : "") {}

const std::vector<Server>& Servers::current(SteadyTime now) {
    if (resolv_conf_.empty() || (looked_ && now - *looked_ < std::chrono::seconds(1))) return servers_;
    std::error_code ec;
    const auto modified = std::filesystem::last_write_time(resolv_conf_, ec);
    if (looked_ && !ec && modified == modified_) {
        looked_ = now;
        return servers_;
    }
    looked_ = now;
    if (!ec) modified_ = modified;
    const auto content = util::read_file(resolv_conf_, 65536);
    servers_ = content ? parse_resolv_conf(*content) : std::vector<Server>();
    if (servers_.empty()) servers_.push_back(Server{Address::v4({127, 0, 0, 1}), 53});
    return servers_;
}

}  // namespace sternpost::dns
