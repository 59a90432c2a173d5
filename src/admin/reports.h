// TLS reports as administrators see them: one that would go out, those that went out, a day with all
// partners.
#pragma once

#include <boost/describe/class.hpp>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "admin/queue.h"
#include "admin/report_pages.h"
#include "store/report.h"
#include "tlsrpt/record.h"
#include "tlsrpt/report.h"

namespace sternpost::admin {

/// `2026-11-26`, `today` or `yesterday`; empty: `otherwise`. nullopt: none of these.
std::optional<std::chrono::sys_days> day_of(std::string_view text, WallTime now,
                                            std::chrono::sys_days otherwise);
std::string day_text(std::chrono::sys_days day);
Refusal no_day(const std::string& text);

// ---- reports that went out

struct PlaceRow {
    std::string uri;
    std::string state;
    WallTime at{};
    std::string text;
};
BOOST_DESCRIBE_STRUCT(PlaceRow, (), (uri, state, at, text))

struct ReportRow {
    std::string day;
    std::string domain;
    std::string id;
    std::string state;
    std::uint64_t good = 0;  // sessions
    std::uint64_t failed = 0;
    std::uint32_t tries = 0;
    std::uint32_t resent = 0;
    WallTime first_tried{};
    WallTime at{};                    // of the latest attempt
    std::optional<WallTime> next_at;  // of one that waits
    std::string reason;
    std::vector<PlaceRow> places;
};
BOOST_DESCRIBE_STRUCT(ReportRow, (),
                      (day, domain, id, state, good, failed, tries, resent, first_tried, at, next_at, reason,
                       places))
ReportRow row_of(const store::StoredReport& report);

struct ReportRequest {
    std::string domain;  // empty: any
    std::string day;
    bool all = false;  // with those that no one asked for
};
BOOST_DESCRIBE_STRUCT(ReportRequest, (), (domain, day, all))

struct ReportListing {
    std::vector<ReportRow> reports;
    bool more = false;
};
BOOST_DESCRIBE_STRUCT(ReportListing, (), (reports, more))

/// Day by day and piece by piece, so that memory holds the reports of a few days and one piece of the answer.
class ReportList : public ReadingVerb {
  public:
    using Request = ReportRequest;
    using Value = ReportListing;
    using Row = ReportRow;
    static constexpr std::string_view name = "tlsrpt.list";
    static constexpr std::string_view pieces = "reports";
    static constexpr Access access = Access::read;

    ReportList(Request request, const Caller&, Paging paging);
    store::Result<void> read(store::Questions& questions);
    void look(const Live& live);
    std::vector<Row>& rows() { return listing_.reports; }
    Answer<Value> answer(const Live&);

  private:
    Request request_;
    Paging paging_;
    std::optional<ReportPages> pages_;
    std::vector<store::StoredReport> found_;  // not yet among the rows
    std::size_t taken_ = 0;                   // of found_
    bool no_such_day_ = false;
    ReportListing listing_;
};

/// `report`: as it travels (RFC 8460), where anything was counted; `lines`: the same in words.
struct ShownReport : ReportRow {
    std::optional<tlsrpt::Report> report;
    std::vector<std::string> lines;
};
BOOST_DESCRIBE_STRUCT(ShownReport, (ReportRow), (report, lines))

class ReportShow : public ReadingVerb {
  public:
    using Request = IdRequest;
    using Value = ShownReport;
    static constexpr std::string_view name = "tlsrpt.show";
    static constexpr Access access = Access::read;

    ReportShow(Request request, const Caller&, Paging) : request_(std::move(request)) {}
    store::Result<void> read(store::Questions& questions);
    Answer<Value> answer(const Live& live);

