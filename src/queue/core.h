// The queue as a pure core: events in, work and results out, the time an argument. It hands out work and
// takes results; its parts know the messages in memory, the next hops, what else the store has, what a next
// hop's failure means for its mail, and what an administrator does.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "queue/admin_actions.h"
#include "queue/hop_failures.h"
#include "queue/hops.h"
#include "queue/messages.h"
#include "queue/obstacle.h"
#include "queue/options.h"
#include "queue/store_backlog.h"
#include "queue/suspensions.h"
#include "queue/window.h"
#include "queue/work.h"

namespace sternpost::queue {

class Core {
  public:
    Core(Options options, Random& random);

    // ---- its parts
    Messages& messages() { return messages_; }
    const Messages& messages() const { return messages_; }
    Hops& hops() { return hops_; }
    const Hops& hops() const { return hops_; }
    StoreBacklog& backlog() { return backlog_; }
    Window& window() { return window_; }
    const Window& window() const { return window_; }
    HopFailures& hop_failures() { return hop_failures_; }
    AdminActions& admin() { return admin_; }
    const AdminActions& admin() const { return admin_; }
    const Suspensions& suspensions() const { return suspensions_; }
    const Options& options() const { return options_; }

    // ---- work
    /// Hops::lanes_wanted(), unless no attempt may begin.
    std::vector<Slot> lanes_wanted(Now now);
    /// The next transaction for a lane of that hop; nothing: no work is due.
    std::optional<Work> take(const std::string& hop, Now now);
    /// The end of a transaction. Returns the results to be recorded; the message stays known until
    /// Window::recorded().
    std::vector<store::DeliveryResult> finished(const Work& work,
                                                std::vector<RecipientResult> recipient_results, Now now);
    /// The attempt was given up by us (shutdown): the work is as if never taken.
    void put_back(const Work& work);
    /// The store has refused to keep `results` results; they wait, and are tried again. Until kept() has been
    /// said of all of them no attempt begins: a crash would repeat whatever is sent and not known to be.
    void refused(std::size_t results) { refused_ += results; }
    void kept(std::size_t results) { refused_ -= results; }
    /// Results that wait because the store refused them.
    std::size_t refused() const { return refused_; }
    /// When something becomes due by itself.
    std::optional<SteadyTime> next_wake() const;

    // ---- mail that waits: what blocks it, and delay warnings
    /// What is in the way of each recipient of a message that the store has found.
    /// `stored`: hops that fail, as the store knows them, for those that are not in memory.
    std::vector<Blocked> blocked_by(const store::StoredMessage& found, Now now,
                                    const std::vector<store::HopState>& stored = {}) const;
    /// What the sender of a message is told whose delay warning is due (Schedule::delay_warning), as the
    /// store knows it. Nothing: there is no one to tell, its time is over, or, with `later` set, all of it is
    /// in an attempt, which may be the good one.
    std::optional<Delayed> delayed(const store::StoredMessage& message, Now now, bool& later) const;
    /// It was told.
    void warned(store::MessageId message);

  private:
    Work work_for(const std::string& hop, Message& message, Unit& unit, Now now);
    void settle(const Work& work, const Message& message, RecipientResult& recipient_result, Now now);
    void defer(const Work& work, const store::StoredMessage& message, RecipientResult& recipient_result,
               Now now);
    ObstacleFacts facts_of_hop(const std::string& hop, Now now, const std::vector<store::HopState>& stored,
                               store::HopState& state) const;
    void tell_delay(const store::StoredMessage& message, std::uint32_t n, const Blocked& blocked,
                    Delayed& out) const;

    Options options_;
    Random& random_;
    Suspensions suspensions_;
    StoreBacklog backlog_;
    Messages messages_;
    Hops hops_;
    Window window_;
    HopFailures hop_failures_;
    AdminActions admin_;
    std::size_t refused_ = 0;  // results
};

}  // namespace sternpost::queue
