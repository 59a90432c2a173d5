// The TXT record at _smtp._tls: where a domain wants its TLS reports (RFC 8460 §3).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "dns/name.h"
#include "mail/address.h"
#include "util/result.h"

namespace sternpost::tlsrpt {

enum class Errc {
    bad_record,  // several TLSRPTv1 records, or one without a usable rua: as if there were none (RFC 8460 §3)
    temporary,   // the DNS gives no answer now
    not_kept,    // the store refuses
    nothing,     // there is nothing to report, or no such report
    unready,     // reporting is not set up
};

template <class T>
using Result = Expected<T, Errc>;

/// `https://host[:port]/path?query`.
struct HttpsPlace {
    dns::Domain host;
    std::uint16_t port = 443;
    std::string path;  // with the query, beginning with '/'
};

/// One entry of rua.
struct Destination {
    std::string uri;  // as published
    std::variant<mail::Mailbox, HttpsPlace> place;

    /// Errors: bad_record, with why nothing can be sent there.
    static Result<Destination> parse(std::string_view uri);
};

struct Record {
    std::vector<Destination> destinations;  // in their order, each once
    std::vector<std::string> passed_over;   // entries of rua that cannot be used, each with the reason
};

/// The one TLSRPTv1 record among `texts` (each a TXT RR, its strings joined). nullopt: there is none.
/// bad_record: several, one without rua, or none of its URIs can be used. `other_ports`: https: at another
/// port than 443 is used.
Result<std::optional<Record>> parse_record(const std::vector<std::string>& texts, bool other_ports = true);

/// What its owner should mend, sentence by sentence: what keeps us from sending a report, and what stricter
/// senders are known to refuse. `name`: where the record stands. Empty: nothing, or there is no such record.
std::vector<std::string> problems_of(const std::string& name, const std::vector<std::string>& texts,
                                     bool other_ports = true);

}  // namespace sternpost::tlsrpt
