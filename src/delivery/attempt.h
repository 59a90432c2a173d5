// One lane's work: finds the hosts of a next hop, tries them in order, and carries messages over the session
// that may have them.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <chrono>

#include "delivery/adapt.h"
#include "delivery/dialer.h"
#include "delivery/hosts.h"
#include "delivery/outcome.h"
#include "delivery/requirement.h"
#include "delivery/sites.h"
#include "queue/manager.h"
#include "sts/lookup.h"
#include "util/log.h"

namespace sternpost::delivery {

struct Options {
    HostOptions hosts;
    std::uint16_t smtp_port = 25;
    std::optional<dns::Address> source_ipv4;
    std::optional<dns::Address> source_ipv6;
    bool opportunistic_tls = true;
    std::size_t addresses_per_attempt = 5;
    std::chrono::seconds attempt_budget{1800};  // up to DATA
    std::chrono::milliseconds idle_time{5000};  // 0: sessions are not kept
    unsigned messages_per_connection = 100;
    unsigned connections_per_site = 20;
    ConvertEightBit convert_8bit = ConvertEightBit::unsigned_only;
    std::chrono::seconds dead_host_time{60};  // an address that took no connection is left alone for so long
};

/// Lives on the control thread.
class Delivery {
  public:
    Delivery(Options options, dns::Resolver& resolver, sts::Lookups& lookups, Dialer& dialer,
             const Clock& clock, Random& random, Log& log);

    /// Works for the lane until it has nothing more, or the next hop cannot take it.
    asio::awaitable<void> deliver(queue::Lane& lane);
    /// A retry by hand: addresses that took no connection are tried again at once.
    void forget_dead_hosts() { sites_.forget_dead(); }

  private:
    struct Attempt;  // what one lane has found out so far
    asio::awaitable<bool> try_address(Attempt& attempt, const Requirement& requirement, dns::Address address);
    asio::awaitable<void> serve(Attempt& attempt, const Requirement& requirement, const DialRequest& request,
                                Channel& channel);
    std::vector<queue::Fate> judge(const Attempt& attempt, const queue::Work& work,
                                   const Requirement& requirement, const DialRequest& request,
                                   const smtp::Opened& opened,
                                   const std::vector<smtp::RecipientOutcome>& outcomes, bool reused,
                                   bool& other_family, bool& reconnect) const;
    std::optional<queue::Fate> refused_here(const queue::Work& work, const smtp::Opened& opened) const;
    void log_attempt(const queue::Work& work, const queue::Fate& fate, const Requirement& requirement,
                     const DialRequest& request, const smtp::Opened& opened, SteadyTime began);
    void log_deferred(const queue::Work& work, const Requirement& requirement, const queue::HopFate& fate,
                      SteadyTime began);

    Options options_;
    Sites sites_;
    dns::Resolver& resolver_;
    sts::Lookups& lookups_;
    Dialer& dialer_;
    const Clock& clock_;
    Random& random_;
    Log& log_;
};

}  // namespace sternpost::delivery
