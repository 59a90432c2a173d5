// The queue as Postfix's `postqueue -p` prints it, since that is the layout that monitors read (check_mailq,
// munin, collectd). Pure.
#pragma once

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <functional>
#include <string>

namespace sternpost::control {

/// Prints a list piece by piece, so that a long queue needs little memory.
class MailqText {
  public:
    /// `local_time`: `Mon Nov 23 12:00:00` for an RFC 3339 time.
    explicit MailqText(std::function<std::string(const std::string&)> local_time)
        : local_time_(std::move(local_time)) {}

    /// Some of the messages of the answer to `queue.list`, in order.
    std::string messages(const boost::json::array& messages);
    /// The end of the list. `list`: the answer's data, with the messages that are still to be printed.
    std::string end(const boost::json::object& list);

  private:
    std::function<std::string(const std::string&)> local_time_;
    bool begun_ = false;
};

}  // namespace sternpost::control
