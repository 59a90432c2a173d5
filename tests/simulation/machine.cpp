#include "machine.h"

#include "store/ask.h"
#include "store/engine/layout.h"
#include "store_double.h"
#include "util/call.h"

namespace sternpost::simulation {
namespace {

constexpr const char* vfs_name = "simulation";
constexpr std::uint64_t most_turns_at_once = 50'000;
constexpr std::uint64_t sources = 6;  // of what there is to do: the loop and five task queues

}  // namespace

// Tells the oracle what the daemon asks of the store and what it is answered, as long as there is a process
// to hear it.
class Process::Spy final : public StoreDouble {
  public:
    Spy(Process& process, store::Store& real) : StoreDouble(real), process_(process) {}

    void accept(store::NewMessage message, Answer<store::MessageId> reply) override {
        if (message.message_class != store::MessageClass::mail) oracle().given(message, "");
        auto heard = [this, id = message.id,
                      answer = std::move(reply)](store::Result<store::MessageId> done) mutable {
            if (done && alive()) oracle().accepted(id);
            answer(std::move(done));
        };
        real().accept(std::move(message), std::move(heard));
    }
    void record(std::vector<store::DeliveryResult> results, std::vector<store::NewMessage> notices,
                Answer<void> reply) override {
        process_.around_.plant.results(results);
        process_.around_.plant.notices(notices);
        if (alive()) oracle().asked_to_record(results, notices);
        for (const auto& result : results)
            trace().step("record {} {} {} {}{}", result.message.text(), result.recipient,
                         store::name_of(result.state), result.status, told(result.detail));
        auto heard = [this, results, notices, answer = std::move(reply)](store::Result<void> done) mutable {
            if (alive() && done) oracle().recorded(results, notices);
            if (alive() && !done) oracle().not_recorded(results);
            answer(std::move(done));
        };
        real().record(std::move(results), std::move(notices), std::move(heard));
    }
    void due(store::DueQuestion question, Answer<store::Due> reply) override {
        const std::size_t known = question.known.size();
        const std::size_t full = question.full.size();
        auto heard = [this, known, full, answer = std::move(reply)](store::Result<store::Due> due) mutable {
            std::string hops;
            if (due)
                for (const auto& [state, more] : due->hops) hops += ' ' + state.next_hop + (more ? "+" : "");
            if (due)
                trace().step("due: {} messages,{}{}, next {}; {} were known, {} hops full",
                             due->messages.size(), hops, due->more ? ", more" : "",
                             due->next ? rfc3339(*due->next) : "never", known, full);
            answer(std::move(due));
        };
        real().due(std::move(question), std::move(heard));
    }
    void act(std::vector<store::Act> acts, Answer<void> reply) override {
        if (alive()) oracle().acts_asked(acts);
        auto heard = [this, acts, answer = std::move(reply)](store::Result<void> done) mutable {
            if (alive() && done) oracle().acts_recorded(acts);
            answer(std::move(done));
        };
        real().act(std::move(acts), std::move(heard));
    }
    using store::Store::keep;
    void keep(store::Kept kept, Answer<void> reply) override {
        std::visit([this](auto& value) { asked(value); }, kept);
        if (!reply) return real().keep(std::move(kept));
        auto heard = [this, kept, answer = std::move(reply)](store::Result<void> done) mutable {
            if (alive() && done) std::visit([this](const auto& value) { recorded(value); }, kept);
            answer(std::move(done));
        };
        real().keep(std::move(kept), std::move(heard));
    }

