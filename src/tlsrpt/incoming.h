// Reports that others have sent about our own domains: found in mails and files, read in spite of what their
// makers got wrong, summed. Pure. RFC 8460 §4.4, §5.3.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "tlsrpt/record.h"

namespace sternpost::tlsrpt {

struct IncomingDetail {
    std::string result_type;
    std::string reason;
    std::string sending_ip;
    std::string mx_host;
    std::string receiving_ip;
    auto operator<=>(const IncomingDetail&) const = default;
};

struct IncomingEntry {
    std::string type;  // sts, tlsa, no-policy-found
    std::string domain;
    std::uint64_t good = 0;
    std::uint64_t failed = 0;
    std::map<IncomingDetail, std::uint64_t> details;
};

struct IncomingReport {
    std::string organization;
    std::string contact;
    std::string id;
    std::string begin;  // as it says
    std::string end;
    std::vector<IncomingEntry> entries;
    std::vector<std::string> oddities;  // what it has that RFC 8460 does not allow, and what was made of it
};

/// One report: JSON, or JSON in gzip; at most 16 MiB of it, whose values fit into 64 MiB of memory. Errors:
/// bad_record, with why nothing can be made of it.
Result<IncomingReport> read_report(std::string_view octets);

/// The reports in a file: JSON, gzip, a mail message, or an mbox file of them. Each as octets for
/// read_report().
std::vector<std::string> reports_in(std::string_view file);

/// Reports put together by domain, reporter and type of policy.
class Sums {
  public:
    /// A report that was added before, by all that it says of itself and counts, is passed over: false.
    bool add(const IncomingReport& report);

    struct Row {
        std::uint64_t reports = 0;
        std::uint64_t good = 0;
        std::uint64_t failed = 0;
        std::map<IncomingDetail, std::uint64_t> details;
    };
    using Key = std::tuple<std::string, std::string, std::string>;  // domain, organization, type
    const std::map<Key, Row>& rows() const { return rows_; }

  private:
    std::map<Key, Row> rows_;
    std::set<std::string> known_;
};

}  // namespace sternpost::tlsrpt
