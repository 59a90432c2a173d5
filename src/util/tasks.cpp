#include "util/tasks.h"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <cassert>
#include <exception>

namespace sternpost {

TaskGroup::TaskGroup(asio::io_context& context, Log& log)
    : context_(context), log_(log), empty_(context, asio::steady_timer::time_point::max()) {}

TaskGroup::~TaskGroup() {
    assert(running_.empty());
}

void TaskGroup::spawn(std::string name, asio::awaitable<void> task) {
    const auto self = running_.emplace(running_.end());
    self->name = std::move(name);
    auto ended = [this, self](const std::exception_ptr& error) {
        if (error) {
            std::string what = "unknown";
            try {
                std::rethrow_exception(error);
            } catch (const std::exception& e) {
                what = e.what();
            } catch (...) {
                what = "not a std::exception";
            }
            // An operation that cancel() ended surfaces as operation_aborted: that is how a task is meant to
            // stop.
            if (what.find("Operation canceled") == std::string::npos)
                Event(log_, Level::error, "task").kv("name", self->name).kv("reason", what);
        }
        running_.erase(self);
        if (running_.empty()) empty_.cancel();
    };
    asio::co_spawn(context_, std::move(task),
                   asio::bind_cancellation_slot(self->stop.slot(), std::move(ended)));
}

void TaskGroup::cancel() {
    for (auto it = running_.begin(); it != running_.end();) {
        auto next = std::next(it);  // emit may end the task and erase its entry
        it->stop.emit(asio::cancellation_type::all);
        it = next;
    }
}

asio::awaitable<void> TaskGroup::join() {
    while (!running_.empty()) co_await empty_.async_wait(asio::as_tuple(asio::use_awaitable));
}

}  // namespace sternpost
