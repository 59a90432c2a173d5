// What a host's offer means for a message: sent as it is, sent as 7-bit, or not for this host. Pure.
#pragma once

#include <cstdint>
#include <string>

#include "mail/envelope.h"
#include "queue/work.h"
#include "smtp/extensions.h"

namespace sternpost::delivery {

/// Which messages with 8-bit octets are converted for a host without 8BITMIME (D-28); the others are
/// returned.
enum class ConvertEightBit {
    unsigned_only,  // those that no one has signed: a DKIM signature would not verify afterwards
    always,
    never,
};

/// The larger ones are not converted: it is done in memory. Ours.
constexpr std::uint64_t max_converted = 50UL << 20U;

/// What of a message matters here.
struct MessageTraits {
    std::uint64_t size = 0;  // octets, as RFC 1870 counts
    bool eight_bit = false;  // an octet above 127 is in it
    bool eight_bit_header = false;
    bool dkim_signed = false;
    bool smtputf8 = false;        // it was handed over with SMTPUTF8
    bool utf8_addresses = false;  // a local-part of this transaction is not ASCII; domains have A-labels
};

/// Of the transaction that `work` will be: its message, and the recipients at hand.
MessageTraits traits_of(const queue::Work& work);

/// Why a host cannot have a message, though another that offers more could.
enum class Misfit {
    none,
    too_large,  // RFC 1870 §4
    utf8,       // it does not offer SMTPUTF8 (RFC 6531 §3.2)
    eight_bit,  // it does not offer 8BITMIME, and the message is not converted (RFC 6152 §3)
};

/// How to go about it.
struct Adaptation {
    bool smtputf8 = false;  // MAIL says SMTPUTF8; without it domains go as A-labels (RFC 6531 §3.2)
    bool convert = false;   // the octets are to be made 7-bit first (mail/seven_bit)
    Misfit misfit = Misfit::none;
    std::string text;  // the sentence for it

    bool refused() const { return misfit != Misfit::none; }
};

Adaptation adapt(const MessageTraits& message, const smtp::Extensions& offered, ConvertEightBit convert);

}  // namespace sternpost::delivery
