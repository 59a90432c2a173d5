// What other threads hand to an io_context: however much has come, its loop takes it in as one handler, and
// is woken once.
#pragma once

#include <boost/asio/io_context.hpp>
#include <mutex>
#include <vector>

#include "util/task_queue.h"

namespace sternpost {

namespace asio = boost::asio;

/// One of these belongs to each io_context (asio::use_service). An io_context that is stopped for good drops
/// what has not been run.
class Arrivals final : public asio::execution_context::service {
  public:
    using key_type = Arrivals;
    static asio::execution_context::id id;

    explicit Arrivals(asio::execution_context& context);
    static Arrivals& of(asio::execution_context& context);

    /// Any thread may call; tasks run on the context's thread in the order in which they came.
    void post(Task task);

  private:
    void shutdown() noexcept override;
    void run();

    asio::io_context& context_;
    std::mutex mutex_;
    std::vector<Task> tasks_;
};

}  // namespace sternpost
