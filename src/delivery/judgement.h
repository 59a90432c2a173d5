// What a transaction came to, recipient by recipient. Pure.
#pragma once

#include <vector>

#include "delivery/dialer.h"
#include "delivery/outcome.h"
#include "delivery/plan.h"

namespace sternpost::delivery {

struct Transaction {
    const queue::Work& work;
    const HostPlan& host;
    const DialRequest& request;
    const smtp::Opened& opened;
    TransactionFacts facts;  // any_accepted and lost_replies are found out here
};

struct Judged {
    std::vector<queue::RecipientResult> recipient_results;  // in the order of the work
    bool other_family = false;  // no results yet: the other address family first (D-21)
    bool reconnect = false;     // the session was stale: the work goes back untouched
};

/// `outcomes`: one for each recipient of the work. `seen`: what the session showed.
Judged judge(Transaction transaction, const std::vector<smtp::RecipientOutcome>& outcomes,
             const Observation& seen);

}  // namespace sternpost::delivery
