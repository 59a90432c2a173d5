#include "smtp/command.h"

#include <cassert>

namespace sternpost::smtp {
namespace {

std::string checked(std::string line) {
    assert(line.find_first_of(std::string_view("\r\n\0", 3)) ==
           std::string::npos);  // parsed values cannot hold them
    return line;
}

}  // namespace

std::string ehlo(std::string_view name) {
    return checked("EHLO " + std::string(name));
}

std::string helo(std::string_view name) {
    return checked("HELO " + std::string(name));
}

std::string mail_from(const mail::Envelope& envelope, std::uint64_t size, bool eight_bit,
                      const Extensions& offered) {
    const bool smtputf8 = offered.smtputf8 && envelope.smtputf8;
    const auto& path = envelope.reverse_path;
    std::string line = "MAIL FROM:<" + (smtputf8 ? path.text() : path.a_label_text()) + ">";
    if (offered.size) line += " SIZE=" + std::to_string(size);
    if (offered.eight_bit_mime && eight_bit) line += " BODY=8BITMIME";  // RFC 6152 §3
    if (smtputf8) line += " SMTPUTF8";                                  // RFC 6531 §3.4
    if (offered.requiretls && envelope.requiretls) line += " REQUIRETLS";
    if (offered.dsn) {
        if (envelope.ret == mail::Ret::full) line += " RET=FULL";
        if (envelope.ret == mail::Ret::hdrs) line += " RET=HDRS";
        if (!envelope.envid.empty()) line += " ENVID=" + envelope.envid;
    }
    return checked(std::move(line));
}

std::string rcpt_to(const mail::Recipient& recipient, bool smtputf8, const Extensions& offered) {
    std::string line = "RCPT TO:<" + (smtputf8 ? recipient.path.text() : recipient.path.a_label_text()) + ">";
    if (offered.dsn) {
        const mail::Notify& notify = recipient.notify;
        if (notify.never) {
            line += " NOTIFY=NEVER";
        } else if (notify.given()) {
            std::string list;
            if (notify.success) list += ",SUCCESS";
            if (notify.failure) list += ",FAILURE";
            if (notify.delay) list += ",DELAY";
            line += " NOTIFY=" + list.substr(1);
        }
        if (!recipient.orcpt.empty()) line += " ORCPT=" + recipient.orcpt;
    }
    return checked(std::move(line));
}

}  // namespace sternpost::smtp
