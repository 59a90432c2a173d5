// What an administrator does to mail in the queue: retry, hold, release, expire, delete, reroute; suspend and
// resume.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <functional>
#include <string>

#include "admin/queue.h"
#include "queue/manager.h"
#include "store/store.h"

namespace sternpost::admin {

namespace asio = boost::asio;

/// Lives on the control thread.
class QueueActions {
  public:
    /// Told how much is done so far; null: no one wants to know.
    using Tell = std::function<asio::awaitable<void>(ActionRow so_far)>;

    /// `forget_backoffs`: what else keeps a retry by hand from being one: dead hosts, negative DNS answers.
    /// All outlive QueueActions.
    QueueActions(queue::Manager& manager, store::Store& store, const Clock& clock,
                 std::function<void()> forget_backoffs)
        : queue_(manager), store_(store), clock_(clock), forget_backoffs_(std::move(forget_backoffs)) {}

    asio::awaitable<Answer<ActionRow>> act(queue::AdminAction action, ActionRequest request, Caller caller,
                                           Tell tell);
    asio::awaitable<Answer<SuspensionDone>> suspend(SuspendRequest request, Caller caller, bool ended);

  private:
    asio::awaitable<store::Result<std::uint64_t>> waiting_for(std::string scope);

    queue::Manager& queue_;
    store::Store& store_;
    const Clock& clock_;
    std::function<void()> forget_backoffs_;
};

}  // namespace sternpost::admin
