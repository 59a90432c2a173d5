// Runs one task on this thread, for verbs that ask the DNS themselves.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <exception>
#include <utility>

namespace sternpost::cmd {

/// What the task gives; it may throw what the task throws.
template <class T>
T run_here(boost::asio::io_context& context, boost::asio::awaitable<T> task) {
    T out{};
    boost::asio::co_spawn(context, std::move(task), [&out](const std::exception_ptr& error, T value) {
        if (error) std::rethrow_exception(error);
        out = std::move(value);
    });
    context.restart();
    context.run();
    return out;
}

}  // namespace sternpost::cmd
