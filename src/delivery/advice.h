// What a reason code means for an administrator: what would let the mail go, and whose move it is. Decided
// here only; `why`, `explain` and bounces say it. Pure.
#pragma once

#include <string>
#include <string_view>

namespace sternpost::delivery {

struct Advice {
    std::string unblocks;    // a sentence without its full stop
    std::string move;        // who: `example.com`, `this relay`, `nobody: it passes by itself`
    bool by_policy = false;  // what a policy, an override or the message demands holds the mail back
};

/// `domain`: the recipient's, or the route's. A code that is not known gets advice that holds for all.
Advice advice_for(std::string_view reason_code, const std::string& domain);

}  // namespace sternpost::delivery
