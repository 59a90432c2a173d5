#include "store/sqlite/mail_tally.h"

#include <algorithm>
#include <chrono>

#include "store/fair_order.h"
#include "store/hop_group.h"
#include "util/text.h"

namespace sternpost::store {
namespace {

std::int64_t hour_of(WallTime when) {
    return std::chrono::floor<std::chrono::hours>(when).time_since_epoch().count();
}

std::string domain_of(const mail::ReversePath& path) {
    if (path.is_null()) return "<>";
    const std::string text = path.text();
    return text.substr(text.rfind('@') + 1);
}

std::string error_of(ReasonCode code, const std::string& status) {
    return code == ReasonCode::none ? status : std::string(name_of(code));
}

}  // namespace

CountedFor counted_for(std::string_view hop_group, const Origin& origin, MessageClass message_class,
                       const mail::ReversePath& reverse_path) {
    std::string sender = sender_of(origin, message_class);
    if (sender.empty()) sender = message_class == MessageClass::report ? "TLS reports" : "notices";
    return {HopGroup::parse(hop_group).next_hop, std::move(sender), domain_of(reverse_path)};
}

MailNumbers& MailTally::at(std::int64_t hour, CountedBy by, const std::string& key) {
    Last& last = last_.at(static_cast<std::size_t>(by));
    if (last.numbers == nullptr || last.hour != hour || last.key != key)
        last = {hour, key, &numbers_[{hour, by, key}]};
    return *last.numbers;
}

void MailTally::accepted(const NewMessage& message, const CountedFor& whom) {
    const std::int64_t hour = hour_of(message.arrived);
    const MailNumbers one{1, message.body.size, 0, 0, 0, 0};
    at(hour, CountedBy::all, "") += one;
    at(hour, CountedBy::sender, whom.sender) += one;
    at(hour, CountedBy::from_domain, whom.from_domain) += one;
}

void MailTally::ended(const DeliveryResult& result, const CountedFor& whom) {
    MailNumbers one;
    switch (result.state) {
        case RecipientState::queued:
            one.deferred = 1;
            break;
        case RecipientState::sent:
            one.sent = 1;
            break;
        case RecipientState::bounced:
            // What is returned without being refused for good keeps its temporary status.
            (result.status.starts_with('4') ? one.expired : one.bounced) = 1;
            break;
        case RecipientState::deleted:
            return;
    }
    const std::int64_t hour = hour_of(result.at);
    at(hour, CountedBy::all, "") += one;
    at(hour, CountedBy::destination, whom.destination) += one;
    at(hour, CountedBy::sender, whom.sender) += one;
    at(hour, CountedBy::from_domain, whom.from_domain) += one;
    if (one.deferred + one.bounced + one.expired > 0)
        at(hour, CountedBy::error, error_of(result.reason_code, result.status)) += one;
}

std::vector<MailCount> largest(std::vector<MailCount> counts, std::size_t most) {
    const auto weight = [](const MailCount& count) {
        const MailNumbers& n = count.numbers;
        return n.accepted + n.sent + n.deferred + n.bounced + n.expired;
    };
    MailCount others;
    std::erase_if(counts, [&](const MailCount& count) {
        if (!count.key.empty()) return false;
        others.numbers += count.numbers;
        return true;
    });
    std::stable_sort(counts.begin(), counts.end(),
                     [&](const MailCount& a, const MailCount& b) { return weight(a) > weight(b); });
    while (counts.size() > most) {
        others.numbers += counts.back().numbers;
        counts.pop_back();
    }
    if (others.numbers != MailNumbers()) counts.push_back(others);
    return counts;
}

MailSums::MailSums(const MailCountFilter& filter)
    : filter_(filter), first_(hour_of(filter.from)), last_(hour_of(filter.to)) {
    filter_.by_hour = filter.by_hour && filter.by == CountedBy::all;
}

void MailSums::add(const MailTally::Key& key, const MailNumbers& numbers) {
    const auto& [hour, by, name] = key;
    if (by != filter_.by || hour < first_ || hour > last_) return;
    sums_[filter_.by_hour ? rfc3339(WallTime(std::chrono::hours(hour))) : name] += numbers;
}

std::vector<MailCount> MailSums::taken() {
    std::vector<MailCount> out;
    for (auto& [key, numbers] : sums_) out.push_back({key, numbers});
    sums_.clear();
    if (!filter_.by_hour) return largest(std::move(out), filter_.limit);
    if (out.size() > filter_.limit)
        out.erase(out.begin(), out.end() - static_cast<std::ptrdiff_t>(filter_.limit));
    return out;
}

void MailTally::failed(const HopState& hop) {
    if (hop.failures == 0) return;
    const std::int64_t hour = hour_of(hop.at);
    MailNumbers one;
    one.deferred = 1;
    at(hour, CountedBy::all, "") += one;
    at(hour, CountedBy::destination, HopGroup::parse(hop.next_hop).next_hop) += one;
    at(hour, CountedBy::error, error_of(hop.reason_code, hop.status)) += one;
}

}  // namespace sternpost::store
