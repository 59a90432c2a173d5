// A domain's day as one report: what was counted, as the JSON of RFC 8460 §4.4 and as sentences. Pure.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "store/report.h"
#include "store/results.h"
#include "util/clock.h"

namespace sternpost::tlsrpt {

/// Who reports.
struct Reporter {
    std::string organization;  // UTF-8, for people
    std::string contact;       // addr-spec, ASCII
    std::string submitter;     // the domain of `contact`, A-labels
    std::string node;          // tells two relays of one organization apart: this host's name
};

/// RFC 8460 §4.4 failure-details: sessions that failed alike.
struct Detail {
    std::string result_type;
    std::string reason_code;
    std::string local_address;
    std::string remote_address;
    std::string mx_host;
    std::string helo;
    std::uint64_t n = 0;
};

/// RFC 8460 §4.4: one policy that was seen in the day, and what sessions it met.
struct PolicyEntry {
    store::PolicyType type = store::PolicyType::no_policy_found;
    std::string policy_domain;
    std::string mode;  // of an sts policy, for people
    std::vector<std::string> policy_string;
    std::vector<std::string> mx_host;  // patterns of an sts policy
    std::uint64_t good = 0;
    std::uint64_t failed = 0;
    std::vector<Detail> details;  // the most frequent first
};

struct Report {
    std::chrono::sys_days day;  // UTC
    std::string domain;         // whom it is for
    std::string unique;         // letters and digits that no other report of the day to this domain has
    std::string id;             // `20260314.example.com.7f3a9c01@northfield.example` (D-15)
    Reporter by;
    std::vector<PolicyEntry> policies;

    std::uint64_t good() const;
    std::uint64_t failed() const;
    /// Something is to be mended: a session failed, or a policy could not be had, which fails no session by
    /// itself.
    bool has_failures() const;
};

/// The report for `domain` about `day`: the same one however often it is made of the same outcomes, those of
/// other domains and days passed over. Policy texts beyond 4 MiB in all are left out of it (RFC 8460 §5.2).
Report make_report(const Reporter& by, const std::string& domain, std::chrono::sys_days day,
                   const std::vector<store::StoredOutcome>& outcomes);

/// I-JSON (RFC 7493), one line, without a line end.
std::string json_of(const Report& report);

/// For whoever opens the mail: totals of each policy, the most frequent failures as sentences. Lines end with
/// LF; ASCII but for the organization's name.
std::string in_words(const Report& report);
/// One failure as a sentence, with its number of sessions.
std::string in_words(const Detail& detail);
/// `the MTA-STS policy of example.com (mode enforce)`.
std::string name_of(const PolicyEntry& entry);

/// RFC 8460 §5.1: `submitter!example.com!begin!end!unique.json.gz`.
std::string file_name(const Report& report);

WallTime begin_of(std::chrono::sys_days day);  // 00:00:00
WallTime end_of(std::chrono::sys_days day);    // 23:59:59 (D-10)

}  // namespace sternpost::tlsrpt
