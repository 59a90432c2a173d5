// What Core shows of itself: to people, and to those who look for what is in the way.
#include <algorithm>

#include "queue/core.h"
#include "store/hop_group.h"

namespace sternpost::queue {

std::vector<Blocked> Core::blocked_by(const store::StoredMessage& found, Now now,
                                      const std::vector<store::HopState>& stored) const {
    std::vector<Blocked> out(found.recipients.size());
    const auto known = messages_.find(found.id);
    const store::StoredSuspension* of_sender = suspensions_.of_sender(found);
    for (std::uint32_t n = 0; n < found.recipients.size(); ++n) {
        if (found.recipients[n].state != store::RecipientState::queued) continue;
        const std::string hop_name = store::hop_of(found, n);
        ObstacleFacts facts;
        facts.now = now.wall;
        facts.results_wait = refused_ > 0;
        facts.of_sender = of_sender;
        facts.of_hop = suspensions_.of_hop(hop_name);
        store::HopState state;
        if (const auto at = hops_.find(hop_name); at != hops_.end()) {
            const Hop& hop = at->second;
            state.failures = hop.failures;
            state.at = hop.failed_at;
            state.next_at = hop.next_wall;
            state.status = hop.status;
            state.text = hop.text;
            state.reason_code = hop.reason_code;
            facts.hop = &state;
            facts.no_connection = !waits_after_failure(hop, now) &&
                                  (hop.next_at > now.steady || (hop.lanes == 0 && lanes_.full()));
            facts.in_line = hop.lanes > 0 && !hop.ready.empty() && !wants_lane(hop_name, hop, now);
        } else {
            for (const auto& one : stored)
                if (one.next_hop == hop_name) facts.hop = &one;
        }
        facts.in_line = facts.in_line || (known == messages_.end() && is_full());
        if (known != messages_.end()) {
            const auto unit = known->second.units.find(hop_name);
            const bool waits = unit != known->second.units.end() &&
                               std::find(unit->second.waiting.begin(), unit->second.waiting.end(), n) !=
                                   unit->second.waiting.end();
            facts.in_attempt = !waits;  // or its result is being recorded
        }
        out[n] = queue::blocked_by(found, n, facts);
    }
    return out;
}

MessagePtr Core::message(store::MessageId id) const {
    const auto known = messages_.find(id);
    return known == messages_.end() ? nullptr : known->second.stored;
}

HopView Core::view_of(const std::string& name, const Hop& hop) {
    HopView view{name,         hop.ready.size(), hop.sleeping.size(), hop.lanes,      hop.failures,
                 std::nullopt, hop.text,         hop.status,          hop.reason_code};
    if (hop.failures > 0) view.next_at = hop.next_wall;
    view.idle = hop.lanes == 0 && hop.loaded == 0 && !hop.changed && hop.told == SteadyTime::min();
    return view;
}

std::vector<HopView> Core::hops() const {
    std::vector<HopView> out;
    for (const auto& [name, hop] : hops_) out.push_back(view_of(name, hop));
    std::sort(out.begin(), out.end(), [](const HopView& a, const HopView& b) { return a.name < b.name; });
    return out;
}

std::optional<HopView> Core::hop_view(const std::string& name) const {
    const auto known = hops_.find(name);
    return known == hops_.end() ? std::nullopt : std::optional(view_of(name, known->second));
}

std::set<std::string> Core::hops_in_use() const {
    std::set<std::string> out;
    for (const auto& [name, hop] : hops_)
        if (hop.lanes > 0 || hop.failures > 0) out.insert(name);
    return out;
}

store::QueueTotals Core::in_memory() const {
    store::QueueTotals out;
    for (const auto& [id, message] : messages_) {
        if (message.removed) continue;
        ++out.messages;
        out.recipients += message.unfinished;
        out.octets += message.stored->body.size;
        if (!out.oldest || message.stored->arrived < *out.oldest) out.oldest = message.stored->arrived;
    }
    return out;
}

}  // namespace sternpost::queue
