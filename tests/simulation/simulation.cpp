#include "simulation.h"

#include <sqlite3.h>

#include <algorithm>
#include <map>
#include <set>

#include "admin/reports.h"
#include "control/json.h"
#include "machine.h"
#include "maildrop.h"
#include "smtp/client_limits.h"
#include "tlsrpt/report.h"
#include "util/call.h"

namespace sternpost::simulation {
namespace {

using std::chrono::hours;
using std::chrono::minutes;
using std::chrono::seconds;

constexpr std::uint64_t most_turns = 1'000'000;  // of the main loop: a world that needs more has gone astray

queue::Options queue_of(Chance& chance) {
    queue::Options out;
    out.statuses = delivery::queue_statuses();
    out.schedule.lifetime = chance.pick(std::vector<seconds>{hours(8), hours(24), hours(48)});
    out.schedule.notice_lifetime = chance.pick(std::vector<seconds>{hours(8), hours(24)});
    out.schedule.delay_warning = chance.pick(std::vector<seconds>{seconds(0), hours(1), hours(4)});
    out.connections_per_hop = static_cast<unsigned>(chance.between(1, 5));
    out.max_deliveries = static_cast<unsigned>(chance.between(2, 20));
    out.recipients_per_transaction = chance.between(1, 30);
    if (chance.percent(70)) {  // a queue that has not room for all
        out.window.messages = chance.between(10, 40);
        out.window.per_hop = chance.between(3, out.window.messages);
        out.window.per_sender = chance.between(1, 3);
        out.window.hops = chance.between(2, 20);
    }
    out.window.horizon = chance.pick(std::vector<seconds>{seconds(1), seconds(60)});
    return out;
}

delivery::Options delivery_of(Chance& chance) {
    delivery::Options out;
    out.idle_time = chance.pick(std::vector<std::chrono::milliseconds>{seconds(0), seconds(5), seconds(300)});
    out.messages_per_connection = static_cast<unsigned>(chance.between(1, 20));
    out.connections_per_site = static_cast<unsigned>(chance.between(1, 5));
    out.policy.fall_back_to_clear = chance.percent(80);
    return out;
}

store::engine::Options store_of(Chance& chance) {
    store::engine::Options out;
    out.spool.journal.segment_octets = chance.between(16, 128) * 1024;
    out.spool.follower.checkpoint_pages = static_cast<int>(chance.between(10, 120));
    out.spool.follower.thin_from = chance.between(1, 8);
    out.spool.follower.history_days = std::chrono::days(400);
    out.spool.follower.outcome_days = std::chrono::days(400);
    out.min_free = 64UL * 1024;
    return out;
}

tlsrpt::Options reports_of() {
    tlsrpt::Options out;
    out.organization = "The simulation";
    out.contact = mail::Mailbox::parse("tlsrpt@senders.example").value();
    out.node = "relay.example";
    return out;
}

Settings settings_of(Chance& draw, bool hostile) {
    Settings out{queue_of(draw), delivery_of(draw), store_of(draw), reports_of(), draw.percent(40)};
    if (!hostile) return out;
    out.queue.max_deliveries = static_cast<unsigned>(draw.between(10, 20));
    out.delivery.connections_per_address = static_cast<unsigned>(draw.between(3, 6));
    out.notices_per_day = draw.between(3, 6);
    return out;
}

class Simulation {
  public:
    Simulation(std::uint64_t seed, const PlantEntry* plant, bool shown);
    Outcome run();

  private:
    using Work = std::function<void()>;

    void plan(std::chrono::microseconds from_now, Work work) {
        events_.emplace(time_.clock().steady() + from_now, std::move(work));
    }
    /// `work` again and again, at intervals up to twice `mean`, as long as the world is not healed.
    void again(std::chrono::microseconds mean, Work work);
    void turn();
    void drive_to_end(const std::function<bool()>& over);

