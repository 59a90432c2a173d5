#include "queue/manager.h"

#include <algorithm>
#include <boost/asio/post.hpp>
#include <iterator>
#include <utility>

#include "store/ask.h"
#include "store/hop_group.h"
#include "util/call.h"

namespace sternpost::queue {
namespace {

constexpr std::size_t warnings_at_once = 100;  // ours
constexpr std::size_t swept_at_once =
    500;  // ours: messages of a sweep, so that neither memory nor store is flooded

// ours: for how long the first failure of a message waits for others of it, to be told in one notice
constexpr auto gather_failures_for = std::chrono::seconds(60);

// ours: a lane without a step for so long leaves its slot to others (Shares); where there was no room for it
// among the stalled ones, it is looked at again
constexpr auto stalled_after = std::chrono::seconds(60);
constexpr auto stalled_again_after = std::chrono::seconds(5);

}  // namespace

Manager::Manager(const Runtime& runtime, Options options, Hooks hooks, store::Store& store,
                 const store::TrustedClock& clock)
    : context_(runtime.context),
      options_(std::move(options)),
      hooks_(std::move(hooks)),
      store_(store),
      clock_(clock),
      timer_(runtime.timer),
      random_(runtime.random),
      log_(runtime.log),
      lanes_(context_, log_),
      recording_(context_, log_),
      time_(context_, log_),
      delays_(timer_.wakeup()),
      slots_(timer_.wakeup()),
      due_(timer_.wakeup()) {
    core_ = std::make_unique<Core>(options_, random_);
}

// The first look, at the start, is about the newest mail; later ones are about leaps.
void Manager::check_clock() {
    const bool trusted = now().trusted;
    if (trusted == std::exchange(clock_was_trusted_, trusted)) return;
    if (trusted)
        Event(log_, Level::info, "clock").reason("the clock agrees with elapsed time again");
    else if (!running_)
        Event(log_, Level::error, "clock")
            .reason("the time is before that of the newest mail (" + rfc3339(clock_.newest_stored()) +
                    "): nothing expires until the clock is right and the daemon is restarted");
    else
        Event(log_, Level::error, "clock")
            .reason("the clock jumped: by elapsed time it should be " + rfc3339(now().wall) +
                    "; the queue goes by that, and nothing expires until it is set back or, if it is right "
                    "now, the daemon is restarted");
}

asio::awaitable<store::Result<std::size_t>> Manager::load() {
    check_clock();
    auto suspensions_question = [](store::Questions& questions) {
        return questions.all<store::StoredSuspension>();
    };
    auto suspensions = co_await store::ask(store_, std::move(suspensions_question));
    if (!suspensions) co_return fail(std::move(suspensions).error());
    for (const auto& suspension : *suspensions) core_->admin().suspend(suspension, now());
    store::HopFilter all;
    all.limit = options_.window.hops;
    auto hops_question = [all](store::Questions& questions) { return questions.hops(all); };
    auto hops = co_await store::ask(store_, std::move(hops_question));
    if (!hops) co_return fail(std::move(hops).error());
    for (const auto& hop : *hops) core_->hops().restore(hop.state, now());
    if (hops->size() >= all.limit) core_->backlog().forgot_a_hop();
    auto totals_question = [](store::Questions& questions) { return questions.totals(); };
    auto totals = co_await store::ask(store_, std::move(totals_question));
    if (!totals) co_return fail(std::move(totals).error());
    if (totals->messages > 0) core_->backlog().due(now().steady);
    if (totals->oldest) core_->backlog().holds_since(*totals->oldest);
    co_return totals->messages;
}

void Manager::start() {
    running_ = true;
    time_.spawn("queue time", watch_time());
    time_.spawn("stalled lanes", watch_slots());
    if (hooks_.delay_warning && options_.schedule.delay_warning.count() > 0)
        time_.spawn("delay warnings", watch_delays());
    schedule_pass();
}

void Manager::accepted(std::vector<store::StoredMessage> messages) {
    for (auto& message : messages) core_->window().add(std::move(message), now());
    schedule_pass();
}

asio::awaitable<store::Result<std::vector<store::StoredMessage>>> Manager::find(store::QueueFilter filter) {
    auto question = [held = std::move(filter)](store::Questions& questions) { return questions.find(held); };
    core_->messages().asking();
    auto found = co_await store::ask(store_, std::move(question), true);
    core_->messages().answered();
    co_return found;
}

// Mail that sleeps in the store and is due comes to memory.
asio::awaitable<void> Manager::load_due(store::DueQuestion question) {
    auto ask = [this, held = std::move(question)](Completion<store::Result<store::Due>> reply) mutable {
        store_.due(std::move(held), std::move(reply));
    };
    auto due = co_await call<store::Result<store::Due>>(std::move(ask));
    if (due) {
        core_->window().loaded(std::move(*due), now());
    } else {
        core_->window().load_failed(now());
        if (due.error().code == store::Errc::closed) co_return;
        Event(log_, Level::error, "load")
            .reason(due.error().text + "; asked again in a second")
            .limited("load");
    }
    schedule_pass();
}

// Wakes idle lanes and opens new ones, once for all that happened in this turn of the loop.
void Manager::schedule_pass() {
    if (!running_ || stopping_ || kicked_) return;
    kicked_ = true;
    asio::post(context_, [this] {
        kicked_ = false;
        if (stopping_) return;
        check_clock();
        for (Lane* lane : lane_list_)
            if (lane->idle_) lane->work_->wake();
        if (auto question = core_->window().wanted(now()))
            recording_.spawn("load", load_due(std::move(*question)));
        for (auto& what : core_->hop_failures().sweeps()) {
            std::erase_if(sweeps_, [&](const Sweep& earlier) { return earlier.hop == what.hop; });
            sweeps_.push_back(std::move(what));
        }
        if (!sweeps_.empty() && !std::exchange(sweeping_, true)) recording_.spawn("sweeps", sweep_all());
        if (auto ids = core_->window().to_hold(); !ids.empty())
            recording_.spawn("hold", hold_suspended(std::move(ids)));
        for (Slot& slot : core_->lanes_wanted(now())) {
            std::string name = "lane " + slot.hop;
            lanes_.spawn(std::move(name), run_lane(std::move(slot)));
        }
        if (const auto wake = core_->next_wake(); wake != wake_) {
            wake_ = wake;
            due_->wake();
        }
    });
}

// Schedules a pass when something becomes due by itself.
asio::awaitable<void> Manager::watch_time() {
    while (!stopping_) {
        // Not in a tight loop when what is due has to wait for a free connection: the lane that ends
        // schedules a pass then.
        const auto soonest = clock_.steady() + std::chrono::milliseconds(20);
        SteadyTime when =
            SteadyTime::max();  // g++ 12 evaluates both arms of a ?: inside a co_await expression
        if (wake_) when = std::max(*wake_, soonest);
        co_await due_->wait(when);
        if (wake_ && clock_.steady() >= *wake_) schedule_pass();
    }
}

// Messages become so old in the order of their ids. What is in an attempt is looked at again.
asio::awaitable<void> Manager::watch_delays() {
    const auto after = options_.schedule.delay_warning;
    const auto pause = std::clamp<std::chrono::milliseconds>(after / 8, std::chrono::milliseconds(100),
                                                             std::chrono::minutes(1));
    store::QueueFilter filter;
    filter.unwarned = true;
    filter.limit = warnings_at_once;
    std::vector<store::MessageId> again;
    while (!stopping_) {
        bool whole = true;
        if (now().trusted) {
            filter.until = store::MessageId::last_at(clock_.wall() - after);
            std::vector<store::StoredMessage> found;
            if (!again.empty()) {
                store::QueueFilter those;
                those.ids = std::exchange(again, {});
                those.unwarned = true;
                if (auto some = co_await find(std::move(those))) found = std::move(*some);
            }
            if (filter.after < filter.until) {
                auto page = co_await find(filter);
                whole = !page || page->size() < filter.limit;
                if (page && !page->empty()) filter.after = page->back().id;
                if (page && whole) filter.after = filter.until;
                if (page) std::move(page->begin(), page->end(), std::back_inserter(found));
            }
            for (const store::StoredMessage& one : found) {
                if (stopping_) break;
                bool later = false;
                auto delayed = core_->delayed(one, now(), later);
                if (later) again.push_back(one.id);
                if (delayed) co_await warn(std::move(*delayed));
            }
        }
        if (stopping_) break;
        if (whole) co_await delays_->wait(clock_.steady() + pause);
    }
}

asio::awaitable<void> Manager::run_lane(Slot slot) {
    Lane lane(*this, std::move(slot));
    co_await hooks_.deliver(lane);
}

// A silent host does not keep others from their turn.
asio::awaitable<void> Manager::watch_slots() {
    while (!stopping_) {
        const SteadyTime present = clock_.steady();
        SteadyTime next = SteadyTime::max();
        bool freed = false;
        for (Lane* lane : lane_list_) {
            if (lane->slot_.stalled) continue;
            if (lane->last_step_ + stalled_after > present) {
                next = std::min(next, lane->last_step_ + stalled_after);
                continue;
            }
            core_->hops().lane_stalled(lane->slot_);
            freed = freed || lane->slot_.stalled;
            if (!lane->slot_.stalled) next = std::min(next, present + stalled_again_after);
        }
        if (freed) schedule_pass();
        no_slot_to_watch_ = next == SteadyTime::max();
        if (!no_slot_to_watch_) next = std::max(next, present + std::chrono::seconds(1));
        co_await slots_->wait(next);
    }
}

void Manager::store_hop(const std::string& hop) {
    if (auto state = core_->hops().changed(hop, now())) {
        if (state->failures > 0)
            Event(log_, Level::info, "hop")
                .kv("name", state->next_hop)
                .kv("status", "deferred")
                .kv("failures", state->failures)
                .kv("next", rfc3339(state->next_at))
                .kv("dsn", state->status)
                .reason(state->text);
        store_.keep(std::move(*state));
    }
}

void Manager::record_all(std::vector<store::DeliveryResult> results, std::string_view status,
                         const std::shared_ptr<void>& until_done) {
    std::map<store::MessageId, std::vector<store::DeliveryResult>> by_message;
    for (auto& result : results) by_message[result.message].push_back(std::move(result));
    for (auto& [id, part] : by_message) {
        MessagePtr message = core_->messages().stored(id);
        if (!message) continue;
        for (const auto& result : part)
            Event(log_, Level::info, "attempt")
                .kv("qid", id.text())
                .address("to", message->recipients[result.recipient].address.recipient.path.text())
                .kv("status", status)
                .kv("dsn", result.status)
                .reason(result.text);
        recording_.spawn("settle " + id.text(),
                         record_results(std::move(message), std::move(part), until_done));
    }
}

asio::awaitable<void> Manager::record_results(MessagePtr message, std::vector<store::DeliveryResult> results,
                                              std::shared_ptr<void> until_done) {
    const store::MessageId id = message->id;
    const auto first_failure = std::stable_partition(
        results.begin(), results.end(),
        [](const store::DeliveryResult& r) { return r.state != store::RecipientState::bounced; });
    const bool gathering = failures_.contains(id);
    const bool wait = until_done == nullptr && first_failure != results.end() && !stopping_ &&
                      (gathering || core_->window().ends_soon(id, now()));
    if (wait) {
        auto& held = failures_[id];
        std::move(first_failure, results.end(), std::back_inserter(held));
        results.erase(first_failure, results.end());
        if (!gathering) recording_.spawn("gather " + id.text(), gather(message));
    }
    if (!results.empty()) co_await settle_now(std::move(message), std::move(results), std::move(until_done));
}

// Until no other recipient may fail at once, or a minute has passed.
asio::awaitable<void> Manager::gather(MessagePtr message) {
    const SteadyTime end = clock_.steady() + gather_failures_for;
    std::chrono::milliseconds pause(20);
    while (!stopping_ && clock_.steady() < end && core_->window().ends_soon(message->id, now())) {
        co_await timer_.until(std::min(end, clock_.steady() + pause));
        pause = std::min<std::chrono::milliseconds>(pause * 2, std::chrono::seconds(1));
    }
    const auto held = failures_.extract(message->id);
    std::vector<store::DeliveryResult> results = std::move(held.mapped());
    co_await settle_now(std::move(message), std::move(results), nullptr);
}

// Results and the notices they call for become durable together; until they are, the message is not
// forgotten.
asio::awaitable<void> Manager::settle_now(MessagePtr message, std::vector<store::DeliveryResult> results,
                                          std::shared_ptr<void> until_done) {
    auto notices = co_await hooks_.notices(message, results);
    const std::size_t waiting = notices ? 0 : results.size();
    if (!notices) refused(waiting, notices.error().text);
    while (!notices) {  // a full disk: no one's mail ends without its sender being told
        co_await timer_.until(clock_.steady() + std::chrono::seconds(1));
        notices = co_await hooks_.notices(message, results);
    }
    if (waiting > 0) kept(waiting);
    co_await record(std::move(results), std::move(*notices));
    until_done.reset();
}

// The common case, gathered: what was sent in one turn of the loop is told to the store at once.
void Manager::record_sent(std::vector<store::DeliveryResult> results) {
    if (results.empty()) return;
    const bool first = sent_.empty();
    std::move(results.begin(), results.end(), std::back_inserter(sent_));
    if (first)
        asio::post(context_, [this] { recording_.spawn("settle", record(std::exchange(sent_, {}), {})); });
}

// Said once, however many wait and however often they are tried again.
void Manager::refused(std::size_t results, const std::string& why) {
    if (core_->refused() == 0)
        Event(log_, Level::error, "results-wait")
            .kv("results", results)
            .reason(why +
                    "; nothing is delivered until what became of earlier mail can be kept, which is "
                    "tried each second");
    core_->refused(results);
}

void Manager::kept(std::size_t results) {
    core_->kept(results);
    if (core_->refused() > 0) return;
    Event(log_, Level::info, "results-kept");
    schedule_pass();
}

// Until it has succeeded, or the store is closed.
asio::awaitable<void> Manager::record(std::vector<store::DeliveryResult> results,
                                      std::vector<store::NewMessage> notices) {
    for (std::size_t waiting = 0;;) {
        auto put = [this, &results, &notices](Completion<store::Result<void>> reply) {
            store_.record(results, notices, std::move(reply));
        };
        const auto done = co_await call<store::Result<void>>(std::move(put));
        if (done) {
            core_->window().recorded(results, now());
            if (waiting > 0) kept(waiting);
            schedule_pass();  // there may be room for more
            co_return;
        }
        if (done.error().code == store::Errc::closed) {
            Event(log_, Level::error, "record")
                .kv("qid", results.front().message.text())
                .kv("results", results.size())
                .reason(done.error().text);
            co_return;
        }
        if (waiting == 0) refused(results.size(), done.error().text);
        waiting = results.size();
        co_await timer_.until(clock_.steady() + std::chrono::seconds(1));
    }
}

// The notice first: should a crash come between, it is made again and known by its submission id. One
// that cannot be stored is not made up for: the message itself is what counts.
asio::awaitable<void> Manager::warn(Delayed delayed) {
    const store::MessageId id = delayed.message->id;
    auto notice = co_await hooks_.delay_warning(std::move(delayed));
    if (!notice) co_return;  // no one is to be told, or it cannot be stored now
    const std::string notice_id = notice->id.text();
    auto accept = [this,
                   one = std::move(*notice)](Completion<store::Result<store::MessageId>> reply) mutable {
        store_.accept(std::move(one), std::move(reply));
    };
    const auto done = co_await call<store::Result<store::MessageId>>(std::move(accept));
    const bool before = !done && done.error().code == store::Errc::duplicate;
    if (!done && !before) {
        Event(log_, Level::warning, "delay-warning").kv("for", id.text()).reason(done.error().text);
        co_return;
    }
    if (!before) Event(log_, Level::info, "delay-warning").kv("qid", notice_id).kv("for", id.text());
    core_->warned(id);
    std::vector<store::Act> acts;
    acts.push_back({store::ActKind::warned, id, clock_.wall(), "", "", ""});
    co_await record_acts(std::move(acts));
}

asio::awaitable<void> Manager::stop(std::chrono::seconds patience) {
    stopping_ = true;
    due_->wake();
    delays_->wake();
    slots_->wake();
    for (Lane* lane : lane_list_) lane->work_->wake();
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
    while ((recording_.size() > 0 || !sent_.empty()) && clock_.steady() < end + std::chrono::seconds(5)) {
        co_await timer_.until(clock_.steady() + std::chrono::milliseconds(2));
    }
    recording_.cancel();
    co_await recording_.join();
    time_.cancel();
    co_await time_.join();
}

asio::awaitable<store::Result<void>> Manager::record_acts(std::vector<store::Act> acts) {
    if (acts.empty()) co_return store::Result<void>();
    auto put = [this, held = std::move(acts)](Completion<store::Result<void>> reply) mutable {
        store_.act(std::move(held), std::move(reply));
    };
    co_return co_await call<store::Result<void>>(std::move(put));
}

// A hop has failed, and mail for it sleeps whose time is over, or will be before the hop is tried again.
// One after the other: each brings a page into memory at a time.
asio::awaitable<void> Manager::sweep_all() {
    while (!sweeps_.empty() && !stopping_) {
        Sweep what = std::move(sweeps_.front());
        sweeps_.pop_front();
        co_await sweep(std::move(what));
    }
    sweeping_ = false;
}

asio::awaitable<void> Manager::sweep(Sweep what) {
    store::QueueFilter filter;
    filter.domain = store::HopGroup::parse(what.hop).next_hop;
    filter.until = what.until;
    // Each page is in memory until all of it has ended.
    filter.limit = std::min(swept_at_once, options_.window.messages);
    for (bool last = false; !last && !stopping_;) {
        auto page = co_await find(filter);
        if (!page) co_return;
        last = page->size() < filter.limit;
        if (!page->empty()) filter.after = page->back().id;
        auto results = core_->hop_failures().swept(what, std::move(*page), now());
        co_await record_and_wait(std::move(results), "bounced");
    }
    filter.after = what.until;
    filter.until = store::MessageId{UINT64_MAX};
    filter.limit = 1;
    const auto oldest = co_await find(filter);
    if (oldest && !oldest->empty()) core_->hop_failures().not_later(what.hop, oldest->front(), now());
    store_hop(what.hop);
    schedule_pass();
}

asio::awaitable<void> Manager::record_and_wait(std::vector<store::DeliveryResult> results,
                                               std::string_view status) {
    auto until_done = std::make_shared<int>();
    const std::weak_ptr<int> pending = until_done;
    record_all(std::move(results), status, until_done);
    until_done.reset();
    while (!pending.expired() && !stopping_)
        co_await timer_.until(clock_.steady() + std::chrono::milliseconds(2));
}

asio::awaitable<void> Manager::end(std::vector<Selected> selected, store::RecipientState state,
                                   std::string text) {
    const bool bounced = state == store::RecipientState::bounced;
    const Statuses& statuses = core_->options().statuses;
    auto results =
        core_->admin().end(selected, state, bounced ? statuses.expired : statuses.deleted, text, now());
    co_await record_and_wait(std::move(results), bounced ? "bounced" : "deleted");
}

}  // namespace sternpost::queue
