// The lab's certification authority: made at start, gone at the end, and able to sign what no real one would.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "lab/world.h"
#include "util/result.h"

namespace sternpost::lab {

/// A certificate with its key, both PEM.
struct Identity {
    std::string certificate;
    std::string key;
    std::vector<std::string> issuers = {};  // from the one that signed it to the root; none: it signed itself
};

/// What a certificate should be like.
struct CertificateWish {
    CertificateKind kind = CertificateKind::valid;
    std::vector<std::string> names = {};  // in the SAN; empty: the host's own
    bool intermediate = false;

    auto operator<=>(const CertificateWish&) const = default;
};

/// One thread's.
class Authority {
  public:
    /// A new root with a new key (EC P-256). io: OpenSSL would not; its words are in the text.
    static util::Result<Authority> make();
    Authority(Authority&&) noexcept;
    Authority& operator=(Authority&&) noexcept;
    ~Authority();

    /// The root, PEM: what a client trusts.
    const std::string& root() const { return root_pem_; }
    /// A new certificate for `name` with what `wish` says is wrong.
    util::Result<Identity> issue(const std::string& name, const CertificateWish& wish) const;

  private:
    struct Signer;
    Authority(std::unique_ptr<Signer> known, std::unique_ptr<Signer> unknown, std::string root_pem);

    std::unique_ptr<Signer> known_;
    std::unique_ptr<Signer> unknown_;  // signs `unknownca`; trusted by no one
    std::string root_pem_;
};

}  // namespace sternpost::lab
