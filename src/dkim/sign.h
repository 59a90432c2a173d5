// From message octets and a key to a DKIM-Signature field (RFC 6376 §5). Pure; the body streams.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "dkim/key.h"
#include "mail/header.h"
#include "util/clock.h"

namespace sternpost::dkim {

/// Octets of a header beyond which a message is not signed: the header is kept in memory. Ours.
constexpr std::size_t max_header = 1UL << 20U;

/// A message as it goes on the wire, before dot-stuffing (RFC 6376 §5.3), fed in pieces: its header is kept,
/// its body hashed in relaxed form.
class MessageHash {
  public:
    MessageHash() = default;
    MessageHash(const MessageHash&) = delete;  // the header is views into the text
    MessageHash& operator=(const MessageHash&) = delete;
    void feed(std::string_view octets);
    /// After the last piece. Errors: malformed (no header that ends with an empty line, or one beyond
    /// max_header).
    Result<void> finish();

    // After finish().
    const mail::Header& header() const { return header_; }
    const std::string& body_hash() const { return body_hash_; }  // base64

  private:
    std::string text_;  // the header, with the empty line at its end
    bool in_body_ = false;
    bool too_long_ = false;
    BodyHash body_{Form::relaxed};
    mail::Header header_;
    std::string body_hash_;
};

/// h=: the names of the fields that are signed, as often as they stand in the header, and again where
/// no one shall add one (RFC 6376 §5.4, §8.15). From is always among them.
std::vector<std::string> fields_to_sign(const mail::Header& header);

/// What the signature is over but for itself: the canonical forms of the fields named, repeated ones from the
/// bottom up (RFC 6376 §5.4.2); nothing for one that is not there.
std::string canonical_fields(const mail::Header& header, const std::vector<std::string>& names);

/// Who signs.
struct Signer {
    dns::Domain domain;    // d=
    std::string selector;  // s=
    PrivateKey key;
};

/// The DKIM-Signature field, folded, with its CRLF, to stand on top of the header (RFC 6376 §5.6); without
/// l=.
Result<std::string> signature_field(const MessageHash& message, const Signer& signer, WallTime now);

/// The domain that a message is from: that of the first address in its only From field. Errors: not_found.
Result<dns::Domain> author_domain(const mail::Header& header);

}  // namespace sternpost::dkim
