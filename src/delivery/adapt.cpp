#include "delivery/adapt.h"

#include <fmt/format.h>

#include <algorithm>

namespace sternpost::delivery {
namespace {

Adaptation refusal(Misfit misfit, std::string text) {
    Adaptation out;
    out.misfit = misfit;
    out.text = std::move(text);
    return out;
}

}  // namespace

MessageTraits traits_of(const queue::Work& work) {
    const auto& message = *work.message;
    const auto& envelope = message.envelope;
    MessageTraits out;
    out.size = message.body.size;
    out.eight_bit = message.body.eight_bit;
    out.eight_bit_header = envelope.eight_bit_header;
    out.dkim_signed = envelope.dkim_signed;
    out.smtputf8 = envelope.smtputf8;
    out.utf8_addresses = !envelope.reverse_path.ascii() ||
                         std::any_of(work.recipients.begin(), work.recipients.end(), [&message](auto n) {
                             return !message.recipients[n].address.recipient.path.ascii();
                         });
    return out;
}

Adaptation adapt(const MessageTraits& message, const smtp::Extensions& offered, ConvertEightBit convert) {
    if (offered.size_limit > 0 && message.size > offered.size_limit)  // RFC 1870 §4
        return refusal(Misfit::too_large,
                       fmt::format("the message has {} octets, and the host takes at most {}", message.size,
                                   offered.size_limit));
    Adaptation out;
    // An old message with raw octets in its header, sent without SMTPUTF8, is no internationalized one: it
    // goes as 8-bit mail always did.
    const bool utf8_header = message.smtputf8 && message.eight_bit_header;
    if (message.utf8_addresses || utf8_header) {
        if (!offered.smtputf8)  // RFC 6531 §3.2, §3.5; a local-part has no other form
            return refusal(Misfit::utf8,
                           message.utf8_addresses
                               ? "an address of the message has UTF-8 before its @, and the host does "
                                 "not offer SMTPUTF8"
                               : "the header of the message has UTF-8, and the host does not offer "
                                 "SMTPUTF8");
        out.smtputf8 = true;
    }
    // RFC 6152 §3: never 8-bit octets to a 7-bit host. SMTPUTF8 comes with 8BITMIME (RFC 6531 §3.1): where a
    // host offers the one alone, the other is meant.
    if (!message.eight_bit || offered.eight_bit_mime || out.smtputf8) return out;
    const std::string_view lacks = "the message has 8-bit octets, the host does not offer 8BITMIME, and ";
    if (message.eight_bit_header)
        return refusal(Misfit::eight_bit, fmt::format("{}what is in the header cannot be converted", lacks));
    if (convert == ConvertEightBit::never)
        return refusal(Misfit::eight_bit,
                       fmt::format("{}messages are not converted (delivery.convert_8bit)", lacks));
    if (convert == ConvertEightBit::unsigned_only && message.dkim_signed)
        return refusal(Misfit::eight_bit, fmt::format("{}converting would break its DKIM signature", lacks));
    if (message.size > max_converted)
        return refusal(Misfit::eight_bit, fmt::format("{}it is too large to be converted", lacks));
    out.convert = true;
    return out;
}

}  // namespace sternpost::delivery
