// What the failure of a next hop does to the mail that waits for it: it waits longer, or it bounces. Pure.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "queue/hops.h"
#include "queue/messages.h"
#include "queue/window.h"

namespace sternpost::queue {

/// A next hop failed, and some of its mail may sleep: what of that arrived up to `until` is over with it.
struct Sweep {
    std::string hop;
    store::MessageId until;
    HopFailure hop_failure;
    Now began;
};

class HopFailures {
  public:
    HopFailures(const Schedule& schedule, Messages& messages, Hops& hops, Window& window,
                StoreBacklog& backlog)
        : schedule_(schedule), messages_(messages), hops_(hops), window_(window), backlog_(backlog) {}
    HopFailures(const HopFailures&) = delete;
    HopFailures& operator=(const HopFailures&) = delete;

    /// No session could be opened, or the hop was blamed. `began`: when the lane began to try. Returns
    /// results to be recorded (bounces).
    std::vector<store::DeliveryResult> failed(const std::string& hop, const HopFailure& hop_failure,
                                              Now began, Now now);
    std::vector<Sweep> sweeps() { return std::exchange(sweeps_, {}); }
    /// Those of a page of a sweep that are over: the results to be recorded. They are in memory until then.
    std::vector<store::DeliveryResult> swept(const Sweep& sweep, std::vector<store::StoredMessage> page,
                                             Now now);
    /// The oldest of those that sleep and are not over yet: the hop is tried again when it is, at the latest.
    void not_later(const std::string& hop, const store::StoredMessage& oldest, Now now) {
        hops_.not_later(hop, schedule_.deadline(oldest), now);
    }

  private:
    static void bounce_unit(Message& message, Unit& unit, const HopFailure& hop_failure, bool expired,
                            Now now, std::vector<store::DeliveryResult>& out);
    void sweep_store(const std::string& hop, const HopFailure& hop_failure, Now began, Now now);

    const Schedule& schedule_;
    Messages& messages_;
    Hops& hops_;
    Window& window_;
    StoreBacklog& backlog_;
    std::vector<Sweep> sweeps_;
};

}  // namespace sternpost::queue
