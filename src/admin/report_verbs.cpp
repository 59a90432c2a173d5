#include "admin/report_verbs.h"

#include "util/text.h"

namespace sternpost::admin {
namespace {

Refusal refusal_of(const Error<tlsrpt::Errc>& error) {
    return {error.code == tlsrpt::Errc::not_kept ? ExitCode::internal : ExitCode::no, error.text};
}

}  // namespace

ReportingRow ReportVerbs::status() const {
    const tlsrpt::ReportingStatus now = s_.daily.status();
    ReportingRow out;
    out.sending = now.sending && now.missing.empty();
    out.switched_off = !now.sending;
    out.missing = now.missing;
    if (now.closed && *now.closed != std::chrono::sys_days()) out.closed = day_text(*now.closed);
    out.waiting = now.waiting;
    if (now.next) out.next_at = rfc3339(*now.next);
    return out;
}

asio::awaitable<Answer<PreviewAnswer>> ReportVerbs::preview(ReportRequest request) {
    const WallTime now = s_.clock.wall();
    const auto day = day_of(request.day, now, std::chrono::floor<std::chrono::days>(now));
    if (!day) co_return no_day(request.day);
    const auto name = dns::Domain::parse(lowered(request.domain));
    if (!name) co_return refusal(name.error().text);
    const auto preview = co_await s_.sender.preview(name->text(), *day);
    if (!preview) co_return refusal_of(preview.error());
    PreviewAnswer out = preview_of(preview->report);
    if (preview->record) {
        for (const auto& to : preview->record->destinations) out.places.push_back(to.uri);
        out.passed_over = preview->record->passed_over;
    }
    out.why_not = preview->why_not;
    co_return out;
}

asio::awaitable<Answer<SentAnswer>> ReportVerbs::send(ReportRequest request, Tell tell) {
    const WallTime now = s_.clock.wall();
    const auto yesterday = std::chrono::floor<std::chrono::days>(now) - std::chrono::days(1);
    const auto day = day_of(request.day, now, yesterday);
    if (!day) co_return no_day(request.day);
    std::function<asio::awaitable<void>(std::size_t, std::size_t)> told;
    if (tell) told = [&tell](std::size_t done, std::size_t all) { return tell(SendingRow{done, all}); };
    std::string domain = lowered(request.domain);
    const auto sent = co_await s_.daily.send(*day, std::move(domain), std::move(told));
    if (!sent) co_return refusal_of(sent.error());
    co_return SentAnswer{day_text(*day), sent->reports, sent->done, sent->not_asked, sent->waiting};
}

asio::awaitable<Answer<ReportRow>> ReportVerbs::resend(IdRequest request) {
    const auto report = co_await s_.daily.resend(std::move(request.id));
    if (!report) co_return refusal_of(report.error());
    if (report->state == store::ReportState::done) co_return row_of(*report);
    co_return Answer<ReportRow>(row_of(*report), ExitCode::no,
                                "not every place has taken it: " + report->text);
}

asio::awaitable<Answer<DigestAnswer>> ReportVerbs::digest(DigestRequest request) {
    Digest verb(request);
    auto out = co_await run(s_.store, s_.live, std::move(verb));
    if (!request.mail || !out.value) co_return out;
    if (!s_.admin) co_return refusal("admin_address is not set: the digest has no recipient");
    std::string subject = "TLS on " + out.value->day;
    std::string text = in_words(*out.value);
    mail::ForwardPath to(*s_.admin);
    const auto id = co_await s_.sender.submit_text(std::move(subject), std::move(text), std::move(to));
    if (!id) co_return internal("the digest cannot be queued: " + id.error().text);
    out.value->queued = id->text();
    co_return out;
}

}  // namespace sternpost::admin
