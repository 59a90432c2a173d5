// Which part of the queue is in memory: what comes in, what the store is asked for, what is let go of. Pure.
#pragma once

#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "queue/hops.h"
#include "queue/messages.h"
#include "queue/options.h"
#include "queue/store_backlog.h"
#include "queue/suspensions.h"

namespace sternpost::queue {

class Window {
  public:
    Window(const WindowLimits& limits, const Suspensions& suspensions, Messages& messages, Hops& hops,
           StoreBacklog& backlog)
        : limits_(limits), suspensions_(suspensions), messages_(messages), hops_(hops), backlog_(backlog) {}
    Window(const Window&) = delete;
    Window& operator=(const Window&) = delete;

    /// New mail. False: there is no room for it, or it is not due; it sleeps in the store.
    bool add(store::StoredMessage message, Now now);
    /// Whatever room there is. Null: nothing of it waits, or its sender is suspended.
    Message* insert(store::StoredMessage message, Now now);

    /// The question to ask the store now, if any. Until the answer comes by loaded(), or load_failed(), there
    /// is no other.
    std::optional<store::DueQuestion> wanted(Now now);
    void loaded(store::Due due, Now now);
    void load_failed(Now now);
    /// When there is something to ask for, by itself.
    std::optional<SteadyTime> next_question() const;

    /// Mail of a suspended sender that has turned up: it is to be put on hold in the store.
    /// Each is named once; nothing of it is taken until held() is said of it.
    std::vector<store::MessageId> to_hold() { return std::exchange(to_hold_, {}); }
    void hold_soon(store::MessageId id);
    bool is_about_to_be_held(store::MessageId id) const { return holding_.contains(id); }
    /// These are on hold in the store, or their sender is suspended no more.
    void held(const std::vector<store::MessageId>& ids, Now now);

    /// Whether further recipients of a message may end within a minute or so: some are in an attempt, or due.
    bool ends_soon(store::MessageId id, Now now) const;
    /// Results that are on stable storage: what is finished is forgotten, what waits for long is let go of.
    void recorded(const std::vector<store::DeliveryResult>& results, Now now);
    /// What waits for longer than a while need not wait in memory.
    void let_go_if_far(store::MessageId id, Now now);
    void forget(store::MessageId id);

  private:
    bool admits(const store::StoredMessage& message, Now now);
    void leave_in_store(const store::StoredMessage& message, Now now);
    bool is_wanted_of(const std::string& name, Now now) const;
    void ask_without(store::DueQuestion& question, Now now);
    bool may_go(const Message& message, Now now) const;
    bool due_soon(const Message& message, Now now) const;

    const WindowLimits& limits_;
    const Suspensions& suspensions_;
    Messages& messages_;
    Hops& hops_;
    StoreBacklog& backlog_;
    SteadyTime not_asked_before_ = SteadyTime::min();  // after a question that failed
    std::vector<std::string> not_asked_;               // ascending: hops that the last question left out
    std::vector<store::MessageId> to_hold_;
    std::set<store::MessageId> holding_;  // named by to_hold(), or soon
};

}  // namespace sternpost::queue
