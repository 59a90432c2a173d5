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

constexpr std::size_t most_octets = 64UL << 20U;          // of one file; ours
constexpr std::size_t most_shown = 10;                    // failures of a row, for people
constexpr std::size_t most_octets_of_list = 16UL << 20U;  // what is said of all reports; ours
constexpr std::size_t most_troubles = 1000;               // ours

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

// Files read so far, and what they come to.
class Reading {
  public:
    void file(const std::string& name) {
        const auto content = content_of(name);
        if (!content) return trouble(name, content.error().text, ExitCode::no_input);
        const auto take_one = [&](const tlsrpt::Result<tlsrpt::IncomingReport>& report) {
            if (report)
                take(name, *report);
            else
                trouble(name, report.error().text, ExitCode::bad_data);
            return true;
        };
        if (tlsrpt::read_reports_in(*content, take_one) == 0)
            trouble(name, "there is no TLS report in it", ExitCode::bad_data);
    }
    Answer answer() {
        if (troubles_ > most_troubles)
            name_trouble("all files",
                         std::to_string(troubles_ - most_troubles) + " more such lines are left out");
        json::array rows;
        for (auto all = sums_.take(); !all.empty(); all.erase(all.begin()))
            rows.push_back(to_json(all.begin()->first, all.begin()->second));
        std::stable_sort(rows.begin(), rows.end(), [](const json::value& a, const json::value& b) {
            return a.at("failed").to_number<std::uint64_t>() > b.at("failed").to_number<std::uint64_t>();
        });
        json::object out;
        out["rows"] = std::move(rows);
        out["reports"] = std::move(reports_);
        out["unreadable"] = std::move(unreadable_);
        return {code_, "", std::move(out)};
    }

  private:
    void trouble(const std::string& file, const std::string& why, ExitCode code) {
        if (code_ == ExitCode::done) code_ = code;
        if (++troubles_ <= most_troubles) name_trouble(file, why);
    }
    void name_trouble(const std::string& file, const std::string& why) {
        json::object one;
        one["file"] = file;
        one["reason"] = why;
        unreadable_.push_back(std::move(one));
    }
    void take(const std::string& file, const tlsrpt::IncomingReport& report) {
        const std::string what =
            "the report " + printable(report.id, 200) + " of " + printable(report.organization, 200);
        std::size_t of_report = sizeof(json::object) + 500 + file.size() + report.organization.size() +
                                report.contact.size() + report.id.size();
        for (const auto& odd : report.oddities) of_report += sizeof(json::value) + odd.size();
        const bool room = octets_ + of_report <= most_octets_of_list;
        const auto added = room ? sums_.add(report) : tlsrpt::Added::left_out;
        if (added == tlsrpt::Added::left_out)
            return trouble(
                file, what + " is left out: there are too many to sum at once; read fewer files in one call",
                ExitCode::no);
        if (added == tlsrpt::Added::without_details)
            trouble(file,
                    what +
                        " is counted without its failure details: there are too many to show at once; read "
                        "fewer files in one call",
                    ExitCode::no);
        octets_ += of_report;
        json::object one;
        one["file"] = file;
        one["organization"] = report.organization;
        one["contact"] = report.contact;
        one["id"] = report.id;
        one["begin"] = report.begin;
        one["end"] = report.end;
        one["counted"] = added != tlsrpt::Added::before;
        one["details"] = added != tlsrpt::Added::without_details;
        json::array oddities;
        for (const auto& odd : report.oddities) oddities.emplace_back(odd);
        one["oddities"] = std::move(oddities);
        reports_.push_back(std::move(one));
    }

    tlsrpt::Sums sums_;
    json::array reports_;
    json::array unreadable_;
    std::size_t octets_ = 0;  // of `reports_`, about
    std::size_t troubles_ = 0;
    ExitCode code_ = ExitCode::done;
};

}  // namespace

Answer read_reports(const std::vector<std::string>& files) {
    Reading reading;
    for (const auto& file : files) reading.file(file);
    return reading.answer();
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
