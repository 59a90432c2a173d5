// One Asio operation, one time limit. For shells on sockets; what runs in the simulator waits through Timer
// instead.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/deferred.hpp>
#include <boost/asio/experimental/parallel_group.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "util/clock.h"
#include "util/result.h"

namespace sternpost {

namespace asio = boost::asio;

/// Runs `op` (an Asio operation made with asio::deferred that completes with (error_code, size_t)) until
/// `deadline`. The loser is cancelled and awaited, so nothing outlives the call. After timed_out the stream
/// is closed by the caller, not used again.
template <class Op>
asio::awaitable<util::Result<std::size_t>> until(Deadline deadline, Op op) {
    asio::steady_timer timer(co_await asio::this_coro::executor, deadline);
    auto race = asio::experimental::make_parallel_group(std::move(op), timer.async_wait(asio::deferred));
    const auto done = co_await race.async_wait(asio::experimental::wait_for_one(), asio::use_awaitable);
    const auto& [order, ec, octets, timer_ec] = done;
    if (order[0] == 1 && !timer_ec) co_return fail(util::Errc::timed_out, "timed out");
    if (ec == asio::error::eof) co_return fail(util::Errc::closed, "the connection was closed");
    if (ec) co_return fail(util::Errc::io, ec.message());
    co_return octets;
}

/// The same for operations that complete with (error_code) alone: connect, handshake, accept.
template <class Op>
asio::awaitable<util::Result<void>> until_done(Deadline deadline, Op op) {
    asio::steady_timer timer(co_await asio::this_coro::executor, deadline);
    auto race = asio::experimental::make_parallel_group(std::move(op), timer.async_wait(asio::deferred));
    const auto done = co_await race.async_wait(asio::experimental::wait_for_one(), asio::use_awaitable);
    const auto& [order, ec, timer_ec] = done;
    if (order[0] == 1 && !timer_ec) co_return fail(util::Errc::timed_out, "timed out");
    if (ec == asio::error::eof) co_return fail(util::Errc::closed, "the connection was closed");
    if (ec) co_return fail(util::Errc::io, ec.message());
    co_return util::Result<void>();
}

}  // namespace sternpost
