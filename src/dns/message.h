// DNS messages as octets and values: questions written, responses read. No socket; sole ldns.h user.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "dns/record.h"

namespace sternpost::dns {

using Octets = std::vector<std::uint8_t>;

enum Type : int {
    type_a = 1,
    type_cname = 5,
    type_ptr = 12,
    type_mx = 15,
    type_txt = 16,
    type_aaaa = 28,
    type_tlsa = 52
};

/// A question with RD and AD ("tell me whether it validated", RFC 6840 §5.7). bad_name: it cannot be asked.
Result<Octets> make_query(const Domain& name, int type, std::uint16_t id, bool edns);

/// What decides whether a response is to be read at all.
struct Header {
    bool truncated = false;  // ask again by TCP
    bool settles = false;    // NOERROR or NXDOMAIN
    bool no_edns = false;    // the server could not read the question: again without EDNS0
    std::string rcode;       // SERVFAIL, REFUSED …
};

/// nullopt: octets that cannot be read, or no response to this question (RFC 5452 §9.1).
std::optional<Header> read_header(const Octets& wire, const Octets& query);

constexpr int max_cname_links = 10;      // of one look-up; ours: the RFC sets none
constexpr std::size_t max_records = 64;  // that are kept of an answer; ours: the RFC sets none

/// What one response says about a name: where its CNAMEs lead, and the records at their end.
template <class Record>
struct Reading {
    /// At most max_records. Of MX records those that name a host, the best of them first; of TXT records
    /// those that begin with a version, `v=`; then the others, in the order of the answer.
    std::vector<Record> records;
    std::size_t left_out =
        0;            // beyond those: MX records that name a host, TXT records with a version, others
    std::string end;  // the last name of the chain
    std::uint32_t ttl = UINT32_MAX;
    int links = 0;                   // CNAMEs followed
    bool loop = false;               // the chain has more than max_cname_links
    bool authentic = false;          // AD
    bool no_name = false;            // NXDOMAIN
    std::uint32_t negative_ttl = 0;  // RFC 2308 §5; 0: no SOA
};

/// Of Mx, Address (A, AAAA), std::string (TXT), Tlsa and Cname. nullopt: octets that cannot be read.
template <class Record>
std::optional<Reading<Record>> read_response(const Octets& wire, const std::string& name, int type);

}  // namespace sternpost::dns
