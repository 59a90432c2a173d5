// Planted bugs: decorators of the seams that make the daemon around them faulty, so that the simulation can
// show that it would notice. Outside of src, and one at a time.
#pragma once

#include <boost/json.hpp>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "chance.h"
#include "delivery/bounce.h"
#include "delivery/dialer.h"
#include "delivery/explain.h"
#include "dns/resolver.h"
#include "queue/manager.h"
#include "store/journal/disk.h"
#include "store/store.h"
#include "util/https.h"
#include "util/task_queue.h"
#include "util/timer.h"

namespace sternpost::fake {
class SimDisk;
}

namespace sternpost::simulation {

/// What a process is built with. Each hook gives a decorator of what it is given, or null: none. What is
/// given outlives the decorator.
class Plant {
  public:
    virtual ~Plant() = default;
    virtual std::shared_ptr<store::Disk> disk(std::shared_ptr<store::Disk>) { return nullptr; }
    virtual std::unique_ptr<store::Store> store(store::Store&) { return nullptr; }
    virtual std::unique_ptr<dns::Resolver> resolver(dns::Resolver&) { return nullptr; }
    virtual std::unique_ptr<util::Https> https(util::Https&) { return nullptr; }
    virtual std::unique_ptr<delivery::Dialer> dialer(delivery::Dialer&) { return nullptr; }
    virtual std::unique_ptr<Timer> timer(Timer&, const Clock&) { return nullptr; }
    virtual std::unique_ptr<Clock> policy_clock(const Clock&) { return nullptr; }
    virtual std::unique_ptr<TaskQueue> control(TaskQueue&) { return nullptr; }
    virtual dns::Gate gate(dns::Gate real) { return real; }
    virtual delivery::BounceOptions bounces(delivery::BounceOptions real) { return real; }
    /// What is answered to people: the data of a verb, and the words of a report.
    virtual void answers(std::string_view /*verb*/, boost::json::value& /*data*/) {}
    virtual void words(std::string& /*report*/) {}
    /// What an attempt is about to have recorded.
    virtual void results(std::vector<store::DeliveryResult>& /*results*/) {}
    virtual void hop(store::HopState& /*state*/) {}
    virtual void notices(std::vector<store::NewMessage>& /*notices*/) {}
    /// What is done when an administrator asks for it.
    virtual queue::AdminAction action(queue::AdminAction asked) { return asked; }
    /// The scope that is kept for a sender, as an administrator writes it.
    virtual std::string sender_scope(const std::string& text);
    /// The machine is off; the daemon starts next.
    virtual void before_start(fake::SimDisk&, const Clock&, Random&) {}
};

/// One that can be asked for by name.
struct PlantEntry {
    std::string name;
    std::string text;                    // what it does wrong
    std::vector<std::string> caught_by;  // invariants that may notice
    std::function<std::unique_ptr<Plant>(std::uint64_t seed)> make;
    std::uint64_t seen_in = 0;  // a seed that noticed it once and is tried first; 0: none of note
};
const std::vector<PlantEntry>& plants();
/// Of these, the untrue statements (untruths.cpp).
std::vector<PlantEntry> untruths();

template <class Made>
std::unique_ptr<Plant> make(std::uint64_t seed) {
    if constexpr (std::is_constructible_v<Made, std::uint64_t>)
        return std::make_unique<Made>(seed);
    else
        return std::make_unique<Made>();
}

}  // namespace sternpost::simulation
