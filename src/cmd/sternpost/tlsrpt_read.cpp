#include "cmd/sternpost/tlsrpt_read.h"

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

using admin::ExitCode;

constexpr std::size_t most_octets = 64UL << 20U;          // of one file; ours
constexpr std::size_t most_shown = 10;                    // failures of a row, for people
constexpr std::size_t most_octets_of_list = 16UL << 20U;  // what is said of all reports; ours
constexpr std::size_t most_troubles = 1000;               // ours
constexpr std::size_t allocations = 300;                  // of a report's texts, next to their octets; about

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

ReadRow row_of(const tlsrpt::Sums::Key& key, const tlsrpt::Sums::Row& row) {
    ReadRow out{std::get<0>(key), std::get<1>(key), std::get<2>(key), row.reports, row.good, row.failed, {}};
    std::vector<std::pair<tlsrpt::IncomingDetail, std::uint64_t>> details(row.details.begin(),
                                                                          row.details.end());
    std::stable_sort(details.begin(), details.end(),
                     [](const auto& a, const auto& b) { return a.second > b.second; });
    for (const auto& [detail, n] : details) {
        std::string words = tlsrpt::in_words({detail.result_type, detail.reason, detail.sending_ip,
                                              detail.receiving_ip, detail.mx_host, "", n});
        if (detail.mx_host.empty() && !detail.receiving_ip.empty()) words += ", at " + detail.receiving_ip;
        if (!detail.sending_ip.empty()) words += ", from " + detail.sending_ip;
        out.failures.push_back({detail.result_type, detail.reason, detail.sending_ip, detail.mx_host,
                                detail.receiving_ip, n, std::move(words)});
    }
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
    admin::Answer<ReadReports> answer() {
        if (troubles_ > most_troubles)
            name_trouble("all files",
                         std::to_string(troubles_ - most_troubles) + " more such lines are left out");
        for (auto all = sums_.take(); !all.empty(); all.erase(all.begin()))
            out_.rows.push_back(row_of(all.begin()->first, all.begin()->second));
        std::stable_sort(out_.rows.begin(), out_.rows.end(),
                         [](const ReadRow& a, const ReadRow& b) { return a.failed > b.failed; });
        return {std::move(out_), code_};
    }

  private:
    void trouble(const std::string& file, const std::string& why, ExitCode code) {
        if (code_ == ExitCode::done) code_ = code;
        if (++troubles_ <= most_troubles) name_trouble(file, why);
    }
    void name_trouble(const std::string& file, const std::string& why) {
        out_.unreadable.push_back({file, why});
    }
    void take(const std::string& file, const tlsrpt::IncomingReport& report) {
        const std::string what =
            "the report " + printable(report.id, 200) + " of " + printable(report.organization, 200);
        std::size_t of_report = sizeof(ReadReport) + allocations + file.size() + report.organization.size() +
                                report.contact.size() + report.id.size();
        for (const auto& odd : report.oddities) of_report += sizeof(std::string) + odd.size();
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
        out_.reports.push_back({file, report.organization, report.contact, report.id, report.begin,
                                report.end, added != tlsrpt::Added::before,
                                added != tlsrpt::Added::without_details, report.oddities});
    }

    tlsrpt::Sums sums_;
    ReadReports out_;
    std::size_t octets_ = 0;  // of its reports, about
    std::size_t troubles_ = 0;
    ExitCode code_ = ExitCode::done;
};

}  // namespace

admin::Answer<ReadReports> read_reports(const std::vector<std::string>& files) {
    Reading reading;
    for (const auto& file : files) reading.file(file);
    return reading.answer();
}

void show_read(const ReadReports& read) {
    if (!read.rows.empty())
        tell("{:<28} {:<28} {:<16} {:>7} {:>10} {:>10}\n", "domain", "reported by", "policy", "reports",
             "good", "failed");
    else if (!read.reports.empty())
        tell("What was read speaks of no domain.\n");
    for (const auto& row : read.rows) {
        tell("{:<28} {:<28} {:<16} {:>7} {:>10} {:>10}\n", printable(row.domain, 100),
             printable(row.organization, 100), printable(row.policy_type, 40), row.reports, row.good,
             row.failed);
        for (std::size_t i = 0; i < row.failures.size() && i < most_shown; ++i)
            tell("    {}\n", printable(row.failures[i].words, 500));
        if (row.failures.size() > most_shown)
            tell("    and {} kinds of failures more\n", row.failures.size() - most_shown);
    }
    for (const auto& report : read.reports) {
        if (!report.counted)
            tell("{}: the report {} was read before, and is passed over\n", printable(report.file, 300),
                 printable(report.id, 200));
        for (const auto& odd : report.oddities)
            tell("{}: not as RFC 8460 says, and read all the same: {}\n", printable(report.file, 300),
                 printable(odd, 300));
    }
    for (const auto& one : read.unreadable)
        std::cerr << "sternpost: " << printable(one.file, 300) << ": " << printable(one.reason, 500) << '\n';
}

}  // namespace sternpost::cmd
