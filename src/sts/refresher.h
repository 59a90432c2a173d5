// Fetches cached policies again before they expire, a few at a time, whether mail comes or not (RFC 8461
// §3.3). When: schedule.h.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <deque>
#include <memory>

#include "sts/lookup.h"
#include "util/log.h"
#include "util/tasks.h"
#include "util/timer.h"

namespace sternpost::sts {

/// Lives on the control thread. What it is given outlives it.
class Refresher {
  public:
    Refresher(asio::io_context& context, Lookups& lookups, const Clock& clock, Timer& timer, Log& log);

    /// After Lookups::restore().
    void start();
    /// Gives up what is under way.
    asio::awaitable<void> stop();
    std::size_t under_way() const { return fetches_.size(); }

  private:
    asio::awaitable<void> watch();
    asio::awaitable<void> refresh(dns::PolicyDomain domain);

    Lookups& lookups_;
    const Clock& clock_;
    std::unique_ptr<Wakeup> wakeup_;  // woken when a fetch is over
    TaskGroup fetches_;
    TaskGroup time_;
    std::deque<dns::PolicyDomain> due_;
    bool stopping_ = false;
};

}  // namespace sternpost::sts
