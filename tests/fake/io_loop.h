// An io_context on a thread of its own, for tests of shells over real loopback sockets.
#pragma once

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/use_future.hpp>
#include <future>
#include <thread>

namespace sternpost::fake {

class IoLoop {
  public:
    IoLoop() : work_(context_.get_executor()), thread_([this] { context_.run(); }) {}
    IoLoop(const IoLoop&) = delete;
    IoLoop& operator=(const IoLoop&) = delete;
    ~IoLoop() {
        work_.reset();
        thread_.join();
    }

    boost::asio::io_context& context() { return context_; }

    /// Runs `task` on the loop's thread and returns its value, or throws what it throws.
    template <class T>
    T run(boost::asio::awaitable<T> task) {
        return boost::asio::co_spawn(context_, std::move(task), boost::asio::use_future).get();
    }
    /// Calls `function` on the loop's thread.
    template <class F>
    auto call(F function) {
        std::packaged_task<decltype(function())()> task(std::move(function));
        auto result = task.get_future();
        boost::asio::post(context_, [&task] { task(); });
        return result.get();
    }

  private:
    boost::asio::io_context context_;
    boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work_;
    std::thread thread_;
};

}  // namespace sternpost::fake
