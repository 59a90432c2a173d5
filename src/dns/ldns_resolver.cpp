#include "dns/ldns_resolver.h"

#include <ldns/ldns.h>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/deferred.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ip/udp.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/write.hpp>

#include "util/deadline.h"
#include "util/text.h"

namespace sternpost::dns {
namespace {

constexpr std::uint16_t udp_payload = 1232;  // what passes every path unfragmented (DNS Flag Day 2020)
constexpr int max_cname_links = 10;          // ours: the RFC sets none

using Octets = std::vector<std::uint8_t>;
using PacketPtr = std::unique_ptr<ldns_pkt, void (*)(ldns_pkt*)>;
using CharPtr = std::unique_ptr<char, void (*)(void*)>;

// A name as ldns has it, in the form that compares: lower case, no trailing dot; empty for the root.
std::string name_text(const ldns_rdf* name) {
    const CharPtr text(ldns_rdf2str(name), std::free);
    std::string out = lowered(text ? text.get() : "");
    if (out.ends_with('.')) out.pop_back();
    return out;
}

Octets raw(const ldns_rdf* rdf) {
    const std::uint8_t* data = ldns_rdf_data(rdf);
    return {data, data + ldns_rdf_size(rdf)};
}

Result<Octets> make_query(const Domain& name, int type, std::uint16_t id, bool edns) {
    ldns_rdf* owner = ldns_dname_new_frm_str((name.text() + ".").c_str());
    if (owner == nullptr) return fail(Errc::bad_name, "not a name that can be asked for: " + name.text());
    const PacketPtr query(
        ldns_pkt_query_new(owner, static_cast<ldns_rr_type>(type), LDNS_RR_CLASS_IN, LDNS_RD),
        ldns_pkt_free);  // owns `owner` now
    if (!query) return fail(Errc::temporary, "out of memory for a DNS question");
    ldns_pkt_set_id(query.get(), id);
    ldns_pkt_set_ad(query.get(), true);  // "tell me whether it validated" (RFC 6840 §5.7)
    if (edns) ldns_pkt_set_edns_udp_size(query.get(), udp_payload);
    std::uint8_t* wire = nullptr;
    std::size_t size = 0;
    if (ldns_pkt2wire(&wire, query.get(), &size) != LDNS_STATUS_OK)
        return fail(Errc::bad_name, "a DNS question cannot be written for " + name.text());
    const std::unique_ptr<std::uint8_t, void (*)(void*)> owned(wire, std::free);
    return Octets(wire, wire + size);
}

// An answer that belongs to our question; null otherwise (RFC 5452 §9.1).
PacketPtr read_answer(const Octets& wire, const Octets& query) {
    PacketPtr none(nullptr, ldns_pkt_free);
    if (wire.size() < 12 || wire[0] != query[0] || wire[1] != query[1]) return none;
    ldns_pkt* parsed = nullptr;
    if (ldns_wire2pkt(&parsed, wire.data(), wire.size()) != LDNS_STATUS_OK) return none;
    PacketPtr answer(parsed, ldns_pkt_free);
    ldns_pkt* asked_raw = nullptr;
    if (ldns_wire2pkt(&asked_raw, query.data(), query.size()) != LDNS_STATUS_OK) return none;
    const PacketPtr asked(asked_raw, ldns_pkt_free);
    if (!ldns_pkt_qr(answer.get()) || ldns_pkt_qdcount(answer.get()) != 1) return none;
    const ldns_rr* ours = ldns_rr_list_rr(ldns_pkt_question(asked.get()), 0);
    const ldns_rr* theirs = ldns_rr_list_rr(ldns_pkt_question(answer.get()), 0);
    if (ldns_rr_get_type(ours) != ldns_rr_get_type(theirs) ||
        ldns_rr_get_class(ours) != ldns_rr_get_class(theirs) ||
        name_text(ldns_rr_owner(ours)) != name_text(ldns_rr_owner(theirs)))
        return none;
    return answer;
}

std::optional<Mx> read_record(const ldns_rr* rr, const Mx*) {
    if (ldns_rr_rd_count(rr) != 2) return std::nullopt;
    return Mx{ldns_rdf2native_int16(ldns_rr_rdf(rr, 0)), name_text(ldns_rr_rdf(rr, 1))};
}

std::optional<Address> read_record(const ldns_rr* rr, const Address*) {
    if (ldns_rr_rd_count(rr) != 1) return std::nullopt;
    const Octets octets = raw(ldns_rr_rdf(rr, 0));
    if (octets.size() == 4) return Address::v4({octets[0], octets[1], octets[2], octets[3]});
    if (octets.size() != 16) return std::nullopt;
    std::array<std::uint8_t, 16> v6{};
    std::copy(octets.begin(), octets.end(), v6.begin());
    return Address::v6(v6);
}

std::optional<std::string> read_record(const ldns_rr* rr, const std::string*) {
    std::string out;
    for (std::size_t i = 0; i < ldns_rr_rd_count(rr); ++i) {
        // From the raw rdata: ldns_rdf2str would quote and escape. The first octet is the length.
        const Octets piece = raw(ldns_rr_rdf(rr, i));
        if (!piece.empty()) out.append(piece.begin() + 1, piece.end());
    }
    return out;
}

std::optional<Tlsa> read_record(const ldns_rr* rr, const Tlsa*) {
    if (ldns_rr_rd_count(rr) != 4) return std::nullopt;
    return Tlsa{ldns_rdf2native_int8(ldns_rr_rdf(rr, 0)), ldns_rdf2native_int8(ldns_rr_rdf(rr, 1)),
                ldns_rdf2native_int8(ldns_rr_rdf(rr, 2)), raw(ldns_rr_rdf(rr, 3))};
}

std::optional<Cname> read_record(const ldns_rr* rr, const Cname*) {
    if (ldns_rr_rd_count(rr) != 1) return std::nullopt;
    return Cname{name_text(ldns_rr_rdf(rr, 0))};
}

// What one response says about `name`: where its CNAMEs lead, and the records at their end.
template <class Record>
struct Reading {
    std::vector<Record> records;
    std::string end;  // the last name of the chain
    std::uint32_t ttl = UINT32_MAX;
    bool loop = false;
};

template <class Record>
Reading<Record> read_chain(const ldns_pkt* packet, const std::string& name, int type) {
    Reading<Record> out;
    out.end = name;
    const ldns_rr_list* answers = ldns_pkt_answer(packet);
    for (int link = 0;; ++link) {
        std::optional<std::string> target;
        for (std::size_t i = 0; i < ldns_rr_list_rr_count(answers); ++i) {
            const ldns_rr* rr = ldns_rr_list_rr(answers, i);
            if (ldns_rr_get_class(rr) != LDNS_RR_CLASS_IN || name_text(ldns_rr_owner(rr)) != out.end)
                continue;
            if (ldns_rr_get_type(rr) == static_cast<ldns_rr_type>(type)) {
                if (auto record = read_record(rr, static_cast<const Record*>(nullptr)))
                    out.records.push_back(std::move(*record));
                out.ttl = std::min(out.ttl, ldns_rr_ttl(rr));
            } else if (ldns_rr_get_type(rr) == LDNS_RR_TYPE_CNAME && ldns_rr_rd_count(rr) == 1) {
                target = name_text(ldns_rr_rdf(rr, 0));
                out.ttl = std::min(out.ttl, ldns_rr_ttl(rr));
            }
        }
        if (!out.records.empty() || !target) return out;
        if (link == max_cname_links) {
            out.loop = true;
            return out;
        }
        out.end = *target;
    }
}

// RFC 2308 §5: how long "not there" may be believed; 0 when the answer has no SOA.
std::uint32_t negative_ttl(const ldns_pkt* packet) {
    const ldns_rr_list* authority = ldns_pkt_authority(packet);
    for (std::size_t i = 0; i < ldns_rr_list_rr_count(authority); ++i) {
        const ldns_rr* rr = ldns_rr_list_rr(authority, i);
        if (ldns_rr_get_type(rr) == LDNS_RR_TYPE_SOA && ldns_rr_rd_count(rr) == 7)
            return std::min(ldns_rr_ttl(rr), ldns_rdf2native_int32(ldns_rr_rdf(rr, 6)));
    }
    return 0;
}

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
      servers_(options_.servers, options_.resolv_conf) {}

asio::awaitable<Result<Octets>> LdnsResolver::ask_udp(const Server& server, const Octets& query) {
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
        const Octets answer(wire.begin(), wire.begin() + static_cast<std::ptrdiff_t>(*got));
        if (read_answer(answer, query)) co_return answer;
        // Not an answer to our question: forged or late. The right one may still come.
    }
}

asio::awaitable<Result<Octets>> LdnsResolver::ask_tcp(const Server& server, const Octets& query) {
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
    if (!read_answer(answer, query))
        co_return fail(Errc::temporary, "resolver " + server.text() + " answered another question over TCP");
    co_return answer;
}

// The first answer that settles the question: NOERROR or NXDOMAIN from any server.
asio::awaitable<Result<Octets>> LdnsResolver::ask(const Domain& name, int type) {
    const std::vector<Server> servers = servers_.current(clock_.steady());
    auto last = Error<Errc>{Errc::unconfigured, "no resolver is configured"};
    for (unsigned round = 0; round < options_.attempts; ++round) {
        for (const Server& server : servers) {
            bool edns = true;
            for (int form = 0; form < 2;
                 ++form) {  // with EDNS0; once more without, for servers that cannot read it
                auto query = make_query(name, type, static_cast<std::uint16_t>(random_.below(65536)), edns);
                if (!query) co_return fail(std::move(query).error());
                auto wire = co_await ask_udp(server, *query);
                if (wire && ldns_pkt_tc(read_answer(*wire, *query).get()))
                    wire = co_await ask_tcp(server, *query);
                if (!wire) {
                    last = std::move(wire).error();
                    break;
                }
                const PacketPtr packet = read_answer(*wire, *query);
                const int rcode = ldns_pkt_get_rcode(packet.get());
                if (rcode == LDNS_RCODE_NOERROR || rcode == LDNS_RCODE_NXDOMAIN) co_return wire;
                const CharPtr text(ldns_pkt_rcode2str(static_cast<ldns_pkt_rcode>(rcode)), std::free);
                last = {Errc::temporary, "resolver " + server.text() + " answered " +
                                             (text ? text.get() : "an error") + " for " + name.text()};
                if (!edns || (rcode != LDNS_RCODE_FORMERR && rcode != LDNS_RCODE_NOTIMPL)) break;
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
        ldns_pkt* parsed = nullptr;
        if (ldns_wire2pkt(&parsed, wire->data(), wire->size()) != LDNS_STATUS_OK)
            co_return fail(Errc::temporary, "an answer cannot be read");
        const PacketPtr packet(parsed, ldns_pkt_free);
        auto reading = read_chain<Record>(packet.get(), current, type);
        if (reading.loop) co_return fail(Errc::temporary, "the CNAMEs at " + name.text() + " do not end");
        out.authentic = out.authentic && ldns_pkt_ad(packet.get());
        ttl = std::min(ttl, reading.ttl);
        out.canonical = reading.end;
        if (!reading.records.empty()) {
            out.existence = Existence::found;
            out.records = std::move(reading.records);
            break;
        }
        const std::uint32_t negative = negative_ttl(packet.get());
        const bool no_name = ldns_pkt_get_rcode(packet.get()) == LDNS_RCODE_NXDOMAIN;
        const bool unfinished = !no_name && reading.end != current && negative == 0;
        current = reading.end;
        if (unfinished && question < 2) continue;
        out.existence = no_name ? Existence::no_name : Existence::no_data;
        ttl = std::min(ttl, negative);
        break;
    }
    const auto most = out.existence == Existence::found
                          ? options_.max_ttl
                          : std::min(options_.max_ttl, options_.max_negative_ttl);
    out.ttl = std::min<std::chrono::seconds>(std::chrono::seconds(ttl == UINT32_MAX ? 0 : ttl), most);
    co_return out;
}

template <class Record>
asio::awaitable<Result<Answer<Record>>> LdnsResolver::find(Cache<Record>& cache, Domain name, int type) {
    for (;;) {
        if (const auto known = cache.entries.find(name); known != cache.entries.end()) {
            if (known->second.expires > clock_.steady()) co_return known->second.answer;
            cache.entries.erase(known);
        }
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
    if (result && result->ttl > std::chrono::seconds(0)) {
        if (cache.entries.size() >= options_.cache_entries) cache.entries.clear();
        Entry<Record> entry{*result, clock_.steady() + result->ttl};
        cache.entries.insert_or_assign(name, std::move(entry));
    }
    flight->result = result;
    co_return result;
}

asio::awaitable<Result<Answer<Mx>>> LdnsResolver::mx(Domain name) {
    return find(mx_, std::move(name), LDNS_RR_TYPE_MX);
}
asio::awaitable<Result<Answer<Address>>> LdnsResolver::a(Domain name) {
    return find(a_, std::move(name), LDNS_RR_TYPE_A);
}
asio::awaitable<Result<Answer<Address>>> LdnsResolver::aaaa(Domain name) {
    return find(aaaa_, std::move(name), LDNS_RR_TYPE_AAAA);
}
asio::awaitable<Result<Answer<std::string>>> LdnsResolver::txt(Domain name) {
    return find(txt_, std::move(name), LDNS_RR_TYPE_TXT);
}
asio::awaitable<Result<Answer<Tlsa>>> LdnsResolver::tlsa(Domain name) {
    return find(tlsa_, std::move(name), LDNS_RR_TYPE_TLSA);
}
asio::awaitable<Result<Answer<Cname>>> LdnsResolver::cname(Domain name) {
    return find(cname_, std::move(name), LDNS_RR_TYPE_CNAME);
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
    const auto known = mx_.entries.find(name);
    if (known == mx_.entries.end() || known->second.expires <= clock_.steady()) return std::nullopt;
    return known->second.answer;
}

void LdnsResolver::forget_negative() {
    const auto forget = [](auto& cache) {
        std::erase_if(cache.entries,
                      [](const auto& e) { return e.second.answer.existence != Existence::found; });
    };
    forget(mx_);
    forget(a_);
    forget(aaaa_);
    forget(txt_);
    forget(tlsa_);
    forget(cname_);
}

}  // namespace sternpost::dns