  private:
    void asked(store::HopState& state) {
        process_.around_.plant.hop(state);
        if (alive()) oracle().hop_recorded(state);
        trace().step("hop {} failures {}{}", state.next_hop, state.failures, told(state.detail));
    }
    void asked(const store::StoredPolicy& policy) { trace().step("policy {} {}", policy.domain, policy.id); }
    void asked(const store::StoredSuspension& suspension) {
        if (alive()) oracle().suspension_asked(suspension);
    }
    void asked(const store::StoredOverride& one) { oracle().override_asked(one.scope, one.level); }
    void asked(const auto&) {}
    void recorded(const store::StoredPolicy& policy) { oracle().policy_recorded(policy); }
    void recorded(const store::StoredSuspension& suspension) { oracle().suspension_recorded(suspension); }
    void recorded(const store::StoredOverride& one) { oracle().override_recorded(one.scope, one.level); }
    void recorded(const auto&) {}
    static std::string told(const store::AttemptDetail& detail) {
        std::string out;
        for (const auto& outcome : detail.outcomes)
            out +=
                fmt::format(", {} {} at {}", outcome.mx_host, outcome.tls.empty() ? "in clear" : outcome.tls,
                            outcome.at.time_since_epoch().count() / 1000);
        return out;
    }
    Oracle& oracle() { return process_.around_.oracle; }
    Trace& trace() { return process_.around_.trace; }
    bool alive() const {
        return !process_.network_.silent() && !process_.disk_->stopped() && process_.died_.empty();
    }
    Process& process_;
};

Process::Process(const Surroundings& around, const Settings& settings, std::shared_ptr<fake::SimDisk> disk)
    : around_(around),
      settings_(settings),
      disk_(std::move(disk)),
      seen_disk_(around_.plant.disk(disk_)),
      network_(around.world, around.oracle, around.trace, around.time, around.chance, settings.octets),
      tasks_(around.time.context(), around.log),
      sim_resolver_(network_),
      sim_https_(network_, tasks_),
      quiet_resolver_(network_, false),
      quiet_https_(network_, tasks_, false) {
    if (!seen_disk_) seen_disk_ = disk_;
    dns::Gate::Options gate;
    gate.own_addresses.push_back(own_address());
    gate_ = around_.plant.gate(dns::Gate(std::move(gate)));
    settings_.delivery.policy.hosts.gate = settings_.reports.gate = gate_;
}

Process::~Process() = default;

store::Result<void> Process::open() {
    const Clock& clock = around_.time.clock();
    clock_.emplace(around_.machine_clock);
    vfs_ = std::make_unique<fake::DiskVfs>(vfs_name, *seen_disk_, around_.machine_clock, around_.random);
    auto options = settings_.store;
    options.fatal = [this](const std::string& why) {
        if (!died_.empty()) return;
        died_ = why;
        disk_->stop_before(disk_->operations());  // in production nothing follows
    };
    const store::engine::StorePlace place{seen_disk_, {store::engine::index_name, vfs_name}};
    engine_ = std::make_unique<store::engine::EngineCore>(
        place, options, store::engine::EngineTaskQueues{writer_, follower_, reader_, pool_}, around_.log,
        *clock_);
    planted_control_ = around_.plant.control(control_);
    TaskQueue& control = planted_control_ ? *planted_control_ : control_;
    store::Events events;
    events.accepted = [this, &control](std::vector<store::StoredMessage> messages) {
        control.post(
            [this, arrived = std::move(messages)]() mutable { queue_->accepted(std::move(arrived)); });
    };
    if (auto done = engine_->recover(around_.random, std::move(events)); !done) {
        engine_.reset();
        return done;
    }
    for (const auto& warning : engine_->opened().warnings) around_.trace.step("recovery: {}", warning);
    planted_store_ = around_.plant.store(*engine_);
    spy_ = std::make_unique<Spy>(*this, planted_store_ ? *planted_store_ : *engine_);
    ids_ = std::make_unique<store::IdSource>(*clock_, 63, engine_->opened().newest);

    asio::io_context& context = around_.time.context();
    planted_timer_ = around_.plant.timer(around_.time, clock);
    Timer& timer = planted_timer_ ? *planted_timer_ : around_.time;
    planted_resolver_ = around_.plant.resolver(sim_resolver_);
    dns::Resolver& resolver = planted_resolver_ ? *planted_resolver_ : sim_resolver_;
    planted_https_ = around_.plant.https(sim_https_);
    util::Https& https = planted_https_ ? *planted_https_ : sim_https_;
    sim_dialer_ = std::make_unique<SimDialer>(network_, *spy_, gate_);
    planted_dialer_ = around_.plant.dialer(*sim_dialer_);
    delivery::Dialer& dialer = planted_dialer_ ? *planted_dialer_ : *sim_dialer_;
    policy_clock_ = around_.plant.policy_clock(clock);

    sts::LookupOptions lookups;
    lookups.fetch.gate = gate_;
    lookups_ = std::make_unique<sts::Lookups>(
        Runtime{context, policy_clock_ ? *policy_clock_ : clock, timer, around_.random, around_.log},
        std::move(lookups), resolver, https, *spy_);
    refresher_ = std::make_unique<sts::Refresher>(context, *lookups_, clock, timer, around_.log);
    alarms_ = std::make_unique<store::Alarms>(*spy_, clock, around_.log);
    const Runtime runtime{context, clock, timer, around_.random, around_.log};
    delivery::Hooks of_sessions;
    of_sessions.on_session = [this](const store::TlsOutcome& outcome, bool without_dane) {
        if (const auto alarm = tls_loss_.observe(outcome, without_dane))
            alarms_->raise(alarm->kind, alarm->subject, alarm->text);
    };
    of_sessions.on_room = [this](const std::string& hop) { return queue_->resume(hop); };
    delivery_ = std::make_unique<delivery::Delivery>(
        runtime, settings_.delivery, delivery::Sources{resolver, *lookups_, overrides_, dialer},
        std::move(of_sessions));
    delivery::BounceOptions bounces;
    bounces.hostname = own_name;
    bounces.most_per_day = settings_.notices_per_day;
    bounces = around_.plant.bounces(std::move(bounces));
    bouncer_ = std::make_unique<delivery::Bouncer>(std::move(bounces), *spy_, *clock_, around_.random,
                                                   around_.log, *ids_);
    queue::Hooks hooks;
    hooks.deliver = [this](queue::Lane& lane) { return carry(lane); };
    hooks.notices = [this](queue::MessagePtr message, std::vector<store::DeliveryResult> results) {
        return bouncer_->notices(std::move(message), std::move(results));
    };
    hooks.delay_warning = [this](queue::Delayed delayed) {
        return bouncer_->delay_warning(std::move(delayed));
    };
    queue_ = std::make_unique<queue::Manager>(runtime, settings_.queue, std::move(hooks), *spy_, *clock_);
    report_sender_ =
        std::make_unique<tlsrpt::Sender>(runtime, settings_.reports, resolver, https, *spy_, *ids_);
    tlsrpt::Surroundings around_reports;
    around_reports.clock_trusted = [this] { return queue_->clock_trusted(); };
    around_reports.missing = [] { return std::vector<std::string>(); };
    reports_ =
        std::make_unique<tlsrpt::Daily>(runtime, *report_sender_, *spy_, *alarms_, std::move(around_reports));
    sts::FetchOptions fetch;
    fetch.gate = gate_;
    admin::LiveDaemon::Sources known{*queue_, overrides_, settings_.queue.schedule,
                                     [](const store::StoredMessage&) { return std::string(); },
                                     [this] { return report_sender_->options().reporter(); }};
    admin::PolicySources sources{*delivery_,
                                 overrides_,
                                 quiet_resolver_,
                                 *lookups_,
                                 quiet_https_,
                                 *spy_,
                                 *queue_,
                                 *clock_,
                                 around_.log,
                                 std::move(fetch),
                                 [](const std::string& text) { return mail::ForwardPath::parse(text); }};
    auto alive = [this] { return ready_ && !over_ && !network_.silent(); };
    questions_ = std::make_unique<Questions>(
        Questions::Surroundings{around_.world, around_.oracle, around_.plant, around_.chance,
                                around_.time.clock(), std::move(alive)},
        std::move(known), sources);
    return {};
}

asio::awaitable<void> Process::carry(queue::Lane& lane) {
    const Oracle::Lane seen(around_.oracle, lane.hop());
    co_await delivery_->deliver(lane);
}

// In the daemon's own order (cmd/daemon.cpp).
asio::awaitable<void> Process::serve() {
    auto discoveries_question = [](store::Questions& questions) {
        return questions.all<store::StoredDiscovery>();
    };
    auto discoveries = co_await store::ask(*spy_, std::move(discoveries_question));
    if (!discoveries) co_return;
    lookups_->restore(std::move(*discoveries));
    const auto policies = co_await lookups_->recall_all(SteadyTime::max());
    if (!policies) co_return;
    auto loaded = co_await queue_->load();
    if (!loaded) co_return;
    queue_->start();
    auto overrides_question = [](store::Questions& questions) {
        return questions.all<store::StoredOverride>();
    };
    auto overrides = co_await store::ask(*spy_, std::move(overrides_question));
    if (!overrides) co_return;
    std::map<std::string, std::string> levels;
    for (auto& one : *overrides) {
        levels[one.scope] = one.level;
        overrides_.set(std::move(one));
    }
    around_.oracle.overrides_found(levels);
    auto hosts_question = [](store::Questions& questions) { return questions.hosts_seen(); };
    const auto hosts = co_await store::ask(*spy_, std::move(hosts_question));
    if (hosts) tls_loss_.restore(*hosts);
    refresher_->start();
    reports_->start();
    ready_ = true;
    around_.trace.step("ready with {} messages", *loaded);
}

bool Process::run_one(std::uint64_t which) {
    const SteadyTime now = around_.time.clock().steady();
    switch (which) {
        case 0:
            around_.time.context().restart();
            return around_.time.context().poll_one() > 0;
        case 1:
            if (writer_.empty() || now < stalled_) return false;
            writer_.run_one();
            wrote_ = true;
            return true;
        case 2:
            if (reader_.empty()) return false;
            reader_.run_one();
            return true;
        case 3:
            if (follower_.empty()) return false;
            follower_.run_one();
            return true;
        case 4:
            if (pool_.empty()) return false;
            pool_.run(around_.chance.below(pool_.size()));
            return true;
        default:
            if (control_.empty()) return false;
            control_.run_one();
            return true;
    }
}

void Process::settle() {
    for (std::uint64_t turns = 0;; ++turns) {
        if (turns > most_turns_at_once)
            return around_.trace.violated("no-busy-loop",
                                          "there is no end to what is to be done at one moment");
        const std::uint64_t first = around_.chance.below(sources);
        bool ran = false;
        for (std::uint64_t n = 0; n < sources && !ran; ++n) ran = run_one((first + n) % sources);
        const SteadyTime now = around_.time.clock().steady();
        const bool due = engine_ && now >= stalled_ && (wrote_ || engine_->wake() <= now);
        // The writer is pumped when it has emptied its task queue; somewhen, as threads go.
        if (due && writer_.empty() && (!ran || around_.chance.percent(50))) {
            const std::uint64_t before = disk_->operations();
            engine_->pump(now);
            wrote_ = false;
            around_.trace.fold(disk_->operations());
            ran = ran || disk_->operations() != before;
        }
        if (!ran) return;
    }
}

std::optional<SteadyTime> Process::store_wake() const {
    if (!engine_ || (engine_->idle() && writer_.empty() && follower_.empty())) return std::nullopt;
    return std::max(engine_->wake(), stalled_);
}

asio::awaitable<void> Process::stop(std::chrono::seconds patience) {
    ready_ = false;
    if (queue_) co_await queue_->stop(patience);
    if (delivery_) co_await delivery_->stop();
    network_.fall_silent();
    if (refresher_) co_await refresher_->stop();
    if (reports_) co_await reports_->stop();
    tasks_.cancel();
    co_await tasks_.join();
    over_ = true;
}

void Process::go_dead() {
    disk_->stop_before(disk_->operations());
    network_.fall_silent();
    if (engine_) engine_->close_door();
    stalled_ = SteadyTime::min();
}

void Process::close() {
    if (!engine_) return;
    engine_->close_door();
    while (!writer_.empty() || !follower_.empty() || !pool_.empty() || !reader_.empty()) {
        pool_.run_all();
        writer_.run_all();
        follower_.run_all();
        reader_.run_all();
    }
    engine_->finish_writing();
    engine_->close();
}

}  // namespace sternpost::simulation
