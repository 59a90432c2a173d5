// Time that stands still until a test lets it pass: a clock, and a Timer whose waits end when it does. One
// thread, one io_context without descriptors: run until idle, then step the clock to the next wait.
#pragma once

#include <algorithm>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <exception>
#include <list>
#include <memory>
#include <optional>
#include <stdexcept>

#include "util/timer.h"

namespace sternpost::fake {

class StepClock final : public Clock {
  public:
    WallTime wall() const override { return wall_; }
    SteadyTime steady() const override { return steady_; }
    void pass(std::chrono::microseconds time) {
        wall_ += time;
        steady_ += time;
    }
    /// Someone sets the clock.
    void set_wall(WallTime wall) { wall_ = wall; }

  private:
    WallTime wall_{std::chrono::sys_days(std::chrono::year(2026) / 3 / 1)};
    SteadyTime steady_{std::chrono::hours(1000)};
};

class StepWorld final : public Timer {
  public:
    asio::io_context& context() { return context_; }
    StepClock& clock() { return clock_; }

    asio::awaitable<void> until(SteadyTime when) override {
        const auto alarm = std::make_unique<StepWakeup>(*this);
        co_await alarm->wait(when);
    }
    std::unique_ptr<Wakeup> wakeup() override { return std::make_unique<StepWakeup>(*this); }

    /// Runs what can run without time passing.
    void settle() {
        context_.restart();
        context_.poll();
    }
    /// Lets time pass, wait by wait.
    void pass(std::chrono::microseconds time) {
        const SteadyTime end = clock_.steady() + time;
        for (settle();; settle())
            if (!step_to(std::min(end, next_wait().value_or(end))) && clock_.steady() >= end) break;
        settle();
    }
    /// Now it is `when`, if that is not past; what waited until then may go on. Whether anything did.
    bool step_to(SteadyTime when) {
        const auto step = std::chrono::ceil<std::chrono::microseconds>(when - clock_.steady());
        clock_.pass(std::max(step, std::chrono::microseconds(0)));
        bool rang = false;
        for (auto* alarm : waiting_)
            if (alarm->when() <= clock_.steady()) {
                alarm->wake();
                rang = true;
            }
        return rang;
    }
    /// What `task` gives, without time passing.
    template <class T>
    T run(asio::awaitable<T> task) {
        std::optional<T> out;
        asio::co_spawn(context_, std::move(task), [&](const std::exception_ptr& error, T value) {
            if (error) std::rethrow_exception(error);
            out.emplace(std::move(value));
        });
        settle();
        if (!out) throw std::logic_error("the task waits for something");
        return std::move(*out);
    }
    /// Runs `task` to its end and lets as much time pass as it needs.
    void finish(asio::awaitable<void> task) {
        bool done = false;
        asio::co_spawn(context_, std::move(task), [&](const std::exception_ptr& error) {
            if (error) std::rethrow_exception(error);
            done = true;
        });
        settle();
        while (!done) pass(until_next_wait());
    }
    std::chrono::microseconds until_next_wait() const {
        const auto next = next_wait();
        if (!next) throw std::logic_error("the task waits for something that never comes");
        return std::max(std::chrono::ceil<std::chrono::microseconds>(*next - clock_.steady()),
                        std::chrono::microseconds(0));
    }
    /// When the first of all waits ends.
    std::optional<SteadyTime> next_wait() const {
        std::optional<SteadyTime> out;
        for (const auto* alarm : waiting_)
            if (alarm->when() != SteadyTime::max() && (!out || alarm->when() < *out)) out = alarm->when();
        return out;
    }

  private:
    class StepWakeup final : public Wakeup {
      public:
        explicit StepWakeup(StepWorld& world) : world_(world), timer_(world.context_) {}
        asio::awaitable<void> wait(SteadyTime when) override {
            when_ = when;
            timer_.expires_at(SteadyTime::max());
            const auto self = world_.waiting_.insert(world_.waiting_.end(), this);
            struct Leave {
                std::list<StepWakeup*>& waiting;
                std::list<StepWakeup*>::iterator self;
                ~Leave() { waiting.erase(self); }
            };
            const Leave leave{world_.waiting_, self};
            co_await timer_.async_wait(asio::as_tuple(asio::use_awaitable));
        }
        void wake() override { timer_.cancel(); }
        SteadyTime when() const { return when_; }

      private:
        StepWorld& world_;
        asio::steady_timer timer_;
        SteadyTime when_;
    };

    asio::io_context context_;
    StepClock clock_;
    std::list<StepWakeup*> waiting_;
};

}  // namespace sternpost::fake
