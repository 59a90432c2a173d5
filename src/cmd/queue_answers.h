// The daemon's answers about the queue: list, show, hops, and what an administrator does to mail in it.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <functional>
#include <string>
#include <string_view>

#include "control/protocol.h"
#include "control/server.h"
#include "queue/manager.h"
#include "store/store.h"

namespace sternpost::cmd {

namespace asio = boost::asio;

/// Lives on the control thread.
class QueueAnswers {
  public:
    /// `forget_backoffs`: what else keeps a retry by hand from being one: dead hosts, negative DNS answers.
    /// All outlive QueueAnswers.
    QueueAnswers(queue::Manager& manager, store::Store& store, const Clock& clock,
                 std::function<void()> forget_backoffs)
        : queue_(manager), store_(store), clock_(clock), forget_backoffs_(std::move(forget_backoffs)) {}

    static bool knows(std::string_view verb);
    asio::awaitable<control::Answer> answer(control::json::object request, control::Caller caller);

    asio::awaitable<store::Result<store::QueueTotals>> totals();
    /// Next hops that mail waits for, or that fail: the longest lines first.
    asio::awaitable<control::Answer> hops(std::size_t limit, control::Caller caller);
    control::json::object hop_row(const store::HopLoad& stored) const;
    control::json::array suspensions() const;

  private:
    asio::awaitable<store::Result<std::uint64_t>> waiting_for(std::string scope);
    asio::awaitable<control::Answer> list(control::json::object request, control::Caller caller);
    asio::awaitable<control::Answer> show(std::string id);
    asio::awaitable<control::Answer> act(queue::AdminAction action, control::json::object request,
                                         control::Caller caller);
    asio::awaitable<control::Answer> suspend(control::json::object request, std::string who, bool ended);

    queue::Manager& queue_;
    store::Store& store_;
    const Clock& clock_;
    std::function<void()> forget_backoffs_;
};

}  // namespace sternpost::cmd
