// A task queue that someone empties by hand: the thread of its owner is the test's own.
#pragma once

#include <deque>

#include "util/task_queue.h"

namespace sternpost::fake {

class HandTaskQueue final : public TaskQueue {
  public:
    void post(Task task) override { tasks_.push_back(std::move(task)); }
    bool empty() const { return tasks_.empty(); }
    std::size_t size() const { return tasks_.size(); }
    /// Runs the oldest task; only if !empty().
    void run_one() { run(0); }
    /// Runs the task at `place`, as where order is no one's promise; only if there is one.
    void run(std::size_t place) {
        const auto at = tasks_.begin() + static_cast<std::ptrdiff_t>(place);
        Task task = std::move(*at);
        tasks_.erase(at);
        task();
    }
    void run_all() {
        while (!empty()) run_one();
    }

  private:
    std::deque<Task> tasks_;
};

}  // namespace sternpost::fake
