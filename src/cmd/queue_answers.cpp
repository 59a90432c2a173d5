#include "cmd/queue_answers.h"

#include <algorithm>
#include <array>
#include <map>

#include "dns/name.h"
#include "dns/record.h"
#include "store/ask.h"
#include "store/hop_group.h"
#include "store/sender_scope.h"
#include "util/call.h"
#include "util/login.h"
#include "util/text.h"

namespace sternpost::cmd {
namespace {

using control::Answer;
using control::ExitCode;
using control::text_of;
namespace json = boost::json;

constexpr std::size_t page_messages = 1000;    // ours: of one page at most
constexpr std::size_t page_recipients = 2000;  // ours: no message is added to a page that has so many
constexpr std::size_t max_hops = 10'000;       // ours: of one answer
constexpr std::size_t page_hops = 500;         // ours: of one page of it

constexpr std::array reading{"queue.list", "queue.show", "queue.hops", "queue.suspended"};
constexpr std::array actions{std::pair("queue.retry", queue::AdminAction::retry),
                             std::pair("queue.hold", queue::AdminAction::hold),
                             std::pair("queue.release", queue::AdminAction::release),
                             std::pair("queue.expire", queue::AdminAction::expire),
                             std::pair("queue.delete", queue::AdminAction::remove),
                             std::pair("queue.reroute", queue::AdminAction::reroute)};

Answer refusal(std::string text) {
    return {ExitCode::no, std::move(text), {}};
}

std::size_t limit_of(const json::object& request) {
    boost::system::error_code ec;
    const auto* limit = request.if_contains("limit");
    return limit != nullptr && limit->is_number() ? limit->to_number<std::size_t>(ec) : 1000;
}

std::string unknown_sender(const std::string& text) {
    return "--sender " + printable(text) + ": allowed is " + std::string(store::sender_forms);
}

// Which messages a request means; the error is for people.
Expected<store::QueueFilter, control::ExitCode> filter_of(const json::object& request) {
    store::QueueFilter out;
    const auto add = [&](std::string_view text) {
        const auto id = store::MessageId::parse(text);
        if (id) out.ids.push_back(*id);
        return id.has_value();
    };
    if (const auto* ids = request.if_contains("ids"); ids != nullptr && ids->is_array())
        for (const auto& item : ids->as_array())
            if (!item.is_string() || !add(item.as_string()))
                return fail(ExitCode::no,
                            "\"" + (item.is_string() ? printable(std::string(item.as_string())) : "") +
                                "\" is not a queue id");
    out.domain = lowered(text_of(request, "domain"));
    if (const std::string sender = text_of(request, "sender"); !sender.empty()) {
        auto scope = store::parse_sender_scope(sender, util::uid_of_login);
        if (!scope) return fail(ExitCode::usage, unknown_sender(sender));
        out.sender = std::move(*scope);
    }
    out.reason = text_of(request, "reason");
    out.recipient = text_of(request, "recipient");
    out.from = text_of(request, "from");
    out.limit = limit_of(request);
    return out;
}

// A domain, or an address literal, as a recipient's next hop; empty: neither.
std::string next_hop_of(const std::string& text) {
    if (text.starts_with('[') && text.ends_with(']')) {
        std::string inside = text.substr(1, text.size() - 2);
        if (lowered(inside).starts_with("ipv6:")) inside = inside.substr(5);
        const auto address = dns::Address::parse(inside);
        return address ? address->literal() : "";
    }
    const auto domain = dns::Domain::parse(text);
    return domain ? domain->text() : "";
}

// In the log, and wherever else it stands who did something.
std::string name_of(const control::Caller& caller) {
    return "uid " + std::to_string(caller.uid);
}

json::object to_json(const queue::ActionCount& done) {
    json::object out;
    out["messages"] = done.messages;
    out["recipients"] = done.recipients;
    out["active"] = done.active;
    out["held"] = done.held;
    out["sender_suspended"] = done.sender_suspended;
    out["results_wait"] = done.results_wait;
    out["suspended"] = done.suspended;
    return out;
}

}  // namespace

bool QueueAnswers::knows(std::string_view verb) {
    return std::find(reading.begin(), reading.end(), verb) != reading.end() || verb == "queue.suspend" ||
           verb == "queue.resume" || std::any_of(actions.begin(), actions.end(), [&](const auto& action) {
               return verb == action.first;
           });
}

asio::awaitable<Answer> QueueAnswers::answer(json::object request, control::Caller caller) {
    const std::string verb = text_of(request, "verb");
    if (verb == "queue.list") co_return co_await list(std::move(request), std::move(caller));
    if (verb == "queue.show") co_return co_await show(text_of(request, "id"));
    if (verb == "queue.suspended") co_return Answer{ExitCode::done, "", suspensions()};
    if (verb == "queue.hops")
        co_return co_await hops(std::min(limit_of(request), max_hops), std::move(caller));
    if (verb == "queue.suspend" || verb == "queue.resume")
        co_return co_await suspend(std::move(request), name_of(caller), verb == "queue.resume");
    for (const auto& [name, action] : actions)
        if (verb == name) co_return co_await act(action, std::move(request), std::move(caller));
    co_return refusal("the queue does not know the verb " + verb);
}

asio::awaitable<store::Result<store::QueueTotals>> QueueAnswers::totals() {
    auto question = [](store::Questions& questions) { return questions.totals(); };
    co_return co_await store::ask(store_, std::move(question));
}

// Page by page, so that memory holds one page however long the queue is.
asio::awaitable<Answer> QueueAnswers::list(json::object request, control::Caller caller) {
    auto filter = filter_of(request);
    if (!filter) co_return Answer{filter.error().code, filter.error().text, {}};
    if (!caller.admin && !(filter->sender.empty() && filter->reason.empty() && filter->recipient.empty() &&
                           filter->from.empty()))
        co_return Answer{ExitCode::not_permitted,
                         "--sender, --reason, --recipient and --from read the whole queue: they are for root "
                         "and for members of "
                         "the administrators' group",
                         {}};
    std::size_t left = filter->limit;
    if (!caller.part) left = std::min(left, page_messages);
    filter->limit = std::min(left, page_messages);
    filter->recipients = page_recipients;
    json::array messages;
    store::QueueTotals selected;
    bool more = false;
    for (std::size_t recipients = 0;;) {
        auto question = [page = *filter](store::Questions& questions) { return questions.find(page); };
        const auto found = co_await store::ask(store_, std::move(question));
        if (!found) co_return Answer{ExitCode::internal, found.error().text, {}};
        std::size_t of_page = 0;
        for (const auto& message : *found) {
            messages.push_back(control::to_json(message, queue_.blocked_by(message)));
            of_page += message.recipients.size();
            control::add(selected, message);
        }
        recipients += of_page;
        left -= std::min(left, found->size());
        // ids that were asked for are one page
        const bool full = of_page >= page_recipients;
        const bool last = (found->size() < filter->limit && !full) || !filter->ids.empty();
        more = full ? left > 0 || !last : !last && left == 0;
        if (last || left == 0) break;
        if (!caller.part && recipients >= page_recipients) {
            more = true;
            break;
        }
        filter->after = found->back().id;
        filter->limit = std::min(left, page_messages);
        if (!caller.part) continue;
        json::object piece;
        piece["messages"] = std::exchange(messages, {});
        const bool taken = co_await caller.part(std::move(piece));
        if (!taken) co_return Answer{ExitCode::unavailable, "the caller is gone", {}};
    }
    const auto all = co_await totals();
    if (!all) co_return Answer{ExitCode::internal, all.error().text, {}};
    json::object out;
    out["messages"] = std::move(messages);
    out["totals"] = control::to_json(*all);
    out["selected"] = control::to_json(selected);
    out["more"] = more;
    co_return Answer{ExitCode::done, "", std::move(out)};
}

asio::awaitable<Answer> QueueAnswers::show(std::string id) {
    store::QueueFilter filter;
    if (const auto parsed = store::MessageId::parse(id)) filter.ids.push_back(*parsed);
    if (filter.ids.empty()) co_return refusal("no message " + printable(id) + " is in the queue");
    auto question = [filter](store::Questions& questions) { return questions.find(filter); };
    const auto found = co_await store::ask(store_, std::move(question));
    if (!found) co_return Answer{ExitCode::internal, found.error().text, {}};
    if (found->empty()) co_return refusal("no message " + printable(id) + " is in the queue");
    co_return Answer{ExitCode::done, "", control::to_json(found->front(), queue_.blocked_by(found->front()))};
}

json::object QueueAnswers::hop_row(const store::HopLoad& stored) const {
    const store::HopState& state = stored.state;
    control::HopRow row{state.next_hop, stored.recipients, 0, state.failures, {},
                        state.status,   state.text,        {}};
    if (state.failures > 0) row.next_at = state.next_at;
    if (const auto view = queue_.core().hop_view(state.next_hop)) {  // memory knows better than the store
        row.connections = view->lanes;
        row.failures = view->failures;
        row.next_at = view->next_at;
        row.status = view->status;
        row.text = view->text;
    }
    const auto blocked = queue_.blocked_by(queue::mail_for(state.next_hop), {state});
    if (!blocked.empty()) row.blocked = blocked.front();
    return control::to_json(row);
}

// Page by page, as the list.
asio::awaitable<Answer> QueueAnswers::hops(std::size_t limit, control::Caller caller) {
    std::set<std::string> in_use = queue_.core().hops_in_use();
    json::array rows;
    store::HopFilter filter;
    for (std::size_t left = limit; left > 0;) {
        filter.limit = std::min(left, page_hops);
        auto question = [filter](store::Questions& questions) { return questions.hops(filter); };
        const auto stored = co_await store::ask(store_, std::move(question));
        if (!stored) co_return Answer{ExitCode::internal, stored.error().text, {}};
        for (const auto& hop : *stored) {
            const bool used = in_use.erase(hop.state.next_hop) > 0;
            if (used || hop.recipients > 0 || hop.state.failures > 0) rows.push_back(hop_row(hop));
        }
        left -= stored->size();
        if (stored->size() < filter.limit) break;
        if (!caller.part) co_return Answer{ExitCode::done, "", std::move(rows)};
        filter.after = store::HopKey{stored->back().recipients, stored->back().state.next_hop};
        json::object piece;
        piece["items"] = std::exchange(rows, {});
        const bool taken = co_await caller.part(std::move(piece));
        if (!taken) co_return Answer{ExitCode::unavailable, "the caller is gone", {}};
    }
    for (const auto& name : in_use) {  // all of its mail is in attempts, or the store does not know of it yet
        if (rows.size() >= limit) break;
        store::HopLoad load;
        load.state.next_hop = name;
        rows.push_back(hop_row(load));
    }
    co_return Answer{ExitCode::done, "", std::move(rows)};
}

// Recipients that wait for a next hop, or for those under a domain.
asio::awaitable<store::Result<std::uint64_t>> QueueAnswers::waiting_for(std::string scope) {
    store::HopFilter filter;
    filter.limit = max_hops;
    auto question = [filter](store::Questions& questions) { return questions.hops(filter); };
    const auto hops = co_await store::ask(store_, std::move(question));
    if (!hops) co_return fail(hops.error());
    std::uint64_t out = 0;
    for (const auto& hop : *hops) {
        const std::string name = store::HopGroup::parse(hop.state.next_hop).next_hop;
        if (scope.starts_with('.') ? name.ends_with(scope) : name == scope) out += hop.recipients;
    }
    co_return out;
}

json::array QueueAnswers::suspensions() const {
    json::array out;
    for (const auto& suspension : queue_.core().suspensions().list())
        out.push_back(control::to_json(suspension));
    return out;
}

asio::awaitable<Answer> QueueAnswers::act(queue::AdminAction action, json::object request,
                                          control::Caller caller) {
    auto filter = filter_of(request);
    if (!filter) co_return Answer{filter.error().code, filter.error().text, {}};
    std::string to;
    if (action == queue::AdminAction::reroute) {
        to = next_hop_of(text_of(request, "to"));
        if (to.empty())
            co_return refusal(
                "--to " + printable(text_of(request, "to")) +
                ": wanted is a domain, or an address such as [192.0.2.1] or [IPv6:2001:db8::1]");
    }
    if (action == queue::AdminAction::retry) forget_backoffs_();
    std::function<asio::awaitable<void>(queue::ActionCount)> tell;
    if (caller.tell)
        tell = [&caller](const queue::ActionCount& so_far) { return caller.tell(to_json(so_far)); };
    const auto done =
        co_await queue_.act(action, std::move(*filter), name_of(caller), std::move(to), std::move(tell));
    if (!done) co_return Answer{ExitCode::internal, done.error().text, {}};
    Answer answer{ExitCode::done, "", to_json(*done)};
    const auto* quiet = request.if_contains("quiet");
    if (done->messages == 0 && !(quiet != nullptr && quiet->is_bool() && quiet->as_bool())) {
        answer.code = ExitCode::no;
        answer.text = done->held + done->sender_suspended == 0 ? "nothing in the queue matches"
                      : done->sender_suspended > 0
                          ? "what matches is on hold since its sender is suspended: \"sternpost queue resume "
                            "--sender\" ends that"
                          : "what matches is on hold: \"sternpost queue release\" ends that";
    }
    co_return answer;
}

asio::awaitable<Answer> QueueAnswers::suspend(json::object request, std::string who, bool ended) {
    store::StoredSuspension wanted;
    const std::string sender = text_of(request, "sender");
    wanted.kind = sender.empty() ? store::SuspensionKind::next_hop : store::SuspensionKind::sender;
    if (!sender.empty()) {
        auto scope = store::parse_sender_scope(sender, util::uid_of_login);
        if (!scope) co_return Answer{ExitCode::usage, unknown_sender(sender), {}};
        wanted.scope = std::move(*scope);
    }
    if (wanted.kind == store::SuspensionKind::next_hop) {
        const std::string domain = lowered(text_of(request, "domain"));
        const bool below = domain.starts_with('.');
        const std::string name = next_hop_of(below ? domain.substr(1) : domain);
        if (name.empty() || (below && name.starts_with('[')))
            co_return refusal("--domain " + printable(domain) +
                              ": wanted is a next hop such as example.com, .example.com or [192.0.2.1]");
        wanted.scope = (below ? "." : "") + name;
    }
    wanted.reason = text_of(request, "reason");
    wanted.author = std::move(who);
    wanted.set = clock_.wall();
    wanted.ended = ended;
    const auto all = queue_.core().suspensions().list();
    const bool there = std::any_of(all.begin(), all.end(), [&](const store::StoredSuspension& one) {
        return one.kind == wanted.kind && one.scope == wanted.scope;
    });
    if (ended && !there) co_return refusal(printable(wanted.scope) + " is not suspended");
    if (!ended && wanted.reason.empty())
        co_return refusal("--reason is needed: why, for those who come after you");
    const auto done = co_await queue_.suspend(wanted);
    if (!done) co_return Answer{ExitCode::internal, done.error().text, {}};
    json::object out = control::to_json(wanted);
    out["messages"] = done->messages;  // put on hold, or released
    if (wanted.kind == store::SuspensionKind::next_hop) {
        const auto waiting = co_await waiting_for(wanted.scope);
        if (!waiting) co_return Answer{ExitCode::internal, waiting.error().text, {}};
        out["recipients"] = *waiting;
    }
    co_return Answer{ExitCode::done, "", std::move(out)};
}

}  // namespace sternpost::cmd
