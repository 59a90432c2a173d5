// What an administrator does to mail. Pure.
#pragma once

#include <string>
#include <vector>

#include "queue/hops.h"
#include "queue/messages.h"
#include "queue/suspensions.h"
#include "queue/window.h"

namespace sternpost::queue {

class AdminActions {
  public:
    AdminActions(Suspensions& suspensions, Messages& messages, Hops& hops, Window& window,
                 StoreBacklog& backlog)
        : suspensions_(suspensions), messages_(messages), hops_(hops), window_(window), backlog_(backlog) {}
    AdminActions(const AdminActions&) = delete;
    AdminActions& operator=(const AdminActions&) = delete;

    /// What of a message that the store has found is meant.
    Selected select(const store::StoredMessage& found, const store::QueueFilter& filter) const;
    /// These are due at once, whatever backoff they or their hops are in. Held ones stay held: leave them
    /// out.
    void retry(const std::vector<Selected>& selected, Now now);
    /// No attempt begins for these until they are released. Attempts under way end as they end.
    void hold(const std::vector<Selected>& selected, Now now);
    void release(const std::vector<Selected>& selected, Now now);
    /// Recipients that wait for `from` (empty: for any next hop) wait for `to` now, and are due.
    void reroute(const std::vector<Selected>& selected, const std::string& from, const std::string& to,
                 Now now);
    /// The end of these recipients by the administrator's will, but for those that an attempt has begun for
    /// since: `state` is bounced or deleted. Returns the results to be recorded.
    std::vector<store::DeliveryResult> end(const std::vector<Selected>& selected, store::RecipientState state,
                                           const std::string& status, const std::string& text, Now now);
    /// Takes messages out, whatever they wait for (an attempt under way ends as it ends).
    void remove(const std::vector<store::MessageId>& ids);
    /// Suspends, or resumes where it has ended.
    void suspend(const store::StoredSuspension& suspension, Now now);

  private:
    void take_out(const std::vector<Selected>& selected);
    void place(const Message& message, Now now);
    void reroute(Message& message, const Selected& one, const std::string& from, const std::string& to,
                 Now now);

    Suspensions& suspensions_;
    Messages& messages_;
    Hops& hops_;
    Window& window_;
    StoreBacklog& backlog_;
};

}  // namespace sternpost::queue
