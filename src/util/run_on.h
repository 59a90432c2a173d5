// A coroutine that belongs to one thread, awaited from another, or from the same one.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>

namespace sternpost {

namespace asio = boost::asio;

/// Runs `task` on the thread of `context`; where that is the caller's, as part of the caller.
template <class T>
asio::awaitable<T> run_on(asio::io_context& context, asio::awaitable<T> task) {
    const asio::any_io_executor here = co_await asio::this_coro::executor;
    if (here == asio::any_io_executor(context.get_executor())) co_return co_await std::move(task);
    co_return co_await asio::co_spawn(context, std::move(task), asio::use_awaitable);
}

}  // namespace sternpost
