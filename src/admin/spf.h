// Whether hosts that check SPF (RFC 7208) take mail of a domain from an address: as an administrator asks
// about his own. No macros: a term with one is left to those who receive the mail.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "dns/resolver.h"

namespace sternpost::admin {

namespace asio = boost::asio;

enum class SpfResult {
    pass,
    fail,
    softfail,
    neutral,
    none,        // the domain has no record
    permerror,   // the record is wrong, or needs more than ten look-ups
    temperror,   // a look-up failed
    not_judged,  // a term has a macro
};
std::string_view name_of(SpfResult result);

struct SpfAnswer {
    SpfResult result = SpfResult::none;
    std::string record;  // of the domain
    std::string text;    // what decided: the term, or what is wrong
};

/// Lives as long as its question. At most ten look-ups by mechanisms (RFC 7208 §4.6.4).
class Spf {
  public:
    Spf(dns::Resolver& resolver, dns::Address address) : resolver_(resolver), address_(std::move(address)) {}
    asio::awaitable<SpfAnswer> check(dns::Domain domain);

  private:
    struct Matched {
        bool yes = false;
        SpfResult error = SpfResult::pass;  // pass: none
        std::string text;
    };
    asio::awaitable<SpfAnswer> check(dns::Domain domain, int depth);
    asio::awaitable<Matched> matches(std::string mechanism, std::string value, dns::Domain domain, int depth);
    asio::awaitable<Matched> by_addresses(dns::Domain name, unsigned bits4, unsigned bits6);
    asio::awaitable<Matched> by_mx(dns::Domain name, unsigned bits4, unsigned bits6);
    asio::awaitable<Matched> by_include(dns::Domain name, int depth);

    dns::Resolver& resolver_;
    dns::Address address_;
    int look_ups_ = 0;
};

}  // namespace sternpost::admin
