#include "dns/ldns_resolver.h"

#include <fmt/format.h>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/deferred.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ip/udp.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/write.hpp>

#include "util/deadline.h"

namespace sternpost::dns {
namespace {

asio::ip::address to_asio(const Address& address) {
    return asio::ip::make_address(address.text());
}

tl::unexpected<Error<Errc>> unanswered(const Server& server, const util::Result<void>& why) {
    const Errc code = why.error().code == util::Errc::timed_out ? Errc::timed_out : Errc::temporary;
    return fail(code, "resolver " + server.text() + ": " + why.error().text);
}

}  // namespace

LdnsResolver::LdnsResolver(asio::any_io_executor executor, ResolverOptions options, const Clock& clock,
                           Random& random)
    : executor_(std::move(executor)),
      options_(std::move(options)),
      clock_(clock),
      random_(random),
      servers_(options_.servers, options_.resolv_conf),
      budget_(options_.cache_octets) {}

asio::awaitable<Result<LdnsResolver::Heard>> LdnsResolver::ask_udp(const Server& server,
                                                                   const Octets& query) {
    const Deadline deadline = clock_.steady() + options_.timeout;
    asio::ip::udp::socket socket(executor_);
    const asio::ip::udp::endpoint peer(to_asio(server.address), server.port);
    boost::system::error_code ec;
    socket.open(peer.protocol(), ec);
    // Connected, so that the kernel drops what others send; its ephemeral port is random (RFC 5452 §9.2).
    if (!ec) socket.connect(peer, ec);
    if (ec) co_return fail(Errc::temporary, "resolver " + server.text() + ": " + ec.message());
    auto sent = co_await until(deadline, socket.async_send(asio::buffer(query), asio::deferred));
    if (!sent) co_return unanswered(server, fail(sent.error()));
    Octets wire(65535);
    for (;;) {
        auto got = co_await until(deadline, socket.async_receive(asio::buffer(wire), asio::deferred));
        if (!got) co_return unanswered(server, fail(got.error()));
        Octets answer(wire.begin(), wire.begin() + static_cast<std::ptrdiff_t>(*got));
        if (auto header = read_header(answer, query)) co_return Heard(std::move(answer), std::move(*header));
        // Not an answer to our question: forged or late. The right one may still come.
    }
}

asio::awaitable<Result<LdnsResolver::Heard>> LdnsResolver::ask_tcp(const Server& server,
                                                                   const Octets& query) {
    const Deadline deadline = clock_.steady() + options_.timeout;
    asio::ip::tcp::socket socket(executor_);
    const asio::ip::tcp::endpoint peer(to_asio(server.address), server.port);
    auto connected = co_await until_done(deadline, socket.async_connect(peer, asio::deferred));
    if (!connected) co_return unanswered(server, connected);
    Octets framed{static_cast<std::uint8_t>(query.size() >> 8U),
                  static_cast<std::uint8_t>(query.size() & 255U)};
    framed.insert(framed.end(), query.begin(), query.end());
    auto sent = co_await until(deadline, asio::async_write(socket, asio::buffer(framed), asio::deferred));
    if (!sent) co_return unanswered(server, fail(sent.error()));
    std::array<std::uint8_t, 2> size{};
    auto got = co_await until(deadline, asio::async_read(socket, asio::buffer(size), asio::deferred));
    if (!got) co_return unanswered(server, fail(got.error()));
    Octets answer(static_cast<std::size_t>(size[0]) << 8U | size[1]);
    got = co_await until(deadline, asio::async_read(socket, asio::buffer(answer), asio::deferred));
    if (!got) co_return unanswered(server, fail(got.error()));
    auto header = read_header(answer, query);
    if (!header)
        co_return fail(Errc::temporary, "resolver " + server.text() + " answered another question over TCP");
    co_return Heard(std::move(answer), std::move(*header));
}

// The first answer that settles the question: NOERROR or NXDOMAIN from any server.
asio::awaitable<Result<Octets>> LdnsResolver::ask(const Domain& name, int type) {
    const std::vector<Server> servers = servers_.current(clock_.steady());
    auto last = Error<Errc>{Errc::unconfigured, "no resolver is configured"};
    for (unsigned round = 0; round < options_.attempts; ++round) {
        for (const Server& server : servers) {
            bool edns = true;
            for (int form = 0; form < 2;
                 ++form) {  // with EDNS0; again without, for servers that cannot read it
                auto query = make_query(name, type, static_cast<std::uint16_t>(random_.below(65536)), edns);
                if (!query) co_return fail(std::move(query).error());
                auto heard = co_await ask_udp(server, *query);
                if (heard && heard->header.truncated) heard = co_await ask_tcp(server, *query);
                if (!heard) {
                    last = std::move(heard).error();
                    break;
                }
                const Header& header = heard->header;
                if (header.settles) co_return std::move(heard->wire);
                last = {Errc::temporary,
                        "resolver " + server.text() + " answered " + header.rcode + " for " + name.text()};
                if (!edns || !header.no_edns) break;
                edns = false;
            }
        }
    }
    co_return fail(std::move(last));
}

template <class Record>
asio::awaitable<Result<Answer<Record>>> LdnsResolver::resolve(Domain name, int type) {
    Answer<Record> out;
    out.authentic = trusted();
    std::uint32_t ttl = UINT32_MAX;
    std::string current = name.text();
    int links = 0;
    for (int question = 0; question < 3;
         ++question) {  // more than one only when a resolver does not follow CNAMEs itself
        auto asked = Domain::parse(current);
        if (!asked) {
            // A CNAME to something that is no host name: nothing can be there.
            out.existence = Existence::no_data;
            out.canonical = current;
            break;
        }
        auto wire = co_await ask(*asked, type);
        if (!wire) co_return fail(std::move(wire).error());
        auto read = read_response<Record>(*wire, current, type);
        if (!read) co_return fail(Errc::temporary, "an answer cannot be read");
        Reading<Record>& reading = *read;
        links += reading.links;
        if (reading.loop || links > max_cname_links)
            co_return fail(Errc::temporary, "the CNAMEs at " + name.text() + " do not end");
        // A part of the texts could be judged otherwise than all of them.
        if (type == type_txt && reading.left_out > 0)
            co_return fail(Errc::temporary,
                           reading.end + " has " + std::to_string(max_records + reading.left_out) +
                               " TXT records that begin with a version, more than the " +
                               std::to_string(max_records) +
                               " that are read; the administrator of the name must remove some");
        out.authentic = out.authentic && reading.authentic;
        ttl = std::min(ttl, reading.ttl);
        out.canonical = reading.end;
        if (!reading.records.empty()) {
            out.existence = Existence::found;
            out.records = std::move(reading.records);
            out.left_out = reading.left_out;
            break;
        }
        const bool unfinished = !reading.no_name && reading.end != current && reading.negative_ttl == 0;
        current = reading.end;
        if (unfinished && question < 2) continue;
        out.existence = reading.no_name ? Existence::no_name : Existence::no_data;
        ttl = std::min(ttl, reading.negative_ttl);
        break;
    }
    const auto most = out.existence == Existence::found
                          ? options_.max_ttl
                          : std::min(options_.max_ttl, options_.max_negative_ttl);
    out.ttl = std::min<std::chrono::seconds>(std::chrono::seconds(ttl == UINT32_MAX ? 0 : ttl), most);
    co_return out;
}

namespace {

// Where the PTR records of an address are (RFC 1035 §3.5, RFC 3596 §2.5).
std::string reverse_name(const Address& address) {
    const auto octets = address.octets();
    std::string out;
    for (auto it = octets.rbegin(); it != octets.rend(); ++it)
        out += address.is_v6() ? fmt::format("{:x}.{:x}.", *it & 15U, *it >> 4U) : fmt::format("{}.", *it);
    return out + (address.is_v6() ? "ip6.arpa" : "in-addr.arpa");
}

}  // namespace

template <class Record>
asio::awaitable<Result<Answer<Record>>> LdnsResolver::find(Cache<Record>& cache, Domain name, int type) {
    for (;;) {
        if (const auto* known = cache.answers.find(name, clock_.steady())) co_return *known;
        const auto under_way = cache.flights.find(name);
        if (under_way == cache.flights.end()) break;
        const std::shared_ptr<Flight<Record>> flight = under_way->second;
        co_await flight->landed.async_wait(asio::as_tuple(asio::use_awaitable));
        const auto state = co_await asio::this_coro::cancellation_state;
        if (state.cancelled() != asio::cancellation_type::none)
            co_return fail(Errc::temporary, "the question was given up");
        if (flight->result) co_return *flight->result;
        // Who asked was cancelled before there was an answer: ask ourselves.
    }
    const auto flight = std::make_shared<Flight<Record>>(executor_);
    cache.flights[name] = flight;
    struct Landing {  // also when this coroutine is torn down
        Cache<Record>& cache;
        const Domain& name;
        Flight<Record>& flight;
        ~Landing() {
            cache.flights.erase(name);
            flight.landed.cancel();
        }
    };
    const Landing landing(cache, name, *flight);
    auto result = co_await resolve<Record>(name, type);
    if (result && result->ttl > std::chrono::seconds(0))
        cache.answers.put(name, *result, clock_.steady() + result->ttl);
    flight->result = result;
    co_return result;
}

asio::awaitable<Result<Answer<Mx>>> LdnsResolver::mx(Domain name) {
    return find(mx_, std::move(name), type_mx);
}
asio::awaitable<Result<Answer<Address>>> LdnsResolver::a(Domain name) {
    return find(a_, std::move(name), type_a);
}
asio::awaitable<Result<Answer<Address>>> LdnsResolver::aaaa(Domain name) {
    return find(aaaa_, std::move(name), type_aaaa);
}
asio::awaitable<Result<Answer<std::string>>> LdnsResolver::txt(Domain name) {
    return find(txt_, std::move(name), type_txt);
}
asio::awaitable<Result<Answer<Tlsa>>> LdnsResolver::tlsa(Domain name) {
    return find(tlsa_, std::move(name), type_tlsa);
}
asio::awaitable<Result<Answer<Cname>>> LdnsResolver::cname(Domain name) {
    return find(cname_, std::move(name), type_cname);
}

asio::awaitable<Result<Answer<Cname>>> LdnsResolver::ptr(Address address) {
    auto name = Domain::parse(reverse_name(address));
    if (!name) co_return fail(Errc::bad_name, address.text() + " has no name for its PTR record");
    co_return co_await resolve<Cname>(std::move(*name), type_ptr);
}

bool LdnsResolver::trusted() {
    return options_.trusted.value_or(on_trusted_path(servers_.current(clock_.steady())));
}

std::string LdnsResolver::servers_text() {
    std::string out;
    for (const Server& server : servers_.current(clock_.steady()))
        out += (out.empty() ? "" : ", ") + server.text();
    return out;
}

std::optional<Answer<Mx>> LdnsResolver::cached_mx(const Domain& name) const {
    const auto* known = mx_.answers.peek(name, clock_.steady());
    return known == nullptr ? std::nullopt : std::optional(*known);
}

void LdnsResolver::forget_negative() {
    mx_.answers.forget_negative();
    a_.answers.forget_negative();
    aaaa_.answers.forget_negative();
    txt_.answers.forget_negative();
    tlsa_.answers.forget_negative();
    cname_.answers.forget_negative();
}

}  // namespace sternpost::dns
