// How many notices were sent lately, about each message and to each mailbox and domain. Pure.
#pragma once

#include <cstdint>
#include <string>
#include <unordered_map>

#include "mail/address.h"
#include "store/message.h"
#include "util/clock.h"

namespace sternpost::delivery {

/// Bounded: whatever message is beyond it is counted from nothing, whatever mailbox by its domain alone.
class NoticeCounts {
  public:
    /// `most_per_day`: to one mailbox, in a day by UTC, ten times as many to one domain; 0: no limit.
    NoticeCounts(std::size_t most_per_message, std::size_t most_per_day)
        : most_per_message_(most_per_message), most_per_day_(most_per_day) {}

    /// One more, before it is made, which takes a while: what fails meanwhile is to see it. False: there are
    /// too many, and it is not to be sent.
    bool count(store::MessageId message, const mail::Mailbox& to, WallTime now);
    /// It could not be made.
    void take_back(store::MessageId message, const mail::Mailbox& to);

  private:
    std::size_t most_per_message_;
    std::size_t most_per_day_;
    std::unordered_map<std::uint64_t, std::size_t> per_message_;
    std::unordered_map<std::string, std::size_t> per_mailbox_;  // of today_
    std::chrono::sys_days today_{};
};

}  // namespace sternpost::delivery