    // ---- the machine
    void start();
    void end_process(bool power, const char* why);
    void restart_politely();
    void break_something();
    void set_clock(std::chrono::microseconds ahead);
    // The power goes, or the process is killed, between two operations of the disk, some time soon.
    void end_soon(std::uint64_t operations, bool power) {
        disk_->stop_before(disk_->operations() + operations);
        kill_ = !power;
        trace_.step(power ? "the power will go" : "a kill will come");
    }
    bool up() const { return process_ && process_->ready() && !disk_->stopped(); }

    // ---- people
    void send_some();
    void do_harm();
    void knock();
    asio::awaitable<void> linger(dns::Address stranger, Process& process);
    void look_into_maildrop() {
        if (up()) process_->tasks().spawn("maildrop", maildrop_.take_all(*process_, machine_clock_));
    }
    Letter letter(const std::string& sender, bool bulk);
    asio::awaitable<void> submit(Letter letter, Process& process, std::string client);
    void command();
    std::string some_sender();
    Plant& plant() { return planted_ ? *planted_ : none_; }
    void check_texts(const Oracle::Kept& kept);
    asio::awaitable<void> suspend(Process& process, store::StoredSuspension what);
    asio::awaitable<void> act(Process& process, queue::AdminAction action, store::QueueFilter meant,
                              std::string to);

    void ask_what_is_said();
    void heal();
    void let_all_go();
    void watch_drain();
    void question();

