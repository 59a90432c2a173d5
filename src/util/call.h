// Awaiting the answer of another thread: the bridge from Completion callbacks to coroutines.
#pragma once

#include <atomic>
#include <boost/asio/associated_executor.hpp>
#include <boost/asio/async_result.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <memory>
#include <optional>

#include "util/arrivals.h"
#include "util/task_queue.h"

namespace sternpost {

namespace asio = boost::asio;

namespace detail {

/// An answer on its way. Whoever comes second, the answer or the coroutine that waits for it, finds the
/// other.
template <class T>
class Awaited {
  public:
    explicit Awaited(asio::any_io_executor executor)
        : work_(asio::make_work_guard(executor)), home_(Arrivals::of(executor.context())) {}

    void answer(T value) {
        value_.emplace(std::move(value));
        if (state_.exchange(State::answered) != State::waiting) return;
        home_.post([resume = std::move(resume_)]() mutable { resume(); });
        work_.reset();
    }
    bool answered() const { return state_.load() == State::answered; }
    void wait(Task resume) {
        resume_ = std::move(resume);
        State expected = State::asked;
        if (state_.compare_exchange_strong(expected, State::waiting)) return;
        home_.post(std::move(resume_));  // it came in between
    }
    T take() { return std::move(*value_); }

  private:
    enum class State { asked, waiting, answered };
    asio::executor_work_guard<asio::any_io_executor> work_;
    Arrivals& home_;
    std::optional<T> value_;
    Task resume_;
    std::atomic<State> state_ = State::asked;
};

}  // namespace detail

/// Calls `start(Completion<T>)`, which arranges that the reply is called once, on any thread; resumes the
/// awaiting coroutine on its own executor, an io_context's, with the value. What is answered before `start`
/// returns costs no turn of the loop. Not cancellable: what was asked of another thread is always answered.
template <class T, class Start>
asio::awaitable<T> call(Start start) {
    const auto awaited = std::make_shared<detail::Awaited<T>>(co_await asio::this_coro::executor);
    start(Completion<T>([awaited](T value) { awaited->answer(std::move(value)); }));
    if (!awaited->answered()) {
        auto begin = [awaited](auto handler) {
            awaited->wait([held = std::move(handler)]() mutable { std::move(held)(); });
        };
        co_await asio::async_initiate<const asio::use_awaitable_t<>, void()>(std::move(begin),
                                                                             asio::use_awaitable);
    }
    co_return awaited->take();
}

}  // namespace sternpost
