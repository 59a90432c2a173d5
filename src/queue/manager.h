// The shell around the queue's core: loads it from the store, runs lanes, records results, keeps the timer.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <deque>
#include <functional>
#include <list>
#include <memory>
#include <optional>
#include <string>

#include "queue/core.h"
#include "store/store.h"
#include "util/clock.h"
#include "util/log.h"
#include "util/runtime.h"
#include "util/tasks.h"
#include "util/timer.h"

namespace sternpost::queue {

namespace asio = boost::asio;

class Manager;

/// How long a stop waits for sessions past the final dot (DESIGN §4). Ours: below TimeoutStopSec of the unit.
inline constexpr std::chrono::seconds stop_patience{90};

/// What an administrator may do to mail in the queue. expire: it bounces now. remove: it goes without a
/// notice. reroute: it waits for another next hop.
enum class AdminAction { retry, hold, release, expire, remove, reroute };

/// What an administrator asks for.
struct AdminOrder {
    AdminAction action;
    store::QueueFilter meant;
    std::string who;
    std::string to{};      // where a reroute leads
    bool dry_run = false;  // nothing is done: what it would be done to is counted
};

/// How much of the queue an action met.
struct ActionCount {
    std::size_t messages = 0;
    std::size_t recipients = 0;
    std::size_t active = 0;            // further recipients, which are in an attempt that ends as it ends
    std::size_t held = 0;              // further messages, which a retry leaves alone since they are on hold
    std::size_t sender_suspended = 0;  // further messages, which stay on hold since their sender is suspended
    bool results_wait = false;         // nothing is sent now, since the store cannot keep what becomes of it
    std::size_t suspended = 0;         // of the recipients: those whose next hop is suspended
};

/// One connection's worth of work for a next hop, as delivery sees it. Everything on the control thread.
class Lane {
  public:
    Lane(Manager& manager, Slot slot);
    Lane(const Lane&) = delete;
    Lane& operator=(const Lane&) = delete;
    ~Lane();

    const std::string& hop() const { return slot_.hop; }
    /// The next transaction; nothing: no work is due, or we are stopping.
    std::optional<Work> take();
    /// Waits for work until `when`; nothing: the time is over, or we are stopping.
    asio::awaitable<std::optional<Work>> wait(SteadyTime when);
    /// What became of the work. While stopping, what was aborted goes back untouched.
    void finished(const Work& work, std::vector<RecipientResult> recipient_results);
    void put_back(const Work& work);
    /// A session is open and may carry mail.
    void connected();
    /// The next hop cannot take mail now (or ever: hop_failure.permanent).
    void failed(const HopFailure& hop_failure);
    /// The site has all the connections it may have: the hop is looked at again after so long.
    void pause(std::chrono::milliseconds time);
    bool stopping() const;

  private:
    friend class Manager;
    void moves();

    Manager& manager_;
    Slot slot_;
    Now began_;
    SteadyTime last_step_;  // when a transaction began or ended, or a session was opened, last
    bool connected_ = false;
    std::unique_ptr<Wakeup> work_;  // woken when work arrives
    bool idle_ = false;
};

/// What the queue needs from delivery and dsn, as functions (doc/style.md §2).
struct Hooks {
    /// Delivers what the lane has, until it has no more. Reports by the lane; never throws for what the world
    /// does.
    std::function<asio::awaitable<void>(Lane&)> deliver;
    /// The notices (bounces) that these results of one message call for. An error: not now; asked again in a
    /// second.
    std::function<asio::awaitable<store::Result<std::vector<store::NewMessage>>>(
        MessagePtr, std::vector<store::DeliveryResult>)>
        notices;
    /// The delay warning that the sender of this is to have, if any.
    std::function<asio::awaitable<std::optional<store::NewMessage>>(Delayed)> delay_warning;
    /// Aborts sessions that are not past DATA (shutdown).
    std::function<void()> abort_sessions;
};

class Manager {
  public:
    /// `clock` is the runtime's.
    Manager(const Runtime& runtime, Options options, Hooks hooks, store::Store& store,
            const store::TrustedClock& clock);

    /// Asks the store how the queue is: what fails, what is suspended. Mail comes to memory as it becomes
    /// due, from start() on. Returns how many there are.
    asio::awaitable<store::Result<std::size_t>> load();
    void start();
    /// The site that the hop's mail has waited for may have room.
    bool resume(const std::string& hop) {
        schedule_pass();
        return core_->hops().resume(hop, now());
    }
    /// New mail that is on stable storage.
    void accepted(std::vector<store::StoredMessage> messages);
    /// Aborts what has not reached DATA, waits up to `patience` for the rest.
    asio::awaitable<void> stop(std::chrono::seconds patience);

