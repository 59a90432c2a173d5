// `sternpost tlsrpt`: TLS reports that go out, and those that others send.
#include "admin/reports.h"
#include "cmd/sternpost/command.h"
#include "cmd/sternpost/show.h"
#include "cmd/sternpost/tlsrpt_read.h"
#include "util/text.h"

namespace sternpost::cmd {
namespace {

void show_head(const admin::ReportRow& report) {
    tell("{}  {}  {}: {} good, {} failed  {}\n", report.day, report.domain, report.state, report.good,
         report.failed, report.id);
    if (!report.reason.empty())
        tell("    {}{}\n", printable(report.reason, 1000),
             report.next_at ? "; tried again at " + rfc3339(*report.next_at) : "");
    for (const auto& place : report.places)
        tell("    {}  {}{}\n", printable(place.uri, 300), place.state,
             place.text.empty() ? "" : ": " + printable(place.text, 500));
}

void show_preview(const admin::PreviewAnswer& preview) {
    if (!preview.why_not.empty()) tell("This would not be sent: {}.\n", printable(preview.why_not, 1000));
    for (const auto& place : preview.places) tell("To {}\n", printable(place, 300));
    for (const auto& place : preview.passed_over) tell("Not to {}\n", printable(place, 500));
    tell("\n");
    show_lines(preview.lines);
}

void show_reports(const admin::ReportListing& list) {
    if (list.more) std::cerr << "sternpost: these are not all\n";
    for (const auto& report : list.reports) show_head(report);
    if (list.reports.empty()) tell("No report was sent.\n");
}

void show_report(const admin::ShownReport& report) {
    show_head(report);
    if (report.lines.empty()) return;
    tell("\n");
    show_lines(report.lines);
}

void show_sent(const admin::SentAnswer& sent) {
    tell(
        "{}: {} report(s) tried: {} sent, {} wait for a place that did not take them, {} that no domain asks "
        "for\n",
        sent.day, sent.reports, sent.done, sent.waiting, sent.not_asked);
}

void show_digest(const admin::DigestAnswer& digest) {
    const std::string words = admin::in_words(digest);
    for (const auto line : split(words, '\n')) tell("{}\n", printable(line, 1000));
    if (digest.queued) tell("Mailed to admin_address as {}.\n", *digest.queued);
}

void add_day(CLI::App* verb, std::string& day, const std::string& usual) {
    verb->add_option("--day", day, "a UTC day such as 2026-11-26, today or yesterday; " + usual);
}

void add_read(Command& command, CLI::App* tlsrpt) {
    const auto files = std::make_shared<std::vector<std::string>>();
    auto* read = tlsrpt->add_subcommand("read", "Summarizes reports about your own domains");
    read->add_option("FILE", *files, "mail, mbox, JSON or gzip file; - is standard input")->required();
    command.add_json(read);
    read->callback([&command, files] {
        command.choose([&command, files] {
            const auto answer = read_reports(*files);
            return command.finish(control::to_answer(answer), [&] { show_read(*answer.value); });
        });
    });
}

void add_preview(Command& command, CLI::App* tlsrpt) {
    Asking<admin::ReportRequest, admin::PreviewAnswer> asking{"tlsrpt.preview", show_preview};
    asking.at_rest = [](const config::Settings& settings, const admin::ReportRequest& request) {
        return answer_at_rest(settings, admin::PreviewAtRest(request));
    };
    auto preview = command.add(tlsrpt, "preview", "Shows the report that a domain would get now", asking);
    preview.app->add_option("DOMAIN", preview.request->domain, "the domain that mail goes to")->required();
    add_day(preview.app, preview.request->day, "else today");
}

void add_report_list(Command& command, CLI::App* tlsrpt) {
    Asking<admin::ReportRequest, admin::ReportListing> asking{"tlsrpt.list", show_reports};
    asking.at_rest = [](const config::Settings& settings, const admin::ReportRequest& request) {
        return answer_at_rest(settings,
                              admin::ReportList(request, whoever_runs_this(), admin::Paging::whole));
    };
    asking.list = admin::ReportList::pieces;
    auto list = command.add(tlsrpt, "list", "Lists reports and their state", asking);
    list.app->add_option("DOMAIN", list.request->domain, "only reports for this domain");
    add_day(list.app, list.request->day, "default: all that are kept");
    list.app->add_flag("--all", list.request->all, "also list days of domains that ask for no report");
}

void add_digest(Command& command, CLI::App* tlsrpt) {
    Asking<admin::DigestRequest, admin::DigestAnswer> asking{"tlsrpt.digest", show_digest};
    asking.at_rest =
        [](const config::Settings& settings,
           const admin::DigestRequest& request) -> std::optional<admin::Answer<admin::DigestAnswer>> {
        if (request.mail) return std::nullopt;
        return answer_at_rest(settings, admin::Digest(request));
    };
    auto digest =
        command.add(tlsrpt, "digest", "Shows a day's TLS with all partners, failures first", asking);
    add_day(digest.app, digest.request->day, "else yesterday");
    digest.app->add_flag("--mail", digest.request->mail, "mail it to admin_address");
}

}  // namespace

void add_tlsrpt(Command& command) {
    auto* tlsrpt = command.app().add_subcommand("tlsrpt", "TLS reports (RFC 8460)")->require_subcommand(1);
    add_preview(command, tlsrpt);
    add_report_list(command, tlsrpt);
    auto one = command.add_reading<admin::ReportShow>(
        tlsrpt, "show", "Shows one report: where it went, and what it says", show_report);
    one.app->add_option("ID", one.request->id, "its report-id")->required();
    auto send = command.add(tlsrpt, "send", "Sends waiting reports now",
                            Asking<admin::ReportRequest, admin::SentAnswer>{"tlsrpt.send", show_sent});
    send.app->add_option("DOMAIN", send.request->domain, "only the report for this domain");
    add_day(send.app, send.request->day, "else yesterday");
    auto resend = command.add(tlsrpt, "resend", "Sends a report again, to all its destinations",
                              Asking<admin::IdRequest, admin::ReportRow>{"tlsrpt.resend", show_head});
    resend.app->add_option("ID", resend.request->id, "its report-id")->required();
    command.add(tlsrpt, "status", "Shows whether reports are sent, and what is missing",
                Asking<admin::NoRequest, admin::ReportingRow>{
                    "tlsrpt.status", [](const admin::ReportingRow& status) { show(status); }});
    add_read(command, tlsrpt);
    add_digest(command, tlsrpt);
}

}  // namespace sternpost::cmd
