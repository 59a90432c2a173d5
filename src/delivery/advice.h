// What a reason code means for an administrator: what would let the mail go, and whose move it is. Decided
// here only; `why`, `explain` and bounces say it. Pure.
#pragma once

#include <string>

#include "store/reason_code.h"

namespace sternpost::delivery {

struct Advice {
    std::string unblocks;    // a sentence without its full stop
    std::string move;        // who: `example.com`, `this relay`, `no one must act: it passes by itself`
    bool by_policy = false;  // what a policy, an override or the message demands holds the mail back
};

/// `domain`: the recipient's, or the route's. `none` gets advice that holds for every reply of a host.
Advice advice_for(store::ReasonCode code, const std::string& domain);

}  // namespace sternpost::delivery
