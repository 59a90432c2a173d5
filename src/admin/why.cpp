#include "admin/why.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <tuple>

#include "delivery/advice.h"
#include "store/hop_group.h"
#include "util/text.h"

namespace sternpost::admin {
namespace {

WhyAnswer answer_of(const delivery::WhyFacts& facts) {
    WhyAnswer out;
    out.id = facts.message.id.text();
    out.in_queue = facts.in_queue;
    out.arrived = facts.message.arrived;
    out.clock_trusted = facts.clock_trusted;
    out.writes_as = facts.writes_as;
    for (const auto& r : delivery::recipients_of(facts))
        out.recipients.push_back({r.path, r.state, r.status, std::string(name_of(r.reason_code)), r.blocks,
                                  r.next_at, r.unblocks, r.move});
    for (const auto& entry : facts.history) out.attempts.push_back(admin::row_of(entry));
    out.lines = delivery::lines_of(facts);
    return out;
}

}  // namespace

// ---- why

HistoryRow row_of(const store::HistoryEntry& entry) {
    HistoryRow out;
    out.at = entry.at;
    const store::AttemptDetail* detail = nullptr;
    if (const auto* result = std::get_if<store::DeliveryResult>(&entry.what)) {
        out.recipient = result->recipient;
        out.status = result->status;
        out.reason = result->text;
        out.mx_host = result->mx_host;
        out.mx_address = result->mx_address;
        out.tls = result->tls;
        out.policy = result->policy;
        out.code = name_of(result->reason_code);
        detail = &result->detail;
    } else if (const auto* hop = std::get_if<store::HopState>(&entry.what)) {
        out.next_hop = hop->next_hop;
        out.failures = hop->failures;
        out.status = hop->status;
        out.reason = hop->text;
        out.code = name_of(hop->reason_code);
        detail = &hop->detail;
    } else if (const auto* act = std::get_if<store::Act>(&entry.what)) {
        out.act = static_cast<int>(act->kind);
        out.who = act->who;
    }
    if (detail != nullptr) {
        out.hosts = detail->hosts;
        out.dialogue = detail->dialogue;
    }
    return out;
}

Why::Why(Request request, const Caller&, Paging) : id_(std::move(request.id)) {
    if (!store::MessageId::parse(id_)) refused_ = refusal("\"" + printable(id_) + "\" is not a queue id");
}

store::Result<void> Why::read(store::Questions& questions) {
    store::HistoryFilter of_message;
    of_message.id = id_;
    auto history = questions.history(of_message);
    if (!history) return fail(std::move(history).error());
    store::QueueFilter in_queue;
    in_queue.ids.push_back(store::MessageId::parse(id_).value());
    auto found = questions.find(in_queue);
    if (!found) return fail(std::move(found).error());
    facts_.in_queue = !found->empty();
    found_ = facts_.in_queue || !history->messages.empty();
    if (!found_) return {};
    facts_.message = std::move(facts_.in_queue ? found->front() : history->messages.front());
    facts_.history = std::move(history->entries);
    store::HopFilter of_hops;
    for (std::size_t n = 0; n < facts_.message.recipients.size(); ++n)
        of_hops.names.push_back(store::hop_of(facts_.message, n));
    if (of_hops.names.empty()) return {};
    const auto loads = questions.hops(of_hops);
    if (!loads) return fail(loads.error());
    for (const auto& load : *loads) hops_.push_back(load.state);
    return {};
}

Answer<WhyAnswer> Why::answer(const Live& live) {
    if (!found_) return refusal("no message " + id_ + " is in the queue, nor in the history that is kept");
    facts_.now = live.now();
    facts_.clock_trusted = live.clock_trusted();
    facts_.running = live.running();
    facts_.writes_as = live.writes_as(facts_.message);
    if (facts_.in_queue || live.running()) facts_.blocked = live.blocked_by(facts_.message, hops_);
    for (const auto& recipient : facts_.message.recipients)
        for (const auto& one : live.overrides_for(recipient.address.next_hop))
            if (std::find(facts_.overrides.begin(), facts_.overrides.end(), one) == facts_.overrides.end())
                facts_.overrides.push_back(one);
    facts_.deadline = facts_.message.arrived + live.schedule().lifetime_of(facts_.message.message_class);
    return answer_of(facts_);
}

// ---- what if

void HeldByPolicy::add(const store::HopLoad& load) {
    if (load.state.failures == 0 || !delivery::advice_for(load.state.reason_code, "").by_policy) return;
    if (hops_.size() < max_hops)
        hops_.push_back({load.state, load.recipients, {}, false});
    else
        ++others_;
}

store::QueueFilter HeldByPolicy::mail_of(const Hop& hop) {
    store::QueueFilter out;
    out.domain = store::HopGroup::parse(hop.state.next_hop).next_hop;
    out.limit = max_ids + 1;
    return out;
}

void HeldByPolicy::name(Hop& hop, const std::vector<store::StoredMessage>& found) {
    hop.more = found.size() > max_ids;
    for (const auto& message : found) {
        bool waits = false;
        for (std::size_t n = 0; n < message.recipients.size(); ++n)
            waits = waits || (message.recipients[n].state == store::RecipientState::queued &&
                              store::hop_of(message, n) == hop.state.next_hop);
        if (waits && hop.ids.size() < max_ids) hop.ids.push_back(message.id.text());
    }
}

WhatIfAnswer what_if(const std::vector<store::StoredOutcome>& outcomes, const HeldByPolicy& held,
                     std::chrono::sys_days since) {
    std::map<std::tuple<std::string, std::string, std::string, std::string>, std::uint64_t> failing;
    std::map<std::string, std::string> unknown;  // domains whose policy could not be had, and why
    WhatIfAnswer out;
    for (const auto& row : outcomes) {
        const auto& o = row.outcome;
        const bool open = o.policy_type == store::PolicyType::no_policy_found || o.mode == "testing";
        if (o.count == store::OutcomeCount::detail && o.policy_type == store::PolicyType::sts &&
            !o.result_type.empty())
            unknown[o.domain] = o.result_type;
        if (!open || o.count == store::OutcomeCount::detail) continue;
        out.sessions += row.n;
        if (o.if_enforced.empty()) continue;
        failing[{o.domain, o.mode.empty() ? "none" : o.mode, o.mx_host, o.if_enforced}] += row.n;
    }
    out.lines.push_back(fmt::format("since {}: {} session(s) to domains that enforce no policy",
                                    rfc3339(WallTime(since)), out.sessions));
    for (const auto& [key, n] : failing) {
        const auto& [domain, mode, host, code] = key;
        out.would_fail.push_back({domain, mode, host, code, n});
        out.lines.push_back(fmt::format("  {} ({}): {} session(s) with {} would have failed: {}", domain,
                                        mode == "none" ? "no policy" : "policy in mode " + mode, n,
                                        host.empty() ? "no host" : host, code));
    }
    for (const auto& [domain, why] : unknown) {
        out.unknown.push_back({domain, why});
        out.lines.push_back(fmt::format(
            "  {}: its policy could not be had ({}), so what it would demand is unknown", domain, why));
    }
    if (failing.empty() && unknown.empty() && out.sessions > 0)
        out.lines.emplace_back("  all of them would have gone if a policy had been enforced");
    for (const auto& hop : held.hops()) {
        HeldRow row{hop.state.next_hop,
                    std::string(name_of(hop.state.reason_code)),
                    hop.state.text,
                    hop.recipients,
                    {},
                    hop.ids};
        if (!hop.more) row.messages = hop.ids.size();
        out.lines.push_back(
            fmt::format("held now by nothing but a policy: mail to {} recipient(s) at {} ({})",
                        hop.recipients, hop.state.next_hop, row.code));
        out.lines.push_back("  " + printable(hop.state.text, 1000));
        for (const auto& id : hop.ids) out.lines.push_back("  " + id);
        if (hop.more)
            out.lines.push_back("  and more: \"sternpost queue list --domain " +
                                store::HopGroup::parse(hop.state.next_hop).next_hop + "\" lists all of it");
        out.held.push_back(std::move(row));
    }
    out.held_others = held.others();
    if (held.others() > 0)
        out.lines.push_back(
            fmt::format("{} more next hop(s) are held by nothing but a policy", held.others()));
    return out;
}

WhatIf::WhatIf(const Request& request, const Caller&, Paging) {
    const auto span = parse_duration(request.since.empty() ? "7d" : request.since);
    if (span)
        span_ = *span;
    else
        refused_ =
            misused("--since " + printable(request.since) + ": wanted is a duration such as 7d or 12h");
    more_ = true;
}

// The counters first, then the next hops page by page, then the mail of each that is held.
store::Result<void> WhatIf::read(store::Questions& questions) {
    if (step_ == Step::hops) {
        if (!filter_.after) {
            auto outcomes = questions.outcomes({.from = from_, .domain = {}});
            if (!outcomes) return fail(std::move(outcomes).error());
            outcomes_ = std::move(*outcomes);
        }
        auto page = questions.hops(filter_);
        if (!page) return fail(std::move(page).error());
        page_ = std::move(*page);
    } else if (step_ == Step::mail && named_ < held_.hops().size()) {
        auto& hop = held_.hops()[named_++];
        const auto found = questions.find(HeldByPolicy::mail_of(hop));
        if (!found) return fail(found.error());
        HeldByPolicy::name(hop, *found);
    }
    return {};
}

void WhatIf::look(const Live& live) {
    switch (step_) {
        case Step::begin:
            from_ = std::chrono::floor<std::chrono::days>(live.now() - span_);
            step_ = Step::hops;
            break;
        case Step::hops:
            for (const auto& load : page_) {  // of what is in memory, memory knows better than the store
                const auto view = live.hop(load.state.next_hop);
                if (!view || view->next_at) held_.add(load);
            }
            if (page_.size() < filter_.limit) {
                step_ = Step::mail;
                break;
            }
            filter_.after = store::HopKey{page_.back().recipients, page_.back().state.next_hop};
            break;
        case Step::mail:
            break;
    }
    more_ = step_ != Step::mail || named_ < held_.hops().size();
}

}  // namespace sternpost::admin
