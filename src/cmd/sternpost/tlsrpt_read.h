// `sternpost tlsrpt read`: reports that others have sent about domains of ours, summed. Needs no daemon.
#pragma once

#include <boost/describe/class.hpp>
#include <cstdint>
#include <string>
#include <vector>

#include "admin/answer.h"

namespace sternpost::cmd {

struct ReadFailure {
    std::string result_type;
    std::string reason;
    std::string sending_ip;
    std::string mx_host;
    std::string receiving_ip;
    std::uint64_t sessions = 0;
    std::string words;
};
BOOST_DESCRIBE_STRUCT(ReadFailure, (),
                      (result_type, reason, sending_ip, mx_host, receiving_ip, sessions, words))

/// What one organization reports about one domain and kind of policy.
struct ReadRow {
    std::string domain;
    std::string organization;
    std::string policy_type;
    std::uint64_t reports = 0;
    std::uint64_t good = 0;  // sessions
    std::uint64_t failed = 0;
    std::vector<ReadFailure> failures;  // the most frequent first
};
BOOST_DESCRIBE_STRUCT(ReadRow, (), (domain, organization, policy_type, reports, good, failed, failures))

struct ReadReport {
    std::string file;
    std::string organization;
    std::string contact;
    std::string id;
    std::string begin;
    std::string end;
    bool counted = true;  // else it was read before
    bool details = true;  // else it is counted without them
    std::vector<std::string> oddities;
};
BOOST_DESCRIBE_STRUCT(ReadReport, (),
                      (file, organization, contact, id, begin, end, counted, details, oddities))

struct UnreadFile {
    std::string file;
    std::string reason;
};
BOOST_DESCRIBE_STRUCT(UnreadFile, (), (file, reason))

struct ReadReports {
    std::vector<ReadRow> rows;  // most failures first
    std::vector<ReadReport> reports;
    std::vector<UnreadFile> unreadable;
};
BOOST_DESCRIBE_STRUCT(ReadReports, (), (rows, reports, unreadable))

/// Files with mails, mbox files, JSON or gzip; `-` is standard input. It has a value in any case.
admin::Answer<ReadReports> read_reports(const std::vector<std::string>& files);
void show_read(const ReadReports& read);

}  // namespace sternpost::cmd
