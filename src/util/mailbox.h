// How threads exchange values: a task is posted to the other thread's mailbox. The simulator's mailboxes
// decide the order.
#pragma once

#include <concepts>
#include <memory>
#include <type_traits>
#include <utility>

namespace sternpost {

/// A function to be called once; unlike std::function it may own what cannot be copied.
class Task {
  public:
    Task() = default;
    template <class F>
    requires(!std::same_as<std::decay_t<F>, Task> && std::invocable<std::decay_t<F>&>) Task(F&& function)
        : body_(std::make_unique<Body<std::decay_t<F>>>(std::forward<F>(function))) {}

    void operator()() { body_->run(); }
    explicit operator bool() const { return body_ != nullptr; }

  private:
    struct Base {
        Base() = default;
        Base(const Base&) = delete;
        Base& operator=(const Base&) = delete;
        virtual ~Base() = default;
        virtual void run() = 0;
    };
    template <class F>
    struct Body final : Base {
        explicit Body(F function) : function_(std::move(function)) {}
        void run() override { function_(); }
        F function_;
    };
    std::unique_ptr<Base> body_;
};

/// A function of one value, called once: how an operation of another thread gives its answer.
template <class T>
class Reply {
  public:
    Reply() = default;
    template <class F>
    requires(!std::same_as<std::decay_t<F>, Reply> && std::invocable<std::decay_t<F>&, T>) Reply(F&& function)
        : body_(std::make_unique<Body<std::decay_t<F>>>(std::forward<F>(function))) {}

    void operator()(T value) { body_->run(std::move(value)); }
    explicit operator bool() const { return body_ != nullptr; }

  private:
    struct Base {
        Base() = default;
        Base(const Base&) = delete;
        Base& operator=(const Base&) = delete;
        virtual ~Base() = default;
        virtual void run(T value) = 0;
    };
    template <class F>
    struct Body final : Base {
        explicit Body(F function) : function_(std::move(function)) {}
        void run(T value) override { function_(std::move(value)); }
        F function_;
    };
    std::unique_ptr<Base> body_;
};

/// One thread's inbox. post() may be called from any thread and never blocks; the task runs on the owner's
/// thread.
class Mailbox {
  public:
    virtual ~Mailbox() = default;
    virtual void post(Task task) = 0;
};

}  // namespace sternpost
