#include "util/inbox.h"

namespace sternpost {

void Inbox::post(Task task) {
    bool first = false;
    {
        const std::lock_guard guard(mutex_);
        first = tasks_.empty();
        tasks_.push_back(std::move(task));
    }
    if (first) came_.notify_one();  // with others there already, the owner is awake or has been called
}

std::vector<Task> Inbox::take(SteadyTime when) {
    std::unique_lock lock(mutex_);
    came_.wait_until(lock, when, [&] { return !tasks_.empty(); });
    return std::exchange(tasks_, {});
}

}  // namespace sternpost
