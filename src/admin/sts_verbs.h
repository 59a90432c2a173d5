// What the daemon answers about the MTA-STS policies in its cache: sts show, list, refresh.
#pragma once

#include <boost/asio/awaitable.hpp>

#include "admin/policies.h"
#include "admin/run.h"
#include "sts/lookup.h"

namespace sternpost::admin {

/// Used on the control thread. `lookups` outlives it.
class StsVerbs {
  public:
    explicit StsVerbs(sts::Lookups& lookups) : lookups_(lookups) {}

    asio::awaitable<Answer<PolicyRow>> show(DomainRequest request);
    /// Piece by piece where `send` is set, so that memory holds one piece however many policies there are.
    asio::awaitable<Answer<PolicyListing>> list(Send<PolicyRow> send);
    asio::awaitable<Answer<RefreshAnswer>> refresh(DomainRequest request);

  private:
    sts::Lookups& lookups_;
};

}  // namespace sternpost::admin
