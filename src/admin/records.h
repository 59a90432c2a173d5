// The DNS records that a relay wants, and what the world sees of them.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/describe/class.hpp>
#include <string>
#include <vector>

#include "admin/host_checks.h"

namespace sternpost::admin {

struct RecordRow {
    std::string name;
    std::string type;   // A, AAAA, PTR, TXT
    std::string value;  // to publish
    std::string seen;   // yes, no, other, unanswered
    std::string found;  // what is there instead
    std::string why;    // what it is for, in a few words
};
BOOST_DESCRIBE_STRUCT(RecordRow, (), (name, type, value, seen, found, why))

/// A TXT record of a DKIM key.
struct KeyRecord {
    std::string name;
    std::string value;
};

/// A and AAAA, PTR, SPF, DKIM, DMARC and TLSRPT, in this order. `report_to`: gets reports about the
/// administrator's domain; empty: no record is wanted.
asio::awaitable<std::vector<RecordRow>> wanted_records(CheckedHost host, std::vector<KeyRecord> keys,
                                                       std::string report_to, CheckSources sources);

}  // namespace sternpost::admin
