// Mail about alarms to the administrator: the first at once, what follows gathered hour by hour.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <functional>
#include <string>
#include <vector>

#include "store/store.h"
#include "util/clock.h"

namespace sternpost::admin {

namespace asio = boost::asio;

/// Alarms to mail now: each when it is first raised, and again a day after the last mail if it was raised
/// since. Acknowledged and muted alarms are left out.
std::vector<store::StoredAlarm> to_be_told(const std::vector<store::StoredAlarm>& alarms, WallTime now);
/// When mail may go again: an hour after the last.
WallTime next_alarm_mail(const std::vector<store::StoredAlarm>& alarms);

struct AlarmText {
    std::string subject;
    std::string text;  // lines that end with LF
};
AlarmText text_of(const std::vector<store::StoredAlarm>& alarms, const std::string& hostname);

/// Lives on the control thread.
class AlarmMail {
  public:
    /// Hands mail to the queue, for the administrator.
    using Submit = std::function<asio::awaitable<store::Result<store::MessageId>>(AlarmText text)>;
    AlarmMail(store::Store& store, const Clock& clock, std::string hostname, Submit submit)
        : store_(store), clock_(clock), hostname_(std::move(hostname)), submit_(std::move(submit)) {}

    /// Tells what is to be told. Once a minute. The error is for the log.
    asio::awaitable<store::Result<void>> look();

  private:
    store::Store& store_;
    const Clock& clock_;
    std::string hostname_;
    Submit submit_;
};

}  // namespace sternpost::admin
