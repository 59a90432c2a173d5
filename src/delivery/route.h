// Forward-path to next hop, where the administrator has said so (`[[route]]`): mail for a domain goes to the
// MX hosts of another domain, or to one host. Pure.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "delivery/requirement.h"

namespace sternpost::delivery {

struct Route {
    std::string pattern;                  // `example.com`, `.example.com` (the domains under it), `*`
    std::optional<dns::Domain> mx_of;     // to the MX hosts of this domain, judged as mail to it
    std::optional<dns::MxHost> host;      // or to this host: no MX look-up, no policy (DESIGN §5)
    std::optional<dns::Address> address;  // or to this address
    std::uint16_t port = 0;               // 0: the usual one
    std::optional<TlsLevel> level;        // on top of what the domain demands; of a host all that is demanded

    /// `mx:example.net`, `relay.example.net`, `relay.example.net:2525`, `[192.0.2.1]:25`,
    /// `[IPv6:2001:db8::1]`. The error says what is allowed.
    static Expected<Route, dns::Errc> parse(std::string_view pattern, std::string_view to);
    bool covers(std::string_view domain) const;
    std::string to_text() const;
};

/// The route for mail to `domain`: an exact one before the longest suffix, before `*`. Null: none.
const Route* route_of(const std::vector<Route>& routes, std::string_view domain);

}  // namespace sternpost::delivery
