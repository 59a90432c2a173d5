// How threads exchange values: a task is posted to the other thread's task queue. The simulator's task queues
// decide the order.
#pragma once

#include <concepts>
#include <memory>
#include <type_traits>
#include <utility>

namespace sternpost {

/// A function to be called once; unlike std::function it may own what cannot be copied.
template <class... Args>
class Once {
  public:
    Once() = default;
    template <class F>
    requires(!std::same_as<std::decay_t<F>, Once> && std::invocable<std::decay_t<F>&, Args...>)
        Once(F&& function)
        : body_(std::make_unique<Body<std::decay_t<F>>>(std::forward<F>(function))) {}

    void operator()(Args... args) { body_->run(std::move(args)...); }
    explicit operator bool() const { return body_ != nullptr; }

  private:
    struct Base {
        Base() = default;
        Base(const Base&) = delete;
        Base& operator=(const Base&) = delete;
        virtual ~Base() = default;
        virtual void run(Args... args) = 0;
    };
    template <class F>
    struct Body final : Base {
        explicit Body(F function) : function_(std::move(function)) {}
        void run(Args... args) override { function_(std::move(args)...); }
        F function_;
    };
    std::unique_ptr<Base> body_;
};

using Task = Once<>;

/// How an operation of another thread gives its answer.
template <class T>
using Completion = Once<T>;

/// One thread's inbox. post() may be called from any thread and never blocks; the task runs on the owner's
/// thread.
class TaskQueue {
  public:
    virtual ~TaskQueue() = default;
    virtual void post(Task task) = 0;
    /// The same for a task that need not wake an owner who is about to wake by itself.
    virtual void post_lazily(Task task) { post(std::move(task)); }
};

}  // namespace sternpost
