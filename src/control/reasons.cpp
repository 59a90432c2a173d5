#include "control/reasons.h"

#include <fmt/format.h>

#include <map>
#include <tuple>

#include "delivery/advice.h"
#include "store/hop_group.h"
#include "sts/advice.h"
#include "util/text.h"

namespace sternpost::control {
json::array to_json(const std::vector<std::string>& lines) {
    json::array out;
    for (const auto& line : lines) out.emplace_back(line);
    return out;
}

json::object to_json(const delivery::WhyFacts& facts) {
    json::object out;
    out["id"] = facts.message.id.text();
    out["in_queue"] = facts.in_queue;
    out["arrived"] = rfc3339(facts.message.arrived);
    out["clock_trusted"] = facts.clock_trusted;
    out["writes_as"] = facts.writes_as;
    json::array recipients;
    for (const auto& r : delivery::recipients_of(facts)) {
        json::object one;
        one["path"] = r.path;
        one["state"] = r.state;
        one["status"] = r.status;
        one["code"] = name_of(r.reason_code);
        one["blocks"] = r.blocks;
        if (r.next_at) one["next_at"] = rfc3339(*r.next_at);
        one["unblocks"] = r.unblocks;
        one["move"] = r.move;
        recipients.push_back(std::move(one));
    }
    out["recipients"] = std::move(recipients);
    json::array attempts;
    for (const auto& entry : facts.history) {
        json::object one;
        one["at"] = rfc3339(entry.at);
        const store::AttemptDetail* detail = nullptr;
        if (const auto* result = std::get_if<store::DeliveryResult>(&entry.what)) {
            one["recipient"] = result->recipient;
            one["status"] = result->status;
            one["reason"] = result->text;
            one["mx_host"] = result->mx_host;
            one["mx_address"] = result->mx_address;
            one["tls"] = result->tls;
            one["policy"] = result->policy;
            one["code"] = name_of(result->reason_code);
            detail = &result->detail;
        } else if (const auto* hop = std::get_if<store::HopState>(&entry.what)) {
            one["next_hop"] = hop->next_hop;
            one["failures"] = hop->failures;
            one["status"] = hop->status;
            one["reason"] = hop->text;
            one["code"] = name_of(hop->reason_code);
            detail = &hop->detail;
        } else if (const auto* act = std::get_if<store::Act>(&entry.what)) {
            one["act"] = static_cast<int>(act->kind);
            one["who"] = act->who;
        }
        if (detail != nullptr) {
            one["hosts"] = to_json(detail->hosts);
            one["dialogue"] = detail->dialogue;
        }
        attempts.push_back(std::move(one));
    }
    out["attempts"] = std::move(attempts);
    out["lines"] = to_json(delivery::lines_of(facts));
    return out;
}

json::object to_json(const store::StoredOverride& o, bool configured, WallTime now) {
    json::object out;
    out["scope"] = o.scope;
    out["level"] = o.level;
    out["reason"] = o.reason;
    out["author"] = o.author;
    out["from"] = configured ? "configuration" : "command";
    if (o.set != WallTime{}) out["set"] = rfc3339(o.set);
    if (o.expires != WallTime{}) out["expires"] = rfc3339(o.expires);
    out["expired"] = o.expires != WallTime{} && o.expires <= now;
    return out;
}

json::object to_json(const store::StoredAlarm& alarm) {
    json::object out;
    out["kind"] = alarm.kind;
    out["subject"] = alarm.subject;
    out["reason"] = alarm.text;
    out["first"] = rfc3339(alarm.first);
    out["last"] = rfc3339(alarm.last);
    out["count"] = alarm.count;
    return out;
}

json::object to_json(const store::PolicyVersion& version) {
    json::object out;
    out["id"] = version.id;
    out["first_seen"] = rfc3339(version.first_seen);
    out["last_seen"] = rfc3339(version.last_seen);
    out["fingerprint"] = version.fingerprint;
    out["text"] = version.text;
    return out;
}

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

json::object what_if(const std::vector<store::StoredOutcome>& outcomes, const HeldByPolicy& held,
                     std::chrono::sys_days since) {
    std::map<std::tuple<std::string, std::string, std::string, std::string>, std::uint64_t> failing;
    std::map<std::string, std::string> unknown;  // domains whose policy could not be had, and why
    std::uint64_t sessions = 0;
    for (const auto& row : outcomes) {
        const auto& o = row.outcome;
        const bool open = o.policy_type == store::PolicyType::no_policy_found || o.mode == "testing";
        if (o.count == store::OutcomeCount::detail && o.policy_type == store::PolicyType::sts &&
            !o.result_type.empty())
            unknown[o.domain] = o.result_type;
        if (!open || o.count == store::OutcomeCount::detail) continue;
        sessions += row.n;
        if (o.if_enforced.empty()) continue;
        failing[{o.domain, o.mode.empty() ? "none" : o.mode, o.mx_host, o.if_enforced}] += row.n;
    }
    json::object out;
    json::array rows;
    std::vector<std::string> lines;
    lines.push_back(fmt::format("since {}: {} session(s) to domains that enforce no policy",
                                rfc3339(WallTime(since)), sessions));
    for (const auto& [key, n] : failing) {
        const auto& [domain, mode, host, code] = key;
        json::object one;
        one["domain"] = domain;
        one["mode"] = mode;
        one["mx_host"] = host;
        one["code"] = code;
        one["sessions"] = n;
        rows.push_back(std::move(one));
        lines.push_back(fmt::format("  {} ({}): {} session(s) with {} would have failed: {}", domain,
                                    mode == "none" ? "no policy" : "policy in mode " + mode, n,
                                    host.empty() ? "no host" : host, code));
    }
    json::array not_known;
    for (const auto& [domain, why] : unknown) {
        json::object one;
        one["domain"] = domain;
        one["result_type"] = why;
        not_known.push_back(std::move(one));
        lines.push_back(fmt::format(
            "  {}: its policy could not be had ({}), so what it would demand is unknown", domain, why));
    }
    out["unknown"] = std::move(not_known);
    if (failing.empty() && unknown.empty() && sessions > 0)
        lines.emplace_back("  all of them would have gone if a policy had been enforced");
    out["sessions"] = sessions;
    out["would_fail"] = std::move(rows);
    json::array held_rows;
    for (const auto& hop : held.hops()) {
        const std::string_view code = name_of(hop.state.reason_code);
        json::object one;
        one["next_hop"] = hop.state.next_hop;
        one["code"] = code;
        one["reason"] = hop.state.text;
        one["recipients"] = hop.recipients;
        if (!hop.more) one["messages"] = hop.ids.size();
        one["ids"] = to_json(hop.ids);
        held_rows.push_back(std::move(one));
        lines.push_back(fmt::format("held now by nothing but a policy: mail to {} recipient(s) at {} ({})",
                                    hop.recipients, hop.state.next_hop, code));
        lines.push_back("  " + printable(hop.state.text, 1000));
        for (const auto& id : hop.ids) lines.push_back("  " + id);
        if (hop.more)
            lines.push_back("  and more: \"sternpost queue list --domain " +
                            store::HopGroup::parse(hop.state.next_hop).next_hop + "\" lists all of it");
    }
    if (held.others() > 0)
        lines.push_back(fmt::format("{} more next hop(s) are held by nothing but a policy", held.others()));
    out["held"] = std::move(held_rows);
    out["held_others"] = held.others();
    out["lines"] = to_json(lines);
    return out;
}

Answer history_of(const std::string& domain, const std::vector<store::PolicyVersion>& versions) {
    json::object data;
    data["domain"] = domain;
    json::array all;
    std::vector<std::string> lines;
    const store::PolicyVersion* before = nullptr;
    for (const auto& version : versions) {
        all.push_back(to_json(version));
        lines.push_back("id " + version.id + ", first seen " + rfc3339(version.first_seen) + ", last seen " +
                        rfc3339(version.last_seen));
        lines.push_back("  served under the certificate with SHA-256 " + version.fingerprint);
        for (const auto& line : sts::diff(before == nullptr ? "" : before->text, version.text))
            lines.push_back("  " + printable(line, 1000));
        before = &version;
    }
    data["versions"] = std::move(all);
    data["lines"] = to_json(lines);
    return {ExitCode::done, "", std::move(data)};
}

}  // namespace sternpost::control
