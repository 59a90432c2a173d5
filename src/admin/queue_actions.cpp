#include "admin/queue_actions.h"

#include <algorithm>

#include "store/ask.h"
#include "store/hop_group.h"
#include "store/sender_scope.h"
#include "util/login.h"
#include "util/text.h"

namespace sternpost::admin {
namespace {

constexpr std::size_t hops_looked_at = 10'000;  // ours: that are looked at to say how much a suspension stops

ActionRow row_of(const queue::ActionCount& done) {
    return {done.messages,         done.recipients,   done.active,    done.held,
            done.sender_suspended, done.results_wait, done.suspended, false};
}

std::string why_nothing_matched(const queue::ActionCount& done) {
    if (done.held + done.sender_suspended == 0) return "nothing in the queue matches";
    if (done.sender_suspended > 0)
        return "what matches is on hold since its sender is suspended: \"sternpost queue resume --sender\" "
               "ends that";
    return "what matches is on hold: \"sternpost queue release\" ends that";
}

// What a suspension is for; the error is for people.
Expected<store::StoredSuspension, ExitCode> suspension_of(const SuspendRequest& request) {
    store::StoredSuspension out;
    out.kind = request.sender.empty() ? store::SuspensionKind::next_hop : store::SuspensionKind::sender;
    out.reason = request.reason;
    if (!request.sender.empty()) {
        auto scope = store::parse_sender_scope(request.sender, util::uid_of_login);
        if (!scope) return fail(ExitCode::usage, unknown_sender(request.sender).text);
        out.scope = std::move(*scope);
        return out;
    }
    const std::string domain = lowered(request.domain);
    const bool below = domain.starts_with('.');
    const std::string name = next_hop_of(below ? domain.substr(1) : domain);
    if (name.empty() || (below && name.starts_with('[')))
        return fail(ExitCode::no,
                    "--domain " + printable(domain) +
                        ": wanted is a next hop such as example.com, .example.com or [192.0.2.1]");
    out.scope = (below ? "." : "") + name;
    return out;
}

}  // namespace

asio::awaitable<Answer<ActionRow>> QueueActions::act(queue::AdminAction action, ActionRequest request,
                                                     Caller caller, Tell tell) {
    auto filter = filter_of(request);
    if (!filter) co_return Refusal{filter.error().code, filter.error().text};
    std::string to;
    if (action == queue::AdminAction::reroute) {
        to = next_hop_of(request.to);
        if (to.empty())
            co_return refusal(
                "--to " + printable(request.to) +
                ": wanted is a domain, or an address such as [192.0.2.1] or [IPv6:2001:db8::1]");
    }
    if (action == queue::AdminAction::retry && !request.dry_run) forget_backoffs_();
    std::function<asio::awaitable<void>(queue::ActionCount)> told;
    if (tell) told = [&tell](const queue::ActionCount& so_far) { return tell(row_of(so_far)); };
    queue::AdminOrder order{action, std::move(*filter), caller.name(), std::move(to), request.dry_run};
    const auto done = co_await queue_.act(std::move(order), std::move(told));
    if (!done) co_return done.error();
    ActionRow row = row_of(*done);
    row.dry_run = request.dry_run;
    if (done->messages == 0 && !request.quiet)
        co_return Answer<ActionRow>(row, ExitCode::no, why_nothing_matched(*done));
    co_return row;
}

// Recipients that wait for a next hop, or for those under a domain.
asio::awaitable<store::Result<std::uint64_t>> QueueActions::waiting_for(std::string scope) {
    store::HopFilter filter;
    filter.limit = hops_looked_at;
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

asio::awaitable<Answer<SuspensionDone>> QueueActions::suspend(SuspendRequest request, Caller caller,
                                                              bool ended) {
    auto wanted = suspension_of(request);
    if (!wanted) co_return Refusal{wanted.error().code, wanted.error().text};
    wanted->author = caller.name();
    wanted->set = clock_.wall();
    wanted->ended = ended;
    const auto all = queue_.core().suspensions().list();
    const bool there = std::any_of(all.begin(), all.end(), [&](const store::StoredSuspension& one) {
        return one.kind == wanted->kind && one.scope == wanted->scope;
    });
    if (ended && !there) co_return refusal(printable(wanted->scope) + " is not suspended");
    if (!ended && wanted->reason.empty())
        co_return refusal("--reason is needed: why, for those who come after you");
    const auto done = co_await queue_.suspend(*wanted);
    if (!done) co_return done.error();
    SuspensionDone out{admin::row_of(*wanted), done->messages, {}};
    if (wanted->kind == store::SuspensionKind::next_hop) {
        const auto waiting = co_await waiting_for(wanted->scope);
        if (!waiting) co_return waiting.error();
        out.recipients = *waiting;
    }
    co_return out;
}

}  // namespace sternpost::admin
