// The canonical forms of RFC 6376 §3.4: what is hashed stays the same though relays fold and trim. Pure;
// bodies stream.
#pragma once

#include <openssl/evp.h>

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "mail/header.h"

namespace sternpost::dkim {

enum class Form { simple, relaxed };

using Digest = std::array<std::uint8_t, 32>;  // SHA-256

/// One header field as it is hashed, with its CRLF (RFC 6376 §3.4.1, §3.4.2).
std::string canonical(const mail::Field& field, Form form);

/// SHA-256 over octets that come in pieces.
class Sha256 {
  public:
    Sha256();
    void feed(std::string_view octets);
    Digest finish();

  private:
    struct Free {
        void operator()(EVP_MD_CTX* context) const { EVP_MD_CTX_free(context); }
    };
    std::unique_ptr<EVP_MD_CTX, Free> context_;
};

/// The hash of a body in its canonical form (RFC 6376 §3.4.3, §3.4.4), however the octets are cut. Memory
/// does not grow with the body.
class BodyHash {
  public:
    explicit BodyHash(Form form) : form_(form) {}
    void feed(std::string_view octets);
    Digest finish();

  private:
    void text(std::string_view run);  // octets that are neither line end nor, when relaxed, blanks
    void put(std::string_view octets);
    void flush();

    Form form_;
    Sha256 hash_;
    std::string out_;              // canonical octets on their way into the hash
    std::uint64_t line_ends_ = 0;  // that count only if something follows
    bool blanks_ = false;          // relaxed: of the line being read, not yet put
    bool cr_ = false;              // a CR that may be half of a line end
    bool any_ = false;             // something was put
};

}  // namespace sternpost::dkim
