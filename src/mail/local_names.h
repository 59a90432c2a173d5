// Who is meant by `root`, `Postmaster` and `bob@this-host`: the mail that has no mailbox here and goes to the
// administrator.
#pragma once

#include <functional>
#include <optional>
#include <string_view>
#include <vector>

#include "mail/address.h"

namespace sternpost::mail {

/// Maps a recipient as it was written to a forward-path that can be routed.
class LocalNames {
  public:
    /// `own`: the names of this host (its host name; `localhost` is always one). `admin`: the administrator's
    /// address, not one of `own`; nullopt when none is set.
    /// `is_ours`: whether an address literal means this host; empty: none does.
    LocalNames(std::vector<dns::Domain> own, std::optional<ForwardPath> admin,
               std::function<bool(const dns::Address&)> is_ours = {})
        : own_(std::move(own)), admin_(std::move(admin)), is_ours_(std::move(is_ours)) {}

    /// `path` is what stands between the angle brackets. A name without a domain, `Postmaster` among them
    /// (RFC 5321 §4.5.1), and any local-part at an own name: the administrator's address. bad_address: there
    /// is none. bad_domain: not fully qualified. A literal that means this host is the administrator too;
    /// loop where there is none. `utf8`: whether SMTPUTF8 was asked for; needs_utf8 where it would have to
    /// be.
    Result<ForwardPath> resolve(std::string_view path, bool utf8 = false) const;

  private:
    Result<ForwardPath> admin(std::string_view path) const;

    std::vector<dns::Domain> own_;
    std::optional<ForwardPath> admin_;
    std::function<bool(const dns::Address&)> is_ours_;
};

/// Whether a domain has at least two labels (RFC 5321 §2.3.5); address literals count as qualified.
bool fully_qualified(const Mailbox& mailbox);

}  // namespace sternpost::mail
