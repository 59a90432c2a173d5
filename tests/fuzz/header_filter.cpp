// mail::HeaderFilter however a message is cut, against mail::read_header, which reads it whole: above all
// whether a message says TLS-Required: No (RFC 8689 §3). Input: an octet for rules and pieces, then the
// message.
#include "mail/header_filter.h"

#include <algorithm>
#include <cstdlib>

#include "mail/header.h"
#include "util/text.h"

namespace {

using namespace sternpost;
using namespace sternpost::mail;

struct Filtered {
    std::string out;
    std::size_t received;
    bool from, tls_required_no, eight_bit, dkim_signed;
    std::string message_id;
    bool operator==(const Filtered&) const = default;
};

Filtered filter(std::string_view message, std::size_t piece, const HeaderRules& rules) {
    HeaderFilter header(rules);
    std::string out;
    while (!message.empty()) {
        header.feed(message.substr(0, piece), out);
        message.remove_prefix(std::min(piece, message.size()));
    }
    header.finish(out);
    if (!header.ended()) std::abort();
    return {out,
            header.received(),
            header.has_from(),
            header.tls_required_no(),
            header.eight_bit(),
            header.dkim_signed(),
            header.message_id()};
}

bool says_no(const Header& header) {
    return header.count("TLS-Required") == 1 &&
           iequals(without_comments(header.find("TLS-Required")->value), "no");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size < 1) return 0;
    const unsigned choice = *data;
    const std::string_view message(reinterpret_cast<const char*>(data) + 1, size - 1);
    const std::size_t piece = choice % 32U + 1U;
    const Filtered relayed = filter(message, size, {});
    if (!(filter(message, piece, {}) == relayed)) std::abort();  // the same however it is cut
    if (relayed.out != message && relayed.out != std::string(message) + "\r\n") std::abort();

    const Header header = read_header(relayed.out);
    if (std::none_of(header.fields.begin(), header.fields.end(),
                     [](const Field& f) { return f.name.size() > 900; })) {
        if (relayed.received != header.count("Received")) std::abort();
        if (relayed.from != (header.count("From") > 0)) std::abort();
        if (relayed.dkim_signed != (header.count("DKIM-Signature") > 0)) std::abort();
        if (relayed.tls_required_no && !says_no(header)) std::abort();  // never made up
        if (says_no(header) && header.find("TLS-Required")->value.size() < 200 && !relayed.tls_required_no)
            std::abort();  // a value of ordinary length is heard
    }

    HeaderRules rules;
    rules.drop_private = (choice & 0x80U) != 0;
    if ((choice & 0x40U) != 0) rules.from = "<a@example.com>";
    if ((choice & 0x20U) != 0) {
        rules.date = "Mon, 23 Nov 2026 16:49:39 +0000";
        rules.message_id = "1.2@example.com";
    }
    const Filtered originated = filter(message, size, rules);
    if (!(filter(message, piece, rules) == originated)) std::abort();
    const Filtered twice = filter(originated.out, piece, rules);
    if (twice.out != originated.out) std::abort();  // what was corrected is correct
    if (originated.tls_required_no != relayed.tls_required_no) std::abort();
    const Header left = read_header(originated.out);
    if (rules.drop_private && left.count("Bcc") + left.count("Resent-Bcc") + left.count("Return-Path") > 0)
        std::abort();
    if (!rules.from.empty() && !twice.from) std::abort();
    return 0;
}
