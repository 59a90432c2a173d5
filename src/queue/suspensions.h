// What an administrator has suspended: next hops and senders for which no attempt begins. Pure.
#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "store/store.h"

namespace sternpost::queue {

class Suspensions {
  public:
    /// Puts it in, in the place of one of the same kind and scope; takes it out if it has ended.
    void put(store::StoredSuspension suspension);
    /// That of a group's (store/hop_group) next hop or of a domain above it; null: none.
    const store::StoredSuspension* of_hop(const std::string& group) const;
    const store::StoredSuspension* of_sender(const store::StoredMessage& message) const;
    bool empty() const { return all_.empty(); }
    std::vector<store::StoredSuspension> list() const;
    /// The groups of the next hops that are named; a suspension of those under a domain names none.
    std::vector<std::string> groups() const;

  private:
    std::map<std::pair<store::SuspensionKind, std::string>, store::StoredSuspension> all_;
};

}  // namespace sternpost::queue
