// Day by day: closes the day that has ended, and sends each domain's report of it when it is due. What is
// said of a report's fate is kept, so that a restart goes on where it was.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "store/alarms.h"
#include "tlsrpt/sender.h"
#include "util/runtime.h"
#include "util/tasks.h"
#include "util/timer.h"

namespace sternpost::tlsrpt {

/// What the daily round must know of the rest. All are called on the control thread.
struct Surroundings {
    std::function<bool()> clock_trusted;
    /// What is missing before reports can be sent, next to what Options has; empty: nothing.
    std::function<std::vector<std::string>()> missing;
};

struct ReportingStatus {
    std::vector<std::string> missing;             // before reports can be sent
    bool sending = true;                          // the option
    std::optional<std::chrono::sys_days> closed;  // the newest day that is
    std::size_t waiting = 0;                      // reports that are due or will be, tried or not
    std::optional<WallTime> next;                 // when the next attempt is
};

/// Lives on the control thread. What it is given outlives it.
class Daily {
  public:
    Daily(const Runtime& runtime, Sender& sender, store::Store& store, store::Alarms& alarms,
          Surroundings around);

    void start();
    /// Gives up what is under way; nothing of it is lost.
    asio::awaitable<void> stop();

    ReportingStatus status() const;
    /// What was missing may be there now.
    void look_again_now() { wakeup_->wake(); }
    struct Sent {
        std::size_t reports = 0;  // that were tried
        std::size_t done = 0;     // of these: taken by every place
        std::size_t not_asked = 0;
        std::size_t waiting = 0;  // tried again later, or given up
    };
    /// Sends at once what of `day` has not been sent yet: all domains, or one. `told` hears how many of how
    /// many are through. Errors: nothing (the day is not closed, or no report of it waits), not_kept, and
    /// unready.
    asio::awaitable<Result<Sent>> send(std::chrono::sys_days day, std::string domain,
                                       std::function<asio::awaitable<void>(std::size_t, std::size_t)> told);
    /// Once more what was sent, to all its places.
    asio::awaitable<Result<store::StoredReport>> resend(std::string id);

  private:
    using Key = std::pair<std::chrono::sys_days, std::string>;
    asio::awaitable<void> watch();
    asio::awaitable<bool> look();
    asio::awaitable<bool> close(std::chrono::sys_days day);
    asio::awaitable<std::optional<store::ReportingState>> state();
    void begin_due();
    asio::awaitable<void> report(Key key);
    asio::awaitable<store::StoredReport> attempt(Key key, bool again);
    struct Sending;
    asio::awaitable<void> send_one(Key key, std::shared_ptr<Sending> sending);
    Result<void> check_ready() const;
    asio::awaitable<std::vector<store::StoredReport>> kept(store::ReportFilter filter);
    void plan(Key key, WallTime when);
    bool ready() const;

    Sender& sender_;
    store::Store& store_;
    store::Alarms& alarms_;
    const Clock& clock_;
    Timer& timer_;
    Log& log_;
    Surroundings around_;
    std::unique_ptr<Wakeup> wakeup_;  // woken when a report is over
    TaskGroup attempts_;
    TaskGroup time_;
    std::optional<std::chrono::sys_days> closed_;
    using Due = std::multimap<WallTime, Key>;
    Due due_;
    std::map<Key, Due::iterator> planned_;  // where in due_
    std::set<Key> under_way_;
    WallTime looked_{};
    bool stopping_ = false;
};

}  // namespace sternpost::tlsrpt
