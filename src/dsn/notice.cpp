#include "dsn/notice.h"

#include <fmt/format.h>

#include "mail/header.h"
#include "util/text.h"

namespace sternpost::dsn {
namespace {

std::string_view name_of(Action action) {
    switch (action) {
        case Action::failed:
            return "failed";
        case Action::delayed:
            return "delayed";
        case Action::relayed:
            return "relayed";
    }
    return "failed";
}

// What may stand in a machine-readable field: printable ASCII, blanks folded.
std::string safe(std::string_view text) {
    std::string out;
    for (const char c : text) {
        const auto o = static_cast<unsigned char>(c);
        if (o >= 32 && o < 127)
            out += c;
        else if (out.empty() || out.back() != ' ')
            out += c == '\r' || c == '\n' || c == '\t' ? ' ' : '?';
    }
    return out;
}

// A paragraph for people, broken at blanks before column 76, each line indented.
std::string wrapped(std::string_view text, std::string_view indent) {
    std::string out;
    std::string line(indent);
    for (const auto word : split(text, ' ')) {
        if (line.size() > indent.size() && line.size() + 1 + word.size() > 76) {
            out += line + "\r\n";
            line = indent;
        }
        if (line.size() > indent.size()) line += ' ';
        line += word;
    }
    return out + line + "\r\n";
}

}  // namespace

std::string compose(const NoticeRequest& request) {
    const std::string boundary =
        "=_" + request.queue_id + "/" + fmt::format("{:x}", request.now.time_since_epoch().count());
    bool all_failed = true;
    for (const auto& r : request.recipients) all_failed = all_failed && r.action == Action::failed;

    std::string out;
    out += mail::field("From", "Mail delivery system <postmaster@" + request.reporting_host + ">");
    out += mail::field("To", "<" + request.to + ">");
    out += mail::field("Subject", request.double_bounce ? "A notice could not be delivered"
                                  : all_failed          ? "Your message could not be delivered"
                                                        : "Your message is delayed");
    out += mail::field("Date", rfc5322_date(request.now));
    out += mail::field("Message-ID", "<" + request.message_id + ">");
    out += mail::field("Auto-Submitted", "auto-replied");  // RFC 3834 §5.2
    out += mail::field("MIME-Version", "1.0");
    out +=
        "Content-Type: multipart/report; report-type=delivery-status;\r\n boundary=\"" + boundary + "\"\r\n";
    const bool eight_bit = !is_ascii(request.original);
    if (eight_bit) out += "Content-Transfer-Encoding: 8bit\r\n";
    out += "\r\n";

    out += "--" + boundary +
           "\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n";
    out += "This is the mail system at " + request.reporting_host + ".\r\n\r\n";
    if (request.double_bounce)
        out += wrapped(
            "A notice about a message could not be delivered to its sender either. It is kept here so that "
            "nothing "
            "is lost in silence.",
            "");
    else if (all_failed)
        out += wrapped("Your message of " + rfc5322_date(request.arrived) +
                           " could not be delivered to the recipients below. It will not be tried again.",
                       "");
    else
        out +=
            wrapped("Your message of " + rfc5322_date(request.arrived) +
                        " has not been delivered yet. You need not send it again: it is still being tried.",
                    "");
    for (const auto& r : request.recipients) {
        out += "\r\n  <" + printable(r.recipient.path.text()) + ">\r\n";
        out += wrapped(printable(r.text, 1000), "    ");
    }
    out += "\r\nQueue id: " + request.queue_id + "\r\n\r\n";

    out += "--" + boundary + "\r\nContent-Type: message/delivery-status\r\n\r\n";
    out += "Reporting-MTA: dns; " + request.reporting_host + "\r\n";
    if (!request.envid.empty())
        out += "Original-Envelope-Id: " + safe(unxtext(request.envid).value_or(request.envid)) + "\r\n";
    out += "X-Sternpost-Queue-ID: " + request.queue_id + "\r\n";
    out += "Arrival-Date: " + rfc5322_date(request.arrived) + "\r\n";
    for (const auto& r : request.recipients) {
        out += "\r\n";
        if (!r.recipient.orcpt.empty()) {
            const auto semicolon = r.recipient.orcpt.find(';');
            const std::string type = r.recipient.orcpt.substr(0, semicolon);
            const std::string coded =
                semicolon == std::string::npos ? "" : r.recipient.orcpt.substr(semicolon + 1);
            out += "Original-Recipient: " + safe(type) + "; " + safe(unxtext(coded).value_or(coded)) + "\r\n";
        }
        const std::string path = r.recipient.path.text();
        out += is_ascii(path) ? "Final-Recipient: rfc822; " + path + "\r\n"
                              : "Final-Recipient: utf-8; " + xtext(path) + "\r\n";
        out += "Action: " + std::string(name_of(r.action)) + "\r\n";
        out += "Status: " + r.status + "\r\n";
        if (!r.remote_mta.empty()) out += "Remote-MTA: dns; " + safe(r.remote_mta) + "\r\n";
        if (!r.diagnostic.empty()) {
            out += mail::field("Diagnostic-Code", "smtp; " + safe(r.diagnostic));
            out += "Last-Attempt-Date: " + rfc5322_date(r.last_attempt) + "\r\n";
        } else {
            out += mail::field("Diagnostic-Code", "x-sternpost; " + safe(r.text));
        }
    }
    out += "\r\n--" + boundary + "\r\n";
    out +=
        request.original_whole ? "Content-Type: message/rfc822\r\n" : "Content-Type: text/rfc822-headers\r\n";
    if (eight_bit) out += "Content-Transfer-Encoding: 8bit\r\n";
    out += "\r\n" + request.original;
    if (!out.ends_with("\r\n")) out += "\r\n";
    out += "--" + boundary + "--\r\n";
    return out;
}

}  // namespace sternpost::dsn
