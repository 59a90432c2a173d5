// The mailbox of a thread of its own, one that runs no io_context: it takes what has come, or waits for it.
#pragma once

#include <condition_variable>
#include <mutex>
#include <vector>

#include "util/clock.h"
#include "util/mailbox.h"

namespace sternpost {

class Inbox final : public Mailbox {
  public:
    void post(Task task) override;
    /// All tasks that have come, oldest first; waits for the first until `when`. Empty: none came. One
    /// thread.
    std::vector<Task> take(SteadyTime when);

  private:
    std::mutex mutex_;
    std::condition_variable came_;
    std::vector<Task> tasks_;
};

}  // namespace sternpost
