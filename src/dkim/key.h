// The keys that sign: made, read, used, and the public half as the DNS holds it (RFC 6376 §3.6.1, RFC 8463).
// What signs with which key is keys.h's and sign.h's.
#pragma once

#include <openssl/evp.h>

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "dkim/canon.h"
#include "dns/name.h"
#include "util/result.h"

namespace sternpost::dkim {

enum class Errc {
    not_found,    // there is no such key, or nothing to sign for
    exists,       // there is one already
    unreadable,   // the operating system does not let us read or write it
    unsafe,       // others may read the private key, or put theirs in its place
    malformed,    // no PEM, no private key, a name that is none, a message without a header
    unsupported,  // a key of another algorithm
    too_weak,     // RSA below 1024 bits (RFC 8301 §3.2)
    failed,       // OpenSSL could not do it
};

template <class T>
using Result = Expected<T, Errc>;

/// rsa-sha1 is not among them (RFC 8301 §3.1).
enum class Algorithm { rsa, ed25519 };
std::string_view name_of(Algorithm algorithm);            // k= of the key record: rsa, ed25519
std::string_view signature_name_of(Algorithm algorithm);  // a= of the signature: rsa-sha256, ed25519-sha256
std::optional<Algorithm> algorithm_of(std::string_view name);

constexpr unsigned usual_bits = 2048;    // RFC 8301 §3.2: the least that should be used
constexpr unsigned least_bits = 1024;    // the least that verifiers take
constexpr unsigned largest_bits = 4096;  // ours: beyond it verifiers need not follow (RFC 8301 §3.2)

/// A private key. Copies share it; any thread may sign.
class PrivateKey {
  public:
    /// `bits` of an RSA key. Errors: too_weak, malformed (beyond 4096 bits), failed.
    static Result<PrivateKey> generate(Algorithm algorithm, unsigned bits = usual_bits);
    /// PKCS#8 or a traditional RSA key; what stands before it is skipped. Errors: malformed, unsupported,
    /// too_weak.
    static Result<PrivateKey> parse(std::string_view pem);

    Algorithm algorithm() const { return algorithm_; }
    unsigned bits() const;
    bool weak() const { return algorithm_ == Algorithm::rsa && bits() < usual_bits; }
    std::string pem() const;  // PKCS#8
    /// p= of the key record: base64 of the SubjectPublicKeyInfo, or of the 32 octets of an Ed25519 key (RFC
    /// 8463 §4).
    std::string public_text() const;
    /// The signature over what `digest` is the hash of: PKCS #1 v1.5, or Ed25519 over the hash's octets (RFC
    /// 8463 §3).
    Result<std::string> sign(const Digest& digest) const;

  private:
    PrivateKey(std::shared_ptr<EVP_PKEY> key, Algorithm algorithm)
        : key_(std::move(key)), algorithm_(algorithm) {}
    static Result<PrivateKey> adopt(EVP_PKEY* key);

    std::shared_ptr<EVP_PKEY> key_;
    Algorithm algorithm_;
};

/// A selector as labels of letters, digits and hyphens, lower case (RFC 6376 §3.1); malformed otherwise.
Result<std::string> parse_selector(std::string_view text);

/// The text of a key record, one line: `v=DKIM1; k=rsa; p=…`, with `s=tlsrpt` where it is for TLS reports
/// alone (RFC 6376 §3.6.1; RFC 8460 §3).
std::string record_text(const PrivateKey& key, bool reports_only);
/// The same as a line of a zone file, in character-strings of at most 255 octets (RFC 6376 §3.6.2.2).
std::string zone_line(const std::string& name, std::string_view record);
/// `selector._domainkey.domain` (RFC 6376 §3.6.2.1).
std::string record_name(std::string_view selector, const dns::Domain& domain);

/// The tags of a tag list, `v=DKIM1; p=…`, blanks around names and values gone (RFC 6376 §3.2); nullopt: not
/// one, or a tag stands twice.
std::optional<std::map<std::string, std::string>> parse_tags(std::string_view text);

/// How what the DNS holds at a key's name compares with the key.
enum class Published { yes, no, revoked, several, malformed, different };
struct Comparison {
    Published published = Published::no;
    std::string text;  // the sentence; empty: all is well
};
Comparison compare(const std::vector<std::string>& records, const PrivateKey& key, bool reports_only);

}  // namespace sternpost::dkim
