#include "cmd/report_answers.h"

#include <algorithm>
#include <array>

#include "control/report_pages.h"
#include "control/reports.h"
#include "mail/header.h"
#include "store/ask.h"
#include "util/call.h"
#include "util/text.h"

namespace sternpost::cmd {
namespace {

using control::Answer;
using control::ExitCode;
using control::flag_of;
using control::text_of;
namespace json = boost::json;

constexpr std::array reading{"tlsrpt.preview", "tlsrpt.list", "tlsrpt.show", "tlsrpt.status",
                             "tlsrpt.digest"};
constexpr std::array acting{"tlsrpt.send", "tlsrpt.resend"};

Answer refusal(std::string text) {
    return {ExitCode::no, std::move(text), {}};
}

Answer answer_of(const Error<tlsrpt::Errc>& error) {
    const bool internal = error.code == tlsrpt::Errc::not_kept;
    return {internal ? ExitCode::internal : ExitCode::no, error.text, {}};
}

Answer no_day(const std::string& day) {
    return {ExitCode::usage,
            "--day " + printable(day) + ": wanted is a UTC day such as 2026-11-26, or yesterday",
            {}};
}

constexpr std::size_t reports_in_a_piece = 200;      // ours
constexpr std::size_t reports_in_one_answer = 1000;  // ours: for a caller that takes no parts

}  // namespace

bool ReportAnswers::knows(std::string_view verb) {
    return std::find(reading.begin(), reading.end(), verb) != reading.end() ||
           std::find(acting.begin(), acting.end(), verb) != acting.end();
}

asio::awaitable<Answer> ReportAnswers::answer(json::object request, control::Caller caller) {
    const std::string verb = text_of(request, "verb");
    if (verb == "tlsrpt.preview")
        co_return co_await preview(text_of(request, "domain"), text_of(request, "day"));
    if (verb == "tlsrpt.list") co_return co_await list(std::move(request), std::move(caller));
    if (verb == "tlsrpt.show") co_return co_await show(text_of(request, "id"));
    if (verb == "tlsrpt.send") co_return co_await send(std::move(request), std::move(caller));
    if (verb == "tlsrpt.resend") co_return co_await resend(text_of(request, "id"));
    if (verb == "tlsrpt.digest") {
        const bool mail = flag_of(request, "mail");
        co_return co_await digest(text_of(request, "day"), mail);
    }
    co_return Answer{ExitCode::done, "", status()};
}

json::object ReportAnswers::status() const {
    const tlsrpt::ReportingStatus now = s_.daily.status();
    json::object out;
    out["sending"] = now.sending && now.missing.empty();
    out["switched_off"] = !now.sending;
    json::array missing;
    for (const auto& one : now.missing) missing.emplace_back(one);
    out["missing"] = std::move(missing);
    out["closed"] =
        now.closed && *now.closed != std::chrono::sys_days() ? control::day_text(*now.closed) : "";
    out["waiting"] = now.waiting;
    out["next_at"] = now.next ? rfc3339(*now.next) : "";
    return out;
}

asio::awaitable<Answer> ReportAnswers::preview(std::string domain, std::string day) {
    const WallTime now = s_.clock.wall();
    const auto when = control::day_of(day, now, std::chrono::floor<std::chrono::days>(now));
    if (!when) co_return no_day(day);
    const auto name = dns::Domain::parse(domain);
    if (!name) co_return refusal(name.error().text);
    const auto preview = co_await s_.sender.preview(name->text(), *when);
    if (!preview) co_return answer_of(preview.error());
    json::object out = control::to_json(preview->report);
    out["places"] = preview->record ? control::places_of(*preview->record) : json::array();
    out["passed_over"] = json::array();
    if (preview->record)
        for (const auto& one : preview->record->passed_over) out["passed_over"].as_array().emplace_back(one);
    out["why_not"] = preview->why_not;
    co_return Answer{ExitCode::done, "", std::move(out)};
}

// Day by day and piece by piece, so that memory holds the reports of a few days and one piece of the answer.
asio::awaitable<Answer> ReportAnswers::list(json::object request, control::Caller caller) {
    const std::string day = text_of(request, "day");
    store::ReportFilter filter;
    if (!day.empty()) {
        const auto when = control::day_of(day, s_.clock.wall(), {});
        if (!when) co_return no_day(day);
        filter.from = filter.to = *when;
    }
    filter.domain = text_of(request, "domain");
    filter.asked_for = !flag_of(request, "all");
    const std::size_t most = caller.part ? reports_in_a_piece : reports_in_one_answer;
    json::array piece;
    bool full = false;
    for (control::ReportPages pages(filter); !pages.done() && !full;) {
        auto question = [next = pages.next()](store::Questions& questions) {
            return questions.reports(next);
        };
        auto found = co_await store::ask(s_.store, std::move(question));
        if (!found) co_return Answer{ExitCode::internal, found.error().text, {}};
        for (auto& report : pages.take(std::move(*found))) {
            full = piece.size() >= most;
            if (full && !caller.part) break;
            if (full) {
                json::object part;
                part["reports"] = std::exchange(piece, {});
                full = false;
                const bool taken = co_await caller.part(std::move(part));
                if (!taken) co_return Answer{ExitCode::unavailable, "the caller is gone", {}};
            }
            piece.push_back(control::to_json(report));
        }
    }
    json::object out;
    out["reports"] = std::move(piece);
    out["more"] = full;
    co_return Answer{ExitCode::done, "", std::move(out)};
}

asio::awaitable<Answer> ReportAnswers::show(std::string id) {
    store::ReportFilter filter;
    filter.id = id;
    auto question = [filter](store::Questions& questions) { return questions.reports(filter); };
    const auto found = co_await store::ask(s_.store, std::move(question));
    if (!found) co_return Answer{ExitCode::internal, found.error().text, {}};
    if (id.empty() || found->empty()) co_return refusal("no report has the id " + printable(id));
    json::object out = control::to_json(found->front());
    const auto report = co_await s_.sender.make(found->front().domain, found->front().day);
    if (report)
        for (auto& entry : control::to_json(*report)) out[entry.key()] = entry.value();
    co_return Answer{ExitCode::done, "", std::move(out)};
}

asio::awaitable<Answer> ReportAnswers::send(json::object request, control::Caller caller) {
    const WallTime now = s_.clock.wall();
    const std::string day = text_of(request, "day");
    const auto when =
        control::day_of(day, now, std::chrono::floor<std::chrono::days>(now) - std::chrono::days(1));
    if (!when) co_return no_day(day);
    std::function<asio::awaitable<void>(std::size_t, std::size_t)> told;
    if (caller.tell)
        told = [&caller](std::size_t done, std::size_t all) -> asio::awaitable<void> {
            json::object so_far;
            so_far["reports"] = done;
            so_far["all"] = all;
            return caller.tell(std::move(so_far));
        };
    const auto sent = co_await s_.daily.send(*when, text_of(request, "domain"), std::move(told));
    if (!sent) co_return answer_of(sent.error());
    json::object out;
    out["day"] = control::day_text(*when);
    out["reports"] = sent->reports;
    out["done"] = sent->done;
    out["not_asked"] = sent->not_asked;
    out["waiting"] = sent->waiting;
    co_return Answer{ExitCode::done, "", std::move(out)};
}

asio::awaitable<Answer> ReportAnswers::resend(std::string id) {
    const auto report = co_await s_.daily.resend(id);
    if (!report) co_return answer_of(report.error());
    Answer out{ExitCode::done, "", control::to_json(*report)};
    if (report->state != store::ReportState::done) {
        out.code = ExitCode::no;
        out.text = "not every place has taken it: " + report->text;
    }
    co_return out;
}

asio::awaitable<Answer> ReportAnswers::digest(std::string day, bool mail) {
    const WallTime now = s_.clock.wall();
    const auto when =
        control::day_of(day, now, std::chrono::floor<std::chrono::days>(now) - std::chrono::days(1));
    if (!when) co_return no_day(day);
    const store::OutcomeFilter of_day{*when, *when, {}};
    auto question = [of_day](store::Questions& questions) { return questions.outcomes(of_day); };
    const auto outcomes = co_await store::ask(s_.store, std::move(question));
    if (!outcomes) co_return Answer{ExitCode::internal, outcomes.error().text, {}};
    store::ReportFilter filter;
    filter.from = filter.to = *when;
    auto reports_question = [filter](store::Questions& questions) { return questions.reports(filter); };
    const auto reports = co_await store::ask(s_.store, std::move(reports_question));
    if (!reports) co_return Answer{ExitCode::internal, reports.error().text, {}};
    json::object out = control::digest(*when, *outcomes, *reports);
    if (mail) co_return co_await mail_digest(std::move(out));
    co_return Answer{ExitCode::done, "", std::move(out)};
}

asio::awaitable<Answer> ReportAnswers::mail_digest(json::object digest) {
    if (!s_.admin) co_return refusal("admin_address is not set: there is nobody to mail the digest to");
    const std::string day(digest.at("day").as_string());
    const auto id = co_await s_.sender.submit_text("TLS on " + day, control::digest_in_words(digest),
                                                   mail::ForwardPath(*s_.admin));
    if (!id) co_return Answer{ExitCode::internal, "the digest cannot be queued: " + id.error().text, {}};
    digest["queued"] = id->text();
    co_return Answer{ExitCode::done, "", std::move(digest)};
}

}  // namespace sternpost::cmd
