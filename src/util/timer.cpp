#include "util/timer.h"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>

namespace sternpost {

asio::awaitable<void> AsioTimer::until(SteadyTime when) {
    asio::steady_timer timer(co_await asio::this_coro::executor, when);
    co_await timer.async_wait(asio::as_tuple(asio::use_awaitable));
}

void AsioMailbox::post(Task task) {
    asio::post(context_, [held = std::move(task)]() mutable { held(); });
}

}  // namespace sternpost
