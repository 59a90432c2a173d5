#include "lab/policy_host.h"

#include <fmt/format.h>

#include <array>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/crc.hpp>

#include "util/text.h"

namespace sternpost::lab {
namespace {

constexpr std::string_view policy_path = "/.well-known/mta-sts.txt";  // RFC 8461 §3.3
constexpr std::size_t max_head = 16384;
constexpr std::size_t oversize = 1UL << 20U;
constexpr auto request_patience = std::chrono::minutes(5);

Deadline in_time() {
    return std::chrono::steady_clock::now() + request_patience;
}

struct Response {
    std::uint32_t status = 200;
    std::string fields;
    std::string body;
    Framing framing = Framing::length;
};

std::string octets_of(const Response& response) {
    std::string head = fmt::format("HTTP/1.1 {} {}\r\n{}Connection: close\r\n", response.status,
                                   response.status == 200  ? "OK"
                                   : response.status < 400 ? "Elsewhere"
                                                           : "Trouble",
                                   response.fields);
    const std::string& body = response.body;
    switch (response.framing) {
        case Framing::length:
            return head + fmt::format("Content-Length: {}\r\n\r\n{}", body.size(), body);
        case Framing::close:
            return head + "\r\n" + body;
        case Framing::chunked:
            break;
    }
    std::string out = head + "Transfer-Encoding: chunked\r\n\r\n";
    constexpr std::size_t most = 1000;
    for (std::size_t at = 0; at < body.size(); at += most) {
        const std::string_view part = std::string_view(body).substr(at, most);
        out += fmt::format("{:x}\r\n{}\r\n", part.size(), part);
    }
    return out + "0\r\n\r\n";
}

// The body as it is, in stored blocks.
std::string gzipped(std::string_view body) {
    std::string out("\x1f\x8b\x08\0\0\0\0\0\0\xff", 10);
    const auto number = [&](std::uint32_t value, int octets) {
        for (int i = 0; i < octets; ++i) out += static_cast<char>(value >> (8 * i) & 0xffU);
    };
    boost::crc_32_type crc;
    crc.process_bytes(body.data(), body.size());
    const auto size = static_cast<std::uint32_t>(body.size());
    constexpr std::size_t most = 65535;
    do {
        const std::string_view part = body.substr(0, most);
        body.remove_prefix(part.size());
        out += body.empty() ? '\1' : '\0';
        number(static_cast<std::uint32_t>(part.size()), 2);
        number(~static_cast<std::uint32_t>(part.size()), 2);
        out += part;
    } while (!body.empty());
    number(crc.checksum(), 4);
    number(size, 4);
    return out;
}

// An extension field of RFC 8461 §3.2 as long as it takes.
void pad(std::string& body, std::size_t size) {
    constexpr std::string_view key = "x: ";
    if (!body.ends_with('\n')) body += '\n';
    if (body.size() + key.size() + 1 > size) return;
    body += key;
    body.append(size - body.size() - 1, 'y');
    body += '\n';
}

// The octets for a GET of `path`.
std::string answer(const World& world, const std::string& name, std::string_view path) {
    const PolicyHost& host = world.policy_hosts.find(name)->second;
    Response response;
    response.status = host.status;
    response.framing = host.framing;
    if (!host.content_type.empty()) response.fields = "Content-Type: " + host.content_type + "\r\n";
    for (const auto& field : host.fields) response.fields += field + "\r\n";
    if (host.fault == HttpsFault::redirect || !host.location.empty()) {
        if (host.status == 200) response.status = 301;
        response.fields +=
            "Location: " +
            (host.location.empty() ? "https://" + name + "/moved" + std::string(path) : host.location) +
            "\r\n";
        return octets_of(response);
    }
    if (path != policy_path && host.status == 200) {
        response.status = 404;
        response.body = "not here\r\n";
        return octets_of(response);
    }
    if (host.fault != HttpsFault::empty) response.body = world.policy_text(name);
    if (host.pad_to > 0) pad(response.body, host.pad_to);
    if (host.fault == HttpsFault::oversize) pad(response.body, oversize);
    if (host.fault == HttpsFault::gzip) {
        response.fields += "Content-Encoding: gzip\r\n";
        response.body = gzipped(response.body);
    }
    std::string octets = octets_of(response);
    if (host.fault == HttpsFault::cut) octets.resize(octets.size() - response.body.size() / 2);
    return octets;
}

// The head of a request up to the empty line; empty when the client does not send one.
asio::awaitable<std::string> read_head(Connection& connection) {
    std::array<char, 4096> chunk{};
    std::string head;
    while (head.size() < max_head && head.find("\r\n\r\n") == std::string::npos) {
        const auto got = co_await connection.read_some(chunk, in_time());
        if (!got) co_return std::string();
        head.append(chunk.data(), *got);
    }
    co_return head;
}

asio::awaitable<void> drip(Connection& connection, const std::string& octets) {
    asio::steady_timer timer(co_await asio::this_coro::executor);
    for (std::size_t i = 0; i < octets.size(); ++i) {
        const auto sent = co_await connection.write(std::string_view(octets).substr(i, 1), in_time());
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
    if (host.hello != Hello::usual) {
        seen.answer = "ClientHello: " + std::string(words<Hello>()[static_cast<std::size_t>(host.hello)]);
        const Hello hello = host.hello;
        sightings.keep(std::move(seen));
        co_await connection.answer_hello(hello, in_time());
        co_await connection.close();
        co_return;
    }
    auto context = identities.context(name, host);
    if (!context) co_return;
    std::shared_ptr<asio::ssl::context> held = *context;
    const auto shaken = co_await connection.start_tls(std::move(held), in_time());
    seen.sni = connection.sni();
    if (!shaken) {
        seen.answer = "no TLS: " + shaken.error().text;
        sightings.keep(std::move(seen));
        co_return;
    }
    const std::string head = co_await read_head(connection);
    const std::string first = head.substr(0, head.find("\r\n"));
    seen.request = printable(first);
    seen.head = printable(head, max_head);
    if (!first.starts_with("GET ")) {
        seen.answer = head.empty() ? "no request came" : "400";
        sightings.keep(std::move(seen));
        const std::string refusal = "HTTP/1.1 400 Trouble\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
        if (!head.empty()) (void)co_await connection.write(refusal, in_time());
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
        co_await connection.sit_still(in_time());
    else if (fault == HttpsFault::drip)
        co_await drip(connection, octets);
    else
        (void)co_await connection.write(octets, in_time());
    co_await connection.close();
}

}  // namespace sternpost::lab
