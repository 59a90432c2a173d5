#include "cmd/tlsrpt_read.h"

#include <fmt/format.h>

#include <algorithm>
#include <iostream>
#include <iterator>

#include "cmd/tell.h"
#include "tlsrpt/incoming.h"
#include "tlsrpt/report.h"
#include "util/file.h"
#include "util/text.h"

namespace sternpost::cmd {
namespace {

namespace json = boost::json;
using control::Answer;
using control::ExitCode;

constexpr std::size_t most_octets = 64UL << 20U;  // of one file; ours
constexpr std::size_t most_shown = 10;            // failures of a row, for people

std::string text(const json::object& object, std::string_view key) {
    const auto* value = object.if_contains(key);
    if (value == nullptr || value->is_null()) return "";
    return value->is_string() ? std::string(value->as_string()) : json::serialize(*value);
}

util::Result<std::string> content_of(const std::string& file) {
    if (file != "-") return util::read_file(file, most_octets);
    std::string out;
    std::array<char, 65536> chunk{};
    while (std::cin.read(chunk.data(), chunk.size()) || std::cin.gcount() > 0) {
        out.append(chunk.data(), static_cast<std::size_t>(std::cin.gcount()));
        if (out.size() > most_octets) return fail(util::Errc::too_big, "standard input: more than 64 MiB");
    }
    return out;
}

json::object to_json(const tlsrpt::Sums::Key& key, const tlsrpt::Sums::Row& row) {
    json::object out;
    out["domain"] = std::get<0>(key);
    out["organization"] = std::get<1>(key);
    out["policy_type"] = std::get<2>(key);
    out["reports"] = row.reports;
    out["good"] = row.good;
    out["failed"] = row.failed;
    std::vector<std::pair<tlsrpt::IncomingDetail, std::uint64_t>> details(row.details.begin(),
                                                                          row.details.end());
    std::stable_sort(details.begin(), details.end(),
                     [](const auto& a, const auto& b) { return a.second > b.second; });
    json::array failures;
    for (const auto& [detail, n] : details) {
        json::object one;
        one["result_type"] = detail.result_type;
        one["reason"] = detail.reason;
        one["sending_ip"] = detail.sending_ip;
        one["mx_host"] = detail.mx_host;
        one["receiving_ip"] = detail.receiving_ip;
        one["sessions"] = n;
        std::string words = tlsrpt::in_words({detail.result_type, detail.reason, detail.sending_ip,
                                              detail.receiving_ip, detail.mx_host, "", n});
        if (detail.mx_host.empty() && !detail.receiving_ip.empty()) words += ", at " + detail.receiving_ip;
        if (!detail.sending_ip.empty()) words += ", from " + detail.sending_ip;
        one["words"] = std::move(words);
        failures.push_back(std::move(one));
    }
    out["failures"] = std::move(failures);
    return out;
}

}  // namespace

Answer read_reports(const std::vector<std::string>& files) {
    Answer answer;
    tlsrpt::Sums sums;
    json::array reports;
    json::array unreadable;
    const auto trouble = [&](const std::string& file, const std::string& why, ExitCode code) {
        json::object one;
        one["file"] = file;
        one["reason"] = why;
        unreadable.push_back(std::move(one));
        if (answer.code == ExitCode::done) answer.code = code;
    };
    for (const auto& file : files) {
        const auto content = content_of(file);
        if (!content) {
            trouble(file, content.error().text, ExitCode::no_input);
            continue;
        }
        const auto found = tlsrpt::reports_in(*content);
        if (found.empty()) trouble(file, "there is no TLS report in it", ExitCode::bad_data);
        for (const auto& octets : found) {
            const auto report = tlsrpt::read_report(octets);
            if (!report) {
                trouble(file, report.error().text, ExitCode::bad_data);
                continue;
            }
            json::object one;
            one["file"] = file;
            one["organization"] = report->organization;
            one["contact"] = report->contact;
            one["id"] = report->id;
            one["begin"] = report->begin;
            one["end"] = report->end;
            one["counted"] = sums.add(*report);
            json::array oddities;
            for (const auto& odd : report->oddities) oddities.emplace_back(odd);
            one["oddities"] = std::move(oddities);
            reports.push_back(std::move(one));
        }
    }
    json::array rows;
    for (const auto& [key, row] : sums.rows()) rows.push_back(to_json(key, row));
    std::stable_sort(rows.begin(), rows.end(), [](const json::value& a, const json::value& b) {
        return a.at("failed").to_number<std::uint64_t>() > b.at("failed").to_number<std::uint64_t>();
    });
    json::object out;
    out["rows"] = std::move(rows);
    out["reports"] = std::move(reports);
    out["unreadable"] = std::move(unreadable);
    answer.data = std::move(out);
    return answer;
}

void print_read(const Answer& answer) {
    const auto& data = answer.data.as_object();
    const auto& rows = data.at("rows").as_array();
    if (!rows.empty())
        tell("{:<28} {:<28} {:<16} {:>7} {:>10} {:>10}\n", "domain", "reported by", "policy", "reports",
             "good", "failed");
    else if (!data.at("reports").as_array().empty())
        tell("What was read speaks of no domain.\n");
    for (const auto& item : rows) {
        const auto& row = item.as_object();
        tell("{:<28} {:<28} {:<16} {:>7} {:>10} {:>10}\n", printable(text(row, "domain"), 100),
             printable(text(row, "organization"), 100), printable(text(row, "policy_type"), 40),
             text(row, "reports"), text(row, "good"), text(row, "failed"));
        const auto& failures = row.at("failures").as_array();
        for (std::size_t i = 0; i < failures.size() && i < most_shown; ++i)
            tell("    {}\n", printable(text(failures[i].as_object(), "words"), 500));
        if (failures.size() > most_shown)
            tell("    and {} kinds of failures more\n", failures.size() - most_shown);
    }
    for (const auto& item : data.at("reports").as_array()) {
        const auto& report = item.as_object();
        if (text(report, "counted") == "false")
            tell("{}: the report {} was read before, and is passed over\n",
                 printable(text(report, "file"), 300), printable(text(report, "id"), 200));
        for (const auto& odd : report.at("oddities").as_array())
            tell("{}: not as RFC 8460 says, and read all the same: {}\n",
                 printable(text(report, "file"), 300), printable(std::string(odd.as_string()), 300));
    }
    for (const auto& item : data.at("unreadable").as_array())
        std::cerr << "sternpost: " << printable(text(item.as_object(), "file"), 300) << ": "
                  << printable(text(item.as_object(), "reason"), 500) << '\n';
}

}  // namespace sternpost::cmd
