#include "util/blocking_task_queue.h"

namespace sternpost {

void BlockingTaskQueue::put(Task task, bool now) {
    bool wake = false;
    {
        const std::lock_guard guard(mutex_);
        tasks_.push_back(std::move(task));
        called_ = called_ || now;
        wake = waiting_ && (called_ || !soon_);
        if (wake) waiting_ = false;  // once is enough
    }
    if (wake) came_.notify_one();
}

std::vector<Task> BlockingTaskQueue::take(SteadyTime when, bool soon) {
    std::unique_lock lock(mutex_);
    const auto to_do = [&] { return called_ || (!soon && !tasks_.empty()); };
    while (!to_do()) {
        waiting_ = true;
        soon_ = soon;
        if (came_.wait_until(lock, when) == std::cv_status::timeout) break;
    }
    waiting_ = false;
    called_ = false;
    return std::exchange(tasks_, {});
}

}  // namespace sternpost
