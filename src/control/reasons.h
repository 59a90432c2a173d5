// How the answers to "why" look in JSON: a message's reasons, what-if, overrides, alarms. Each has `lines`
// for people too.
#pragma once

#include <boost/json.hpp>
#include <map>
#include <string>
#include <vector>

#include "control/protocol.h"
#include "delivery/why.h"
#include "store/records.h"

namespace sternpost::control {

namespace json = boost::json;

json::object to_json(const delivery::WhyFacts& facts);
json::object to_json(const store::StoredOverride& o, bool configured, WallTime now);
json::object to_json(const store::StoredAlarm& alarm);
json::object to_json(const store::PolicyVersion& version);

/// Queue ids by the name of the next hop that they wait for (store/hop).
using Waiting = std::map<std::string, std::vector<std::string>>;
void add_waiting(Waiting& waiting, const store::StoredMessage& message);

/// Sessions to domains that enforce nothing, which would have failed if they had; and the next hops that only
/// a policy holds now.
json::object what_if(const std::vector<store::StoredOutcome>& outcomes,
                     const std::vector<delivery::BlockedHop>& hops, const Waiting& waiting,
                     std::chrono::sys_days since);

/// The versions of a domain's policy that were ever served, for `sts history`.
Answer history_of(const std::string& domain, const std::vector<store::PolicyVersion>& versions);

/// Texts as an array.
json::array to_json(const std::vector<std::string>& lines);

}  // namespace sternpost::control
