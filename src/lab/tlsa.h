// TLSA records that a scenario asks for by what they should match, and their rdata, from the certificates.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "lab/ca.h"
#include "util/result.h"

namespace sternpost::lab {

/// `3 1 1`, `2 0 1 match root`, `3 1 1 mismatch mx.b.example`: usage, selector and matching type (RFC 6698
/// §2.1), whether the record is to match, which certificate of the chain it is about, and whose.
struct TlsaWish {
    enum class About { leaf, issuer, root };

    std::uint8_t usage = 0, selector = 0, matching = 0;
    bool match = true;
    About about = About::leaf;
    std::string host;  // empty: that of the section it stands in

    /// nullopt: it is none of those; such a text is rdata as in a zone file.
    static std::optional<TlsaWish> read(std::string_view text);
};

/// The record's rdata as in a zone file, made of `identity`: for one that is not to match someone else's.
/// malformed: there is no such certificate, selector or matching type.
util::Result<std::string> tlsa_rdata(const TlsaWish& wish, const Identity& identity);

}  // namespace sternpost::lab
