#include "dns/message.h"

#include <ldns/ldns.h>

#include <algorithm>
#include <memory>

#include "util/text.h"

namespace sternpost::dns {
namespace {

constexpr std::uint16_t udp_payload = 1232;  // what passes every path unfragmented (DNS Flag Day 2020)

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

bool names_a_host(const Mx& mx) {
    return Domain::parse(mx.exchange) && !Address::parse(mx.exchange);
}

// Puts the records first that are to be kept. How many of them someone could use.
template <class Record>
std::size_t rank(std::vector<Record>& records) {
    return records.size();
}
template <>
std::size_t rank(std::vector<Mx>& records) {
    const auto unusable = std::stable_partition(records.begin(), records.end(), names_a_host);
    std::stable_sort(records.begin(), unusable,
                     [](const Mx& a, const Mx& b) { return a.preference < b.preference; });
    return static_cast<std::size_t>(unusable - records.begin());
}
// A name that answers with whatever its owner publishes, as wildcards do, may have many texts. Only those
// with a version are a protocol's, and each of them counts: a second one may take the first one's meaning
// away.
template <>
std::size_t rank(std::vector<std::string>& records) {
    const auto others = std::stable_partition(
        records.begin(), records.end(), [](const std::string& text) { return istarts_with(text, "v="); });
    return static_cast<std::size_t>(others - records.begin());
}

// An answer stays in memory for as long as its TTL says, and names that share their ends on the wire take
// fifty times as much there.
template <class Record>
void keep_few(Reading<Record>& reading) {
    auto& records = reading.records;
    if (records.size() <= max_records) return;
    const std::size_t useful = rank(records);
    if (useful > max_records) reading.left_out = useful - max_records;
    records.erase(records.begin() + static_cast<std::ptrdiff_t>(max_records), records.end());
    records.shrink_to_fit();
}

// What has its top bit set counts as 0 (RFC 2181 §8).
std::uint32_t ttl_of(std::uint32_t seconds) {
    return seconds > INT32_MAX ? 0 : seconds;
}

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
                out.ttl = std::min(out.ttl, ttl_of(ldns_rr_ttl(rr)));
            } else if (ldns_rr_get_type(rr) == LDNS_RR_TYPE_CNAME && ldns_rr_rd_count(rr) == 1) {
                target = name_text(ldns_rr_rdf(rr, 0));
                out.ttl = std::min(out.ttl, ttl_of(ldns_rr_ttl(rr)));
            }
        }
        if (!out.records.empty() || !target) return out;
        if (link == max_cname_links) {
            out.loop = true;
            return out;
        }
        out.end = *target;
        ++out.links;
    }
}

// RFC 2308 §5: how long "not there" may be believed; 0 when the answer has no SOA.
std::uint32_t negative_ttl(const ldns_pkt* packet) {
    const ldns_rr_list* authority = ldns_pkt_authority(packet);
    for (std::size_t i = 0; i < ldns_rr_list_rr_count(authority); ++i) {
        const ldns_rr* rr = ldns_rr_list_rr(authority, i);
        if (ldns_rr_get_type(rr) == LDNS_RR_TYPE_SOA && ldns_rr_rd_count(rr) == 7)
            return std::min(ttl_of(ldns_rr_ttl(rr)), ttl_of(ldns_rdf2native_int32(ldns_rr_rdf(rr, 6))));
    }
    return 0;
}

}  // namespace

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

std::optional<Header> read_header(const Octets& wire, const Octets& query) {
    const PacketPtr packet = read_answer(wire, query);
    if (!packet) return std::nullopt;
    Header out;
    const auto rcode = ldns_pkt_get_rcode(packet.get());
    out.truncated = ldns_pkt_tc(packet.get());
    out.settles = rcode == LDNS_RCODE_NOERROR || rcode == LDNS_RCODE_NXDOMAIN;
    out.no_edns = rcode == LDNS_RCODE_FORMERR || rcode == LDNS_RCODE_NOTIMPL;
    const CharPtr text(ldns_pkt_rcode2str(rcode), std::free);
    out.rcode = text ? text.get() : "an error";
    return out;
}

template <class Record>
std::optional<Reading<Record>> read_response(const Octets& wire, const std::string& name, int type) {
    ldns_pkt* parsed = nullptr;
    if (ldns_wire2pkt(&parsed, wire.data(), wire.size()) != LDNS_STATUS_OK) return std::nullopt;
    const PacketPtr packet(parsed, ldns_pkt_free);
    Reading<Record> out = read_chain<Record>(packet.get(), name, type);
    keep_few(out);
    out.authentic = ldns_pkt_ad(packet.get());
    out.no_name = ldns_pkt_get_rcode(packet.get()) == LDNS_RCODE_NXDOMAIN;
    out.negative_ttl = negative_ttl(packet.get());
    return out;
}

template std::optional<Reading<Mx>> read_response<Mx>(const Octets&, const std::string&, int);
template std::optional<Reading<Address>> read_response<Address>(const Octets&, const std::string&, int);
template std::optional<Reading<std::string>> read_response<std::string>(const Octets&, const std::string&,
                                                                        int);
template std::optional<Reading<Tlsa>> read_response<Tlsa>(const Octets&, const std::string&, int);
template std::optional<Reading<Cname>> read_response<Cname>(const Octets&, const std::string&, int);

}  // namespace sternpost::dns
