#include "delivery/why.h"

#include <fmt/format.h>

#include <algorithm>

#include "delivery/advice.h"
#include "store/hop_group.h"
#include "util/text.h"

namespace sternpost::delivery {
namespace {

constexpr std::size_t max_attempts = 50;  // ours: what a person reads; --json has them all

std::string in(WallTime when, WallTime now) {
    return when > now ? "in " + human_span(when - now) : "now";
}

// Nothing is tried for any of its recipients until an administrator ends that.
bool held_back(const WhyFacts& facts) {
    bool any = false;
    for (std::size_t n = 0; n < facts.message.recipients.size(); ++n) {
        if (facts.message.recipients[n].state != store::RecipientState::queued) continue;
        if (!queue::is_held_back(facts.blocked[n].what)) return false;
        any = true;
    }
    return any;
}

// The last word of the history on this recipient.
const store::DeliveryResult* last_result(const WhyFacts& facts, std::size_t n) {
    const store::DeliveryResult* out = nullptr;
    for (const auto& entry : facts.history)
        if (const auto* result = std::get_if<store::DeliveryResult>(&entry.what))
            if (result->message == facts.message.id && result->recipient == n) out = result;
    return out;
}

void tell_detail(const store::AttemptDetail& detail, const std::string& indent,
                 std::vector<std::string>& out) {
    for (const auto& host : detail.hosts) out.push_back(indent + "- " + host);
}

void tell_history(const WhyFacts& facts, std::vector<std::string>& out) {
    if (facts.history.empty()) {
        out.emplace_back("attempts: none so far");
        return;
    }
    out.emplace_back("attempts:");
    const std::size_t skip = facts.history.size() > max_attempts ? facts.history.size() - max_attempts : 0;
    if (skip > 0) out.push_back(fmt::format("  ({} earlier ones left out)", skip));
    for (std::size_t i = skip; i < facts.history.size(); ++i) {
        const auto& entry = facts.history[i];
        if (const auto* result = std::get_if<store::DeliveryResult>(&entry.what)) {
            const auto n = result->recipient;
            const std::string to = n < facts.message.recipients.size()
                                       ? facts.message.recipients[n].address.recipient.path.text()
                                       : "?";
            std::string where = result->mx_host;
            if (!result->mx_address.empty()) where += "[" + result->mx_address + "]";
            out.push_back(fmt::format(
                "  {} <{}> {} {}{}{}", rfc3339(entry.at), printable(to),
                result->state == store::RecipientState::queued ? "deferred" : store::name_of(result->state),
                result->status, where.empty() ? "" : " at " + where,
                result->tls.empty() ? "" : " over " + result->tls));
            out.push_back("    " + printable(result->text, 1000));
            tell_detail(result->detail, "    ", out);
        } else if (const auto* hop = std::get_if<store::HopState>(&entry.what)) {
            if (hop->failures == 0) continue;
            out.push_back(fmt::format("  {} next hop {} failed, {} time(s) in a row: {}", rfc3339(entry.at),
                                      hop->next_hop, hop->failures, hop->status));
            if (hop->detail.hosts.empty())
                out.push_back("    " + printable(hop->text, 1000));
            else
                tell_detail(hop->detail, "    ", out);
        } else if (const auto* act = std::get_if<store::Act>(&entry.what)) {
            out.push_back(fmt::format("  {} {}{}", rfc3339(entry.at), name_of(act->kind),
                                      act->who.empty() ? "" : " by " + act->who));
        }
    }
}

void tell_dialogue(const WhyFacts& facts, std::vector<std::string>& out) {
    const std::string* dialogue = nullptr;
    for (const auto& entry : facts.history) {
        const store::AttemptDetail* detail = nullptr;
        if (const auto* result = std::get_if<store::DeliveryResult>(&entry.what)) detail = &result->detail;
        if (const auto* hop = std::get_if<store::HopState>(&entry.what)) detail = &hop->detail;
        if (detail != nullptr && !detail->dialogue.empty()) dialogue = &detail->dialogue;
    }
    if (dialogue == nullptr) return;
    out.emplace_back("what was said in the last session that failed:");
    for (const auto line : split(*dialogue, '\n'))
        if (!line.empty()) out.push_back("  " + printable(line, 300));
}

}  // namespace

std::vector<WhyRecipient> recipients_of(const WhyFacts& facts) {
    std::vector<WhyRecipient> out;
    for (std::size_t n = 0; n < facts.message.recipients.size(); ++n) {
        const store::StoredRecipient& r = facts.message.recipients[n];
        WhyRecipient one;
        one.path = r.address.recipient.path.text();
        one.state = store::name_of(r.state);
        one.status = r.status;
        const auto* last = last_result(facts, n);
        if (last != nullptr) one.reason_code = last->reason_code;
        if (!facts.in_queue || r.state != store::RecipientState::queued) {
            if (r.state == store::RecipientState::bounced && one.reason_code != store::ReasonCode::none) {
                const Advice advice = advice_for(one.reason_code, r.address.next_hop);
                one.unblocks = advice.unblocks;
                one.move = advice.move;
            }
            out.push_back(std::move(one));
            continue;
        }
        const queue::Blocked& now = facts.blocked[n];
        one.blocks = now.text;
        one.next_at = now.until;
        // an attempt that failed for this recipient alone has its code in the history
        if (now.what != queue::Obstacle::schedule || now.code != store::ReasonCode::none)
            one.reason_code = now.code;
        if (now.what != queue::Obstacle::none && now.what != queue::Obstacle::due) one.status = now.status;
        one.under_way = now.what == queue::Obstacle::none;
        if (!one.blocks.empty()) {
            const Advice advice = advice_for(one.reason_code, r.address.next_hop);
            one.unblocks = advice.unblocks;
            one.move = advice.move;
        }
        out.push_back(std::move(one));
    }
    return out;
}

std::vector<std::string> lines_of(const WhyFacts& facts) {
    std::vector<std::string> out;
    const auto& message = facts.message;
    const std::string from =
        message.envelope.reverse_path.is_null() ? "<>" : "<" + message.envelope.reverse_path.text() + ">";
    const std::string age = human_span(std::max(facts.now - message.arrived, std::chrono::microseconds(0))) +
                            (facts.in_queue ? "" : " ago");
    out.push_back(fmt::format("{} from {}: {} {} ({})", message.id.text(), printable(from),
                              facts.in_queue ? "in the queue since" : "no longer in the queue; it arrived at",
                              rfc3339(message.arrived), age));
    if (message.envelope.requiretls) out.emplace_back("  its sender demands TLS all the way (REQUIRETLS)");
    if (message.envelope.tls_required_no)
        out.emplace_back("  its sender waives DANE and MTA-STS (TLS-Required: No)");
    if (!facts.writes_as.empty()) out.push_back("  " + facts.writes_as);
    for (const WhyRecipient& r : recipients_of(facts)) {
        if (r.state != "queued" || !facts.in_queue) {
            out.push_back(fmt::format("to <{}>: {}{}", printable(r.path), r.state,
                                      r.status.empty() ? "" : " " + r.status));
            if (!r.unblocks.empty()) {
                out.push_back("  what would let it through, sent again: " + r.unblocks);
                out.push_back("  whose move: " + r.move);
            }
            continue;
        }
        if (r.blocks.empty()) {
            out.push_back(
                fmt::format("to <{}>: {}", printable(r.path),
                            r.under_way ? "an attempt is under way" : "an attempt is about to begin"));
            continue;
        }
        out.push_back(
            fmt::format("to <{}>: waits{}", printable(r.path), r.status.empty() ? "" : " " + r.status));
        out.push_back("  what blocks: " + printable(r.blocks, 1000));
        if (r.next_at)
            out.push_back(
                fmt::format("  next attempt: {} ({})", rfc3339(*r.next_at), in(*r.next_at, facts.now)));
        out.push_back("  what would unblock it: " + r.unblocks);
        out.push_back("  whose move: " + r.move);
    }
    if (facts.in_queue && !facts.running)
        out.emplace_back("the daemon is down: nothing is tried until it runs again");
    if (facts.in_queue) {
        if (held_back(facts)) {
            out.push_back(fmt::format(
                "its lifetime ends at {} ({}), but it is not given up as long as no attempt may begin",
                rfc3339(facts.deadline), in(facts.deadline, facts.now)));
        } else if (facts.clock_trusted) {
            out.push_back(fmt::format("it is given up after an attempt at {} ({})", rfc3339(facts.deadline),
                                      in(facts.deadline, facts.now)));
        } else {
            const Advice advice = advice_for(store::ReasonCode::clock, "");
            out.emplace_back(
                "the clock of this machine jumped, or is earlier than queued mail: nothing expires");
            out.push_back("  what would mend that: " + advice.unblocks);
            out.push_back("  whose move: " + advice.move);
        }
    }
    for (const auto& o : facts.overrides)
        out.push_back(fmt::format("override in force: \"{}\" for {} ({}; set by {}{})", o.level, o.scope,
                                  printable(o.reason), printable(o.author),
                                  o.expires == WallTime{}
                                      ? "; it does not expire"
                                      : "; ends at " + rfc3339(o.expires) + ", " + in(o.expires, facts.now)) +
                      (facts.in_queue ? "; the next attempt goes by it" : ""));
    tell_history(facts, out);
    tell_dialogue(facts, out);
    return out;
}

}  // namespace sternpost::delivery
