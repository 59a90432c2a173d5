// A few threads for what would hold up a loop: reads of cold files, syncs of large bodies, costly pure work.
#pragma once

#include <boost/asio/thread_pool.hpp>

#include "util/task_queue.h"

namespace sternpost {

class Pool final : public TaskQueue {
  public:
    explicit Pool(std::size_t threads) : pool_(threads) {}
    ~Pool() override { pool_.join(); }
    /// Runs `task` on one of the threads, in no particular order.
    void post(Task task) override;
    /// Returns when every task has run. What is posted after that never runs.
    void join() { pool_.join(); }

  private:
    boost::asio::thread_pool pool_;
};

}  // namespace sternpost
