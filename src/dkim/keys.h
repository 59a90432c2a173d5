// The folder of keys: a file for each, in a state of its rotation, and which of them sign for a domain.
//
// `SELECTOR._domainkey.DOMAIN.pem` holds lines `State: active`, `Since: 2026-11-26T10:00:00Z`, for a key that
// signs TLS reports alone `Service: tlsrpt`, and the private key in PEM. Without the lines the key is active
// and for all mail, so that a key from elsewhere can be put there as it is.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "dkim/key.h"
#include "dkim/sign.h"
#include "util/clock.h"

namespace sternpost::dkim {

/// next: made, its record is to be published; active: signs; retired: signs no more, while what it signed may
/// still be verified by its record.
enum class State { next, active, retired };
std::string_view name_of(State state);
std::optional<State> state_of(std::string_view name);

struct StoredKey {
    Signer signer;
    State state = State::next;
    WallTime since{};  // in this state; the epoch: not known
    bool reports_only = false;

    std::string name() const { return record_name(signer.selector, signer.domain); }
    std::string file() const { return name() + ".pem"; }
};

/// A file that cannot be used, and why.
struct BadKey {
    std::string file;                   // empty: the whole folder
    std::optional<dns::Domain> domain;  // none: its name says of none, so it is in no one's way
    std::string selector;
    Error<Errc> error;
};

/// Which keys sign a message, or why it cannot be signed though it should.
struct Choice {
    std::vector<const StoredKey*> keys;  // of one domain; RSA first, since every verifier knows it
    const BadKey* trouble = nullptr;     // keys is empty
    bool none() const { return keys.empty() && trouble == nullptr; }
};

/// What the folder held when it was read.
struct KeySet {
    std::vector<StoredKey> keys;  // by domain, state, selector
    std::vector<BadKey> bad;

    /// Those of the author's domain, else of the nearest domain above it that has any: such a signature is
    /// aligned in DMARC's relaxed mode (RFC 7489 §3.1.1). For a report the author's domain alone (RFC 8460
    /// §3; D-16), and keys for reports before others.
    Choice choose(const dns::Domain& author, bool report) const;
    const StoredKey* find(const dns::Domain& domain, std::string_view selector) const;
};

/// One file's content.
std::string key_file(const StoredKey& key);
Result<StoredKey> parse_key_file(const std::string& file, std::string_view text);

class KeyFolder {
  public:
    explicit KeyFolder(std::filesystem::path path) : path_(std::move(path)) {}
    const std::filesystem::path& path() const { return path_; }

    /// All that is there; a folder that is not there holds none. Refused are a file that its group or others
    /// can read or write, a symbolic link, and a folder that they can write to.
    KeySet read() const;
    /// Something that changes with each change of a name, size, mode, owner or time of change in the folder.
    std::string fingerprint() const;
    /// Replaces or makes the key's file, mode 0600; the folder is made, mode 0700, where it is not there.
    /// `fresh`: errors with exists when there is one.
    Result<void> write(const StoredKey& key, bool fresh) const;
    Result<void> remove(const StoredKey& key) const;

  private:
    Result<StoredKey> read_one(const std::string& file) const;
    std::filesystem::path path_;
};

}  // namespace sternpost::dkim
