#include "lab/dns.h"

#include <fmt/format.h>
#include <ldns/ldns.h>

#include <array>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <memory>

#include "util/text.h"

namespace sternpost::lab {
namespace {

using asio::ip::udp;
using Octets = std::vector<std::uint8_t>;
using PacketPtr = std::unique_ptr<ldns_pkt, void (*)(ldns_pkt*)>;
using CharPtr = std::unique_ptr<char, void (*)(void*)>;

constexpr int max_cname_links = 8;      // ours
constexpr std::size_t plain_udp = 512;  // what a client takes that says nothing (RFC 1035 §2.3.4)
constexpr auto query_patience = std::chrono::seconds(30);

std::string name_text(const ldns_rdf* name) {
    const CharPtr text(ldns_rdf2str(name), std::free);
    std::string out = lowered(text ? text.get() : "");
    if (out.ends_with('.')) out.pop_back();
    return out;
}

ldns_rr* record(const std::string& name, std::uint32_t ttl, std::string_view type, const std::string& rdata) {
    const std::string line = fmt::format("{}. {} IN {} {}", name, ttl, type, rdata);
    ldns_rr* out = nullptr;
    return ldns_rr_new_frm_str(&out, line.c_str(), 0, nullptr, nullptr) == LDNS_STATUS_OK ? out : nullptr;
}

// What stands in the answer: the CNAME chain and the records at its end.
struct Found {
    ldns_pkt_rcode rcode = LDNS_RCODE_NOERROR;
    bool authentic = true;  // all of the chain is
    std::size_t records = 0;
};

Found fill(ldns_pkt* packet, const World& world, std::string name, const std::string& type) {
    Found found;
    for (int link = 0; link <= max_cname_links; ++link) {
        const DnsView view = world.look_up(name, type);
        found.authentic = found.authentic && view.ad;
        if (!view.exists) found.rcode = LDNS_RCODE_NXDOMAIN;
        for (const auto& rdata : view.records) {
            ldns_rr* rr = record(name, view.ttl, type, rdata);
            if (rr == nullptr) {  // the scenario's text is no rdata of this type
                found.rcode = LDNS_RCODE_SERVFAIL;
                continue;
            }
            ldns_pkt_push_rr(packet, LDNS_SECTION_ANSWER, rr);
            ++found.records;
        }
        if (!view.records.empty() || view.cname.empty()) {
            if (view.records.empty())  // for how long that may be believed (RFC 2308 §5)
                if (ldns_rr* soa =
                        record(name, view.ttl, "SOA", fmt::format("lab. lab. 1 3600 600 86400 {}", view.ttl)))
                    ldns_pkt_push_rr(packet, LDNS_SECTION_AUTHORITY, soa);
            return found;
        }
        if (ldns_rr* cname = record(name, view.ttl, "CNAME", view.cname + "."))
            ldns_pkt_push_rr(packet, LDNS_SECTION_ANSWER, cname);
        name = view.cname;
    }
    return found;
}

Octets wire_of(const ldns_pkt* packet) {
    std::uint8_t* wire = nullptr;
    std::size_t size = 0;
    if (ldns_pkt2wire(&wire, packet, &size) != LDNS_STATUS_OK) return {};
    const std::unique_ptr<std::uint8_t, void (*)(void*)> owned(wire, std::free);
    return {wire, wire + size};
}

PacketPtr reply_to(const ldns_pkt* query) {
    PacketPtr packet(ldns_pkt_new(), ldns_pkt_free);
    ldns_pkt_set_id(packet.get(), ldns_pkt_id(query));
    ldns_pkt_set_qr(packet.get(), true);
    ldns_pkt_set_aa(packet.get(), true);
    ldns_pkt_set_rd(packet.get(), ldns_pkt_rd(query));
    ldns_pkt_set_ra(packet.get(), true);
    ldns_pkt_push_rr(packet.get(), LDNS_SECTION_QUESTION,
                     ldns_rr_clone(ldns_rr_list_rr(ldns_pkt_question(query), 0)));
    if (ldns_pkt_edns(query)) {
        ldns_pkt_set_edns_udp_size(packet.get(), 1232);
        ldns_pkt_set_edns_do(packet.get(), ldns_pkt_edns_do(query));
    }
    return packet;
}

Octets without_answer(const ldns_pkt* query, ldns_pkt_rcode rcode, bool truncated) {
    const PacketPtr packet = reply_to(query);
    ldns_pkt_set_rcode(packet.get(), static_cast<std::uint8_t>(rcode));
    ldns_pkt_set_tc(packet.get(), truncated);
    return wire_of(packet.get());
}

}  // namespace

std::optional<Octets> answer_query(const World& world, std::span<const std::uint8_t> query, bool over_tcp,
                                   DnsQuestion& question) {
    ldns_pkt* parsed = nullptr;
    if (ldns_wire2pkt(&parsed, query.data(), query.size()) != LDNS_STATUS_OK) return std::nullopt;
    const PacketPtr asked(parsed, ldns_pkt_free);
    if (ldns_pkt_qr(asked.get()) || ldns_pkt_qdcount(asked.get()) != 1) return std::nullopt;
    const ldns_rr* first = ldns_rr_list_rr(ldns_pkt_question(asked.get()), 0);
    question.name = name_text(ldns_rr_owner(first));
    const CharPtr type(ldns_rr_type2str(ldns_rr_get_type(first)), std::free);
    question.type = type ? type.get() : "?";

    const DnsFault fault = world.look_up(question.name, question.type).fault;
    if (fault != DnsFault::none) question.answer = words<DnsFault>()[static_cast<std::size_t>(fault)];
    switch (fault) {
        case DnsFault::none:
            break;
        case DnsFault::timeout:
            return std::nullopt;
        case DnsFault::servfail:
            return without_answer(asked.get(), LDNS_RCODE_SERVFAIL, false);
        case DnsFault::refused:
            return without_answer(asked.get(), LDNS_RCODE_REFUSED, false);
        case DnsFault::nxdomain:
            return without_answer(asked.get(), LDNS_RCODE_NXDOMAIN, false);
        case DnsFault::truncate:
            if (!over_tcp) return without_answer(asked.get(), LDNS_RCODE_NOERROR, true);
            break;
    }
    const PacketPtr packet = reply_to(asked.get());
    const Found found = fill(packet.get(), world, question.name, question.type);
    ldns_pkt_set_rcode(packet.get(), static_cast<std::uint8_t>(found.rcode));
    // AD goes to those who ask for it (RFC 6840 §5.7)
    const bool wants_ad = ldns_pkt_ad(asked.get()) || ldns_pkt_edns_do(asked.get());
    ldns_pkt_set_ad(packet.get(), found.authentic && wants_ad);
    question.answer =
        found.rcode == LDNS_RCODE_NXDOMAIN ? "no such name" : fmt::format("{} record(s)", found.records);
    Octets wire = wire_of(packet.get());
    const std::size_t takes = ldns_pkt_edns(asked.get())
                                  ? std::max<std::size_t>(ldns_pkt_edns_udp_size(asked.get()), plain_udp)
                                  : plain_udp;
    if (!over_tcp && wire.size() > takes) return without_answer(asked.get(), LDNS_RCODE_NOERROR, true);
    return wire;
}

DnsServer::DnsServer(asio::io_context& context, udp::endpoint endpoint, const World& world,
                     Sightings& sightings, Log& log)
    : endpoint_(std::move(endpoint)),
      world_(world),
      sightings_(sightings),
      socket_(context),
      door_(
          context, asio::ip::tcp::endpoint(endpoint_.address(), endpoint_.port()),
          [this](asio::ip::tcp::socket socket) { return serve_tcp(std::move(socket)); }, log),
      tasks_(context, log) {}

util::Result<void> DnsServer::open() {
    boost::system::error_code ec;
    socket_.open(endpoint_.protocol(), ec);
    if (!ec) socket_.bind(endpoint_, ec);
    if (ec)
        return fail(util::Errc::io, fmt::format("cannot use UDP port {} of {}: {}", endpoint_.port(),
                                                endpoint_.address().to_string(), ec.message()));
    if (auto opened = door_.open(); !opened) return opened;
    tasks_.spawn("dns", serve_udp());
    return {};
}

asio::awaitable<void> DnsServer::serve_udp() {
    std::array<std::uint8_t, 4096> buffer{};
    while (socket_.is_open()) {
        udp::endpoint peer;
        const auto [ec, size] = co_await socket_.async_receive_from(asio::buffer(buffer), peer,
                                                                    asio::as_tuple(asio::use_awaitable));
        if (ec == asio::error::operation_aborted) co_return;
        if (ec) continue;  // an ICMP error of an earlier answer
        DnsQuestion question;
        question.asked = SystemClock().wall();
        const auto answer = answer_query(world_, std::span(buffer).first(size), false, question);
        sightings_.keep(std::move(question));
        boost::system::error_code ignored;
        if (answer) socket_.send_to(asio::buffer(*answer), peer, 0, ignored);
    }
}

asio::awaitable<void> DnsServer::serve_tcp(asio::ip::tcp::socket socket) {
    Connection connection(std::move(socket));
    const Deadline deadline = std::chrono::steady_clock::now() + query_patience;
    std::array<char, 4096> chunk{};
    std::string in;
    for (;;) {
        const auto byte = [&](std::size_t at) { return std::size_t{static_cast<std::uint8_t>(in[at])}; };
        while (in.size() >= 2 && in.size() >= 2 + (byte(0) << 8U) + byte(1)) {
            const std::size_t size = (byte(0) << 8U) + byte(1);
            const Octets query(in.begin() + 2, in.begin() + 2 + static_cast<std::ptrdiff_t>(size));
            in.erase(0, 2 + size);
            DnsQuestion question;
            question.asked = SystemClock().wall();
            const auto answer = answer_query(world_, query, true, question);
            sightings_.keep(std::move(question));
            if (!answer) continue;
            std::string out{static_cast<char>(answer->size() >> 8U),
                            static_cast<char>(answer->size() & 0xffU)};
            out.append(answer->begin(), answer->end());
            const auto sent = co_await connection.write(out, deadline);
            if (!sent) co_return;
        }
        const auto got = co_await connection.read_some(chunk, deadline);
        if (!got) co_return;
        in.append(chunk.data(), *got);
    }
}

asio::awaitable<void> DnsServer::stop() {
    boost::system::error_code ignored;
    socket_.close(ignored);
    tasks_.cancel();
    co_await tasks_.join();
    co_await door_.stop();
}

}  // namespace sternpost::lab
