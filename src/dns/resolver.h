// The DNS as the rest of Sternpost sees it. Real form: ldns_resolver; in tests: a table.
#pragma once

#include <boost/asio/awaitable.hpp>

#include "dns/record.h"

namespace sternpost::dns {

namespace asio = boost::asio;

/// Asks the configured resolvers, follows CNAME chains (at most 10), caches by TTL, asks each question once
/// at a time. Errors are temporary by nature (Errc::temporary, timed_out, unconfigured): that a name or type
/// is not there is an Answer. Lives on the control thread.
class Resolver {
  public:
    virtual ~Resolver() = default;
    virtual asio::awaitable<Result<Answer<Mx>>> mx(Domain name) = 0;
    virtual asio::awaitable<Result<Answer<Address>>> a(Domain name) = 0;
    virtual asio::awaitable<Result<Answer<Address>>> aaaa(Domain name) = 0;
    /// Each record's character-strings joined with nothing between (RFC 8461 §3.1, RFC 7208 §3.3).
    virtual asio::awaitable<Result<Answer<std::string>>> txt(Domain name) = 0;
    virtual asio::awaitable<Result<Answer<Tlsa>>> tlsa(Domain name) = 0;
    /// The CNAME record at `name` itself, not followed: whether the first link of a chain is secure (RFC 7672
    /// §2.1.3).
    virtual asio::awaitable<Result<Answer<Cname>>> cname(Domain name) = 0;
    /// Whether the AD bit of the resolvers now in use counts (RFC 7672 §2.1.1), and which they are, for
    /// people.
    virtual bool trusted() = 0;
    virtual std::string servers_text() = 0;

    /// What the cache knows, without asking: the MX answer for `name` if it is there and not expired.
    virtual std::optional<Answer<Mx>> cached_mx(const Domain& name) const = 0;
    /// Drops what says "not there" and remembered failures, so that the next question is asked again (a retry
    /// by hand).
    virtual void forget_negative() = 0;
};

}  // namespace sternpost::dns
