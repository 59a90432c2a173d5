// Reports that others have sent about our own domains: found in mails and files, read in spite of what their
// makers got wrong, summed. Pure. RFC 8460 §4.4, §5.3.
#pragma once

#include <cstdint>
#include <functional>
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

/// Reads the reports in a file, one at a time: JSON, gzip, a mail message, or an mbox file of them. `take`
/// gets each, or why it cannot be read, and says whether there shall be more. How many it got.
std::size_t read_reports_in(std::string_view file,
                            const std::function<bool(Result<IncomingReport> report)>& take);

enum class Added {
    whole,
    without_details,  // there is no room for its failure details: only its sessions are counted
    before,           // it was added before, by all that it says of itself and counts
    left_out          // there is no room for its domains
};

/// Reports put together by domain, reporter and type of policy, in a bounded number of octets.
class Sums {
  public:
    struct Limits {
        std::size_t octets = 32UL << 20U;  // ours
        std::size_t details = 100'000;     // ours
    };
    Sums() = default;
    explicit Sums(Limits limits) : limits_(limits) {}

    Added add(const IncomingReport& report);

    struct Row {
        std::uint64_t reports = 0;
        std::uint64_t good = 0;
        std::uint64_t failed = 0;
        std::map<IncomingDetail, std::uint64_t> details;
    };
    using Key = std::tuple<std::string, std::string, std::string>;  // domain, organization, type
    using Rows = std::map<Key, Row>;
    const Rows& rows() const { return rows_; }
    Rows take() { return std::move(rows_); }

  private:
    Limits limits_;
    std::size_t octets_ = 0;   // of all that follows, about
    std::size_t details_ = 0;  // of all rows
    Rows rows_;
    std::set<std::string> known_;
};

}  // namespace sternpost::tlsrpt
