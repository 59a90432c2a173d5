// What an administrator does to mail, page by page (Core's part is in admin_actions.cpp).
#include <algorithm>
#include <utility>

#include "queue/manager.h"
#include "store/hop_group.h"
#include "util/call.h"

namespace sternpost::queue {
namespace {

constexpr std::size_t messages_at_once =
    500;  // ours: messages of an action, so that neither memory nor store is flooded

std::string_view name_of(AdminAction action) {
    switch (action) {
        case AdminAction::retry:
            return "retry";
        case AdminAction::hold:
            return "hold";
        case AdminAction::release:
            return "release";
        case AdminAction::expire:
            return "expire";
        case AdminAction::remove:
            return "delete";
        case AdminAction::reroute:
            return "reroute";
    }
    return "";
}

}  // namespace

// Whole messages by one record each; of others, the recipients that are meant.
asio::awaitable<store::Result<void>> Manager::remove(std::vector<Selected> selected, std::string who) {
    std::vector<store::MessageId> whole;
    std::vector<Selected> parts;
    std::vector<store::Act> acts;
    for (Selected& one : selected) {
        const store::MessageId id = one.message->id;
        if (!one.whole) {
            parts.push_back(std::move(one));
            continue;
        }
        whole.push_back(id);
        acts.push_back({store::ActKind::remove, id, clock_.wall(), who, "", ""});
    }
    auto kept = co_await record_acts(std::move(acts));
    if (!kept) co_return kept;
    for (const auto id : whole) Event(log_, Level::info, "delete").kv("qid", id.text()).kv("who", who);
    core_->admin().remove(whole);
    co_await end(std::move(parts), store::RecipientState::deleted, "deleted by " + who);
    co_return kept;
}

// To one page of what is meant. On stable storage first: what the store is asked for after that tells of it,
// and what it was asked for before is passed over for what is in memory.
asio::awaitable<store::Result<void>> Manager::apply_action(const AdminOrder& order,
                                                           std::vector<Selected> selected) {
    const AdminAction action = order.action;
    if (action == AdminAction::remove) co_return co_await remove(std::move(selected), order.who);
    if (action == AdminAction::expire) {
        co_await end(std::move(selected), store::RecipientState::bounced,
                     "given up before its time by the administrator (" + order.who + ")");
        co_return store::Result<void>();
    }
    // One record moves all of a message's recipients that wait for a next hop: none of them may be in an
    // attempt.
    if (action == AdminAction::reroute)
        std::erase_if(selected, [](const Selected& one) { return one.active > 0; });
    std::vector<store::Act> acts;
    for (const Selected& one : selected) {
        store::Act act{store::ActKind::hold, one.message->id, clock_.wall(), order.who, "", ""};
        if (action == AdminAction::hold && !one.message->held) acts.push_back(act);
        act.kind = store::ActKind::release;
        if (action == AdminAction::release && one.message->held) acts.push_back(act);
        act.kind = store::ActKind::retry;
        if (action == AdminAction::retry) acts.push_back(act);
        act.kind = store::ActKind::reroute;
        act.from = order.meant.domain;
        act.to = order.to;
        if (action == AdminAction::reroute) acts.push_back(act);
    }
    auto kept = co_await record_acts(std::move(acts));
    if (!kept) co_return kept;
    if (action == AdminAction::retry) core_->admin().retry(selected, now());
    if (action == AdminAction::hold) core_->admin().hold(selected, now());
    if (action == AdminAction::release) core_->admin().release(selected, now());
    if (action == AdminAction::reroute) core_->admin().reroute(selected, order.meant.domain, order.to, now());
    schedule_pass();
    co_return kept;
}

asio::awaitable<store::Result<ActionCount>> Manager::act(
    AdminOrder order, std::function<asio::awaitable<void>(ActionCount)> tell) {
    const AdminAction action = order.action;
    store::QueueFilter& meant = order.meant;
    ActionCount out;
    std::string first;
    meant.limit =
        messages_at_once;  // in the order of their ids, which the clock need not have left behind it
    for (bool last = false; !last;) {
        auto page = co_await find(meant);
        if (!page) co_return fail(std::move(page).error());
        last = page->size() < meant.limit;
        if (!page->empty()) meant.after = page->back().id;
        std::vector<Selected> selected;
        for (const auto& found : *page) {
            Selected one = core_->admin().select(found, meant);
            if (one.recipients.empty() && one.active == 0) continue;
            const bool suspended = core_->suspensions().of_sender(*one.message) != nullptr;
            if (suspended &&
                (action == AdminAction::release || (action == AdminAction::retry && one.message->held))) {
                ++out.sender_suspended;
                continue;
            }
            if (action == AdminAction::retry && one.message->held) {
                ++out.held;
                continue;
            }
            for (const auto n : one.recipients)
                if (core_->suspensions().of_hop(store::hop_of(*one.message, n)) != nullptr) ++out.suspended;
            ++out.messages;
            out.recipients += one.recipients.size();
            out.active += one.active;
            if (first.empty()) first = one.message->id.text();
            selected.push_back(std::move(one));
        }
        if (selected.empty() || order.dry_run) continue;
        auto kept = co_await apply_action(order, std::move(selected));
        if (!kept) co_return fail(std::move(kept).error());
        if (stopping_) co_return fail(store::Errc::closed, "the daemon stops");
        if (tell && !last) co_await tell(out);
    }
    out.results_wait = core_->refused() > 0;
    if (out.messages > 0 && !order.dry_run) {
        Event event(log_, Level::info, "queue");
        event.kv("action", name_of(action))
            .kv("who", order.who)
            .kv("messages", out.messages)
            .kv("recipients", out.recipients)
            .kv("first", first);
        if (!order.to.empty()) event.kv("to", order.to);
    }
    co_return out;
}

// Those of a suspended sender that came after it was suspended. Until it has succeeded, or the sender is
// suspended no more.
asio::awaitable<void> Manager::hold_suspended(std::vector<store::MessageId> ids) {
    for (bool first = true; !stopping_; first = false) {
        store::QueueFilter meant;
        meant.ids = ids;
        meant.limit = ids.size();
        const auto found = co_await find(std::move(meant));
        std::string trouble = found ? "" : found.error().text;
        if (found) {
            std::vector<Selected> selected;
            for (const auto& one : *found)
                if (core_->suspensions().of_sender(one) != nullptr)
                    selected.push_back(core_->admin().select(one, {}));
            // Named: g++ 12 frees a brace-made aggregate in an expression with co_await twice.
            const AdminOrder order{AdminAction::hold, {}, "suspension"};
            const auto kept = co_await apply_action(order, std::move(selected));
            if (kept) break;
            trouble = kept.error().text;
        }
        if (first)
            Event(log_, Level::error, "hold")
                .kv("messages", ids.size())
                .reason(trouble + "; nothing of them is sent, and it is tried each second");
        co_await timer_.until(clock_.steady() + std::chrono::seconds(1));
    }
    core_->window().held(ids, now());
    schedule_pass();
}

asio::awaitable<store::Result<ActionCount>> Manager::suspend(store::StoredSuspension suspension) {
    auto put = [this, suspension](Completion<store::Result<void>> reply) {
        store_.keep(suspension, std::move(reply));
    };
    auto kept = co_await call<store::Result<void>>(std::move(put));
    if (!kept) co_return fail(std::move(kept).error());
    core_->admin().suspend(suspension, now());
    Event(log_, Level::info, suspension.ended ? "resume" : "suspend")
        .kv(suspension.kind == store::SuspensionKind::sender ? "sender" : "hop", suspension.scope)
        .kv("who", suspension.author)
        .reason(suspension.reason);
    schedule_pass();
    if (suspension.kind != store::SuspensionKind::sender) co_return ActionCount();
    AdminOrder order{suspension.ended ? AdminAction::release : AdminAction::hold, {}, suspension.author};
    order.meant.sender = suspension.scope;
    co_return co_await act(std::move(order));
}

}  // namespace sternpost::queue
