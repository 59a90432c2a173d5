// What an administrator does with alarms.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <functional>

#include "admin/alarms.h"
#include "store/store.h"

namespace sternpost::admin {

namespace asio = boost::asio;

/// Lives on the control thread.
class AlarmVerbs {
  public:
    AlarmVerbs(store::Store& store, const Clock& clock) : store_(store), clock_(clock) {}
    /// They are known: they no longer count as open until they are raised again.
    asio::awaitable<Answer<AlarmsDone>> acknowledge(AlarmAction action, Caller caller);
    /// No mail and no exit code speaks of them for a time, though they may be raised again.
    asio::awaitable<Answer<AlarmsDone>> mute(AlarmAction action, Caller caller);

  private:
    using Mark = std::function<void(store::StoredAlarm&)>;
    asio::awaitable<Answer<AlarmsDone>> mark(AlarmAction action, Mark set);

    store::Store& store_;
    const Clock& clock_;
};

}  // namespace sternpost::admin
