#include "dsn/notice.h"

#include <fmt/format.h>

#include <algorithm>

#include "mail/header.h"
#include "mail/seven_bit.h"
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

// What may stand in a machine-readable field: printable ASCII, line ends and tabs as one blank, each further
// octet as `\xNN`. A long run without a blank is broken, since a line has at most 998 octets (RFC 5322
// §2.1.1).
std::string safe(std::string_view text) {
    constexpr std::size_t longest_run = 400;
    std::string out;
    std::size_t run = 0;
    for (const char c : text) {
        const auto o = static_cast<unsigned char>(c);
        if (c == ' ' || c == '\r' || c == '\n' || c == '\t') {
            if (out.empty() || out.back() != ' ') out += ' ';
        } else if (o > 32 && o < 127) {
            out += c;
        } else {
            out += fmt::format("\\x{:02X}", o);
        }
        run = out.ends_with(' ') ? 0 : run + 1;
        if (run < longest_run) continue;
        out += ' ';
        run = 0;
    }
    return out;
}

// The message ids in a field's value that are well-formed (RFC 5322 §3.6.4), in order.
std::vector<std::string> message_ids(std::string_view value) {
    std::vector<std::string> out;
    for (;;) {
        const auto begin = value.find('<');
        if (begin == std::string_view::npos) return out;
        const auto end = value.find('>', begin);
        if (end == std::string_view::npos) return out;
        const std::string_view id = value.substr(begin, end - begin + 1);
        const bool sound = id.size() <= 250 && id.find('@') != std::string_view::npos &&
                           std::all_of(id.begin(), id.end(), [](char c) { return c > ' ' && c < 127; });
        if (sound) out.emplace_back(id);
        value.remove_prefix(end + 1);
    }
}

// In-Reply-To and References, by which a mail reader shows the notice with the message that it is about.
std::string thread_fields(const std::string& original) {
    const mail::Header header = mail::read_header(original);
    std::string own;
    std::vector<std::string> references;
    if (const auto* field = header.find("Message-ID"))
        if (auto ids = message_ids(field->value); !ids.empty()) own = std::move(ids.front());
    if (const auto* field = header.find("References")) references = message_ids(field->value);
    if (own.empty()) return "";
    constexpr std::size_t most = 20;  // the newest: a line must not grow with each reply
    if (references.size() > most) references.erase(references.begin(), references.end() - most);
    std::string all;
    for (const auto& id : references) all += id + " ";
    return mail::field("In-Reply-To", own) + mail::field("References", all + own);
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

struct Part {
    std::string type;
    std::string encoding;  // empty: need not be said
    std::string octets;

    std::string text() const {
        std::string out = "Content-Type: " + type + "\r\n";
        if (!encoding.empty()) out += "Content-Transfer-Encoding: " + encoding + "\r\n";
        out += "\r\n" + octets;
        return out.ends_with("\r\n") ? out : out + "\r\n";
    }
};

// As it is where it is ASCII or may go as UTF-8; else quoted-printable.
Part encoded(std::string type, std::string octets, bool as_utf8) {
    if (is_ascii(octets)) return {std::move(type), "", std::move(octets)};
    if (as_utf8) return {std::move(type), "8bit", std::move(octets)};
    return {std::move(type), "quoted-printable", mail::quoted_printable(octets)};
}

bool all_are(const NoticeRequest& request, Action action) {
    return std::all_of(request.recipients.begin(), request.recipients.end(),
                       [&](const auto& r) { return r.action == action; });
}

std::string for_people(const NoticeRequest& request) {
    std::string out = "This is the mail system at " + request.reporting_host + ".\r\n\r\n";
    if (request.double_bounce)
        out += wrapped(
            "A notice about a message could not be delivered to its sender either. It is kept here so that "
            "nothing "
            "is lost in silence.",
            "");
    else if (all_are(request, Action::failed))
        out += wrapped("Your message of " + rfc5322_date(request.arrived) +
                           " could not be delivered to the recipients below. It will not be tried again.",
                       "");
    else if (all_are(request, Action::relayed))
        out += wrapped(
            "Your message of " + rfc5322_date(request.arrived) +
                " was handed over to the hosts of the recipients below, which do not say themselves when it "
                "has been delivered. You hear of it again only if they cannot deliver it.",
            "");
    else {
        const bool all_wait = std::none_of(request.recipients.begin(), request.recipients.end(),
                                           [](const auto& r) { return r.retry_until.has_value(); });
        out +=
            wrapped("Your message of " + rfc5322_date(request.arrived) +
                        " has not been delivered to the recipients below yet. You need not send it again: " +
                        (all_wait ? "it is kept here." : "it is still being tried."),
                    "");
    }
    for (const auto& r : request.recipients) {
        out += "\r\n  <" + printable(r.recipient.path.text()) + ">\r\n";
        out += wrapped(printable(r.text, 1000), "    ");
        if (r.retry_until) out += "    It is tried until " + rfc5322_date(*r.retry_until) + ".\r\n";
    }
    return out + "\r\nQueue id: " + request.queue_id + "\r\n";
}

// `type; address` for a typed-address field (RFC 3464 §2.1.2, RFC 6533 §3).
std::string typed(const mail::ForwardPath& path, bool as_utf8) {
    if (is_ascii(path.text()) || (!as_utf8 && path.ascii())) return "rfc822; " + path.a_label_text();
    return "utf-8; " + (as_utf8 ? path.text() : utf8_address_as_ascii(path.text()));
}

// ORCPT as it was given: xtext, but for the type utf-8, which has a coding of its own.
std::string original_recipient(const std::string& orcpt) {
    const auto semicolon = orcpt.find(';');
    const std::string type = orcpt.substr(0, semicolon);
    const std::string coded = semicolon == std::string::npos ? "" : orcpt.substr(semicolon + 1);
    if (iequals(type, "utf-8"))
        return "utf-8; " + (is_ascii(coded) ? safe(coded) : utf8_address_as_ascii(coded));
    return safe(type) + "; " + safe(unxtext(coded).value_or(coded));
}

std::string for_programs(const NoticeRequest& request) {
    std::string out = "Reporting-MTA: dns; " + request.reporting_host + "\r\n";
    if (!request.envid.empty())
        out += "Original-Envelope-Id: " + safe(unxtext(request.envid).value_or(request.envid)) + "\r\n";
    out += "X-Sternpost-Queue-ID: " + request.queue_id + "\r\n";
    out += "Arrival-Date: " + rfc5322_date(request.arrived) + "\r\n";
    for (const auto& r : request.recipients) {
        out += "\r\n";
        if (!r.recipient.orcpt.empty())
            out += "Original-Recipient: " + original_recipient(r.recipient.orcpt) + "\r\n";
        out += "Final-Recipient: " + typed(r.recipient.path, request.smtputf8) + "\r\n";
        out += "Action: " + std::string(name_of(r.action)) + "\r\n";
        out += "Status: " + r.status + "\r\n";
        if (!r.remote_mta.empty()) out += "Remote-MTA: dns; " + safe(r.remote_mta) + "\r\n";
        if (!r.diagnostic.empty()) {
            out += mail::field("Diagnostic-Code", "smtp; " + safe(r.diagnostic));
            out += "Last-Attempt-Date: " + rfc5322_date(r.last_attempt) + "\r\n";
        } else {
            out += mail::field("Diagnostic-Code", "x-sternpost; " + safe(r.text));
        }
        if (r.retry_until) out += "Will-Retry-Until: " + rfc5322_date(*r.retry_until) + "\r\n";
    }
    return out;
}

// The original, or its header. One with UTF-8 in its header has types of its own (RFC 6532 §3.7, RFC 6533
// §4), which may be encoded; a message/rfc822 may not, so that its 8-bit octets go as they are.
Part returned(const NoticeRequest& request) {
    const std::string_view header =
        std::string_view(request.original).substr(0, mail::read_header(request.original).end);
    const bool utf8_header = !is_ascii(header) && valid_utf8(header);
    if (!request.original_whole)
        return encoded(utf8_header ? "message/global-headers" : "text/rfc822-headers", request.original,
                       request.smtputf8);
    if (utf8_header) return encoded("message/global", request.original, request.smtputf8);
    return encoded("message/rfc822", request.original, true);
}

}  // namespace

