#include "admin/reports.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <tuple>

#include "util/text.h"

namespace sternpost::admin {
namespace {

constexpr std::size_t most_failures = 10;            // of a policy, in the digest
constexpr std::size_t reports_in_a_piece = 200;      // ours
constexpr std::size_t reports_in_one_answer = 1000;  // ours: for a caller that takes no pieces

std::vector<std::string> lines_of(const tlsrpt::Report& report) {
    const std::string text = tlsrpt::in_words(report);
    std::vector<std::string> out;
    for (const auto line : split(text, '\n')) out.emplace_back(line);
    while (!out.empty() && out.back().empty()) out.pop_back();
    return out;
}

PartnerPolicy row_of(const tlsrpt::PolicyEntry& entry) {
    PartnerPolicy out{tlsrpt::name_of(entry),
                      std::string(store::name_of(entry.type)),
                      entry.mode,
                      entry.good,
                      entry.failed,
                      {},
                      entry.details.size()};
    for (std::size_t i = 0; i < entry.details.size() && i < most_failures; ++i)
        out.failures.push_back(tlsrpt::in_words(entry.details[i]));
    return out;
}

}  // namespace

// ---- days

std::string day_text(std::chrono::sys_days day) {
    return rfc3339(WallTime(day)).substr(0, 10);
}

std::optional<std::chrono::sys_days> day_of(std::string_view text, WallTime now,
                                            std::chrono::sys_days otherwise) {
    const auto today = std::chrono::floor<std::chrono::days>(now);
    if (text.empty()) return otherwise;
    if (text == "today") return today;
    if (text == "yesterday") return today - std::chrono::days(1);
    constexpr std::size_t day_size = 10;  // 2026-11-26
    const auto time = text.size() == day_size ? parse_rfc3339(text) : std::nullopt;
    if (!time) return std::nullopt;
    return std::chrono::floor<std::chrono::days>(*time);
}

Refusal no_day(const std::string& text) {
    return misused("--day " + printable(text) + ": wanted is a UTC day such as 2026-11-26, or yesterday");
}

// ---- reports that went out

ReportRow row_of(const store::StoredReport& report) {
    ReportRow out;
    out.day = day_text(report.day);
    out.domain = report.domain;
    out.id = report.id;
    out.state = store::name_of(report.state);
    out.good = report.good;
    out.failed = report.failed;
    out.tries = report.tries;
    out.resent = report.resent;
    out.first_tried = report.first_tried;
    out.at = report.at;
    if (report.state == store::ReportState::waiting) out.next_at = report.next_at;
    out.reason = report.text;
    for (const auto& place : report.places)
        out.places.push_back({place.uri, std::string(store::name_of(place.state)), place.at, place.text});
    return out;
}

ReportList::ReportList(Request request, const Caller&, Paging paging)
    : request_(std::move(request)), paging_(paging) {
    more_ = true;
}

store::Result<void> ReportList::read(store::Questions& questions) {
    if (!pages_ || taken_ < found_.size() || pages_->done()) return {};
    auto found = questions.reports(pages_->next());
    if (!found) return fail(std::move(found).error());
    found_ = pages_->take(std::move(*found));
    taken_ = 0;
    return {};
}

void ReportList::look(const Live& live) {
    if (!pages_) {
        store::ReportFilter filter;
        if (!request_.day.empty()) {
            const auto day = day_of(request_.day, live.now(), {});
            no_such_day_ = !day;
            if (day) filter.from = filter.to = *day;
        }
        filter.domain = lowered(request_.domain);
        filter.asked_for = !request_.all;
        pages_.emplace(std::move(filter));
        more_ = !no_such_day_;
        return;
    }
    const std::size_t most = paging_ == Paging::whole    ? SIZE_MAX
                             : paging_ == Paging::pieces ? reports_in_a_piece
                                                         : reports_in_one_answer;
    while (taken_ < found_.size() && listing_.reports.size() < most)
        listing_.reports.push_back(row_of(found_[taken_++]));
    more_ = taken_ < found_.size() || !pages_->done();
    if (paging_ == Paging::one_page && taken_ < found_.size()) {
        listing_.more = true;
        more_ = false;
    }
}

Answer<ReportListing> ReportList::answer(const Live&) {
    if (no_such_day_) return no_day(request_.day);
    return std::move(listing_);
}

store::Result<void> ReportShow::read(store::Questions& questions) {
    if (request_.id.empty()) return {};
    store::ReportFilter filter;
    filter.id = request_.id;
    auto found = questions.reports(filter);
    if (!found) return fail(std::move(found).error());
    found_ = std::move(*found);
    if (found_.empty()) return {};
    const auto& report = found_.front();
    auto outcomes = questions.outcomes({report.day, report.day, report.domain});
    if (!outcomes) return fail(std::move(outcomes).error());
    outcomes_ = std::move(*outcomes);
    return {};
}

Answer<ShownReport> ReportShow::answer(const Live& live) {
    if (found_.empty()) return refusal("no report has the id " + printable(request_.id));
    ShownReport out{row_of(found_.front()), {}, {}};
    if (outcomes_.empty()) return out;
    out.report = tlsrpt::make_report(live.reporter(), found_.front().domain, found_.front().day, outcomes_);
    out.lines = lines_of(*out.report);
    return out;
}

// ---- reports that would go out

PreviewAnswer preview_of(const tlsrpt::Report& report) {
    PreviewAnswer out;
    out.day = day_text(report.day);
    out.domain = report.domain;
    out.report = report;
    out.lines = lines_of(report);
    return out;
}

store::Result<void> PreviewAtRest::read(store::Questions& questions) {
    if (!day_) return {};
    auto outcomes = questions.outcomes({*day_, *day_, lowered(request_.domain)});
    if (!outcomes) return fail(std::move(outcomes).error());
    outcomes_ = std::move(*outcomes);
    return {};
}

void PreviewAtRest::look(const Live& live) {
    more_ = !day_;
    day_ = day_of(request_.day, live.now(), std::chrono::floor<std::chrono::days>(live.now()));
    more_ = more_ && day_;
}

Answer<PreviewAnswer> PreviewAtRest::answer(const Live& live) {
    if (!day_) return no_day(request_.day);
    const std::string domain = lowered(request_.domain);
    if (outcomes_.empty())
        return refusal("no session with a host of " + printable(domain) + " was counted on that day");
    auto out = preview_of(tlsrpt::make_report(live.reporter(), domain, *day_, outcomes_));
    out.why_not = "the daemon is down: who asks for it is not known";
    return out;
}

// ---- a day

DigestAnswer digest(std::chrono::sys_days day, const std::vector<store::StoredOutcome>& outcomes,
                    const std::vector<store::StoredReport>& reports) {
    std::map<std::string, std::vector<store::StoredOutcome>> by_domain;
    for (const auto& outcome : outcomes)
        if (outcome.day == day) by_domain[outcome.outcome.domain].push_back(outcome);
    std::map<std::string, const store::StoredReport*> report_to;
    for (const auto& report : reports)
        if (report.day == day) report_to[report.domain] = &report;
    struct Ranked {
        Partner partner;
        bool fails = false;
    };
    std::vector<Ranked> partners;
    DigestAnswer out;
    out.day = day_text(day);
    for (const auto& [domain, counted] : by_domain) {
        const auto report = tlsrpt::make_report({}, domain, day, counted);
        const auto known = report_to.find(domain);
        Partner partner{domain, report.good(), report.failed(), {}, {}};
        if (known != report_to.end()) partner.report = store::name_of(known->second->state);
        for (const auto& entry : report.policies) partner.policies.push_back(row_of(entry));
        out.good += partner.good;
        out.failed += partner.failed;
        if (report.has_failures()) ++out.failing_domains;
        partners.push_back({std::move(partner), report.has_failures()});
    }
    std::stable_sort(partners.begin(), partners.end(), [](const Ranked& a, const Ranked& b) {
        return std::tuple(a.partner.failed, a.fails, a.partner.good) >
               std::tuple(b.partner.failed, b.fails, b.partner.good);
    });
    for (auto& one : partners) out.domains.push_back(std::move(one.partner));
    return out;
}

std::string in_words(const DigestAnswer& digest) {
    std::string out =
        fmt::format("TLS on {} (UTC): {} domain(s), {} with failures; {} good and {} failed session(s).\n",
                    digest.day, digest.domains.size(), digest.failing_domains, digest.good, digest.failed);
    for (const auto& partner : digest.domains) {
        out += fmt::format("\n{}: {} good, {} failed{}\n", partner.domain, partner.good, partner.failed,
                           partner.report.empty()          ? ""
                           : partner.report == "not-asked" ? "; asks for no report"
                                                           : "; its report: " + partner.report);
        for (const auto& policy : partner.policies) {
            out += fmt::format("  {}: {} good, {} failed\n", policy.policy, policy.good, policy.failed);
            for (const auto& failure : policy.failures) out += "    " + failure + "\n";
            if (policy.kinds > policy.failures.size())
                out +=
                    fmt::format("    and {} kinds of failures more\n", policy.kinds - policy.failures.size());
        }
    }
    return out;
}

store::Result<void> Digest::read(store::Questions& questions) {
    if (!day_) return {};
    auto outcomes = questions.outcomes({*day_, *day_, {}});
    if (!outcomes) return fail(std::move(outcomes).error());
    outcomes_ = std::move(*outcomes);
    store::ReportFilter filter;
    filter.from = filter.to = *day_;
    auto reports = questions.reports(filter);
    if (!reports) return fail(std::move(reports).error());
    reports_ = std::move(*reports);
    return {};
}

void Digest::look(const Live& live) {
    more_ = !day_;
    const auto today = std::chrono::floor<std::chrono::days>(live.now());
    day_ = day_of(request_.day, live.now(), today - std::chrono::days(1));
    more_ = more_ && day_;
}

Answer<DigestAnswer> Digest::answer(const Live&) {
    if (!day_) return no_day(request_.day);
    return digest(*day_, outcomes_, reports_);
}

}  // namespace sternpost::admin
