// Which TLSA records can authenticate an SMTP server, and what a handshake is then judged by (RFC 7672, RFC
// 7671). The matching itself is OpenSSL's SSL_dane_* (stream, verify).
#pragma once

#include <string>
#include <vector>

#include "dns/name.h"
#include "dns/record.h"

namespace sternpost::tls {

/// Whether the record can authenticate a server for SMTP: usage 2 or 3 (0 and 1 never, RFC 7672 §3.1.3), a
/// known selector and matching type, data that is a digest of the right length, or a whole certificate or key
/// (RFC 6698 §4.1, RFC 7671 §9).
bool usable(const dns::Tlsa& record);

/// Those of `records` that a certificate is compared with: the usable ones, and of each usage and selector
/// next to the full values only those of the strongest digest (RFC 7671 §9).
std::vector<dns::Tlsa> usable_of(const std::vector<dns::Tlsa>& records);

/// `3 1 1 AB…`, the digest in upper-case hex without blanks (RFC 8460 §4.5).
std::string text_of(const dns::Tlsa& record);
/// A line a record, sorted, each ended by LF: equal sets give equal texts.
std::string text_of(const std::vector<dns::Tlsa>& records);

/// What a handshake is judged by under DANE.
struct DaneReference {
    dns::Domain base_domain;  // where the TLSA records were found; also the SNI (RFC 7672 §8.1)
    std::vector<dns::Domain>
        names;  // reference identifiers for usage 2, the base domain first (RFC 7672 §3.2.2)
    std::vector<dns::Tlsa> records;  // usable_of() the RRset, at least one

    explicit DaneReference(dns::Domain base) : base_domain(std::move(base)), names{base_domain} {}
    bool operator==(const DaneReference&) const = default;
};

}  // namespace sternpost::tls