std::string utf8_address_as_ascii(std::string_view address) {
    std::string out;
    for (std::size_t i = 0; i < address.size();) {
        const auto first = static_cast<unsigned char>(address[i]);
        const std::size_t octets = first < 0x80 ? 1 : first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4;
        const bool plain = first > 32 && first < 127 && first != '+' && first != '=' && first != '\\';
        unsigned point = octets == 1 ? first : first & (0x7FU >> octets);
        for (std::size_t k = 1; k < octets && i + k < address.size(); ++k)
            point = (point << 6U) | (static_cast<unsigned char>(address[i + k]) & 0x3FU);
        if (plain)
            out += address[i];
        else
            out += fmt::format("\\x{{{:X}}}", point);
        i += octets;
    }
    return out;
}

std::string compose(const NoticeRequest& request) {
    const std::string boundary =
        "=_" + request.queue_id + "/" + fmt::format("{:x}", request.now.time_since_epoch().count());
    std::string body;
    for (const Part& part :
         {encoded("text/plain; charset=utf-8", for_people(request), request.smtputf8),
          encoded(request.smtputf8 ? "message/global-delivery-status" : "message/delivery-status",
                  for_programs(request), true),
          returned(request)})
        body += "--" + boundary + "\r\n" + part.text() + "\r\n";
    body += "--" + boundary + "--\r\n";

    std::string out;
    out += mail::field("From", "Mail delivery system <postmaster@" + request.reporting_host + ">");
    out += mail::field("To", "<" + request.to + ">");
    out += mail::field("Subject", request.double_bounce               ? "A notice could not be delivered"
                                  : all_are(request, Action::failed)  ? "Your message could not be delivered"
                                  : all_are(request, Action::relayed) ? "Your message was handed over"
                                                                      : "Your message is delayed");
    out += mail::field("Date", rfc5322_date(request.now));
    out += mail::field("Message-ID", "<" + request.message_id + ">");
    out += thread_fields(request.original);
    out += mail::field("Auto-Submitted", "auto-replied");  // RFC 3834 §5.2
    out += mail::field("MIME-Version", "1.0");
    out +=
        "Content-Type: multipart/report; report-type=delivery-status;\r\n boundary=\"" + boundary + "\"\r\n";
    if (!is_ascii(body)) out += "Content-Transfer-Encoding: 8bit\r\n";
    return out + "\r\n" + body;
}

}  // namespace sternpost::dsn
