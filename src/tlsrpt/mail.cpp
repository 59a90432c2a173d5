#include "tlsrpt/mail.h"

#include "mail/header.h"
#include "util/gzip.h"
#include "util/text.h"

namespace sternpost::tlsrpt {
namespace {

// RFC 2045 §6.8: lines of at most 76 characters.
std::string base64_lines(std::string_view octets) {
    const std::string all = base64(octets);
    std::string out;
    for (std::size_t at = 0; at < all.size(); at += 76) out += all.substr(at, 76) + "\r\n";
    return out;
}

std::string with_crlf(std::string_view text) {
    std::string out;
    for (const char c : text) {
        if (c == '\n') out += '\r';
        out += c;
    }
    return out;
}

// A display name: a quoted string, or encoded words where it is not ASCII (RFC 5322 §3.2.4, RFC 2047 §2).
std::string display_name(std::string_view name) {
    if (is_ascii(name)) {
        std::string out = "\"";
        for (const char c : name) {
            if (c == '"' || c == '\\') out += '\\';
            out += c;
        }
        return out + "\"";
    }
    constexpr std::size_t most = 42;  // octets in one word, so that it stays below 75 characters
    std::string out;
    while (!name.empty()) {
        std::size_t take = std::min(most, name.size());
        // between two characters, not within one
        while (take < name.size() && (static_cast<unsigned char>(name[take]) & 0xC0U) == 0x80U) --take;
        out += (out.empty() ? "=?UTF-8?B?" : " =?UTF-8?B?") + base64(name.substr(0, take)) + "?=";
        name.remove_prefix(take);
    }
    return out;
}

// The fields of a text part, an empty line, the text.
std::string text_part(std::string_view text) {
    const std::string out = "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: ";
    if (is_ascii(text)) return out + "7bit\r\n\r\n" + with_crlf(text);
    return out + "base64\r\n\r\n" + base64_lines(with_crlf(text));
}

std::string letter_fields(const std::string& from, const std::string& subject, const Letter& letter) {
    std::string out;
    out += mail::field("From", from);
    out += mail::field("To", "<" + letter.to + ">");
    out += mail::field("Subject", subject);
    out += mail::field("Date", rfc5322_date(letter.date));
    out += mail::field("Message-ID", "<" + letter.message_id + ">");
    out += mail::field("Auto-Submitted", "auto-generated");  // RFC 3834 §5
    out += mail::field("MIME-Version", "1.0");
    return out;
}

}  // namespace

std::string compose_text(const std::string& from, const std::string& subject, const std::string& text,
                         const Letter& letter) {
    return letter_fields("<" + from + ">", subject, letter) + text_part(text);
}

Packed pack(const Report& report) {
    Packed out;
    out.json = json_of(report);
    out.gzip = util::gzip(out.json);
    return out;
}

std::string compose(const Report& report, const Packed& packed, const Letter& letter) {
    const std::string boundary = "=_tlsrpt_" + report.unique;
    std::string out =
        letter_fields(display_name(printable(report.by.organization)) + " <" + report.by.contact + ">",
                      "Report Domain: " + report.domain + " Submitter: " + report.by.submitter +
                          " Report-ID: <" + report.id + ">",
                      letter);
    out += mail::field("TLS-Report-Domain", report.domain);
    out += mail::field("TLS-Report-Submitter", report.by.submitter);
    // RFC 8460 §3: whatever is wrong with TLS, the report is to arrive, over the hosts behind us too (RFC
    // 8689 §3)
    out += mail::field("TLS-Required", "No");
    out +=
        "Content-Type: multipart/report; report-type=\"tlsrpt\";\r\n boundary=\"" + boundary + "\"\r\n\r\n";

    out += "--" + boundary + "\r\n" + text_part(in_words(report));
    out += "\r\n--" + boundary + "\r\nContent-Type: application/tlsrpt+gzip\r\n";
    out += "Content-Transfer-Encoding: base64\r\nContent-Disposition: attachment;\r\n filename=\"" +
           file_name(report) + "\"\r\n\r\n" + base64_lines(packed.gzip);
    return out + "\r\n--" + boundary + "--\r\n";
}

}  // namespace sternpost::tlsrpt
