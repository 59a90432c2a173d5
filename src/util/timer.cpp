#include "util/timer.h"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>

namespace sternpost {

namespace {

class AsioWakeup final : public Wakeup {
  public:
    explicit AsioWakeup(asio::io_context& context) : timer_(context) {}
    asio::awaitable<void> wait(SteadyTime when) override {
        timer_.expires_at(when);
        co_await timer_.async_wait(asio::as_tuple(asio::use_awaitable));
    }
    void wake() override { timer_.cancel(); }

  private:
    asio::steady_timer timer_;
};

}  // namespace

asio::awaitable<void> AsioTimer::until(SteadyTime when) {
    asio::steady_timer timer(context_, when);
    co_await timer.async_wait(asio::as_tuple(asio::use_awaitable));
}

std::unique_ptr<Wakeup> AsioTimer::wakeup() {
    return std::make_unique<AsioWakeup>(context_);
}

}  // namespace sternpost
