// How much of this relay a destination gets: connections at once, messages a connection and a minute. By
// domain or by the names of MX hosts; a small set for the large mailbox providers is built in, and the
// administrator's sections
// ([[destination]]) come before it. Pure.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "dns/name.h"
#include "util/clock.h"

namespace sternpost::delivery {

/// What is said of some destinations. What is not set here is left to what else matches, and to the defaults.
struct DestinationLimit {
    std::string
        match;  // `example.com`, `.example.com` (those under it), `mx:mx1.example.net`, `mx:.example.net`
    std::optional<unsigned> connections;  // at once, to all that match together
    std::optional<unsigned> messages_per_connection;
    std::optional<unsigned> messages_per_minute;  // to all that match together; 0: as many as go

    /// The error says what is allowed.
    static Expected<std::string, dns::Errc> parse_match(std::string_view text);
    bool covers(std::string_view domain, const std::vector<std::string>& mx_hosts) const;
};

/// What holds for one next hop.
struct Limits {
    std::string site;  // whose connections are counted together: a set of MX hosts, or what a section matches
    unsigned connections = 0;
    unsigned messages_per_connection = 0;
    std::string rate;  // what is counted together for a minute; empty: nothing is
    unsigned messages_per_minute = 0;
};

class LimitTable {
  public:
    /// `own`: the administrator's; `connections`, `messages_per_connection`: where no one says anything.
    LimitTable(std::vector<DestinationLimit> own, unsigned connections, unsigned messages_per_connection);
    /// For mail to `domain` over these MX hosts; `site`: their set's name (delivery/sites).
    Limits of(std::string_view domain, const std::vector<std::string>& mx_hosts, std::string site) const;

  private:
    std::vector<DestinationLimit> own_;
    unsigned connections_;
    unsigned messages_per_connection_;
};

/// The built-in set.
const std::vector<DestinationLimit>& large_providers();

/// How many messages went where, lately. Lives on one thread.
class Rates {
  public:
    /// One message more. Nothing: it may go; else when the next one may.
    std::optional<SteadyTime> take(const Limits& limits, SteadyTime now);

  private:
    struct Bucket {
        double tokens = 0;
        SteadyTime at;
    };
    std::map<std::string, Bucket> buckets_;
};

}  // namespace sternpost::delivery
