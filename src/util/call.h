// Awaiting the answer of another thread: the bridge from Reply callbacks to coroutines.
#pragma once

#include <boost/asio/associated_executor.hpp>
#include <boost/asio/async_result.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/dispatch.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <memory>

#include "util/mailbox.h"

namespace sternpost {

namespace asio = boost::asio;

/// Calls `start(Reply<T>)`, which arranges that the reply is called once, on any thread; resumes the awaiting
/// coroutine on its own executor with the value. Not cancellable: what was asked of another thread is always
/// answered.
template <class T, class Start>
asio::awaitable<T> call(Start start) {
    auto begin = [](auto handler, Start inner) {
        using Handler = decltype(handler);
        auto held = std::make_shared<Handler>(std::move(handler));
        auto work = asio::make_work_guard(asio::get_associated_executor(*held));
        inner(Reply<T>([held, work](T value) mutable {
            auto executor = work.get_executor();
            auto resume = [kept = std::move(held), answer = std::move(value)]() mutable {
                (*kept)(std::move(answer));
            };
            asio::post(executor, std::move(resume));
            work.reset();
        }));
    };
    return asio::async_initiate<const asio::use_awaitable_t<>, void(T)>(std::move(begin), asio::use_awaitable,
                                                                        std::move(start));
}

}  // namespace sternpost
