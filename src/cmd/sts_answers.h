// The daemon's answers about the MTA-STS policies in its cache: sts show, list, refresh.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/json.hpp>
#include <string>
#include <string_view>

#include "control/protocol.h"
#include "control/server.h"
#include "sts/lookup.h"

namespace sternpost::cmd {

/// Used on the control thread. `lookups` outlives it.
class StsAnswers {
  public:
    explicit StsAnswers(sts::Lookups& lookups) : lookups_(lookups) {}

    static bool knows(std::string_view verb);
    asio::awaitable<control::Answer> answer(boost::json::object request, control::Caller caller);

  private:
    asio::awaitable<control::Answer> show(std::string domain);
    asio::awaitable<control::Answer> list(control::Caller caller);
    asio::awaitable<control::Answer> refresh(std::string domain);

    sts::Lookups& lookups_;
};

}  // namespace sternpost::cmd
