#include "queue/manager.h"

#include <boost/asio/post.hpp>

#include "util/call.h"

namespace sternpost::queue {

Lane::Lane(Manager& manager, std::string hop)
    : manager_(manager), hop_(std::move(hop)), began_(manager.now()), work_(manager.timer_.alarm()) {
    manager_.lane_list_.push_back(this);
}

Lane::~Lane() {
    manager_.lane_list_.remove(this);
    if (connected_) manager_.core_->lane_disconnected(hop_);
    manager_.store_hop(hop_);
    manager_.core_->lane_ended(hop_);
    manager_.kick();
}

bool Lane::stopping() const {
    return manager_.stopping_;
}

std::optional<Work> Lane::take() {
    if (manager_.stopping_) return std::nullopt;
    return manager_.core_->take(hop_, manager_.now());
}

asio::awaitable<std::optional<Work>> Lane::wait(SteadyTime when) {
    for (;;) {
        if (auto work = take()) co_return work;
        if (manager_.stopping_ || manager_.clock_.steady() >= when) co_return std::nullopt;
        idle_ = true;
        co_await work_->wait(when);
        idle_ = false;
    }
}

void Lane::finished(const Work& work, std::vector<Fate> fates) {
    auto results = manager_.core_->finished(work, std::move(fates), manager_.now());
    if (!results.empty())
        manager_.settling_.spawn("settle " + work.message->id.text(),
                                 manager_.settle(work.message, std::move(results)));
    manager_.kick();
}

void Lane::put_back(const Work& work) {
    manager_.core_->put_back(work);
}

void Lane::pause(std::chrono::milliseconds time) {
    manager_.core_->pause(hop_, time, manager_.now());
}

void Lane::connected() {
    if (connected_) return;
    connected_ = true;
    manager_.core_->lane_connected(hop_);
    manager_.store_hop(hop_);
    manager_.kick();
}

void Lane::failed(const HopFate& fate) {
    if (manager_.stopping_) return;
    if (std::exchange(connected_, false)) manager_.core_->lane_disconnected(hop_);
    auto results = manager_.core_->lane_failed(hop_, fate, began_, manager_.now());
    manager_.store_hop(hop_);
    manager_.settle_all(std::move(results));
}

Manager::Manager(asio::io_context& context, Options options, Hooks hooks, store::Store& store,
                 const Clock& clock, Timer& timer, Random& random, Log& log)
    : context_(context),
      options_(std::move(options)),
      hooks_(std::move(hooks)),
      store_(store),
      clock_(clock),
      timer_(timer),
      random_(random),
      log_(log),
      lanes_(context, log),
      settling_(context, log),
      time_(context, log),
      due_(timer.alarm()) {
    core_ = std::make_unique<Core>(options_, random_, ClockGuard(now(), WallTime{}));
}

asio::awaitable<store::Result<std::size_t>> Manager::load() {
    constexpr std::size_t page = 1000;
    std::vector<store::StoredMessage> all;
    store::MessageId after{};
    for (;;) {
        auto ask = [this, after](Reply<store::Result<std::vector<store::StoredMessage>>> reply) {
            store_.load(after, page, std::move(reply));
        };
        auto got = co_await call<store::Result<std::vector<store::StoredMessage>>>(std::move(ask));
        if (!got) co_return fail(std::move(got).error());
        const std::size_t count = got->size();
        if (count > 0) after = got->back().id;
        for (auto& message : *got) all.push_back(std::move(message));
        if (count < page) break;
    }
    WallTime newest{};  // the epoch: nothing is older
    for (const auto& message : all) newest = std::max(newest, message.arrived);
    const ClockGuard guard(now(), newest);
    core_ = std::make_unique<Core>(options_, random_, guard);
    if (!guard.trusts(now()))
        Event(log_, Level::error, "clock")
            .reason("the time is before that of mail in the queue (" + rfc3339(newest) +
                    "): nothing expires until the clock is right and the daemon is restarted");
    auto ask_hops = [this](Reply<store::Result<std::vector<store::HopState>>> reply) {
        store_.hops(std::move(reply));
    };
    auto hops = co_await call<store::Result<std::vector<store::HopState>>>(std::move(ask_hops));
    if (!hops) co_return fail(std::move(hops).error());
    for (const auto& hop : *hops) core_->restore(hop, now());
    const std::size_t count = all.size();
    for (auto& message : all) core_->add(std::move(message), now());
    co_return count;
}

void Manager::start() {
    running_ = true;
    time_.spawn("queue time", watch_time());
    kick();
}

void Manager::accepted(std::vector<store::StoredMessage> messages) {
    for (auto& message : messages) core_->add(std::move(message), now());
    kick();
}

// Wakes idle lanes and opens new ones, once for all that happened in this turn of the loop.
void Manager::kick() {
    if (!running_ || stopping_ || kicked_) return;
    kicked_ = true;
    asio::post(context_, [this] {
        kicked_ = false;
        if (stopping_) return;
        for (Lane* lane : lane_list_)
            if (lane->idle_) lane->work_->ring();
        for (auto& hop : core_->lanes_wanted(now())) lanes_.spawn("lane " + hop, run_lane(hop));
        if (const auto wake = core_->next_wake(); wake != wake_) {
            wake_ = wake;
            due_->ring();
        }
    });
}

// Kicks when something becomes due by itself.
asio::awaitable<void> Manager::watch_time() {
    while (!stopping_) {
        // Not in a tight loop when what is due has to wait for a free connection: that is kicked by the lane
        // that ends.
        const auto soonest = clock_.steady() + std::chrono::milliseconds(20);
        SteadyTime when =
            SteadyTime::max();  // g++ 12 evaluates both arms of a ?: inside a co_await expression
        if (wake_) when = std::max(*wake_, soonest);
        co_await due_->wait(when);
        if (wake_ && clock_.steady() >= *wake_) kick();
    }
}

asio::awaitable<void> Manager::run_lane(std::string hop) {
    Lane lane(*this, std::move(hop));
    co_await hooks_.deliver(lane);
}

void Manager::store_hop(const std::string& hop) {
    if (auto state = core_->changed_hop(hop, now())) {
        if (state->failures > 0)
            Event(log_, Level::info, "hop")
                .kv("name", state->next_hop)
                .kv("status", "deferred")
                .kv("failures", state->failures)
                .kv("next", rfc3339(state->next_at))
                .kv("dsn", state->status)
                .reason(state->text);
        store_.record_hop(std::move(*state));
    }
}

void Manager::settle_all(std::vector<store::DeliveryResult> results) {
    std::map<store::MessageId, std::vector<store::DeliveryResult>> by_message;
    for (auto& result : results) by_message[result.message].push_back(std::move(result));
    for (auto& [id, part] : by_message) {
        MessagePtr message = core_->message(id);
        if (!message) continue;
        for (const auto& result : part)
            Event(log_, Level::info, "attempt")
                .kv("qid", id.text())
                .raw("to", "<" + message->recipients[result.recipient].address.recipient.path.text() + ">")
                .kv("status", "bounced")
                .kv("dsn", result.status)
                .reason(result.text);
        settling_.spawn("settle " + id.text(), settle(std::move(message), std::move(part)));
    }
}

// Results and the notices they call for become durable together; until they are, the message is not
// forgotten.
asio::awaitable<void> Manager::settle(MessagePtr message, std::vector<store::DeliveryResult> results) {
    auto notices = co_await hooks_.notices(message, results);
    for (;;) {
        auto put = [this, results, notices](Reply<store::Result<void>> reply) {
            store_.record(results, notices, std::move(reply));
        };
        const auto done = co_await call<store::Result<void>>(std::move(put));
        if (done) {
            core_->recorded(results);
            co_return;
        }
        Event(log_, Level::error, "record")
            .kv("qid", message->id.text())
            .reason(done.error().text + "; tried again in a second");
        if (done.error().code == store::Errc::closed) co_return;
        co_await timer_.until(clock_.steady() + std::chrono::seconds(1));
    }
}

asio::awaitable<void> Manager::stop(std::chrono::seconds patience) {
    stopping_ = true;
    due_->ring();
    for (Lane* lane : lane_list_) lane->work_->ring();
    if (hooks_.abort_sessions) hooks_.abort_sessions();
    const auto end = clock_.steady() + patience;
    while (lanes_.size() > 0 && clock_.steady() < end) {
        co_await timer_.until(clock_.steady() + std::chrono::milliseconds(10));
    }
    if (lanes_.size() > 0)
        Event(log_, Level::warning, "stop")
            .kv("sessions", lanes_.size())
            .reason("sessions after the final dot did not end in time");
    lanes_.cancel();
    co_await lanes_.join();
    while (settling_.size() > 0 && clock_.steady() < end + std::chrono::seconds(5)) {
        co_await timer_.until(clock_.steady() + std::chrono::milliseconds(2));
    }
    settling_.cancel();
    co_await settling_.join();
    time_.cancel();
    co_await time_.join();
}

std::size_t Manager::retry(const store::QueueFilter& filter) {
    const std::size_t count = core_->retry(filter, now());
    kick();
    return count;
}

asio::awaitable<store::Result<std::size_t>> Manager::remove(std::vector<store::MessageId> ids,
                                                            std::string who) {
    const auto removed = core_->remove(ids);
    if (removed.empty()) co_return 0U;
    std::vector<store::Act> acts;
    for (const auto id : removed) {
        acts.push_back({store::ActKind::remove, id, clock_.wall(), who});
        Event(log_, Level::info, "delete").kv("qid", id.text()).kv("who", who);
    }
    auto put = [this, acts](Reply<store::Result<void>> reply) { store_.act(acts, std::move(reply)); };
    const auto done = co_await call<store::Result<void>>(std::move(put));
    if (!done) co_return fail(done.error());
    co_return removed.size();
}

}  // namespace sternpost::queue
