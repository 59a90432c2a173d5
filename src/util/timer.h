// Waiting, as an argument. The real one stands on Asio's timers; the simulator steps its own clock.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>

#include "util/clock.h"
#include "util/mailbox.h"

namespace sternpost {

namespace asio = boost::asio;

/// Waits on the thread that owns it.
class Timer {
  public:
    virtual ~Timer() = default;
    /// Returns at `when` (at once if that is past), or early when the awaiting coroutine is cancelled.
    virtual asio::awaitable<void> until(SteadyTime when) = 0;
};

class AsioTimer final : public Timer {
  public:
    asio::awaitable<void> until(SteadyTime when) override;
};

/// The mailbox of a thread that runs an io_context.
class AsioMailbox final : public Mailbox {
  public:
    explicit AsioMailbox(asio::io_context& context) : context_(context) {}
    void post(Task task) override;

  private:
    asio::io_context& context_;
};

}  // namespace sternpost
