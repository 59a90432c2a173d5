// What the daemon tells people, held against what it does next: a recipient that waits for a reason until a
// time is not tried before, and mail that is called protected goes to nobody who has not proven who he is,
// whatever an attacker does.
#pragma once

#include <map>
#include <set>
#include <string>
#include <utility>

#include "queue/core.h"
#include "queue/obstacle.h"
#include "trace.h"

namespace sternpost::simulation {

class Claims {
  public:
    explicit Claims(Trace& trace) : trace_(trace) {}

    /// What `why`, the list and mailq say of a recipient now.
    void waits(store::MessageId message, std::uint32_t recipient, const std::string& hop,
               const queue::Blocked& blocked, WallTime now);
    /// What `explain` says of a domain now; good until `until`, or until something changes by right.
    void says_protected(const std::string& domain, WallTime now, WallTime until);

    /// An administrator has acted, the clock was set, the daemon ended: what was said of that time no longer
    /// binds.
    void forget() { waiting_.clear(), protected_.clear(); }
    /// The next hop was tried, for other mail say, and what was said of its next attempt, `until`, holds no
    /// longer.
    void tried(const std::string& hop, WallTime until);
    /// A host or a domain changed by right: what was published is another thing now.
    void published() { protected_.clear(); }

    /// Octets of the message are about to go over a session to `host`, which has `proven` itself or not.
    void check(const queue::Work& work, const std::string& hop, WallTime began, WallTime now, bool proven,
               const std::string& host);

  private:
    struct Wait {
        std::string hop;
        queue::Blocked blocked;
        WallTime said;
    };
    struct Protection {
        WallTime said;
        WallTime until;
    };
    Trace& trace_;
    std::map<std::pair<store::MessageId, std::uint32_t>, Wait> waiting_;
    std::map<std::string, Protection> protected_;
};

}  // namespace sternpost::simulation
