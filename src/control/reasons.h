// How the answers to "why" look in JSON: a message's reasons, what-if, overrides, alarms. Each has `lines`
// for people too.
#pragma once

#include <boost/json.hpp>
#include <string>
#include <vector>

#include "control/protocol.h"
#include "delivery/why.h"
#include "store/admin.h"
#include "store/message.h"
#include "store/policy.h"
#include "store/report.h"
#include "store/results.h"
#include "store/store.h"

namespace sternpost::control {

namespace json = boost::json;

json::object to_json(const delivery::WhyFacts& facts);
json::object to_json(const store::StoredOverride& o, bool configured, WallTime now);
json::object to_json(const store::StoredAlarm& alarm);
json::object to_json(const store::PolicyVersion& version);

/// The next hops that nothing but a policy keeps from taking mail now, and their mail.
class HeldByPolicy {
  public:
    static constexpr std::size_t max_hops = 1000;  // ours: that are named; the others are counted
    static constexpr std::size_t max_ids = 100;    // ours: messages that are named for each of them

    struct Hop {
        store::HopState state;
        std::uint64_t recipients = 0;  // that wait for it
        std::vector<std::string> ids;  // of messages
        bool more = false;             // other messages may wait for it too
    };

    /// Passes over a next hop that is not held so.
    void add(const store::HopLoad& load);
    /// What is to be asked of the store for each hop, and what it answered.
    static store::QueueFilter mail_of(const Hop& hop);
    static void name(Hop& hop, const std::vector<store::StoredMessage>& found);

    std::vector<Hop>& hops() { return hops_; }
    const std::vector<Hop>& hops() const { return hops_; }
    std::uint64_t others() const { return others_; }

  private:
    std::vector<Hop> hops_;
    std::uint64_t others_ = 0;
};

/// Sessions to domains that enforce nothing, which would have failed if they had; and what only a policy
/// holds now.
json::object what_if(const std::vector<store::StoredOutcome>& outcomes, const HeldByPolicy& held,
                     std::chrono::sys_days since);

/// The versions of a domain's policy that were ever served, for `sts history`.
Answer history_of(const std::string& domain, const std::vector<store::PolicyVersion>& versions);

/// Texts as an array.
json::array to_json(const std::vector<std::string>& lines);

}  // namespace sternpost::control
