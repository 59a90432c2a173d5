// Every spawned coroutine has a name, an owner and an end. Nothing is detached.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <list>
#include <string>

#include "util/log.h"

namespace sternpost {

namespace asio = boost::asio;

/// Coroutines that belong together on one io_context's thread; the group must outlive them: cancel() then
/// join() before it goes.
class TaskGroup {
  public:
    TaskGroup(asio::io_context& context, Log& log);
    TaskGroup(const TaskGroup&) = delete;
    TaskGroup& operator=(const TaskGroup&) = delete;
    ~TaskGroup();

    /// Starts `task`; an exception that leaves it is logged with `name`. Call on the owning thread.
    void spawn(std::string name, asio::awaitable<void> task);
    /// Asks every task to end (total cancellation of what it awaits).
    void cancel();
    /// Returns when no task is left.
    asio::awaitable<void> join();
    std::size_t size() const { return running_.size(); }

  private:
    struct Running {
        std::string name;
        asio::cancellation_signal stop;
    };
    asio::io_context& context_;
    Log& log_;
    std::list<Running> running_;
    asio::steady_timer empty_;  // never expires: cancelled when the last task ends
};

}  // namespace sternpost
