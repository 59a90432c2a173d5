// Whose turn a message takes, and where it stands in the line of its next hop while it sleeps in the index: a
// sender's hundred thousand messages stand so far apart that another's single one finds its place among the
// first of them.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>

#include "store/message.h"

namespace sternpost::store {

/// That of the client's address, or of the local user who submitted it (`uid 1000`); our own notices and
/// reports have one together (the empty name).
std::string sender_of(const Origin& origin, MessageClass message_class);

/// One thread. Forgets what lies in the past, so that its size is bounded by the senders of the moment.
class FairRanks {
  public:
    /// The place of a message that arrived at `arrived`, among those that wait for the same next hop and were
    /// not tried yet: when it arrived, but behind the sender's message before it.
    WallTime rank(std::int64_t hop, const std::string& sender, WallTime arrived);
    std::size_t size() const { return last_.size(); }

  private:
    std::map<std::pair<std::int64_t, std::string>, WallTime> last_;
};

}  // namespace sternpost::store
