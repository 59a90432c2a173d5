// The machine that the daemon runs on: its disk, which outlives the process, and the process, built as the
// daemon builds itself, but on one thread, over task queues that the seed empties and seams that the
// simulation fills.
#pragma once

#include <memory>
#include <string>

#include "chance.h"
#include "delivery/attempt.h"
#include "delivery/bounce.h"
#include "delivery/tls_loss_detector.h"
#include "fake/disk_vfs.h"
#include "fake/hand_task_queue.h"
#include "fake/sim_disk.h"
#include "fake/step_world.h"
#include "network.h"
#include "oracle.h"
#include "plant.h"
#include "questions.h"
#include "queue/manager.h"
#include "store/alarms.h"
#include "store/engine/engine_core.h"
#include "sts/refresher.h"
#include "tlsrpt/daily.h"

namespace sternpost::simulation {

/// What the seed says of the daemon's configuration.
struct Settings {
    queue::Options queue;
    delivery::Options delivery;
    store::engine::Options store;
    tlsrpt::Options reports;
    bool octets = false;  // a slow world
    std::size_t notices_per_day = 1000;
};

/// What the machine takes the time for.
class MachineClock final : public Clock {
  public:
    explicit MachineClock(const Clock& truth) : truth_(truth) {}
    WallTime wall() const override { return truth_.wall() + ahead_; }
    SteadyTime steady() const override { return truth_.steady(); }
    /// Someone sets it, by mistake or right.
    void set_ahead(std::chrono::microseconds ahead) { ahead_ = ahead; }
    bool right() const { return ahead_.count() == 0; }

  private:
    const Clock& truth_;
    std::chrono::microseconds ahead_{0};
};

/// What a process is given.
struct Surroundings {
    World& world;
    Oracle& oracle;
    Trace& trace;
    fake::StepWorld& time;
    const Clock& machine_clock;  // of store and queue; what goes by policies and days is told the truth
    Chance& chance;              // order, latencies, faults
    Random& random;              // the daemon's own
    Log& log;
    Plant& plant;
};

/// One life of the daemon. Its coroutines run on the world's io_context; whoever made it sees them end before
/// it goes.
class Process {
  public:
    Process(const Surroundings& around, const Settings& settings, std::shared_ptr<fake::SimDisk> disk);
    Process(const Process&) = delete;
    Process& operator=(const Process&) = delete;
    ~Process();

    /// Opens the store and recovers what is there.
    store::Result<void> open();
    /// Loads the queue and begins to work.
    asio::awaitable<void> serve();
    bool ready() const { return ready_; }
    /// Why it wanted to end; empty: it did not.
    const std::string& died() const { return died_; }

    /// Runs what there is to do at this moment, in an order that chance decides.
    void settle();
    /// When the store has something to do by itself; nothing: only upkeep.
    std::optional<SteadyTime> store_wake() const;
    /// The store's thread is busy elsewhere until then.
    void stall(SteadyTime until) { stalled_ = until; }

    /// A polite end, as by SIGTERM.
    asio::awaitable<void> stop(std::chrono::seconds patience);
    /// Nothing that it does reaches the world any more.
    void go_dead();
    bool over() const { return over_; }
    /// After a polite end.
    void close();

    store::Store& store() { return *spy_; }
    store::Disk& disk() { return *seen_disk_; }
    queue::Manager& queue() { return *queue_; }
    delivery::Overrides& overrides() { return overrides_; }
    delivery::Delivery& delivery() { return *delivery_; }
    /// What people ask of the daemon. After open().
    asio::awaitable<void> question(std::string domain) { return questions_->ask(std::move(domain)); }
    store::IdSource& ids() { return *ids_; }
    const Clock& clock() const { return *clock_; }
    TaskGroup& tasks() { return tasks_; }
    Network& network() { return network_; }

  private:
    class Spy;
    bool run_one(std::uint64_t which);
    asio::awaitable<void> carry(queue::Lane& lane);

    Surroundings around_;
    Settings settings_;
    dns::Gate gate_;
    std::shared_ptr<fake::SimDisk> disk_;
    std::shared_ptr<store::Disk> seen_disk_;  // as the plant shows it
    Network network_;
    std::unique_ptr<fake::DiskVfs> vfs_;
    fake::HandTaskQueue writer_;
    fake::HandTaskQueue follower_;
    fake::HandTaskQueue reader_;
    fake::HandTaskQueue pool_;
    fake::HandTaskQueue control_;
    std::unique_ptr<store::engine::EngineCore> engine_;
    std::unique_ptr<store::Store> planted_store_;
    std::unique_ptr<store::Store> spy_;
    TaskGroup tasks_;
    std::optional<store::TrustedClock> clock_;  // of store and queue
    std::unique_ptr<store::IdSource> ids_;
    SimResolver sim_resolver_;
    SimHttps sim_https_;
    SimResolver quiet_resolver_;  // of questions
    SimHttps quiet_https_;
    std::unique_ptr<SimDialer> sim_dialer_;
    std::unique_ptr<dns::Resolver> planted_resolver_;
    std::unique_ptr<util::Https> planted_https_;
    std::unique_ptr<delivery::Dialer> planted_dialer_;
    std::unique_ptr<Timer> planted_timer_;
    std::unique_ptr<Clock> policy_clock_;
    std::unique_ptr<TaskQueue> planted_control_;
    std::unique_ptr<sts::Lookups> lookups_;
    std::unique_ptr<sts::Refresher> refresher_;
    delivery::Overrides overrides_;
    delivery::TlsLossDetector tls_loss_;
    std::unique_ptr<store::Alarms> alarms_;
    std::unique_ptr<delivery::Delivery> delivery_;
    std::unique_ptr<delivery::Bouncer> bouncer_;
    std::unique_ptr<queue::Manager> queue_;
    std::unique_ptr<tlsrpt::Sender> report_sender_;
    std::unique_ptr<tlsrpt::Daily> reports_;
    std::unique_ptr<Questions> questions_;
    std::string died_;
    SteadyTime stalled_ = SteadyTime::min();
    bool wrote_ = false;  // tasks of the writer have run since it was pumped
    bool ready_ = false;
    bool over_ = false;
};

}  // namespace sternpost::simulation
