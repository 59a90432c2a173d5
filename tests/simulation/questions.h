// What people ask of the daemon, put to the code that answers on its socket (control/daemon_verbs), and what
// it says, for the oracle's claims.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <functional>
#include <string>

#include "admin/live_daemon.h"
#include "chance.h"
#include "control/daemon_verbs.h"
#include "oracle.h"
#include "plant.h"
#include "world.h"

namespace sternpost::simulation {

class Questions {
  public:
    struct Surroundings {
        World& world;
        Oracle& oracle;
        Plant& plant;
        Chance& chance;
        const Clock& truth;
        std::function<bool()> alive;  // the daemon still works
    };
    /// All that these name outlives it.
    Questions(const Surroundings& around, admin::LiveDaemon::Sources known,
              const admin::PolicySources& sources);

    /// The lists, `why` of a message, and `explain` and at times `sts check` of the domain, one after the
    /// other.
    asio::awaitable<void> ask(std::string domain);

  private:
    /// Null: there was no answer.
    asio::awaitable<control::json::value> put(control::json::object request);
    Claims::Asked since(SteadyTime asked) const { return {asked, queue_.now().wall}; }

    Surroundings around_;
    queue::Manager& queue_;
    admin::LiveDaemon live_;
    admin::QueueActions of_queue_;
    admin::PolicyVerbs of_policy_;
    control::Verbs verbs_;
};

}  // namespace sternpost::simulation
