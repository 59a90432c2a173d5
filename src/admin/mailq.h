// The queue as Postfix's `postqueue -p` prints it, since that is the layout that monitors read (check_mailq,
// munin, collectd). Pure.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "admin/queue.h"

namespace sternpost::admin {

/// Prints a list piece by piece, so that a long queue needs little memory.
class MailqText {
  public:
    /// `local_time`: such as `Mon Nov 23 12:00:00`.
    explicit MailqText(std::function<std::string(WallTime)> local_time)
        : local_time_(std::move(local_time)) {}

    /// Some of the messages of the answer to `queue.list`, in order.
    std::string messages(const std::vector<MessageRow>& messages);
    /// The end of the list, with the messages that are still to be printed.
    std::string end(const Listing& list);

  private:
    std::function<std::string(WallTime)> local_time_;
    bool begun_ = false;
};

}  // namespace sternpost::admin
