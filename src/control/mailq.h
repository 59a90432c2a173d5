// The queue as Postfix's `postqueue -p` prints it, since that is the layout that monitors read (check_mailq,
// munin, collectd). Pure.
#pragma once

#include <boost/json/object.hpp>
#include <functional>
#include <string>

namespace sternpost::control {

/// `list`: the data of the answer to `queue.list`. `local_time`: `Mon Nov 23 12:00:00` for an RFC 3339 time.
std::string mailq_text(const boost::json::object& list,
                       const std::function<std::string(const std::string&)>& local_time);

}  // namespace sternpost::control
