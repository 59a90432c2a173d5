// The task queue of a thread of its own, one that runs no io_context: it takes what has come, or waits for
// it.
#pragma once

#include <condition_variable>
#include <mutex>
#include <vector>

#include "util/clock.h"
#include "util/task_queue.h"

namespace sternpost {

class BlockingTaskQueue final : public TaskQueue {
  public:
    void post(Task task) override { put(std::move(task), true); }
    void post_lazily(Task task) override { put(std::move(task), false); }
    /// All tasks that have come, oldest first; waits for the first until `when`. With `soon` it does not wait
    /// for one that was posted lazily, but takes it in too when it wakes. Empty: none came. One thread.
    std::vector<Task> take(SteadyTime when, bool soon = false);

  private:
    void put(Task task, bool now);

    std::mutex mutex_;
    std::condition_variable came_;
    std::vector<Task> tasks_;
    bool called_ = false;   // one of them is not to wait
    bool waiting_ = false;  // the owner sleeps
    bool soon_ = false;     // and will wake soon
};

}  // namespace sternpost