    // ---- the administrator
    /// Answers after it is on stable storage, with who did it and when. `tell`: called after each part of a
    /// long selection with how much is done.
    asio::awaitable<store::Result<ActionCount>> act(
        AdminOrder order, std::function<asio::awaitable<void>(ActionCount so_far)> tell = {});
    /// Suspends, or resumes where it has ended; a sender's mail is put on hold, or released. Answers after it
    /// is on stable storage.
    asio::awaitable<store::Result<ActionCount>> suspend(store::StoredSuspension suspension);
    const Core& core() const { return *core_; }
    /// What is in the way of each recipient of a message that the store has found.
    std::vector<Blocked> blocked_by(const store::StoredMessage& found,
                                    const std::vector<store::HopState>& stored = {}) const {
        return core_->blocked_by(found, now(), stored);
    }
    /// The time that ages and waits go by (TrustedClock).
    Now now() const { return clock_.now(); }
    bool clock_trusted() const { return now().trusted; }

  private:
    friend class Lane;
    void schedule_pass();
    void check_clock();
    asio::awaitable<void> watch_time();
    asio::awaitable<void> run_lane(Slot slot);
    asio::awaitable<void> watch_slots();
    asio::awaitable<void> watch_delays();
    asio::awaitable<void> load_due(store::DueQuestion question);
    asio::awaitable<void> sweep_all();
    asio::awaitable<void> sweep(Sweep what);
    asio::awaitable<store::Result<std::vector<store::StoredMessage>>> find(store::QueueFilter filter);
    /// `until_done` is let go of when they are on stable storage. Failures that no one awaits wait for others
    /// of the same message, so that its sender gets one notice of all that fail together.
    asio::awaitable<void> record_results(MessagePtr message, std::vector<store::DeliveryResult> results,
                                         std::shared_ptr<void> until_done);
    asio::awaitable<void> gather(MessagePtr message);
    asio::awaitable<void> settle_now(MessagePtr message, std::vector<store::DeliveryResult> results,
                                     std::shared_ptr<void> until_done);
    void record_all(std::vector<store::DeliveryResult> results, std::string_view status,
                    const std::shared_ptr<void>& until_done);
    asio::awaitable<void> record_and_wait(std::vector<store::DeliveryResult> results,
                                          std::string_view status);
    void record_sent(std::vector<store::DeliveryResult> results);
    asio::awaitable<void> record(std::vector<store::DeliveryResult> results,
                                 std::vector<store::NewMessage> notices);
    void refused(std::size_t results, const std::string& why);
    void kept(std::size_t results);
    asio::awaitable<void> warn(Delayed delayed);
    asio::awaitable<store::Result<void>> record_acts(std::vector<store::Act> acts);
    asio::awaitable<store::Result<void>> apply_action(const AdminOrder& order,
                                                      std::vector<Selected> selected);
    asio::awaitable<void> end(std::vector<Selected> selected, store::RecipientState state, std::string text);
    asio::awaitable<store::Result<void>> remove(std::vector<Selected> selected, std::string who);
    asio::awaitable<void> hold_suspended(std::vector<store::MessageId> ids);
    void store_hop(const std::string& hop);

    asio::io_context& context_;
    Options options_;
    Hooks hooks_;
    store::Store& store_;
    const store::TrustedClock& clock_;
    Timer& timer_;
    Random& random_;
    Log& log_;
    std::unique_ptr<Core> core_;
    TaskGroup lanes_;
    TaskGroup recording_;
    TaskGroup time_;
    std::list<Lane*> lane_list_;
    std::unique_ptr<Wakeup> delays_;  // woken at the end
    std::unique_ptr<Wakeup> slots_;   // woken when there is a slot to watch again, and at the end
    std::unique_ptr<Wakeup> due_;     // woken when what is due next has changed
    std::optional<SteadyTime> wake_;  // when something becomes due by itself
    std::map<store::MessageId, std::vector<store::DeliveryResult>>
        failures_;                             // that wait for others of their message
    std::vector<store::DeliveryResult> sent_;  // in this turn of the loop, not yet on their way to the store
    std::deque<Sweep> sweeps_;                 // to be done, one of a hop
    bool sweeping_ = false;
    bool no_slot_to_watch_ = false;  // every lane's slot has been given to others, or there is no lane
    bool clock_was_trusted_ = true;  // at the last look
    bool kicked_ = false;
    bool running_ = false;
    bool stopping_ = false;
};

}  // namespace sternpost::queue