    std::uint64_t seed_;
    Chance draw_;     // what the world is
    Chance happens_;  // what happens in it
    Chance order_;    // whose turn it is, and what takes how long
    Chance own_;      // the daemon's own chances
    bool hostile_;    // there are some that mean harm
    fake::StepWorld time_;
    MachineClock machine_clock_{time_.clock()};
    Trace trace_;
    TraceLog log_;
    World world_;
    Settings settings_;
    Oracle oracle_;
    Plant none_;
    std::unique_ptr<Plant> planted_;
    std::shared_ptr<fake::SimDisk> disk_ = std::make_shared<fake::SimDisk>();
    Maildrop maildrop_;
    std::unique_ptr<Process> process_;
    std::optional<smtp::ClientLimits> door_;  // of the process's listener
    std::unique_ptr<store::IdSource> ids_;
    std::multimap<SteadyTime, Work> events_;
    std::set<std::pair<store::SuspensionKind, std::string>> suspended_;  // that were, at some time
    std::uint64_t letters_ = 0;
    unsigned crashes_ = 0;
    bool kill_ = false;  // not the power is what goes when the disk stops
    bool healed_ = false;
    bool drained_ = false;
    bool weeks_ = false;  // so long the world lasts, and not days
};

Simulation::Simulation(std::uint64_t seed, const PlantEntry* plant, bool shown)
    : seed_(seed),
      draw_(seed, "world"),
      happens_(seed, "events"),
      order_(seed, "order"),
      own_(seed, "daemon"),
      hostile_(draw_.percent(12)),
      trace_(time_.clock(), shown),
      log_(trace_),
      world_(draw_, time_.clock().wall(), hostile_),
      settings_(settings_of(draw_, hostile_)),
      oracle_(trace_, time_.clock(), settings_.queue),
      maildrop_(oracle_, trace_, *disk_) {
    if (hostile_) oracle_.expect_harm(settings_.notices_per_day);
    if (plant != nullptr) planted_ = plant->make(seed);
    // SQLite has a generator of its own; it must not know another world's state.
    sqlite3_test_control(SQLITE_TESTCTRL_PRNG_SEED, static_cast<int>(seed % 1'000'000 + 1), nullptr);
}

// ---- time

void Simulation::again(std::chrono::microseconds mean, Work work) {
    const auto span = happens_.time(std::chrono::microseconds(1), mean * 2);
    plan(span, [this, mean, work = std::move(work)] {
        if (healed_) return;
        work();
        again(mean, work);
    });
}

// Runs what can run now, then lets time pass until there is more.
void Simulation::turn() {
    if (process_) {
        process_->settle();
        if (!process_->died().empty()) return end_process(happens_.percent(50), "a sync failed");
        if (disk_->stopped()) return end_process(!kill_, kill_ ? "killed" : "the power goes");
        if (process_->ready()) oracle_.look_at_memory(process_->queue().core());
    }
    const SteadyTime now = time_.clock().steady();
    if (!events_.empty() && events_.begin()->first <= now) {
        const auto event = events_.begin();
        const Work work = std::move(event->second);
        events_.erase(event);
        return work();
    }
    std::optional<SteadyTime> next = time_.next_wait();
    const auto sooner = [&](std::optional<SteadyTime> when) {
        if (when && (!next || *when < *next)) next = when;
    };
    if (!events_.empty()) sooner(events_.begin()->first);
    if (process_) sooner(process_->store_wake());
    time_.step_to(next ? *next : now + minutes(10));
}

void Simulation::drive_to_end(const std::function<bool()>& over) {
    for (std::uint64_t n = 0; !over() && !trace_.violation(); ++n) {
        turn();
        if (n > most_turns) trace_.violated("ends", "the world does not come to an end");
    }
}

// ---- the machine

void Simulation::start() {
    plant().before_start(*disk_, time_.clock(), order_);
    disk_->fail_syncs(false);
    disk_->fail_writes(false);
    set_clock(seconds(0));  // as machines do when they come up
    // Recovery is interrupted too.
    if (!healed_ && happens_.percent(10)) end_soon(happens_.below(40), happens_.percent(50));
    oracle_.started();
    door_.emplace(smtp::ClientLimits::Limits{
        .connections = 100, .for_this_machine = 10, .per_client = 30, .strangers = 20, .per_stranger = 5});
    process_ = std::make_unique<Process>(
        Surroundings{world_, oracle_, trace_, time_, machine_clock_, order_, own_, log_, plant()}, settings_,
        disk_);
    const auto opened = process_->open();
    trace_.step("start: {}", opened ? "ok" : opened.error().text);
    if (!opened) {
        const bool excused =
            disk_->stopped() || !process_->died().empty() || opened.error().code == store::Errc::full;
        if (!excused) return trace_.violated("recovers", opened.error().text);
        return end_process(!kill_, "recovery is cut short");
    }
    ids_ = std::make_unique<store::IdSource>(process_->clock(), 1, process_->ids().next());
    process_->tasks().spawn("serve", process_->serve());
}

// The process is gone at once. What is left of it lives on for a moment without any way to the world or the
// disk, so that its coroutines come to their ends.
void Simulation::end_process(bool power, const char* why) {
    trace_.step("end: {}{}", why, power ? ", what was not synced may be lost" : "");
    ++crashes_;
    oracle_.ended();
    process_->go_dead();
    asio::co_spawn(time_.context(), process_->stop(seconds(0)), [](const std::exception_ptr& error) {
        if (error) std::rethrow_exception(error);
    });
    for (std::uint64_t n = 0; !process_->over(); ++n) {
        process_->settle();
        if (process_->over()) break;
        std::optional<SteadyTime> next = time_.next_wait();
        if (const auto wake = process_->store_wake(); wake && (!next || *wake < *next)) next = wake;
        if (next) time_.step_to(*next);
        if (n > most_turns) throw std::logic_error("a dead process does not end");
    }
    process_->settle();
    process_.reset();
    time_.settle();
    kill_ = false;
    if (power)
        disk_->crash(order_);
    else
        disk_->restart();
    plan(happens_.time(seconds(1), healed_ ? seconds(2) : seconds(600)), [this] { start(); });
}

void Simulation::restart_politely() {
    if (!up()) return;
    trace_.step("polite restart");
    asio::co_spawn(time_.context(), process_->stop(seconds(90)), [](const std::exception_ptr& error) {
        if (error) std::rethrow_exception(error);
    });
    while (!process_->over() && !trace_.violation()) {
        process_->settle();
        if (process_->over() || disk_->stopped() || !process_->died().empty()) break;
        std::optional<SteadyTime> next = time_.next_wait();
        if (const auto wake = process_->store_wake(); wake && (!next || *wake < *next)) next = wake;
        if (next) time_.step_to(*next);
    }
    if (!process_->over()) return;  // it died on the way: seen by the next turn
    oracle_.ended();
    process_->close();
    process_.reset();
    time_.settle();
    kill_ = false;
    disk_->restart();
    start();
}

void Simulation::set_clock(std::chrono::microseconds ahead) {
    if (ahead.count() != 0 || !machine_clock_.right())
        trace_.step("the clock is {} s ahead", ahead / seconds(1));
    machine_clock_.set_ahead(ahead);
    oracle_.clock_set(machine_clock_.right());
}

void Simulation::break_something() {
    if (!process_) return;
    switch (happens_.below(11)) {
        case 0:
        case 1:
        case 2:
        case 9:
        case 10:
            end_soon(happens_.below(happens_.percent(50) ? 20 : 200), happens_.percent(50));
            return;
        case 3:
            if (process_->ready()) end_process(false, "killed");
            return;
        case 4:
            disk_->fail_syncs(true);
            trace_.step("syncs fail");
            return;
        case 5:
            restart_politely();
            return;
        case 6: {
            oracle_.disk_trouble(true);
            disk_->fail_writes(happens_.percent(30));
            disk_->set_room(happens_.below(200) * 1024);
            trace_.step("the disk is nearly full, or takes nothing");
            plan(happens_.time(seconds(10), minutes(10)), [this] {
                disk_->fail_writes(false);
                disk_->set_room(UINT64_MAX);
                trace_.step("the disk has room");
            });
            return;
        }
        case 7: {
            const auto by = happens_.time(seconds(1), happens_.percent(30) ? minutes(12) : hours(24 * 20));
            set_clock(happens_.percent(50) ? by : -by);
            plan(happens_.time(minutes(1), hours(12)), [this] { set_clock(seconds(0)); });
            return;
        }
        default:
            process_->stall(time_.clock().steady() +
                            happens_.time(std::chrono::milliseconds(1), seconds(20)));
            return;
    }
}

// ---- people

Letter Simulation::letter(const std::string& sender, bool bulk) {
    Letter out;
    out.name = "L" + std::to_string(++letters_);
    out.bulk = bulk;
    if (!happens_.percent(3)) out.reverse_path = sender + "@" + world_.sender_domain();
    const std::uint64_t recipients = bulk                   ? 1
                                     : happens_.percent(80) ? happens_.between(1, 3)
                                                            : happens_.between(4, 40);
    for (std::uint64_t n = 0; n < recipients; ++n) {
        const char* kind = happens_.percent(8) ? "unknown" : "u";
        out.recipients.push_back(kind + out.name + "." + std::to_string(n) + "@" +
                                 happens_.pick(world_.mail_domains()));
    }
    out.notify_never = happens_.percent(5);
    out.requiretls = !bulk && happens_.percent(6);
    out.tls_required_no = !out.requiretls && happens_.percent(6);
    out.octets =
        "X-Letter: " + out.name + "\r\nFrom: <" + out.reverse_path + ">\r\nSubject: test\r\n\r\n.\r\n..\r\n";
    const std::uint64_t lines = happens_.percent(94)   ? happens_.below(20)
                                : happens_.percent(70) ? happens_.between(600, 1000)
                                                       : happens_.between(1000, 1600);
    for (std::uint64_t n = 0; n < lines; ++n)
        out.octets +=
            ".line " + std::to_string(n) + " of a letter that is long enough to be cut somewhere inside\r\n";
    return out;
}

void Simulation::send_some() {
    if (happens_.percent(15) || (!up() && happens_.percent(50))) {  // sendmail asks for no daemon
        Letter local = letter("user", false);
        local.local = true;
        local.tls_required_no = false;
        if (local.reverse_path.empty()) return;
        if (maildrop_.leave(local, own_) && up()) look_into_maildrop();
        return;
    }
    if (!up()) return;
    const bool bulk = happens_.percent(4);
    const std::string sender = bulk ? "bulk" : "s" + std::to_string(happens_.below(5));
    const std::string client = bulk ? "192.0.2.99" : "192.0.2." + std::to_string(happens_.between(1, 9));
    const std::uint64_t count = bulk ? happens_.between(5, 25) : 1;
    for (std::uint64_t n = 0; n < count; ++n)
        process_->tasks().spawn("client", submit(letter(sender, bulk), *process_, client));
}

// One who may send mail and means harm: to many slow places at once, to what leads nowhere or inside, to
// addresses that fail, in someone else's name.
void Simulation::do_harm() {
    if (!up()) return;
    Letter harm = letter("victim", true);
    harm.reverse_path = "victim@" + world_.sender_domain();
    harm.hostile = true;
    harm.requiretls = false;
    harm.recipients.clear();
    const auto& places = world_.hostile_domains();
    switch (happens_.below(4)) {
        case 0:
        case 1:
            for (const auto& place : places) harm.recipients.push_back("u" + harm.name + "@" + place);
            break;
        case 2:
            for (std::uint64_t n = 0; n < 40; ++n)
                harm.recipients.push_back("unknown" + harm.name + "." + std::to_string(n) + "@" +
                                          happens_.pick(world_.mail_domains()));
            break;
        default:
            for (const char* literal : {"[127.0.0.1]", "[10.0.0.25]", "[11.255.0.1]", "[IPv6:::1]"})
                harm.recipients.push_back("u" + harm.name + "@" + literal);
            harm.recipients.push_back("u" + harm.name + "@" + std::string(World::many_names));
            break;
    }
    process_->tasks().spawn("harm", submit(std::move(harm), *process_, "192.0.2.66"));
}

// Strangers come in numbers, from one network or from everywhere, and stay for as long as they may.
void Simulation::knock() {
    if (!up()) return;
    const bool everywhere = happens_.percent(50);
    for (std::uint64_t n = 0, count = happens_.between(1, 60); n < count; ++n) {
        const auto part = [&] { return static_cast<std::uint8_t>(happens_.below(256)); };
        const dns::Address stranger =
            everywhere ? dns::Address::v4({203, part(), part(), part()})
                       : dns::Address::v6({0x20, 1, 0xd, 0xb8, 0, 1, 0, part(), 0, 0, 0, 0, 0, 0, 0, part()});
        if (door_->connect(stranger, smtp::ClientLimits::Group::stranger) == smtp::ClientLimits::Verdict::go)
            process_->tasks().spawn("stranger", linger(stranger, *process_));
    }
}

asio::awaitable<void> Simulation::linger(dns::Address stranger, Process& process) {
    co_await process.network().pause(happens_.time(seconds(1), minutes(10)));
    door_->disconnect(stranger, smtp::ClientLimits::Group::stranger);
}

// A session that hands a message over, as the listener does.
asio::awaitable<void> Simulation::submit(Letter letter, Process& process, std::string client) {
    using smtp::ClientLimits;
    const auto peer = dns::Address::parse(client).value();
    if (door_->connect(peer, ClientLimits::Group::permitted) != ClientLimits::Verdict::go) {
        trace_.violated("strangers-take-nothing", client + " may send, and there is no place for it");
        co_return;
    }
    const std::shared_ptr<void> place(
        nullptr, [this, peer](void*) { door_->disconnect(peer, ClientLimits::Group::permitted); });
    oracle_.submitted(letter);
    auto sink = process.store().new_body(1U << 20U);
    bool whole = true;
    for (std::size_t at = 0; at < letter.octets.size() && whole; at += 32768) {
        whole = sink->write(std::string_view(letter.octets).substr(at, 32768)).has_value();
        if (happens_.percent(30))
            co_await process.network().pause(
                order_.time(std::chrono::milliseconds(0), std::chrono::milliseconds(50)));
    }
    auto body = whole ? sink->finish() : store::Result<store::Body>(fail(store::Errc::full, "no room"));
    if (!body) {
        trace_.step("{} is refused: {}", letter.name, body.error().text);
        co_return;
    }
    store::NewMessage message;
    message.id = ids_->next();
    message.arrived = machine_clock_.wall();
    if (!letter.reverse_path.empty())
        message.envelope.reverse_path = mail::ReversePath::parse(letter.reverse_path).value();
    message.envelope.requiretls = letter.requiretls;
    message.envelope.tls_required_no = letter.tls_required_no;
    for (const auto& address : letter.recipients) {
        auto path = mail::ForwardPath::parse(address).value();
        std::string hop = path.mailbox().host();
        mail::Recipient recipient(std::move(path));
        recipient.notify.never = letter.notify_never;
        message.recipients.emplace_back(std::move(recipient), std::move(hop));
    }
    message.origin = {client, "client.example", "ESMTP", std::nullopt};
    message.body = std::move(*body);
    oracle_.given(message, letter.name);
    const std::string id = message.id.text();
    auto start = [&process,
                  given = std::move(message)](Completion<store::Result<store::MessageId>> reply) mutable {
        process.store().accept(std::move(given), std::move(reply));
    };
    const auto done = co_await call<store::Result<store::MessageId>>(std::move(start));
    if (process.network().silent() || disk_->stopped() || !process.died().empty())
        co_return;  // no one hears it
    trace_.step("{} is {} {}", letter.name, done ? "accepted as" : "refused:", done ? id : done.error().text);
    if (done) oracle_.acknowledged(letter.name);
}

// As an administrator writes it.
std::string Simulation::some_sender() {
    switch (happens_.below(5)) {
        case 0:
            return "user:user";
        case 1:
            return "uid=1000";
        case 2:
            return "192.0.2." + std::to_string(happens_.between(1, 9));
        default:
            return "s" + std::to_string(happens_.below(5)) + "@" + world_.sender_domain();
    }
}

void Simulation::command() {
    if (!up()) return;
    store::QueueFilter meant;
    if (happens_.percent(40)) meant.domain = happens_.pick(world_.mail_domains());
    if (happens_.percent(40)) meant.sender = "@" + world_.sender_domain();
    if (const auto waiting = oracle_.waiting(); happens_.percent(40) && !waiting.empty())
        meant.ids = {happens_.pick(waiting)};
    using queue::AdminAction;
    static const std::vector<AdminAction> actions{
        AdminAction::retry,   AdminAction::retry,  AdminAction::hold,   AdminAction::release,
        AdminAction::release, AdminAction::expire, AdminAction::remove, AdminAction::reroute};
    if (happens_.percent(20)) {
        store::StoredSuspension what;
        what.kind = happens_.percent(60) ? store::SuspensionKind::next_hop : store::SuspensionKind::sender;
        what.scope = what.kind == store::SuspensionKind::next_hop ? happens_.pick(world_.mail_domains())
                                                                  : plant().sender_scope(some_sender());
        what.reason = "the seed wants it";
        what.author = "root";
        what.set = time_.clock().wall();
        what.ended = happens_.percent(50);
        suspended_.insert({what.kind, what.scope});
        process_->tasks().spawn("suspend", suspend(*process_, std::move(what)));
        return;
    }
    if (happens_.percent(70)) {
        const AdminAction asked = happens_.pick(actions);
        if (asked == AdminAction::release) oracle_.let_go();
        const AdminAction action = plant().action(asked);
        const bool ends = action != AdminAction::retry && action != AdminAction::release;
        if (ends && meant.ids.empty()) return;
        if (action == AdminAction::retry) process_->delivery().forget_dead_hosts();
        std::string to =
            action == AdminAction::reroute ? happens_.pick(world_.mail_domains()) : std::string();
        process_->tasks().spawn("command", act(*process_, action, std::move(meant), std::move(to)));
        return;
    }
    store::StoredOverride change;
    change.scope = happens_.pick(world_.mail_domains());
    change.level = happens_.pick(std::vector<std::string>{"", "may", "encrypt", "verify"});
    change.reason = "the seed wants it";
    change.set = time_.clock().wall();
    trace_.step("override {} for {}", change.level.empty() ? "removed" : change.level, change.scope);
    process_->overrides().set(change);
    process_->store().keep(change, [](const store::Result<void>&) {});
}

asio::awaitable<void> Simulation::act(Process& process, queue::AdminAction action, store::QueueFilter meant,
                                      std::string to) {
    queue::AdminOrder order{action, std::move(meant), "root", std::move(to)};
    const auto done = co_await process.queue().act(std::move(order));
    if (done) trace_.step("command {}: {} messages", static_cast<int>(action), done->messages);
}

asio::awaitable<void> Simulation::suspend(Process& process, store::StoredSuspension what) {
    if (what.ended) oracle_.let_go();
    const std::string text = what.scope + (what.ended ? " is resumed" : " is suspended");
    const auto done = co_await process.queue().suspend(std::move(what));
    trace_.step("{}: {}", text, done ? "done" : done.error().text);
}

// Before an attempt, and often under an attack that begins a moment later.
void Simulation::ask_what_is_said() {
    if (!up()) return;
    // A long world is asked about as often in all as another.
    if (weeks_ && happens_.percent(85)) return;
    const std::string domain = happens_.pick(world_.mail_domains());
    process_->tasks().spawn("question", process_->question(domain));
    if (!happens_.percent(50)) return;
    plan(seconds(30), [this, domain] {
        Attack& attack = world_.attack(domain);
        if (attack.any() || healed_) return;
        attack.strips_starttls = happens_.percent(50);
        attack.forges_mx = happens_.percent(50);
        attack.forges_address = !attack.forges_mx && happens_.percent(50);
        trace_.step("an attack on {} tries what was said", domain);
        plan(minutes(50), [this, domain] { world_.attack(domain) = {}; });
    });
}

// ---- the end

void Simulation::heal() {
    healed_ = true;
    trace_.step("everything heals");
    world_.heal(time_.clock().wall());
    disk_->set_room(UINT64_MAX);
    disk_->fail_syncs(false);
    disk_->fail_writes(false);
    set_clock(seconds(0));
    if (!process_ && events_.empty()) start();
    plan(minutes(30), [this] { let_all_go(); });
}

// Held mail, and what is suspended.
void Simulation::let_all_go() {
    if (!up()) return plan(minutes(5), [this] { let_all_go(); });
    look_into_maildrop();
    for (const auto& [kind, scope] : suspended_) {
        store::StoredSuspension end;
        end.kind = kind;
        end.scope = scope;
        end.author = "root";
        end.ended = true;
        process_->tasks().spawn("resume", suspend(*process_, std::move(end)));
    }
    oracle_.let_go();
    process_->tasks().spawn("release", act(*process_, queue::AdminAction::release, {}, {}));
}

// Asks the store now and then whether anything is left.
void Simulation::watch_drain() {
    plan(minutes(20), [this] {
        watch_drain();
        if (!up() || !maildrop_.empty()) return;
        auto look = [this](store::Result<store::Questions*> questions) {
            const auto totals = questions ? (*questions)->totals() : fail(std::move(questions).error());
            drained_ = totals && totals->messages == 0;
        };
        process_->store().ask(store::Question(std::move(look)), false);
    });
}

void Simulation::question() {
    Oracle::Kept kept;
    bool answered = false;
    const auto take = [this](auto answer, auto& into) {
        if (answer)
            into = std::move(*answer);
        else
            trace_.violated("answers", answer.error().text);
    };
    auto look = [&](store::Result<store::Questions*> questions) {
        answered = true;
        if (!questions) return trace_.violated("answers", questions.error().text);
        store::QueueFilter all;
        all.limit = 100'000;
        take((*questions)->find(all), kept.queue);
        take((*questions)->hosts_seen(), kept.hosts);
        take((*questions)->outcomes({}), kept.outcomes);
        take((*questions)->reports({}), kept.reports);
        take((*questions)->reporting({}), kept.reporting);
        store::HistoryFilter everything;
        everything.limit = everything.entry_limit = 1'000'000;
        take((*questions)->history(everything), kept.history);
    };
    process_->store().ask(store::Question(std::move(look)), false);
    drive_to_end([&] { return answered; });
    if (!trace_.violation()) oracle_.finish(kept);
    if (!trace_.violation()) check_texts(kept);
}

// What the administrator and the domains are told of a day's TLS.
void Simulation::check_texts(const Oracle::Kept& kept) {
    std::map<std::chrono::sys_days, std::vector<store::StoredOutcome>> days;
    for (const auto& one : kept.outcomes) days[one.day].push_back(one);
    tlsrpt::Reporter by;
    by.submitter = world_.sender_domain();
    for (const auto& [day, outcomes] : days) {
        std::map<std::string, bool> failures;  // by domain
        for (const auto& one : outcomes) {
            bool& failed = failures[one.outcome.domain];
            failed = failed || !one.outcome.result_type.empty();
        }
        json::value digest = control::to_json(admin::digest(day, outcomes, kept.reports));
        plant().answers("tlsrpt.digest", digest);
        oracle_.claims().digest(digest.as_object(),
                                static_cast<std::size_t>(std::ranges::count_if(
                                    failures, [](const auto& one) { return one.second; })));
        for (const auto& [domain, failed] : failures) {
            std::string words = tlsrpt::in_words(tlsrpt::make_report(by, domain, day, outcomes));
            plant().words(words);
            oracle_.claims().report_words(domain, words, failed);
        }
    }
}

Outcome Simulation::run() {
    start();
    again(minutes(happens_.between(30, 150)), [this] { send_some(); });
    again(hours(happens_.between(1, 8)), [this] {
        const std::string what = world_.change(happens_, time_.clock().wall());
        trace_.step("world: {}", what);
        // What an attacker does changes nothing of what is published.
        if (what.find("attack on") == std::string::npos) oracle_.claims().published();
    });
    again(minutes(happens_.between(20, 90)), [this] { ask_what_is_said(); });
    again(hours(happens_.between(2, 16)), [this] { command(); });
    if (hostile_) again(minutes(90), [this] { do_harm(); });
    if (hostile_) again(minutes(30), [this] { knock(); });
    again(hours(happens_.between(4, 48)), [this] { break_something(); });
    again(minutes(20), [this] { look_into_maildrop(); });
    again(minutes(30), [this] {
        if (!up()) return;
        oracle_.look();
        if (process_->ready()) oracle_.look_at_hops(process_->queue().core());
    });
    weeks_ = happens_.percent(3);
    const SteadyTime end = time_.clock().steady() + (weeks_ ? happens_.time(hours(24 * 14), hours(24 * 21))
                                                            : happens_.time(hours(24), hours(24 * 5)));
    drive_to_end([&] { return time_.clock().steady() >= end; });
    heal();
    watch_drain();
    drive_to_end([&] { return drained_; });
    if (!trace_.violation()) question();
    Outcome out;
    out.seed = seed_;
    out.crashes = crashes_;
    out.counts = oracle_.counts();
    out.violation = trace_.violation();
    out.hash = trace_.hash();
    out.steps = trace_.steps();
    if (process_) {
        healed_ = true;
        end_process(false, "the end of the world");
    }
    return out;
}

}  // namespace

Outcome run(std::uint64_t seed, const PlantEntry* plant, bool shown) {
    Simulation simulation(seed, plant, shown);
    return simulation.run();
}

}  // namespace sternpost::simulation