  private:
    Request request_;
    std::vector<store::StoredReport> found_;
    std::vector<store::StoredOutcome> outcomes_;
};

// ---- reports that would go out

struct PreviewAnswer {
    std::string day;
    std::string domain;
    std::optional<tlsrpt::Report> report;
    std::vector<std::string> lines;
    std::vector<std::string> places;       // where it would go
    std::vector<std::string> passed_over;  // places that are not usable, and why
    std::string why_not;                   // no one asks for it: why
};
BOOST_DESCRIBE_STRUCT(PreviewAnswer, (), (day, domain, report, lines, places, passed_over, why_not))
PreviewAnswer preview_of(const tlsrpt::Report& report);

/// While no daemon runs, no one is asked whether the report is wanted.
class PreviewAtRest : public ReadingVerb {
  public:
    using Value = PreviewAnswer;

    explicit PreviewAtRest(ReportRequest request) : request_(std::move(request)) { more_ = true; }
    store::Result<void> read(store::Questions& questions);
    void look(const Live& live);
    Answer<Value> answer(const Live& live);

  private:
    ReportRequest request_;
    std::optional<std::chrono::sys_days> day_;
    std::vector<store::StoredOutcome> outcomes_;
};

struct SentAnswer {
    std::string day;
    std::uint64_t reports = 0;  // that were tried
    std::uint64_t done = 0;
    std::uint64_t not_asked = 0;
    std::uint64_t waiting = 0;
};
BOOST_DESCRIBE_STRUCT(SentAnswer, (), (day, reports, done, not_asked, waiting))

struct SendingRow {
    std::uint64_t reports = 0;  // that are through
    std::uint64_t all = 0;
};
BOOST_DESCRIBE_STRUCT(SendingRow, (), (reports, all))

struct ReportingRow {
    bool sending = false;
    bool switched_off = false;
    std::vector<std::string> missing;  // before reports can be sent
    std::string closed;                // the newest day that is
    std::uint64_t waiting = 0;
    std::string next_at;
};
BOOST_DESCRIBE_STRUCT(ReportingRow, (), (sending, switched_off, missing, closed, waiting, next_at))

// ---- a day

struct PartnerPolicy {
    std::string policy;
    std::string type;
    std::string mode;
    std::uint64_t good = 0;  // sessions
    std::uint64_t failed = 0;
    std::vector<std::string> failures;  // the most frequent kinds, as sentences
    std::uint64_t kinds = 0;            // of failures
};
BOOST_DESCRIBE_STRUCT(PartnerPolicy, (), (policy, type, mode, good, failed, failures, kinds))

struct Partner {
    std::string domain;
    std::uint64_t good = 0;
    std::uint64_t failed = 0;
    std::string report;  // its state; empty: there is none yet
    std::vector<PartnerPolicy> policies;
};
BOOST_DESCRIBE_STRUCT(Partner, (), (domain, good, failed, report, policies))

struct DigestAnswer {
    std::string day;
    std::uint64_t good = 0;
    std::uint64_t failed = 0;
    std::uint64_t failing_domains = 0;
    std::vector<Partner> domains;       // failing ones first
    std::optional<std::string> queued;  // the queue id, where it is mailed
};
BOOST_DESCRIBE_STRUCT(DigestAnswer, (), (day, good, failed, failing_domains, domains, queued))

/// All partners of a day, also those that publish no address (`reports`: what is known of their reports).
DigestAnswer digest(std::chrono::sys_days day, const std::vector<store::StoredOutcome>& outcomes,
                    const std::vector<store::StoredReport>& reports);
/// The same as a mail's text: lines that end with LF.
std::string in_words(const DigestAnswer& digest);

struct DigestRequest {
    std::string day;
    bool mail = false;  // mail it to the administrator
};
BOOST_DESCRIBE_STRUCT(DigestRequest, (), (day, mail))

class Digest : public ReadingVerb {
  public:
    using Request = DigestRequest;
    using Value = DigestAnswer;

    explicit Digest(Request request) : request_(std::move(request)) { more_ = true; }
    store::Result<void> read(store::Questions& questions);
    void look(const Live& live);
    Answer<Value> answer(const Live&);

  private:
    Request request_;
    std::optional<std::chrono::sys_days> day_;
    std::vector<store::StoredOutcome> outcomes_;
    std::vector<store::StoredReport> reports_;
};

}  // namespace sternpost::admin
