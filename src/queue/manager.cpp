#include "queue/manager.h"

#include <algorithm>
#include <boost/asio/post.hpp>
#include <iterator>
#include <utility>

#include "util/call.h"

namespace sternpost::queue {
namespace {

constexpr std::size_t acts_per_record = 1000;  // ours: of an administrator, in one batch of the journal
constexpr std::size_t ends_at_once = 500;      // ours: messages whose bounces are made at one time

std::string_view name_of(Deed deed) {
    switch (deed) {
        case Deed::retry:
            return "retry";
        case Deed::hold:
            return "hold";
        case Deed::release:
            return "release";
        case Deed::expire:
            return "expire";
        case Deed::remove:
            return "delete";
    }
    return "";
}

// Mail has gone out and its sender did not ask to hear of it: no notice can come of that.
bool tells_nobody(const store::StoredMessage& message, const std::vector<store::DeliveryResult>& results) {
    return std::all_of(results.begin(), results.end(), [&](const store::DeliveryResult& result) {
        return result.state == store::RecipientState::sent &&
               !message.recipients[result.recipient].address.recipient.notify.success;
    });
}

}  // namespace

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
    if (tells_nobody(*work.message, results))
        manager_.settle_sent(std::move(results));
    else
        manager_.settling_.spawn("settle " + work.message->id.text(),
                                 manager_.settle(work.message, std::move(results), nullptr));
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
    manager_.settle_all(std::move(results), "bounced", nullptr);
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
        if (hooks_.delay_warning)
            for (Delayed& one : core_->delayed(now())) {
                const std::string name = "delay warning " + one.message->id.text();
                settling_.spawn(name, warn(std::move(one)));
            }
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

void Manager::settle_all(std::vector<store::DeliveryResult> results, std::string_view status,
                         const std::shared_ptr<void>& until_done) {
    std::map<store::MessageId, std::vector<store::DeliveryResult>> by_message;
    for (auto& result : results) by_message[result.message].push_back(std::move(result));
    for (auto& [id, part] : by_message) {
        MessagePtr message = core_->message(id);
        if (!message) continue;
        for (const auto& result : part)
            Event(log_, Level::info, "attempt")
                .kv("qid", id.text())
                .raw("to", "<" + message->recipients[result.recipient].address.recipient.path.text() + ">")
                .kv("status", status)
                .kv("dsn", result.status)
                .reason(result.text);
        settling_.spawn("settle " + id.text(), settle(std::move(message), std::move(part), until_done));
    }
}

// Results and the notices they call for become durable together; until they are, the message is not
// forgotten.
asio::awaitable<void> Manager::settle(MessagePtr message, std::vector<store::DeliveryResult> results,
                                      std::shared_ptr<void> until_done) {
    auto notices = co_await hooks_.notices(message, results);
    co_await record(std::move(results), std::move(notices));
    until_done.reset();
}

// The common case, gathered: what was sent in one turn of the loop is told to the store at once.
void Manager::settle_sent(std::vector<store::DeliveryResult> results) {
    if (results.empty()) return;
    const bool first = sent_.empty();
    std::move(results.begin(), results.end(), std::back_inserter(sent_));
    if (first)
        asio::post(context_, [this] { settling_.spawn("settle", record(std::exchange(sent_, {}), {})); });
}

// Until it has succeeded, or the store is closed.
asio::awaitable<void> Manager::record(std::vector<store::DeliveryResult> results,
                                      std::vector<store::NewMessage> notices) {
    for (;;) {
        auto put = [this, &results, &notices](Reply<store::Result<void>> reply) {
            store_.record(results, notices, std::move(reply));
        };
        const auto done = co_await call<store::Result<void>>(std::move(put));
        if (done) {
            core_->recorded(results);
            co_return;
        }
        Event(log_, Level::error, "record")
            .kv("qid", results.front().message.text())
            .kv("results", results.size())
            .reason(done.error().text + "; tried again in a second");
        if (done.error().code == store::Errc::closed) co_return;
        co_await timer_.until(clock_.steady() + std::chrono::seconds(1));
    }
}

// The notice first: should a crash come between, it is made once more and known by its submission id. One
// that cannot be stored is not made up for: the message itself is what counts.
asio::awaitable<void> Manager::warn(Delayed delayed) {
    const store::MessageId id = delayed.message->id;
    auto notice = co_await hooks_.delay_warning(std::move(delayed));
    if (!notice) co_return;  // nobody is to be told, or it cannot be stored now
    const std::string notice_id = notice->id.text();
    auto accept = [this, one = std::move(*notice)](Reply<store::Result<store::MessageId>> reply) mutable {
        store_.accept(std::move(one), std::move(reply));
    };
    const auto done = co_await call<store::Result<store::MessageId>>(std::move(accept));
    const bool before = !done && done.error().code == store::Errc::duplicate;
    if (!done && !before) {
        Event(log_, Level::warning, "delay-warning").kv("for", id.text()).reason(done.error().text);
        co_return;
    }
    if (!before) Event(log_, Level::info, "delay-warning").kv("qid", notice_id).kv("for", id.text());
    std::vector<store::Act> acts;
    acts.push_back({store::ActKind::warned, id, clock_.wall(), ""});
    co_await record_acts(std::move(acts));
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
    while ((settling_.size() > 0 || !sent_.empty()) && clock_.steady() < end + std::chrono::seconds(5)) {
        co_await timer_.until(clock_.steady() + std::chrono::milliseconds(2));
    }
    settling_.cancel();
    co_await settling_.join();
    time_.cancel();
    co_await time_.join();
}

asio::awaitable<store::Result<void>> Manager::record_acts(std::vector<store::Act> acts) {
    for (std::size_t done = 0; done < acts.size(); done += acts_per_record) {
        const auto first = acts.begin() + static_cast<std::ptrdiff_t>(done);
        const auto last =
            acts.begin() + static_cast<std::ptrdiff_t>(std::min(acts.size(), done + acts_per_record));
        std::vector<store::Act> part(first, last);
        auto put = [this, part](Reply<store::Result<void>> reply) { store_.act(part, std::move(reply)); };
        auto kept = co_await call<store::Result<void>>(std::move(put));
        if (!kept) co_return kept;
    }
    co_return store::Result<void>();
}

// So many at once, so that neither memory nor the store is flooded by a queue that ends at one stroke.
asio::awaitable<void> Manager::end(std::vector<Selected> selected, store::RecipientState state,
                                   std::string text) {
    const bool bounced = state == store::RecipientState::bounced;
    for (std::size_t done = 0; done < selected.size() && !stopping_; done += ends_at_once) {
        const auto first = selected.begin() + static_cast<std::ptrdiff_t>(done);
        const auto last =
            selected.begin() + static_cast<std::ptrdiff_t>(std::min(selected.size(), done + ends_at_once));
        const std::vector<Selected> part(first, last);
        auto until_done = std::make_shared<int>();
        const std::weak_ptr<int> pending = until_done;
        settle_all(core_->end(part, state, bounced ? "5.4.7" : "5.0.0", text, now()),
                   bounced ? "bounced" : "deleted", until_done);
        until_done.reset();
        while (!pending.expired() && !stopping_)
            co_await timer_.until(clock_.steady() + std::chrono::milliseconds(2));
    }
}

// Whole messages by one record each; of others, the recipients that are meant.
asio::awaitable<store::Result<void>> Manager::remove(std::vector<Selected> selected, std::string who) {
    std::vector<store::MessageId> whole;
    std::vector<Selected> parts;
    for (Selected& one : selected) {
        if (one.whole)
            whole.push_back(one.message);
        else
            parts.push_back(std::move(one));
    }
    std::vector<store::Act> acts;
    for (const auto id : core_->remove(whole)) {
        acts.push_back({store::ActKind::remove, id, clock_.wall(), who});
        Event(log_, Level::info, "delete").kv("qid", id.text()).kv("who", who);
    }
    co_await end(std::move(parts), store::RecipientState::deleted, "deleted by " + who);
    co_return co_await record_acts(std::move(acts));
}

asio::awaitable<store::Result<DeedDone>> Manager::act(Deed deed, Selection selection, std::string who) {
    auto selected = core_->select(selection);
    DeedDone out;
    std::vector<store::Act> acts;
    const auto note = [&](store::ActKind kind, store::MessageId id) {
        acts.push_back({kind, id, clock_.wall(), who});
    };
    for (const Selected& one : selected) {
        ++out.messages;
        out.recipients += one.recipients.size();
        out.active += one.active;
        const bool held = core_->message(one.message)->held;
        if (deed == Deed::hold && !held) note(store::ActKind::hold, one.message);
        if ((deed == Deed::release || deed == Deed::retry) && held)
            note(store::ActKind::release, one.message);
        if (deed == Deed::retry) note(store::ActKind::retry, one.message);
    }
    if (selected.empty()) co_return out;
    Event(log_, Level::info, "queue")
        .kv("deed", name_of(deed))
        .kv("who", who)
        .kv("messages", out.messages)
        .kv("recipients", out.recipients)
        .kv("first", selected.front().message.text());
    store::Result<void> kept;
    switch (deed) {
        case Deed::retry:
            core_->retry(selected, now());
            break;
        case Deed::hold:
            core_->hold(selected);
            break;
        case Deed::release:
            core_->release(selected, now());
            break;
        case Deed::expire:
            co_await end(std::move(selected), store::RecipientState::bounced,
                         "given up before its time by the administrator (" + who + ")");
            break;
        case Deed::remove:
            kept = co_await remove(std::move(selected), who);
            break;
    }
    kick();
    if (!acts.empty()) kept = co_await record_acts(std::move(acts));
    if (!kept) co_return fail(std::move(kept).error());
    co_return out;
}

}  // namespace sternpost::queue
