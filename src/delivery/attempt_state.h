// What one lane has found out so far. Delivery's own: attempt.cpp works with it, attempt_log.cpp tells of it.
#pragma once

#include <optional>
#include <string>

#include "delivery/attempt.h"
#include "delivery/outcome_hop.h"

namespace sternpost::delivery {

struct Delivery::Attempt {
    Attempt(queue::Lane& l, SteadyTime now)
        : lane(l), began(now), work(l.take()), plan{store::HopGroup::parse(l.hop()), {}, {}, {}, {}} {}

    queue::Lane& lane;
    SteadyTime began;
    std::optional<queue::Work> work;  // taken, not yet carried
    HopPlan plan;
    Limits limits;
    std::unique_ptr<SiteVisit> visit;
    bool beyond = false;  // the site has all that it may; an idle connection is to be taken over, or to go
    std::optional<SteadyTime> paced;  // no further message before this

    HopFindings findings;
    std::string label = "none";                      // of the last host's requirement, for logs
    bool served = false;                             // a session carried mail
    bool ipv4_known = false;                         // the host at hand has an IPv4 address
    std::optional<queue::HopFailure> asked_to_wait;  // by the host that took or refused the last mail
};

/// `mx1.example.com[192.0.2.1]:25`
std::string endpoint(const DialRequest& request);
/// What a session shows, and why it is in clear where TLS has failed before it.
Observation seen_of(const smtp::Opened& opened, const DialRequest& request);

}  // namespace sternpost::delivery
