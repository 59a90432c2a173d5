#include "util/arrivals.h"

#include <boost/asio/post.hpp>

namespace sternpost {

asio::execution_context::id Arrivals::id;

Arrivals::Arrivals(asio::execution_context& context)
    : asio::execution_context::service(context), context_(static_cast<asio::io_context&>(context)) {}

Arrivals& Arrivals::of(asio::execution_context& context) {
    return asio::use_service<Arrivals>(context);
}

void Arrivals::post(Task task) {
    bool first = false;
    {
        const std::lock_guard guard(mutex_);
        first = tasks_.empty();
        tasks_.push_back(std::move(task));
    }
    if (first) asio::post(context_, [this] { run(); });
}

void Arrivals::run() {
    std::vector<Task> tasks;
    {
        const std::lock_guard guard(mutex_);
        tasks.swap(tasks_);
    }
    for (auto& task : tasks) task();
}

void Arrivals::shutdown() noexcept {
    std::vector<Task> tasks;
    {
        const std::lock_guard guard(mutex_);
        tasks.swap(tasks_);
    }
}

}  // namespace sternpost
