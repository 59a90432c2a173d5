// Domain names in the one form that is compared and looked up, and names that know the part they play.
#pragma once

#include <compare>
#include <string>
#include <string_view>
#include <utility>

#include "util/result.h"

namespace sternpost::dns {

enum class Errc {
    bad_name,     // not a domain name
    bad_record,   // rdata or message that cannot be read
    temporary,    // SERVFAIL, REFUSED or a lie from every server
    timed_out,    // no server answered in time
    unconfigured  // there is no resolver to ask
};

template <class T>
using Result = Expected<T, Errc>;

/// A-labels, lower case, no trailing dot. U-labels are converted (IDNA2008, RFC 5891); underscores are
/// allowed, as service names need them. At most 253 octets, labels of 1 … 63 (RFC 1035 §2.3.4). Never the
/// root.
class Domain {
  public:
    static Result<Domain> parse(std::string_view text);  // the only way in
    const std::string& text() const { return text_; }
    /// `label.` in front of this name; bad_name when that is too long.
    Result<Domain> under(std::string_view labels) const;
    auto operator<=>(const Domain&) const = default;

  private:
    explicit Domain(std::string text) : text_(std::move(text)) {}
    std::string text_;
};

template <class Role>
class NameOf {  // a Domain that knows its part, so that two of them cannot be swapped
  public:
    explicit NameOf(Domain name) : name_(std::move(name)) {}
    const Domain& name() const { return name_; }
    const std::string& text() const { return name_.text(); }
    auto operator<=>(const NameOf&) const = default;

  private:
    Domain name_;
};

using PolicyDomain = NameOf<struct PolicyDomainRole>;  // RFC 8461 §1.1
using MxHost = NameOf<struct MxHostRole>;              // RFC 8461 §4.1

}  // namespace sternpost::dns
