// A message with 8-bit octets as valid 7-bit MIME, for a host that does not take 8BITMIME (RFC 6152 §3).
// Pure.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "util/result.h"

namespace sternpost::mail {

/// Why a message has no 7-bit form.
enum class SevenBitErrc {
    header_not_ascii,  // octets above 127 in a header or a part's header: no encoding is allowed there
    signed_part,       // in a multipart/signed: the signature covers the octets as they are (RFC 1847 §2.1)
    malformed,         // an encoded part with 8-bit octets, a multipart without boundaries …
    too_complex,       // nested more than 30 deep, or more than 10,000 parts (ours: the RFC sets none)
};

/// `message` (CRLF line ends) without an octet above 127: text leaves become quoted-printable, all other ones
/// base64, `message/rfc822` is converted inside; parts that are 7-bit already keep their octets. What the
/// message says afterwards is what it said before (RFC 2045 §6; RFC 6152 §3). A message without MIME fields
/// gets them, its charset utf-8 if that fits, else unknown-8bit (RFC 1428).
Expected<std::string, SevenBitErrc> to_seven_bit(std::string_view message);

/// `message` without a line beyond 998 octets (RFC 5322 §2.1.1): a text leaf with such a line becomes
/// quoted-printable, another one base64; base64 and quoted-printable are wrapped; parts without such a line
/// keep their octets. Errors: signed_part (multipart/encrypted too), malformed, too_complex.
Expected<std::string, SevenBitErrc> to_short_lines(std::string_view message);

/// The larger ones are not rewritten: it is done in memory. Ours.
constexpr std::uint64_t max_rewritten = 50UL << 20U;

/// Text with CRLF line ends as quoted-printable: lines of at most 76 octets, none ending in a blank (RFC 2045
/// §6.7).
std::string quoted_printable(std::string_view text);

/// Base64 in lines of 76, without a line end after the last (RFC 2045 §6.8).
std::string base64_lines(std::string_view octets);

}  // namespace sternpost::mail
