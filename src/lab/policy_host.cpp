#include "lab/policy_host.h"

#include <fmt/format.h>

#include <array>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "util/text.h"

namespace sternpost::lab {
namespace {

constexpr std::string_view policy_path = "/.well-known/mta-sts.txt";  // RFC 8461 §3.3
constexpr std::size_t max_head = 16384;
constexpr std::size_t oversize = 1UL << 20U;
constexpr auto patience = std::chrono::minutes(5);

Deadline soon() {
    return std::chrono::steady_clock::now() + patience;
}

std::string response(std::uint32_t status, const std::string& fields, const std::string& body) {
    return fmt::format("HTTP/1.1 {} {}\r\n{}Content-Length: {}\r\nConnection: close\r\n\r\n{}", status,
                       status == 200  ? "OK"
                       : status < 400 ? "Elsewhere"
                                      : "Trouble",
                       fields, body.size(), body);
}

// The octets for a GET of `path`.
std::string answer(const World& world, const std::string& name, std::string_view path) {
    const PolicyHost& host = world.policy_hosts.find(name)->second;
    const std::string type = "Content-Type: " + host.content_type + "\r\n";
    if (host.fault == HttpsFault::redirect)
        return response(301, type + "Location: https://" + name + "/moved" + std::string(path) + "\r\n", "");
    if (path != policy_path && host.status == 200) return response(404, type, "not here\r\n");
    std::string body = world.policy_text(name);
    if (host.fault == HttpsFault::oversize)
        while (body.size() < oversize)
            body += "padding: ................................................................\r\n";
    return response(host.status, type, body);
}

// The head of a request up to the empty line; empty when the client does not send one.
asio::awaitable<std::string> read_head(Connection& connection) {
    std::array<char, 4096> chunk{};
    std::string head;
    while (head.size() < max_head && head.find("\r\n\r\n") == std::string::npos) {
        const auto got = co_await connection.read_some(chunk, soon());
        if (!got) co_return std::string();
        head.append(chunk.data(), *got);
    }
    co_return head;
}

asio::awaitable<void> drip(Connection& connection, const std::string& octets) {
    asio::steady_timer timer(co_await asio::this_coro::executor);
    for (std::size_t i = 0; i < octets.size(); ++i) {
        const auto sent = co_await connection.write(std::string_view(octets).substr(i, 1), soon());
        if (!sent) co_return;
        timer.expires_after(std::chrono::seconds(1));
        co_await timer.async_wait(asio::use_awaitable);
    }
}

}  // namespace

asio::awaitable<void> serve_policy(asio::ip::tcp::socket socket, const std::string& name, const World& world,
                                   Identities& identities, Sightings& sightings) {
    Connection connection(std::move(socket));
    const PolicyHost& host = world.policy_hosts.find(name)->second;
    HttpsRequest seen;
    seen.asked = SystemClock().wall();
    seen.host = name;
    if (host.fault == HttpsFault::drop) {
        seen.answer = "drop";
        sightings.keep(std::move(seen));
        co_await connection.close();
        co_return;
    }
    auto context = identities.context(name, host.certificate);
    if (!context) co_return;
    std::shared_ptr<asio::ssl::context> held = *context;
    const auto shaken = co_await connection.start_tls(std::move(held), soon());
    seen.sni = connection.sni();
    if (!shaken) {
        seen.answer = "no TLS: " + shaken.error().text;
        sightings.keep(std::move(seen));
        co_return;
    }
    const std::string head = co_await read_head(connection);
    const std::string first = head.substr(0, head.find("\r\n"));
    seen.request = printable(first);
    if (!first.starts_with("GET ")) {
        seen.answer = head.empty() ? "no request came" : "400";
        sightings.keep(std::move(seen));
        const std::string refusal = response(400, "", "");
        if (!head.empty()) (void)co_await connection.write(refusal, soon());
        co_await connection.close();
        co_return;
    }
    const std::string path = first.substr(4, first.find(' ', 4) - 4);
    const std::string octets = answer(world, name, path);
    const HttpsFault fault = host.fault;
    seen.answer = fault == HttpsFault::hang ? "hang" : octets.substr(9, 3);
    if (fault == HttpsFault::drip || fault == HttpsFault::oversize)
        seen.answer += fault == HttpsFault::drip ? " drip" : " oversize";
    sightings.keep(std::move(seen));
    if (fault == HttpsFault::hang)
        co_await connection.sit_still(soon());
    else if (fault == HttpsFault::drip)
        co_await drip(connection, octets);
    else
        (void)co_await connection.write(octets, soon());
    co_await connection.close();
}

}  // namespace sternpost::lab
