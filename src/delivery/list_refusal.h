// Which replies say that a host refuses us because of a block list or our reputation, not because of the
// message or its recipient. Pure.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "store/alarm_kind.h"
#include "util/clock.h"

namespace sternpost::delivery {

/// Who lists us, by known words of replies: the name of a block list or of a provider. `reply`: with its
/// code.
std::optional<std::string_view> refusing_list(std::string_view reply);

/// Raises an alarm for each host and list, and again after a while. Lives on the control thread.
class ListRefusals {
  public:
    /// nullopt: the reply says nothing of a list, or it was said already.
    std::optional<store::NewAlarm> observe(const std::string& host, std::string_view reply, SteadyTime now);

  private:
    std::map<std::pair<std::string, std::string_view>, SteadyTime> raised_;
};

}  // namespace sternpost::delivery
