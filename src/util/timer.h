// Waiting, as an argument. The real one stands on Asio's timers; the simulator steps its own clock.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <memory>

#include "util/arrivals.h"
#include "util/clock.h"
#include "util/task_queue.h"

namespace sternpost {

namespace asio = boost::asio;

/// A wait that someone else may end. One waiter at a time.
class Wakeup {
  public:
    virtual ~Wakeup() = default;
    /// Returns at `when` (at once if that is past), at wake(), or when the awaiting coroutine is cancelled.
    virtual asio::awaitable<void> wait(SteadyTime when) = 0;
    /// Ends the wait, if there is one.
    virtual void wake() = 0;
};

/// Waits on the thread that owns it.
class Timer {
  public:
    virtual ~Timer() = default;
    /// Returns at `when` (at once if that is past), or early when the awaiting coroutine is cancelled.
    virtual asio::awaitable<void> until(SteadyTime when) = 0;
    virtual std::unique_ptr<Wakeup> wakeup() = 0;
};

/// Of the thread that runs `context`.
class AsioTimer final : public Timer {
  public:
    explicit AsioTimer(asio::io_context& context) : context_(context) {}
    asio::awaitable<void> until(SteadyTime when) override;
    std::unique_ptr<Wakeup> wakeup() override;

  private:
    asio::io_context& context_;
};

/// The task queue of a thread that runs an io_context.
class AsioTaskQueue final : public TaskQueue {
  public:
    explicit AsioTaskQueue(asio::io_context& context) : arrivals_(Arrivals::of(context)) {}
    void post(Task task) override { arrivals_.post(std::move(task)); }

  private:
    Arrivals& arrivals_;
};

}  // namespace sternpost
